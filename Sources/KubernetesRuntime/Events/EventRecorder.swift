package import KubernetesCore
package import Logging
import ServiceLifecycle
import Synchronization

/// Writes Events about objects, in the background and as far as it goes: recording never waits and never fails.
///
/// What becomes of an occurrence is decided by ``EventCorrelator``.
package final class EventRecorder: Service {
  private let client: APIClient
  private let time: any TimeSource
  private let random: @Sendable () -> UInt64
  private let retryPause: Backoff
  private let flushTime: Duration
  private let logger: Logger
  private let state: Mutex<EventCorrelator>
  private let wakeup = Wakeup()

  /// Makes a recorder; `flushTime` bounds how long it goes on writing what waits after graceful shutdown.
  package init(
    transport: any APITransport, configuration: EventCorrelator.Configuration, time: any TimeSource,
    random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) },
    retryPause: Backoff = Backoff(base: .seconds(2), cap: .seconds(30)), flushTime: Duration = .seconds(2),
    logger: Logger
  ) {
    client = APIClient(transport: transport, time: time, retryPolicy: .never, random: random)
    self.time = time
    self.random = random
    self.retryPause = retryPause
    self.flushTime = flushTime
    self.logger = logger
    state = Mutex(EventCorrelator(configuration))
  }

  /// The recorder's numbers.
  package var metrics: EventCorrelator.Metrics { state.withLock { $0.metrics } }

  /// Records an occurrence; returns at once.
  @discardableResult
  package func record(_ occurrence: EventOccurrence) -> EventCorrelator.Admission {
    let (wall, now, drawn) = (time.wallNow, time.monotonicNow, random())
    let admission = state.withLock { $0.record(occurrence, wall: wall, now: now, random: drawn) }
    if admission == .queued { wakeup.signal() }
    return admission
  }

  /// Writes Events until graceful shutdown, then for `flushTime` what still waits.
  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown {
        var failures = 0
        while true {
          if try await self.writeNext(failures: &failures) { continue }
          try await self.wakeup.wait()
        }
      }
    } catch is CancellationError where Task.isShuttingDownGracefully {
      await flush()
    }
  }

  private func flush() async {
    let deadline = time.monotonicNow + flushTime
    _ = try? await withDeadline(deadline, time) {
      var failures = 0
      while try await self.writeNext(failures: &failures) {}
    }
  }

  /// Carries out the next write; false when none waits.
  private func writeNext(failures: inout Int) async throws -> Bool {
    guard let write = state.withLock({ $0.next() }) else { return false }
    let outcome: EventCorrelator.Outcome
    var asked: Duration?
    do {
      try await send(write)
      outcome = .written
    } catch let error as KubernetesError {
      asked = error.retryAfter
      outcome = Self.outcome(of: error, for: write)
      logger.debug("an Event could not be written", metadata: ["error": "\(error)"])
    } catch {
      // Cancelled on the way: whether it was written is unknown, and an Event more does no harm.
      state.withLock { $0.finish(.failed, random: 0) }
      throw error
    }
    let drawn = random()
    state.withLock { $0.finish(outcome, random: drawn) }
    failures = outcome == .failed ? failures + 1 : 0
    if failures > 0 {
      try await time.sleep(for: max(retryPause.delay(failures: failures, random: drawn), asked ?? .zero))
    }
    return true
  }

  private func send(_ write: EventCorrelator.Write) async throws {
    let options = WriteOptions(priority: .event)
    switch write {
    case .create(let event): try await client.create(event, options)
    case .count(let key, let count, let lastTimestamp):
      let patch: JSONValue = ["count": .int(Int64(count)), "lastTimestamp": .string(lastTimestamp.rfc3339)]
      let body = try KubernetesJSON.encode(patch)
      try await client.patch(CoreEvent.self, key, nil, .merge(body), options)
    }
  }

  private static func outcome(of error: KubernetesError, for write: EventCorrelator.Write) -> EventCorrelator.Outcome {
    if error.reason == "AlreadyExists" { return .written }
    if error.code == .notFound, case .count = write { return .gone }
    if error.code == .conflict { return .failed }
    if case .retry = error.disposition { return .failed }
    return .refused
  }
}
