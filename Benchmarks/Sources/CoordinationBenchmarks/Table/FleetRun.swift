import CoordinationEngine
import Synchronization
import TaskQueue

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Agents that work off a backlog: a pull a pod, a place of its own for what was pulled, and each agent says its own results.
struct FleetRun: Sendable {
  var kind: EngineKind
  var agents: Int
  var task: Duration
  /// Queues with their own pods; agents are spread over them.
  var cells = 1
  /// How long is measured once all agents have begun.
  var window: Duration
  /// Agents of a pod, at most.
  static let podAgents = 100

  struct Result: Sendable {
    /// Useful time of all the time that agents had, while all were there and tasks waited: E_coord.
    var efficiency: Double
    /// From the first pull until every agent has begun its first task, in seconds.
    var ramp: Double
    /// Tasks that ended in a second of the window.
    var rate: Double
    /// CPU time of this process for a task: client, agents' timers and all, without the server; microseconds.
    var cpu: Double
  }

  private var pods: Int { max(cells, (agents + Self.podAgents - 1) / Self.podAgents) }

  func measure() async throws -> Result {
    try await withPods(kind, pods) { engines in
      // As much as they could do with nothing lost, what they begin before, and what they hold after.
      let backlog = Int(Double(agents) * ((window.seconds + 3) / task.seconds + 3))
      try await fill(engines, backlog)
      let start = StartLine(agents)
      return try await withThrowingTaskGroup(of: [FleetPod.Turn].self) { group in
        let began = ContinuousClock.now
        for (pod, engine) in engines.enumerated() {
          // The first pods have one agent more where they don't divide evenly.
          let count = agents / pods + (pod < agents % pods ? 1 : 0)
          let queue = "q\(pod % cells)"
          group.addTask { try await FleetPod(engine, queue, "p\(pod)", count, task, start).run() }
        }
        await start.all()
        let (opened, cpu) = (ContinuousClock.now, processSeconds())
        try await Task.sleep(for: window)
        let (closed, used) = (ContinuousClock.now, processSeconds() - cpu)
        let isDry = start.isDry
        group.cancelAll()
        let turns = try await group.reduce(into: []) { $0 += $1 }
        guard !isDry else { throw Unmeasurable(description: "the backlog was used up before the window's end") }
        let useful = turns.reduce(0.0) { sum, turn in
          let (from, to) = (max(turn.begin, opened), min(turn.begin + task, closed))
          return to > from ? sum + (to - from).seconds : sum
        }
        let ended = turns.count { turn in turn.end.map { opened <= $0 && $0 < closed } ?? false }
        let elapsed = (closed - opened).seconds
        return Result(
          efficiency: useful / (Double(agents) * elapsed), ramp: (opened - began).seconds,
          rate: Double(ended) / elapsed, cpu: used * 1e6 / Double(max(1, ended)))
      }
    }
  }

  private func fill(_ engines: [any CoordinationEngine], _ backlog: Int) async throws {
    let batch = [NewTask](repeating: NewTask(payload: [UInt8](repeating: 7, count: 1_024)), count: 100)
    let count = (backlog / cells + 99) / 100
    try await withThrowingTaskGroup(of: Void.self) { group in
      for cell in 0..<cells {
        for lane in 0..<8 {
          let engine = engines[(cell + lane * cells) % engines.count]
          group.addTask {
            for _ in stride(from: lane, to: count, by: 8) { _ = try await engine.tasks.submit(batch, to: "q\(cell)") }
          }
        }
      }
      try await group.waitForAll()
    }
  }
}

/// Where it is known that all agents have begun, and whether a pod came back with nothing.
final class StartLine: Sendable {
  private struct State {
    var missing: Int
    var isDry = false
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state: Mutex<State>

  init(_ agents: Int) { state = Mutex(State(missing: agents)) }

  /// An agent has begun its first task.
  func cross() {
    let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
      state.missing -= 1
      guard state.missing == 0 else { return nil }
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume()
  }

  func runDry() { state.withLock { $0.isDry = true } }
  var isDry: Bool { state.withLock { $0.isDry } }

  /// Waits until all have begun.
  func all() async {
    await withCheckedContinuation { continuation in
      let isThere = state.withLock { state in
        if state.missing == 0 { return true }
        state.waiter = continuation
        return false
      }
      if isThere { continuation.resume() }
    }
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

/// User and system time of this process so far, in seconds.
func processSeconds() -> Double {
  var time = timespec()
  // Can't fail: the clock exists on every system and the pointer is valid.
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
