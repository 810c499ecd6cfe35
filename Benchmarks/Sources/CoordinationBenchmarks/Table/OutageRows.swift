import CoordinationEngine
import LocalEngine
import Synchronization
import TaskQueue
import TaskRecovery

/// The engine is away for 60 s while agents work (25): what they finish, where it stays, and what comes of it. Virtual time, the library's outbox, one engine in memory.
struct OutageRows: PromiseSource {
  var promises: [Int] { [25] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let promise = Promise.all[24]
    for lease in [120, 30] {
      let outcome = try await VirtualTime.run { time in
        try await OutageWorld(time, lease: .seconds(lease)).run()
      }
      let isKept =
        outcome.finishedAway == outcome.underWay && outcome.lost == 0 && outcome.doubled == 0 && outcome.refused == 0
      var row = ReportRow(
        id: "25", what: "engine away for 60 s, 40 agents, tasks of 5–50 s, leases of \(lease) s (virtual time, memory)",
        baseline: "\(promise.baseline): none of the \(outcome.underWay) under way", seed: promise.seed,
        target: promise.target,
        measured: "\(outcome.finishedAway) of \(outcome.underWay) tasks under way ended, their results in the outbox; "
          + "\(outcome.accepted) of them taken \(outcome.drained.text(1)) s after the return at the latest, \(outcome.refused) refused and done again; "
          + "\(outcome.lost) tasks lost, \(outcome.doubled) committed twice",
        verdict: Verdict(target: isKept))
      if outcome.refused > 0 {
        row.why =
          "others claimed those tasks, whose leases had run out, before their results were said"
      }
      row.figures = [
        "under_way": Double(outcome.underWay), "finished": Double(outcome.finishedAway),
        "accepted": Double(outcome.accepted), "refused": Double(outcome.refused), "lost": Double(outcome.lost),
        "drained_seconds": outcome.drained,
      ]
      report.add(row)
    }
    report.note("25 measures the engine's absence alone; a broken lane and an API at 10 % are not measured here.")
  }
}

/// Agents, their outbox, and an engine that goes away.
private final class OutageWorld: Sendable {
  struct Outcome: Sendable {
    /// Tasks begun when the engine went; those that ended while it was away; what became of their results.
    var (underWay, finishedAway, accepted, refused) = (0, 0, 0, 0)
    var (lost, doubled) = (0, 0)
    /// From the return until their results are said, in seconds.
    var drained = 0.0
  }

  private struct State {
    var random = Seeded(state: 25)
    var isAway = false
    var held: [TaskTicket] = []
    /// Keys of results that were finished while the engine was away.
    var finishedAway: Set<String> = []
    var committed = [UInt8](repeating: 0, count: OutageWorld.tasks)
    var outcome = Outcome()
  }

  private static let (agents, tasks) = (40, 400)
  /// When it goes, and when it is back, after the beginning.
  private static let (gone, back) = (Duration.seconds(60), Duration.seconds(120))

  private let time: VirtualTime
  private let engine: LocalEngine
  private let lease: Duration
  private let begin: Duration
  private let state = Mutex(State())

  init(_ time: VirtualTime, lease: Duration) {
    (self.time, self.lease, begin) = (time, lease, time.now)
    engine = LocalEngine(clock: time)
  }

  private func reach<Answer>(_ verb: (any TaskEngine) async throws -> Answer) async throws -> Answer {
    if state.withLock({ $0.isAway }) { throw TaskQueueError.unavailable("away") }
    return try await verb(engine.tasks)
  }

  func run() async throws -> Outcome {
    _ = try await engine.tasks.submit(
      (0..<Self.tasks).map { NewTask(payload: Array("\($0)".utf8), attempts: 100) }, to: "q")
    let outbox = ResultOutbox(log: nil, clock: time) { items in try await self.say(items) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.engine.run() }
      group.addTask { try await outbox.run() }
      group.addTask { try await self.outage() }
      group.addTask { try await self.renew() }
      try await withThrowingTaskGroup(of: Void.self) { agents in
        for number in 0..<Self.agents { agents.addTask { try await self.work("w\(number)", outbox) } }
        try await agents.waitForAll()
      }
      await engine.close()
      group.cancelAll()
      while await group.nextResult() != nil {}
    }
    return state.withLock { state in
      var outcome = state.outcome
      outcome.finishedAway = state.finishedAway.count
      outcome.lost = state.committed.count { $0 == 0 }
      outcome.doubled = state.committed.count { $0 > 1 }
      return outcome
    }
  }

  private func outage() async throws {
    try await time.sleep(until: begin + Self.gone)
    state.withLock { state in
      state.isAway = true
      state.outcome.underWay = state.held.count
    }
    try await time.sleep(until: begin + Self.back)
    state.withLock { $0.isAway = false }
  }

  /// As the library does: what can't be renewed now is tried again, and the work goes on.
  private func renew() async throws {
    while true {
      try await time.sleep(for: lease / 3)
      let held = state.withLock { $0.held }
      guard !held.isEmpty, let answers = try? await reach({ try await $0.renew(held, lease: lease) }) else { continue }
      let lost = Set(zip(held, answers).compactMap { (try? $1.get()) == nil ? $0 : nil })
      state.withLock { $0.held.removeAll { lost.contains($0) } }
    }
  }

  private func work(_ name: String, _ outbox: ResultOutbox) async throws {
    while true {
      let request = ClaimRequest(queue: "q", worker: name, lease: lease)
      try await outbox.untilHeard()
      guard let claimed = try? await reach({ try await $0.claim(request, wait: .zero) }), let task = claimed.first
      else {
        if state.withLock({ state in state.committed.allSatisfy { $0 > 0 } }) { return }
        try await time.sleep(for: .seconds(1))
        continue
      }
      let length = state.withLock { state in
        state.held.append(task.ticket)
        return Duration.milliseconds(5_000 + state.random.below(45_000))
      }
      try await time.sleep(for: length)
      let key = "\(task.ticket.id)/\(task.ticket.epoch)"
      state.withLock { state in if state.isAway { state.finishedAway.insert(key) } }
      try await outbox.put(key, task.payload) { _ in
        self.state.withLock { state in state.held.removeAll { $0 == task.ticket } }
      }
    }
  }

  private func say(_ items: [OutboxLog.Item]) async throws -> [ResultOutbox.Delivery] {
    let results = items.compactMap { item -> TaskResult? in
      let parts = item.key.split(separator: "/")
      guard let id = TaskID(parts[0]), let epoch = UInt64(parts[1]) else { return nil }
      return TaskResult(ticket: TaskTicket(id: id, epoch: epoch), result: item.payload)
    }
    guard let answers = try? await reach({ try await $0.complete(results) }) else {
      return [ResultOutbox.Delivery](repeating: .later, count: items.count)
    }
    return state.withLock { state in
      zip(items, answers).map { item, answer in
        let isOfOutage = state.finishedAway.contains(item.key)
        if isOfOutage {
          let (seconds, rest) = (time.now - begin - Self.back).components
          state.outcome.drained = max(state.outcome.drained, Double(seconds) + Double(rest) / 1e18)
        }
        guard case .success(let completion) = answer else {
          if isOfOutage { state.outcome.refused += 1 }
          return .refused
        }
        if isOfOutage { state.outcome.accepted += 1 }
        if completion == .committed, let number = Int(String(decoding: item.payload, as: UTF8.self)) {
          state.committed[number] &+= 1
        }
        return .delivered
      }
    }
  }
}
