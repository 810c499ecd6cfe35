package import CoordinationCore
package import Logging
import Synchronization

/// Lets agents begin as memory and CPU allow, and moves the pod along the ladder of degradation.
///
/// `AdmissionControl` and `DegradationLadder` decide; this one measures for them each second, keeps the line of agents that wait, and says in one
/// log line what was given up or taken back, and why. Nothing runs until `run` does or somebody asks.
package final class ResourceManager: Sendable {
  /// Bytes that are set aside for an agent; `end` takes them.
  package struct Admission: Hashable, Sendable {
    /// The agent's kind.
    package var kind: String
    /// How many bytes.
    package var bytes: Int
  }

  /// What there is to count.
  package struct Statistics: Hashable, Sendable {
    /// What was measured last.
    package var measurement = AdmissionControl.Measurement()
    /// Bytes expected of the agents that run.
    package var reserved = 0
    /// Agents that run.
    package var agents = 0
    /// Agents that wait to be admitted.
    package var waiting = 0
    /// How often agents had to wait, by reason.
    package var waits: [AdmissionControl.Reason: Int] = [:]
    /// The rung.
    package var rung = DegradationRung.normal
    /// Moves of the ladder to each rung.
    package var moves: [DegradationRung: Int] = [:]
  }

  private struct Waiter {
    var id: UInt64
    var kind: String
    var declared: Int?
    var isBulk: Bool
    var continuation: CheckedContinuation<Admission, any Error>
  }

  private struct State {
    var control: AdmissionControl
    var ladder: DegradationLadder
    var line: [Waiter] = []
    var nextID: UInt64 = 0
    var cancelled: Set<UInt64> = []
    var waits: [AdmissionControl.Reason: Int] = [:]
    var moves: [DegradationRung: Int] = [:]
    var lastCPU: (used: Int, at: Duration)?
    var onChange: @Sendable (DegradationRung) -> Void = { _ in }
  }

  /// How often memory and CPU are looked at: a file of a control group takes about 20 µs to read.
  package static let interval = Duration.seconds(1)

  private let inputs: ResourceInputs
  private let clock: any AgentClock
  private let logger: Logger
  private let state: Mutex<State>

  /// Makes a manager that has measured nothing yet.
  package init(
    inputs: ResourceInputs, policy: AdmissionControl.Policy = .init(), ladder: DegradationLadder.Policy = .init(),
    clock: any AgentClock = SystemAgentClock(), logger: Logger
  ) {
    self.inputs = inputs
    self.clock = clock
    self.logger = logger
    state = Mutex(State(control: AdmissionControl(policy: policy), ladder: DegradationLadder(policy: ladder)))
  }

  /// Has a function called after each look that may have changed what is allowed, with the rung. It must not wait.
  package func onChange(_ body: @escaping @Sendable (DegradationRung) -> Void) {
    state.withLock { $0.onChange = body }
  }

  /// The rung on which the pod stands.
  package var rung: DegradationRung { state.withLock { $0.control.rung } }

  /// How many agents may run at once now, if further ones are of a kind; nil: no bound.
  package func allowance(_ kind: String? = nil, slots: Int) -> Int? {
    state.withLock { $0.control.allowance(kind, slots: slots) }
  }

  /// What there is to count.
  package var statistics: Statistics {
    state.withLock { state in
      Statistics(
        measurement: state.control.measurement, reserved: state.control.reserved, agents: state.control.agents,
        waiting: state.line.count, waits: state.waits, rung: state.control.rung, moves: state.moves)
    }
  }

  // MARK: Admission

  /// Lets an agent begin as soon as what it needs is there; first come, first served.
  ///
  /// - Parameter declared: the bytes that it says it needs; nil: what its kind has needed so far.
  /// - Throws: `CancellationError`.
  package func admit(_ kind: String, declared: Int? = nil, isBulk: Bool = false) async throws -> Admission {
    let (admission, id) = state.withLock { state -> (Admission?, UInt64) in
      state.nextID += 1
      if state.line.isEmpty {
        guard let reason = state.control.refusal(kind, declared: declared, isBulk: isBulk) else {
          return (Admission(kind: kind, bytes: state.control.begin(kind, declared: declared)), 0)
        }
        state.waits[reason, default: 0] += 1
      }
      return (nil, state.nextID)
    }
    if let admission { return admission }
    // A cancellation that came before the wait began leaves a note, which is of no use after the wait.
    defer { state.withLock { _ = $0.cancelled.remove(id) } }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isCancelled = state.withLock { state in
          guard state.cancelled.remove(id) == nil else { return true }
          state.line.append(
            Waiter(id: id, kind: kind, declared: declared, isBulk: isBulk, continuation: continuation))
          return false
        }
        if isCancelled { continuation.resume(throwing: CancellationError()) } else { serve() }
      }
    } onCancel: {
      let waiter = state.withLock { state -> Waiter? in
        guard let index = state.line.firstIndex(where: { $0.id == id }) else {
          state.cancelled.insert(id)
          return nil
        }
        return state.line.remove(at: index)
      }
      waiter?.continuation.resume(throwing: CancellationError())
      serve()
    }
  }

  /// An agent begins that can't be kept waiting: its task was claimed.
  package func begin(_ kind: String) -> Admission {
    state.withLock { Admission(kind: kind, bytes: $0.control.begin(kind)) }
  }

  /// An agent has ended or waits parked: what was set aside for it is free.
  package func end(_ admission: Admission) {
    let idle = state.withLock { state -> (@Sendable (DegradationRung) -> Void)? in
      state.control.end(admission.kind, bytes: admission.bytes)
      return state.control.agents == 0 ? state.onChange : nil
    }
    serve()
    // Where nothing runs one agent may, and nobody should wait for the next look.
    idle?(rung)
  }

  /// An agent waits with its memory.
  package func pause(_ admission: Admission) {
    state.withLock { $0.control.pause(admission.kind) }
    serve()
  }

  /// It goes on.
  package func resume(_ admission: Admission) {
    state.withLock { $0.control.resume(admission.kind) }
  }

  /// Admits from the head of the line whoever may begin.
  private func serve() {
    let served = state.withLock { state in
      var served: [(CheckedContinuation<Admission, any Error>, Admission)] = []
      while let next = state.line.first,
        state.control.refusal(next.kind, declared: next.declared, isBulk: next.isBulk) == nil
      {
        state.line.removeFirst()
        let bytes = state.control.begin(next.kind, declared: next.declared)
        served.append((next.continuation, Admission(kind: next.kind, bytes: bytes)))
      }
      return served
    }
    for (continuation, admission) in served { continuation.resume(returning: admission) }
  }

  // MARK: Looking

  /// Measures every second, until the task is cancelled.
  ///
  /// - Throws: `CancellationError`.
  package func run() async throws {
    while true {
      look()
      try await clock.sleep(until: clock.now + Self.interval)
    }
  }

  /// Measures once, and acts by it.
  package func look() {
    let now = clock.now
    let memory = inputs.memory()
    let cpu = inputs.cpu()
    let causes = DegradationCause.allCases.compactMap { cause in inputs.causes[cause].map { (cause, $0()) } }
    let (moves, onChange, rung) = state.withLock { state in
      state.control.note(
        .init(limit: memory.limit, used: memory.used, cpu: Self.percent(cpu, &state.lastCPU, now)))
      var moves = state.ladder.handle(.measured(.memory, state.control.memoryPercent), now: now)
      for (cause, value) in causes { moves += state.ladder.handle(.measured(cause, value), now: now) }
      for move in moves { state.moves[move.to, default: 0] += 1 }
      (state.control.rung, state.control.cause) = (state.ladder.rung, state.ladder.cause ?? state.control.cause)
      return (moves, state.onChange, state.control.rung)
    }
    for move in moves {
      logger.log(
        level: move.to > move.from ? .warning : .info,
        move.to > move.from ? "giving something up for a while" : "taking up again what was given up",
        metadata: [
          "rung": "\(move.to)", "rung.before": "\(move.from)", "cause": "\(move.cause.map { "\($0)" } ?? "calm")",
          "memory.percent": "\(state.withLock { $0.control.memoryPercent })",
        ])
    }
    serve()
    onChange(rung)
  }

  private static func percent(
    _ cpu: (used: Int, thousandths: Int)?, _ last: inout (used: Int, at: Duration)?, _ now: Duration
  ) -> Int? {
    guard let cpu else { return nil }
    defer { last = (cpu.used, now) }
    guard let last, now > last.at else { return nil }
    let (seconds, attoseconds) = (now - last.at).components
    let elapsed = Int(seconds) * 1_000_000 + Int(attoseconds / 1_000_000_000_000)
    return elapsed > 0 ? max(0, cpu.used - last.used) * 100_000 / (elapsed * cpu.thousandths) : nil
  }
}
