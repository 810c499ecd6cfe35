import CoordinationEngine
import LocalEngine
import PayloadCompression
import Synchronization
import TaskQueue
import TaskRecovery

/// Agents that are killed anywhere, and whose newest checkpoint is damaged now and then (27): what is made again. Virtual time, one engine in memory.
struct RecoveryRows: PromiseSource {
  var promises: [Int] { [27] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let count = context.isQuick ? 200 : 5_000
    let seed = context.seed
    let outcome = try await VirtualTime.run { time in
      let engine = LocalEngine(clock: time)
      var random = Seeded(state: seed)
      var outcome = KilledAgent.Outcome()
      for number in 0..<count {
        let agent = KilledAgent(engine: engine, time: time, number: number)
        try await agent.run(&random, &outcome)
      }
      return outcome
    }
    let promise = Promise.all[26]
    let isKept =
      outcome.stepsAgain <= 1 && outcome.callsAgain <= 1 && outcome.found == outcome.damages && outcome.wrong == 0
    var row = ReportRow(
      id: "27",
      what:
        "\(promise.definition): \(count) tasks of \(KilledAgent.steps) steps and 16 KB, \(outcome.kills) kills, \(outcome.damages) damaged (virtual time, memory)",
      baseline:
        "\(promise.baseline): \((Double(outcome.stepsFromZero) / Double(max(1, outcome.kills))).text(1)) steps again a kill",
      seed: promise.seed, target: promise.target,
      measured: "\(outcome.stepsAgain) step and \(outcome.callsAgain) call again at most for a kill; "
        + "\((Double(outcome.calls) / Double(count * KilledAgent.steps) * 100 - 100).text(1)) % more calls in all; "
        + "\(outcome.found) of \(outcome.damages) damages found, \(outcome.wrong) wrong results",
      verdict: Verdict(target: isKept))
    row.figures = [
      "steps_again_most": Double(outcome.stepsAgain), "calls_again_most": Double(outcome.callsAgain),
      "kills": Double(outcome.kills), "damaged": Double(outcome.damages), "found": Double(outcome.found),
    ]
    report.add(row)
  }
}

/// One task, and the agents that work on it one after the other.
private final class KilledAgent: Sendable {
  struct Outcome: Sendable {
    var (kills, damages, found, wrong, calls) = (0, 0, 0, 0, 0)
    /// The most for one kill.
    var (stepsAgain, callsAgain) = (0, 0)
    /// Steps that would be made again if each kill began anew.
    var stepsFromZero = 0
  }

  static let steps = 6
  /// Kills of a task.
  private static let kills = 3

  private let engine: LocalEngine
  private let time: VirtualTime
  private let number: Int
  /// Calls by step, and the checkpoint that was acknowledged last.
  private let made = Mutex((calls: [Int](repeating: 0, count: KilledAgent.steps), saved: 0))
  /// The key of the checkpoint that was stored last, and of the one that the task's head names.
  private let newest = Mutex<(stored: String?, named: String?, damaged: String?)>((nil, nil, nil))
  private static let codec = PayloadCodec()

  init(engine: LocalEngine, time: VirtualTime, number: Int) {
    (self.engine, self.time, self.number) = (engine, time, number)
  }

  private func answer(_ step: Int) -> [UInt8] {
    var random = Seeded(state: UInt64(number * Self.steps + step))
    return (0..<64).map { _ in UInt8(truncatingIfNeeded: random.next()) }
  }

  func run(_ random: inout Seeded, _ outcome: inout Outcome) async throws {
    _ = try await engine.tasks.submit([NewTask(payload: [1], attempts: 100)], to: "q")
    var killed: (calls: [Int], saved: Int)?
    var (isDamaged, kills) = (false, 0)
    while true {
      guard
        let task = try await engine.tasks.claim(
          ClaimRequest(queue: "q", worker: "w", lease: .seconds(30)), wait: .zero
        ).first
      else { throw Unmeasurable(description: "a killed agent's task didn't come back") }
      let death = Death(after: kills < Self.kills ? 1 + random.below(45) : .max)
      let resumed = Mutex<(step: Int, damaged: Int)?>(nil)
      let result: [UInt8]?
      do {
        result = try await work(task, death) { step, damaged in resumed.withLock { $0 = (step, damaged) } }
      } catch is Death.Killed {
        result = nil
      }
      if let killed, let at = resumed.withLock({ $0 }) {
        outcome.stepsAgain = max(outcome.stepsAgain, killed.saved - at.step)
        if isDamaged, at.damaged > 0 { outcome.found += 1 }
        isDamaged = false
      }
      let now = made.withLock { $0 }
      if let killed {
        let again = zip(killed.calls, now.calls).count { $0 > 0 && $1 > $0 }
        outcome.callsAgain = max(outcome.callsAgain, again)
      }
      if let result {
        outcome.calls += now.calls.reduce(0, +)
        if result != expected { outcome.wrong += 1 }
        return
      }
      kills += 1
      outcome.kills += 1
      outcome.stepsFromZero += now.calls.count { $0 > 0 }
      killed = now
      if !isDamaged, now.saved >= 2, random.below(2) == 0, try await damage() {
        isDamaged = true
        outcome.damages += 1
      }
      try await time.sleep(for: .seconds(31))
    }
  }

