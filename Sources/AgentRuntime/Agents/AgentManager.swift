package import CoordinationCore
package import Logging
package import PayloadCompression
import Synchronization

/// The agents of a pod: up to thousands of them over its slots, from the wish for one to the last thing that it held.
///
/// `AgentTable` has their names and the breaker, `ResourceManager` says when one may begin, `ParkingLot` keeps the states of those that wait. The
/// manager owns no task: an agent runs in its caller's.
package final class AgentManager: Sendable {
  /// What is said of an error that ended an agent.
  package typealias Verdict = @Sendable (any Error) -> AgentTable.Ending

  /// What there is to count.
  package struct Statistics: Sendable {
    /// Agents by stage.
    package var stages: [AgentTable.Stage: Int] = [:]
    /// Since the start.
    package var counts = AgentTable.Counts()
    /// How often an agent waited with its state in memory because nothing more could be parked.
    package var unparked = 0
    /// Things that couldn't be released when an agent ended.
    package var unreleased = 0
    /// Whether the breaker lets agents begin.
    package var isOpen = false
  }

  private struct State {
    var table: AgentTable
    var waits: [UInt64: @Sendable () -> Void] = [:]
    var nextWait: UInt64 = 0
    var unparked = 0
    var unreleased = 0
  }

  /// Agents that a worker has at most.
  package static let limit = 10_000
  /// How long releasing may take when the agent's task was cancelled.
  private static let goodbye = Duration.seconds(2)

  /// Who says when an agent may begin.
  package let resources: ResourceManager
  /// Where states wait.
  package let parking: ParkingLot
  /// What its agents use of an engine; nil: there is none.
  package let services: AgentServices?
  private let verdict: Verdict
  private let clock: any AgentClock
  private let logger: Logger
  private let state: Mutex<State>

  /// Makes a manager without agents. `verdict` says of errors whether they are faults; nil: all but cancellation are.
  package init(
    resources: ResourceManager, parking: ParkingLot, limit: Int = AgentManager.limit,
    services: AgentServices? = nil, breaker: PoolBreaker.Policy = .init(), clock: any AgentClock = SystemAgentClock(),
    logger: Logger,
    verdict: @escaping Verdict = { $0 is CancellationError ? .handedBack : .failed }
  ) {
    self.resources = resources
    self.parking = parking
    self.services = services
    self.verdict = verdict
    self.clock = clock
    self.logger = logger
    state = Mutex(State(table: AgentTable(limit: limit, breaker: breaker)))
  }

  /// What there is to count.
  package var statistics: Statistics {
    state.withLock { state in
      var statistics = Statistics()
      for stage in AgentTable.Stage.allCases { statistics.stages[stage] = state.table.count(stage) }
      statistics.counts = state.table.counts
      statistics.unparked = state.unparked
      statistics.unreleased = state.unreleased
      statistics.isOpen = !state.table.isClosed
      return statistics
    }
  }

  /// Measures, and serves what agents have in the engine, until the task is cancelled.
  ///
  /// - Throws: `CancellationError`.
  package func tend() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [resources] in try await resources.run() }
      if let services { group.addTask { try await services.run() } }
      defer { group.cancelAll() }
      try await group.waitForAll()
    }
  }

  /// What it does, and its memory and collector, as text for Prometheus.
  package func metrics(results: AgentMetrics.Results = .init()) async -> String {
    AgentMetrics.text(
      statistics, resources.statistics, parked: await parking.statistics, collector: services?.collector.statistics,
      results: results)
  }

  /// Runs an agent: in a slot, as soon as there is one and the memory for it. When it ends, all that it held is given back.
  ///
  /// - Parameters:
  ///   - name: its name; one of a name runs at a time, and failures are counted by it.
  ///   - kind: what is learned of memory is learned by kind.
  ///   - memory: bytes that it will need at most; nil: what its kind has needed so far.
  ///   - isBulk: whether it is the first to wait when something runs short.
  ///   - slots: where it runs.
  ///   - body: its work.
  /// - Throws: `AgentRefusal`; what the slots throw; `CancellationError`; what `body` throws.
  package nonisolated(nonsending) func run<Result>(
    named name: String, kind: String = "", memory: Int? = nil, isBulk: Bool = false, in slots: any AgentSlots,
    _ body: (RunningAgent) async throws -> Result
  ) async throws -> Result {
    let now = clock.now
    if let refusal = state.withLock({ $0.table.spawn(name, now: now) }) { throw AgentRefusal(refusal, name: name) }
    let agent = RunningAgent(
      name: name, kind: kind, memory: memory, isBulk: isBulk, manager: self, slots: slots)
    do {
      try await agent.begin()
      move(name, to: .running)
      let result = try await body(agent)
      await finish(agent, .committed)
      return result
    } catch {
      await finish(agent, verdict(error))
      throw error
    }
  }

  private nonisolated(nonsending) func finish(_ agent: RunningAgent, _ ending: AgentTable.Ending) async {
    // The memory first: it is what others wait for.
    let releases = agent.letGo()
    await release(agent.name, releases)
    let now = clock.now
    let effects = state.withLock {
      $0.table.end(agent.name, ending, jitter: .random(in: .min ... .max), now: now)
    }
    for effect in effects { log(effect) }
  }

  /// Releases things in their order, also when this task is cancelled: then for a limited time.
  private nonisolated(nonsending) func release(
    _ name: String, _ releases: [@Sendable () async throws -> Void]
  ) async {
    let all: @Sendable () async -> Void = { [self] in
      for release in releases {
        do { try await release() } catch {
          state.withLock { $0.unreleased += 1 }
          logger.debug(
            "something that an agent held couldn't be released", metadata: ["agent": "\(name)", "error": "\(error)"])
        }
      }
    }
    guard !releases.isEmpty else { return }
    guard Task.isCancelled else { return await all() }
    // Owned: awaited here, with a limit. Calls of a cancelled task are cancelled.
    await Task { [clock] in
      await withTaskGroup(of: Void.self) { group in
        group.addTask { await all() }
        group.addTask { try? await clock.sleep(until: clock.now + Self.goodbye) }
        await group.next()
        group.cancelAll()
      }
    }.value
  }

  private func log(_ effect: PoolBreaker.Effect) {
    switch effect {
    case .ejected(let agent, let until):
      logger.warning(
        "an agent that fails again and again is left alone for a while",
        metadata: ["agent": "\(agent)", "time": "\(until - clock.now)"])
    case .spared(let agent):
      logger.warning("an agent goes on although it fails: half of them are left alone", metadata: ["agent": "\(agent)"])
    case .pool(.opened(let until)):
      logger.error(
        "so many agents fail that none is begun for a while: look for what all of them need",
        metadata: ["time": "\(until - clock.now)"])
    case .pool(.closed): logger.info("agents are begun again")
    }
  }

  func move(_ name: String, to stage: AgentTable.Stage) {
    state.withLock { $0.table.move(name, to: stage) }
  }

  func noteUnparked() { state.withLock { $0.unparked += 1 } }

  // MARK: Waiting

  /// Wakes all agents that wait: the slots are to be empty. What they waited for is cancelled; each has its state then, and is told by the slots.
  package func wake() {
    let waits = state.withLock { Array($0.waits.values) }
    for cancel in waits { cancel() }
  }

  /// Runs `wait` until it ends, or until the agent's task is cancelled or `wake` is called; then its error is the slots' own.
  nonisolated(nonsending) func interruptibly<Answer: Sendable>(
    in slots: any AgentSlots, _ wait: @escaping @Sendable () async throws -> Answer
  ) async -> Result<Answer, any Error> {
    // Owned: awaited below, cancelled with the agent and by `wake`.
    let task = Task { try await wait() }
    let id = state.withLock { state in
      state.nextWait += 1
      state.waits[state.nextWait] = { task.cancel() }
      return state.nextWait
    }
    defer { state.withLock { _ = $0.waits.removeValue(forKey: id) } }
    // `wake` may have been called before there was something to wake.
    if slots.isDraining { task.cancel() }
    let outcome = await withTaskCancellationHandler {
      await task.result
    } onCancel: {
      task.cancel()
    }
    guard case .failure = outcome, task.isCancelled, !Task.isCancelled else { return outcome }
    return .failure(slots.drainingError)
  }
}
