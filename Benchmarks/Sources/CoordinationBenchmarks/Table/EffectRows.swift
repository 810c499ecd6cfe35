import CoordinationEngine
import LocalEngine
import Synchronization
import TaskQueue

/// Whether tasks' effects are lost or committed twice when answers are lost, workers die and come too late, and the engine is away (8). Virtual time, one engine in memory.
struct EffectRows: PromiseSource {
  var promises: [Int] { [8] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let count = context.isQuick ? 20_000 : 1_000_000
    let seed = context.seed
    let began = ContinuousClock.now
    let outcome = try await VirtualTime.run { time in try await EffectWorld(time, count: count, seed: seed).run() }
    let took = ContinuousClock.now - began
    let promise = Promise.all[7]
    let isKept = outcome.lost == 0 && outcome.doubled == 0
    var row = ReportRow(
      id: "8", what: "effects lost and committed twice over \(count) tasks with faults (virtual time, memory)",
      baseline: "\(promise.baseline); begun more than once: \(outcome.redone)", seed: promise.seed,
      target: promise.target,
      measured:
        "\(outcome.lost) lost, \(outcome.doubled) committed twice; \(outcome.deaths) deaths, \(outcome.late) too late, "
        + "\(outcome.lostAnswers) answers lost, \(outcome.away) calls while the engine was away, in \(took.components.seconds) s",
      verdict: Verdict(target: isKept))
    row.figures = [
      "tasks": Double(count), "lost": Double(outcome.lost), "doubled": Double(outcome.doubled),
      "redone": Double(outcome.redone),
    ]
    report.add(row)
  }
}

/// Clients and workers that things happen to.
private final class EffectWorld: Sendable {
  struct Outcome: Sendable {
    var (lost, doubled, redone) = (0, 0, 0)
    var (deaths, late, lostAnswers, away) = (0, 0, 0, 0)
  }

  private struct State {
    var random: Seeded
    var outcome = Outcome()
    /// How often the engine has committed each task, and how often each was begun.
    var committed: [UInt8]
    var begun: [UInt8]
    var isAway = false
  }

  private struct Gone: Error {}

  private let engine: LocalEngine
  private let time: VirtualTime
  private let count: Int
  private let state: Mutex<State>
  /// Tasks of a submission, and in a claim.
  private static let (submission, claim) = (500, 50)

  init(_ time: VirtualTime, count: Int, seed: UInt64) {
    (self.time, self.count) = (time, count)
    var settings = LocalEngineSettings()
    // Deaths must not use attempts up: a dead letter is no loss, but it isn't done either.
    settings.policy.attempts = 100
    engine = LocalEngine(settings: settings, clock: time)
    state = Mutex(
      State(
        random: Seeded(state: seed), committed: [UInt8](repeating: 0, count: count),
        begun: [UInt8](repeating: 0, count: count)))
  }

  func run() async throws -> Outcome {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.engine.run() }
      group.addTask { try await self.outages() }
      try await withThrowingTaskGroup(of: Void.self) { work in
        for number in 0..<8 { work.addTask { try await self.submit(number, of: 8) } }
        for number in 0..<64 { work.addTask { try await self.work("w\(number)") } }
        try await work.waitForAll()
      }
      await engine.close()
      group.cancelAll()
      while await group.nextResult() != nil {}
    }
    return state.withLock { state in
      var outcome = state.outcome
      outcome.lost = state.committed.count { $0 == 0 }
      outcome.doubled = state.committed.count { $0 > 1 }
      outcome.redone = state.begun.count { $0 > 1 }
      return outcome
    }
  }

  private func happens(_ percent: Int, _ count: (inout Outcome) -> Void = { _ in }) -> Bool {
    state.withLock { state in
      guard state.random.below(100) < percent else { return false }
      count(&state.outcome)
      return true
    }
  }

  private func below(_ bound: Int) -> Int { state.withLock { $0.random.below(bound) } }

  /// The engine can't be reached for 5 to 60 s, again and again.
  private func outages() async throws {
    while true {
      try await time.sleep(for: .seconds(20 + below(60)))
      state.withLock { $0.isAway = true }
      try await time.sleep(for: .seconds(5 + below(55)))
      state.withLock { $0.isAway = false }
    }
  }

  /// Says something until there is an answer: the engine may be away, and its answer may be lost after it has done what was said.
  private func insist<Answer>(_ verb: () async throws -> Answer) async throws -> Answer {
    while true {
      let isAway = state.withLock { state in
        if state.isAway { state.outcome.away += 1 }
        return state.isAway
      }
      if !isAway {
        let answer = try await verb()
        if !happens(3, { $0.lostAnswers += 1 }) { return answer }
      }
      try await time.sleep(for: .milliseconds(500))
    }
  }

  private func submit(_ number: Int, of clients: Int) async throws {
    let parts = (count + Self.submission - 1) / Self.submission
    for part in stride(from: number, to: parts, by: clients) {
      let tasks = (part * Self.submission..<min(count, (part + 1) * Self.submission)).map {
        NewTask(key: TaskKey("\($0)"), payload: Array("\($0)".utf8))
      }
      // Below what the queue takes.
      while try await engine.tasks.statistics(of: "q")["q"]?.outstanding ?? 0 > 50_000 {
        try await time.sleep(for: .milliseconds(100))
      }
      _ = try await insist { try await engine.tasks.submit(tasks, to: "q") }
    }
  }

  private func work(_ name: String) async throws {
    let request = ClaimRequest(queue: "q", worker: name, maximum: Self.claim, lease: .seconds(30))
    while true {
      // An answer that is lost here is a worker that has tasks and doesn't know it.
      let claimed = try await insist { try await engine.tasks.claim(request, wait: .seconds(1)) }
      if claimed.isEmpty, try await engine.tasks.statistics(of: "q")["q"]?.done == count { return }
      let numbers = claimed.map { Int(String(decoding: $0.payload, as: UTF8.self)) ?? 0 }
      state.withLock { state in for number in numbers { state.begun[number] &+= 1 } }
      if happens(5, { $0.deaths += 1 }) { continue }
      if happens(5, { $0.late += 1 }) {
        try await time.sleep(for: .seconds(31 + below(60)))
      } else {
        try await time.sleep(for: .milliseconds(100 + below(1_000)))
      }
      let results = claimed.map { TaskResult(ticket: $0.ticket, result: $0.payload) }
      if happens(50) {
        try await insist { self.note(try await self.engine.tasks.complete(results), numbers) }
      } else {
        for (result, number) in zip(results, numbers) {
          try await insist { self.note(try await self.complete(result), [number]) }
        }
      }
    }
  }

  private func complete(_ result: TaskResult) async throws -> [Result<Completion, TaskQueueError>] {
    do {
      return [.success(try await engine.tasks.complete(result.ticket, result: result.result))]
    } catch let error as TaskQueueError {
      return [.failure(error)]
    }
  }

  /// What the engine did, whether or not anybody hears of it.
  private func note(_ answers: [Result<Completion, TaskQueueError>], _ numbers: [Int]) {
    state.withLock { state in
      for (answer, number) in zip(answers, numbers) {
        if case .success(.committed) = answer { state.committed[number] &+= 1 }
      }
    }
  }
}