  private var expected: [UInt8] { (0..<Self.steps).flatMap(answer) }

  private func work(
    _ task: ClaimedTask, _ death: Death, _ resumed: (_ step: Int, _ damaged: Int) -> Void
  ) async throws -> [UInt8] {
    // What a dead agent has stored and not named is nobody's.
    newest.withLock { $0.stored = $0.named }
    let engine = MortalEngine(base: engine, death: death) { key in
      self.newest.withLock { newest in
        if let key { newest.stored = key } else { newest.named = newest.stored }
      }
    }
    let progress = TaskProgress(
      ticket: task.ticket, head: task.checkpoint, engine: engine, codec: Self.codec, clock: time)
    let restored = try await progress.restore()
    // The step's number, the answers so far, and what else an agent remembers.
    var answers = restored.map { Array($0.state.dropFirst(16_384)) } ?? []
    resumed(answers.count / 64, restored?.damaged ?? 0)
    for step in answers.count / 64..<Self.steps {
      answers += try await progress.step("step \(step)", request: [UInt8(step)]) { _ in
        try death.comes()
        self.made.withLock { $0.calls[step] += 1 }
        try death.comes()
        return self.answer(step)
      }
      let memory = [UInt8](repeating: UInt8(step), count: 16_384)
      try await progress.checkpoint(memory + answers)
      made.withLock { $0.saved = max($0.saved, step + 1) }
    }
    _ = try await engine.tasks.complete(task.ticket, result: answers)
    await progress.finish()
    return answers
  }

  /// Changes a bit of the checkpoint that the task's head names.
  private func damage() async throws -> Bool {
    // The same bit changed again would repair it.
    let named = newest.withLock { newest -> String? in
      guard newest.named != newest.damaged else { return nil }
      newest.damaged = newest.named
      return newest.named
    }
    guard let key = named, var value = try await engine.state.get(key)?.value else {
      return false
    }
    value[value.count / 2] ^= 16
    try await engine.state.put(key, value)
    return true
  }
}

/// Kills an agent at its so many-th act.
private final class Death: Sendable {
  struct Killed: Error {}
  private let left: Mutex<Int>

  init(after acts: Int) { left = Mutex(acts) }

  func comes() throws {
    let isNow = left.withLock { left in
      left -= 1
      return left <= 0
    }
    // Once dead it does nothing more.
    if isNow { throw Killed() }
  }
}

/// An engine whose user may be killed before and after each thing that it writes.
private struct MortalEngine: CoordinationEngine, StateStore, TaskEngine {
  let base: LocalEngine
  let death: Death
  /// Told the key of each checkpoint that is stored, and nil when the head has moved.
  let onCheckpoint: @Sendable (_ stored: String?) -> Void

  private func act<Answer>(_ verb: () async throws -> Answer) async throws -> Answer {
    try death.comes()
    let answer = try await verb()
    try death.comes()
    return answer
  }

  var durability: Durability { base.durability }
  var tasks: any TaskEngine { self }
  var state: any StateStore { self }
  var blobs: any BlobStore { base.blobs }
  var counters: any Counters { base.counters }
  var schedules: any Schedules { base.schedules }
  var messages: any Messages { base.messages }
  func run() async throws { try await base.run() }
  func close() async { await base.close() }

  // MARK: StateStore

  var limits: StateLimits { base.state.limits }
  func get(_ key: String) async throws -> StateEntry? { try await base.state.get(key) }
  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    try await act {
      let revision = try await base.state.put(key, value, if: expected, ttl: ttl)
      if key.contains(".checkpoint.") { onCheckpoint(key) }
      return revision
    }
  }
  func delete(_ key: String, if expected: Expectation) async throws {
    try await act { try await base.state.delete(key, if: expected) }
  }
  func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try await act { try await base.state.batch(changes) }
  }
  func list(_ prefix: String) async throws -> StateList { try await base.state.list(prefix) }
  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try await base.state.watch(prefix, after: revision)
  }

  // MARK: TaskEngine

  func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    try await act {
      try await base.tasks.checkpoint(ticket, head, replacing: expected)
      onCheckpoint(nil)
    }
  }
  func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    try await base.tasks.complete(ticket, result: result)
  }
  func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    try await base.tasks.submit(tasks, to: queue)
  }
  func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    try await base.tasks.claim(request, wait: wait)
  }
  func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    try await base.tasks.renew(ticket, lease: lease)
  }
  func fail(_ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?) async throws -> FailureOutcome {
    try await base.tasks.fail(ticket, reason: reason, isRetryable: isRetryable, delay: delay)
  }
  func release(_ ticket: TaskTicket) async throws { try await base.tasks.release(ticket) }
  func retry(_ id: TaskID) async throws { try await base.tasks.retry(id) }
  func discard(_ id: TaskID) async throws { try await base.tasks.discard(id) }
  func record(_ id: TaskID) async throws -> TaskRecord { try await base.tasks.record(id) }
  func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    try await base.tasks.list(query)
  }
  func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    try await base.tasks.statistics(of: queue)
  }
  func endWaiting() { base.tasks.endWaiting() }
}
