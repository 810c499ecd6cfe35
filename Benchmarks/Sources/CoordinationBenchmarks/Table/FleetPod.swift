import CoordinationEngine
import Synchronization
import TaskQueue

/// A pod of a fleet: one loop that pulls, agents that take from what it has pulled and commit their own results.
struct FleetPod: Sendable {
  /// What an agent did with a task: from when it had it; until when its result was committed, nil where the run ended before.
  struct Turn: Sendable {
    var begin: ContinuousClock.Instant
    var end: ContinuousClock.Instant?
  }

  private let engine: any CoordinationEngine
  private let queue: String
  private let name: String
  private let agents: Int
  private let task: Duration
  private let start: StartLine
  private let shelf: TaskShelf

  init(
    _ engine: any CoordinationEngine, _ queue: String, _ name: String, _ agents: Int, _ task: Duration,
    _ start: StartLine
  ) {
    self.engine = engine
    self.queue = queue
    self.name = name
    self.agents = agents
    self.task = task
    self.start = start
    // A quarter more than agents, half of what the lane `normal` may have (docs/coordination-cores.md); a single agent has none.
    shelf = TaskShelf(room: agents + agents / 4, few: agents / 8)
  }

  /// Until it is cancelled.
  func run() async throws -> [Turn] {
    try await withThrowingTaskGroup(of: [Turn].self) { group in
      group.addTask {
        try await pull()
        return []
      }
      for _ in 0..<agents { group.addTask { await work() } }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  private func pull() async throws {
    while !Task.isCancelled {
      let credit = await shelf.credit()
      if credit == 0 { return }
      do {
        let request = ClaimRequest(queue: queue, worker: name, maximum: min(100, credit), lease: .seconds(600))
        let claimed = try await engine.tasks.claim(request, wait: .seconds(2))
        if claimed.isEmpty { start.runDry() }
        shelf.put(claimed)
      } catch {
        if Task.isCancelled { return }
        shelf.end()
        throw error
      }
    }
  }

  private func work() async -> [Turn] {
    var turns: [Turn] = []
    while let claimed = await shelf.take() {
      turns.append(Turn(begin: .now))
      if turns.count == 1 { start.cross() }
      do {
        try await Task.sleep(for: task)
        _ = try await engine.tasks.complete(claimed.ticket, result: [1])
      } catch {
        break
      }
      shelf.finished()
      turns[turns.count - 1].end = .now
    }
    return turns
  }
}

/// Tasks that were pulled and not begun yet.
final class TaskShelf: Sendable {
  private struct State {
    var tasks: [ClaimedTask] = []
    /// Tasks that were pulled and not finished.
    var held = 0
    var agents: [CheckedContinuation<ClaimedTask?, Never>] = []
    var puller: CheckedContinuation<Int, Never>?
    var isEnded = false
  }

  private let room: Int
  private let few: Int
  private let state = Mutex(State())

  /// For so many tasks, those included that agents are at; more are pulled when so few are left.
  init(room: Int, few: Int) {
    self.room = room
    self.few = few
  }

  private func wanted(_ state: State) -> Int? {
    if state.isEnded { return 0 }
    let credit = room - state.held
    return credit > 0 && state.tasks.count <= few ? credit : nil
  }

  /// How many are wanted, as soon as some are; 0 at the end.
  func credit() async -> Int {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let now = state.withLock { state -> Int? in
          if let credit = wanted(state) { return credit }
          state.puller = continuation
          return nil
        }
        if let now { continuation.resume(returning: now) }
      }
    } onCancel: {
      end()
    }
  }

  func put(_ tasks: [ClaimedTask]) {
    let given = state.withLock { state -> [(CheckedContinuation<ClaimedTask?, Never>, ClaimedTask)] in
      state.held += tasks.count
      // The shelf is short: the next one is taken from its end.
      state.tasks.insert(contentsOf: tasks.reversed(), at: 0)
      var given: [(CheckedContinuation<ClaimedTask?, Never>, ClaimedTask)] = []
      while !state.agents.isEmpty, let task = state.tasks.popLast() { given.append((state.agents.removeFirst(), task)) }
      return given
    }
    for (agent, task) in given { agent.resume(returning: task) }
  }

  /// The next task, as soon as there is one; nil at the end.
  func take() async -> ClaimedTask? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let (task, isOver, puller) = state.withLock {
          state -> (ClaimedTask?, Bool, (CheckedContinuation<Int, Never>, Int)?) in
          if state.isEnded { return (nil, true, nil) }
          guard let task = state.tasks.popLast() else {
            state.agents.append(continuation)
            return (nil, false, nil)
          }
          return (task, true, wake(&state))
        }
        puller.map { $0.0.resume(returning: $0.1) }
        if isOver { continuation.resume(returning: task) }
      }
    } onCancel: {
      end()
    }
  }

  /// A task is committed.
  func finished() {
    let puller = state.withLock { state in
      state.held -= 1
      return wake(&state)
    }
    puller.map { $0.0.resume(returning: $0.1) }
  }

  private func wake(_ state: inout State) -> (CheckedContinuation<Int, Never>, Int)? {
    guard let puller = state.puller, let credit = wanted(state) else { return nil }
    state.puller = nil
    return (puller, credit)
  }

  func end() {
    let (agents, puller) = state.withLock { state in
      state.isEnded = true
      defer { (state.agents, state.puller) = ([], nil) }
      return (state.agents, state.puller)
    }
    for agent in agents { agent.resume(returning: nil) }
    puller?.resume(returning: 0)
  }
}
