import SlowTests
import Testing

@testable import TaskQueue

/// Clients and workers that crash, sleep, come late and say everything twice, on one queue; what it promised is written down
/// beside it and compared after each step.
private struct QueueSimulation {
  var queue: TaskQueue
  var dice: Dice
  var now = Duration.zero
  /// Tickets that workers hold, those included that no longer hold.
  var tickets: [TaskTicket] = []
  var acknowledged: Set<TaskID> = []
  /// The one result of each task, as the queue said `committed`.
  var committed: [TaskID: [UInt8]] = [:]
  var idsByKey: [TaskKey: TaskID] = [:]
  var nextResult: UInt64 = 0
  /// Epochs at which a task was handed out.
  var epochs: [TaskID: UInt64] = [:]

  init(seed: UInt64) {
    var limits = TaskQueueLimits()
    limits.tasks = 200
    limits.rememberedResults = 1_000_000
    queue = TaskQueue(name: "q", instance: "s", limits: limits)
    dice = Dice(state: seed)
  }

  mutating func step() throws {
    now += .milliseconds(dice.roll(3_000))
    switch dice.roll(12) {
    case 0...2: try submit()
    case 3...5: try claim()
    case 6...7: try complete()
    case 8: try fail()
    case 9: if let ticket = someTicket() { try expected { try $0.release(ticket, now: $1) } }
    case 10: if let ticket = someTicket() { try expected { _ = try $0.renew(ticket, lease: nil, now: $1) } }
    default: now += .seconds(dice.roll(60))  // the machine sleeps, or all workers die
    }
    try check()
  }

  private mutating func someTicket() -> TaskTicket? {
    tickets.isEmpty ? nil : tickets[dice.roll(tickets.count)]
  }

  /// A stale ticket is the only thing that may be refused.
  private mutating func expected(_ body: (inout TaskQueue, Duration) throws -> Void) throws {
    do {
      try body(&queue, now)
    } catch let error as TaskQueueError {
      guard case .staleTicket = error else { throw error }
    }
  }

  private mutating func submit() throws {
    let new = (0..<dice.roll(8) + 1).map { _ in
      NewTask(
        lane: TaskLane.allCases[dice.roll(4)], key: dice.roll(2) == 0 ? TaskKey("k\(dice.roll(500))") : nil,
        payload: [UInt8](repeating: 0, count: dice.roll(20)), attempts: dice.roll(4) == 0 ? 2 : nil,
        delay: dice.roll(5) == 0 ? .seconds(dice.roll(50)) : .zero, fairnessKey: "t\(dice.roll(4))",
        cost: dice.roll(3) == 0 ? dice.roll(100) + 1 : nil)
    }
    switch Result(catching: { () throws(TaskQueueError) in try queue.submit(new, now: now) }) {
    case .success(let answers):
      for (task, answer) in zip(new, answers) {
        acknowledged.insert(answer.id)
        guard let key = task.key else { continue }
        // A key names one task for ever, and a duplicate is known as one.
        #expect(answer.isDuplicate == (idsByKey[key] != nil))
        #expect(idsByKey[key, default: answer.id] == answer.id)
        idsByKey[key] = answer.id
      }
    case .failure(.full):
      #expect(queue.statistics(now: now).outstanding + queue.statistics(now: now).dead + new.count > 200)
    case .failure(let error): throw error
    }
  }

