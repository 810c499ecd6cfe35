package import KubernetesCore
package import KubernetesRuntime
import Synchronization

/// What the API server's version promises, asked now and then: a control plane may be upgraded while we run.
package final class ServerFeatures: Sendable {
  private struct Known {
    var heedsDeletionCost: Bool
    var at: MonotonicTime
  }

  /// How long an answer counts.
  private static let lifetime = Duration.seconds(600)

  private let client: APIClient
  private let time: any TimeSource
  private let known = Mutex<Known?>(nil)

  /// Asks through `client`; nothing is asked yet.
  package init(client: APIClient, time: any TimeSource) {
    self.client = client
    self.time = time
  }

  /// Whether ReplicaSets go by `controller.kubernetes.io/pod-deletion-cost`: by default from 1.22 on (KEP-2255).
  ///
  /// What can't be asked stays as it was, and is no at first, which only makes shrinks more careful.
  package func heedsDeletionCost() async -> Bool {
    let now = time.monotonicNow
    let old = known.withLock { $0 }
    if let old, now - old.at < Self.lifetime { return old.heedsDeletionCost }
    guard let version = try? await client.serverVersion() else { return old?.heedsDeletionCost ?? false }
    let heeds = version.major != "1" || (version.minorNumber ?? 0) >= 22
    known.withLock { $0 = Known(heedsDeletionCost: heeds, at: now) }
    return heeds
  }
}
