package import CoordinationEngine
package import KubernetesCore
package import LocalEngine
import ServiceLifecycle
package import TaskQueue

/// Runs an engine as a service, and closes it when the group ends: put it first, so that it ends last.
package struct EngineService: Service {
  private let engine: any CoordinationEngine

  /// Makes a service of an engine.
  package init(_ engine: any CoordinationEngine) {
    self.engine = engine
  }

  package func run() async throws {
    let engine = self.engine
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask {
        do { try await engine.run() } catch is CancellationError {}
        return true
      }
      group.addTask {
        try? await gracefulShutdown()
        // Ends `run` once what is held was handed back.
        await engine.close()
        return false
      }
      defer { group.cancelAll() }
      if try await group.next() == true { group.cancelAll() }
      try await group.waitForAll()
    }
  }
}

/// A driver's clocks as an engine's.
package struct TimeSourceClock: EngineClock {
  private let time: any TimeSource

  /// An engine's clock of a driver's.
  package init(_ time: any TimeSource) {
    self.time = time
  }

  package var now: Duration { time.monotonicNow.sinceOrigin }
  package var wall: Duration {
    let now = time.wallNow
    return now - Timestamp(secondsSinceEpoch: 0)
  }
  package func sleep(until deadline: Duration) async throws {
    try await time.sleep(until: MonotonicTime(sinceOrigin: deadline))
  }
}

extension LocalEngine {
  /// Makes an engine in memory by a driver's clock.
  package convenience init(
    limits: TaskQueueLimits = TaskQueueLimits(), policy: TaskRetryPolicy = TaskRetryPolicy(), time: any TimeSource
  ) {
    var settings = LocalEngineSettings()
    settings.tasks = limits
    settings.policy = policy
    self.init(settings: settings, clock: TimeSourceClock(time))
  }
}