  private mutating func claim() throws {
    let room = dice.roll(3) == 0 ? LaneCounts(critical: 2, high: dice.roll(3), normal: dice.roll(3), bulk: 0) : nil
    let claims = try queue.claim(
      worker: "w\(dice.roll(9))", maximum: dice.roll(6) + 1, lease: nil, room: room, now: now)
    for lane in TaskLane.allCases { #expect(room == nil || claims.count { $0.lane == lane } <= room?[lane] ?? 0) }
    for claimed in claims {
      #expect(acknowledged.contains(claimed.ticket.id))
      #expect(committed[claimed.ticket.id] == nil, "a task that is done is handed out")
      #expect(claimed.ticket.epoch > epochs[claimed.ticket.id, default: 0], "an epoch is used twice")
      epochs[claimed.ticket.id] = claimed.ticket.epoch
      tickets.append(claimed.ticket)
    }
  }

  private mutating func complete() throws {
    guard let ticket = someTicket() else { return }
    nextResult += 1
    let result = Array("\(nextResult)".utf8)
    switch Result(catching: { () throws(TaskQueueError) in try queue.complete(ticket, result: result, now: now) }) {
    case .success(.committed):
      #expect(committed[ticket.id] == nil, "two results are committed")
      #expect(epochs[ticket.id] == ticket.epoch, "an older claim commits")
      committed[ticket.id] = result
    case .success(.alreadyCommitted): #expect(committed[ticket.id] != nil)
    case .failure(.staleTicket): break
    case .failure(let error): throw error
    }
  }

  private mutating func fail() throws {
    guard let ticket = someTicket() else { return }
    let (isRetryable, jitter) = (dice.roll(5) > 0, UInt32.random(in: 0 ... .max, using: &dice))
    try expected {
      _ = try $0.fail(ticket, reason: "x", isRetryable: isRetryable, delay: nil, jitter: jitter, now: $1)
    }
  }

  /// All that was acknowledged is there, each in one place, and results stay what they were.
  mutating func check() throws {
    let statistics = queue.statistics(now: now)
    #expect(statistics.lost == 0)
    #expect(statistics.submitted == acknowledged.count)
    #expect(statistics.done == committed.count)
    var counted: [TaskState.Name: Int] = [:]
    var bytes = 0
    for id in acknowledged {
      let record = try queue.record(id)
      counted[record.state.name, default: 0] += 1
      if case .done(let result) = record.state {
        #expect(committed[id] == result)
      } else {
        bytes += record.task.payload.count
      }
      #expect(record.attempts <= record.task.attempts ?? 5)
    }
    #expect(counted[.ready, default: 0] == statistics.ready.reduce(0, +))
    #expect(counted[.delayed, default: 0] == statistics.delayed)
    #expect(counted[.leased, default: 0] == statistics.leased)
    #expect(counted[.dead, default: 0] == statistics.dead)
    #expect(bytes == statistics.payloadBytes)
  }

  /// The faults stop: one honest worker, and dead letters get another chance. Everything becomes done.
  mutating func drain() throws {
    for letter in queue.deadLetters(maximum: .max) { try queue.retry(letter.id, now: now) }
    var steps = 0
    while queue.statistics(now: now).outstanding + queue.statistics(now: now).dead > 0 {
      steps += 1
      try #require(steps < 2_000, "the queue doesn't drain")
      for claimed in try queue.claim(worker: "honest", maximum: 100, lease: nil, now: now) {
        #expect(try queue.complete(claimed.ticket, result: [7], now: now) == .committed)
        #expect(committed.updateValue([7], forKey: claimed.ticket.id) == nil)
      }
      for letter in queue.deadLetters(maximum: .max) { try queue.retry(letter.id, now: now) }
      if let deadline = queue.nextDeadline { now = max(now, deadline) }
    }
    try check()
    #expect(committed.count == acknowledged.count)
    #expect(queue.nextDeadline.map { $0 <= now + .seconds(30) } ?? true)
  }
}

@Suite struct TaskQueuePropertyTests {
  @Test(
    "With crashes, late results and everything said twice no task is lost, each has one result, and all drains",
    .slow, arguments: 0..<50)
  func simulation(seed: Int) throws {
    var simulation = QueueSimulation(seed: UInt64(seed))
    for _ in 0..<400 { try simulation.step() }
    try simulation.drain()
    #expect(simulation.acknowledged.count > 50, "the simulation did next to nothing")
  }
}
