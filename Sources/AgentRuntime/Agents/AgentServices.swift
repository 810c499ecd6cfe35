package import CoordinationCore
package import CoordinationEngine
package import Logging
import Synchronization

/// What a process's agents use of an engine: its holdings there, a collector, and how long the engine hasn't answered.
package final class AgentServices: Sendable {
  /// What the process's agents have in the engine.
  package let holdings: Holdings
  /// A candidate for collecting.
  package let collector: Collector
  private let engine: any CoordinationEngine
  private let clock: any AgentClock
  /// Since when the engine doesn't answer; nil: it does.
  private let silent = Mutex<Duration?>(nil)
  /// How often the engine is asked for a sign of life: a hundred reads a second for a thousand processes.
  private static let interval = Duration.seconds(10)

  /// Services of an engine; `owner` is a name that no other process and no earlier run has.
  package init(
    engine: any CoordinationEngine, owner: String, policy: GarbageCollector.Policy = .init(),
    reapers: [String: Collector.Reaper] = [:], clock: any AgentClock = SystemAgentClock(), logger: Logger
  ) {
    self.engine = engine
    self.clock = clock
    holdings = Holdings(owner: owner, engine: engine, clock: clock)
    collector = Collector(
      engine: engine, name: owner, policy: policy, reapers: reapers, clock: clock, logger: logger)
  }

  /// For how many seconds the engine hasn't answered: the cause `engine` of the ladder.
  package var silence: Int {
    let now = clock.now
    return silent.withLock { $0.map { Int((now - $0).components.seconds) } ?? 0 }
  }

  /// Renews what is held, collects when it is this process's turn, and sees whether the engine answers, until the task is cancelled.
  ///
  /// - Throws: `CancellationError`.
  package func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in try await holdings.run() }
      group.addTask { [self] in try await collector.run() }
      group.addTask { [self] in try await watch() }
      defer { group.cancelAll() }
      try await group.waitForAll()
    }
  }

  private func watch() async throws {
    while true {
      let asked = clock.now
      do {
        _ = try await engine.state.get(CollectionKey.leader.text)
        silent.withLock { $0 = nil }
      } catch is EngineError {
        silent.withLock { $0 = $0 ?? asked }
      }
      try await clock.sleep(until: clock.now + Self.interval)
    }
  }
}
