package import KubernetesCore
package import KubernetesRuntime
package import Logging
import Synchronization
package import WorkerEmbedding

/// The API server's version, read once and again now and then: clusters are upgraded under a running controller.
package final class ServerVersion: Sendable {
  private let client: APIClient
  private let time: any TimeSource
  private let logger: Logger
  private let version = Mutex<KubernetesVersion?>(nil)

  /// How often it is read anew.
  private static let interval = Duration.seconds(600)

  /// Makes one that isn't known yet.
  package init(client: APIClient, time: any TimeSource, logger: Logger) {
    self.client = client
    self.time = time
    self.logger = logger
  }

  /// The version; nil: not known yet.
  package var current: KubernetesVersion? { version.withLock { $0 } }

  /// Returns when it is known.
  package func whenKnown() async throws {
    while current == nil { try await time.sleep(for: .milliseconds(100)) }
  }

  /// Reads it once.
  package func read() async throws {
    let info = try await client.serverVersion()
    let read = KubernetesVersion("\(info.major).\(info.minor)") ?? KubernetesVersion(info.gitVersion)
    version.withLock { $0 = read ?? $0 }
  }

  /// Keeps it up to date until the task is cancelled.
  package func follow() async throws {
    var failures = 0
    while true {
      do {
        try await read()
        failures = 0
      } catch {
        try Task.checkCancellation()
        failures += 1
        logger.debug("the API server's version can't be read", metadata: ["error": "\(error)"])
      }
      let pause =
        failures == 0
        ? Self.interval
        : Backoff(base: .seconds(1), cap: .seconds(30)).delay(failures: failures, random: .random(in: .min ... .max))
      try await time.sleep(for: pause)
    }
  }
}
