import AgentRuntime

/// An agent at work in a slot: see `AgentPool.run(named:_:)`.
public final class SwarmAgent: Sendable {
  private let agent: RunningAgent

  init(_ agent: RunningAgent) { self.agent = agent }

  /// Its name.
  public var name: String { agent.name }

  /// Waits for something, a message or a person's answer, while others use the slot. The agent keeps its memory.
  ///
  /// - Throws: what `wait` throws, which is cancelled with the agent; `AgentPool.Draining` when the pool begins to drain: put the rest of the work back.
  public nonisolated(nonsending) func wait<Answer: Sendable>(
    _ wait: @escaping @Sendable () async throws -> Answer
  ) async throws -> Answer {
    try await agent.wait(wait)
  }

  /// Waits for something while others use the slot *and the memory*: the state is compressed, a large one goes to the coordination engine.
  ///
  ///     let answer = try await agent.park(&conversation) { try await reply }
  ///
  /// `state` is empty meanwhile, and has its bytes again when this returns or throws. Where nothing more can be parked the agent waits with its
  /// state in memory.
  ///
  /// - Throws: what `wait` throws, which is cancelled with the agent; `AgentPool.Draining` when the pool begins to drain: put the rest of
  ///   the work back; what keeps the engine from giving a large state back, in words.
  public nonisolated(nonsending) func park<Answer: Sendable>(
    _ state: inout [UInt8], while wait: @escaping @Sendable () async throws -> Answer
  ) async throws -> Answer {
    try await agent.park(&state, while: wait)
  }

  /// Has something released when the agent ends, however it ends: the last that was named first. What it throws is of no account.
  public func onEnd(_ release: @escaping @Sendable () async throws -> Void) { agent.onEnd(release) }
}

/// An agent wasn't begun.
public struct AgentUnavailable: Error, Hashable, Sendable, CustomStringConvertible {
  /// After how long it may be tried again; nil: one of this name is at work, or there are as many as may be.
  public let retryAfter: Duration?
  /// Why, and what to do.
  public let description: String

  init(_ refusal: AgentRefusal) {
    retryAfter = refusal.retryAfter
    description = refusal.description
  }
}

extension AgentPool {
  /// Runs an agent in a slot, as soon as there is one and the memory that it will need. When it ends, all it held is released.
  ///
  /// There may be thousands over a few slots: those that wait (`SwarmAgent.wait`, `SwarmAgent.park`) need none. An agent that fails five times in a
  /// row is left alone for a while, and when five agents fail, all are: `AgentUnavailable` says for how long.
  ///
  /// - Parameters:
  ///   - name: its name; one of a name runs at a time.
  ///   - kind: agents that need about as much memory; what one needs is learned by kind. Default: one kind.
  ///   - memory: how many bytes it will need at most; nil: what its kind has needed so far.
  ///   - isBulk: whether it is among the first to wait when something runs short.
  ///   - body: its work.
  /// - Throws: `AgentUnavailable`; `Draining` when the pool drains; `CancellationError`; what `body` throws.
  public nonisolated(nonsending) func run<Result>(
    named name: String, kind: String = "", memory: Int? = nil, isBulk: Bool = false,
    _ body: (SwarmAgent) async throws -> Result
  ) async throws -> Result {
    do {
      return try await manager.run(named: name, kind: kind, memory: memory, isBulk: isBulk, in: PoolSlots(pool: self)) {
        agent in
        try await within({ agent.slot }) { try await body(SwarmAgent(agent)) }
      }
    } catch let refusal as AgentRefusal { throw AgentUnavailable(refusal) }
  }

  /// What an error says of an agent: a limit, a drain and a cancellation say nothing.
  static func verdict(_ error: any Error) -> AgentTable.Ending {
    switch error {
    case is CancellationError, is Draining: .handedBack
    case let error as ClaudeError where error.status == 429: .handedBack
    case let error as TaskFailure where error.delay != nil: .handedBack
    default: .failed
    }
  }
}

/// A pool's slots as those of its agents.
private struct PoolSlots: AgentSlots {
  let pool: AgentPool

  var isDraining: Bool { pool.isDraining }
  var drainingError: any Error { AgentPool.Draining() }
  func enterSlot() async throws -> UInt64 { try await pool.enterSlot() }
  func leaveSlot(_ slot: UInt64) { pool.leaveSlot(slot) }
  func beginAside() { pool.beginAside() }
  func endAside() { pool.endAside() }
}
