import SlowTests
import Testing

@testable import TaskQueue

/// A queue beside what an engine has written down of it.
private struct WrittenQueue {
  var queue: TaskQueue
  var written: [UInt64: TaskRecord] = [:]
  var totals = TaskQueueChanges.Totals()
  var now = Duration.zero

  init(limits: TaskQueueLimits = TaskQueueLimits()) {
    queue = TaskQueue(name: "q", instance: "a", limits: limits)
    queue.noteChanges()
  }

  /// Writes down what changed; gives how many tasks that were.
  @discardableResult
  mutating func write() -> Int {
    let changes = queue.takeChanges()
    totals = changes.totals
    for task in changes.tasks { written[task.number] = task.record }
    return changes.tasks.count
  }

  /// The process ends and begins anew, with what was written down.
  mutating func crash() {
    let saved = TaskQueueChanges(
      name: "q", totals: totals, tasks: written.map { TaskQueueChanges.Task(number: $0.key, record: $0.value) })
    queue = TaskQueue(restoring: saved, instance: "a", limits: queue.limits)
  }
}

@Suite struct TaskQueueChangesTests {
  @Test(
    "A queue that was written down and restored after each step behaves as one that went on", .slow, arguments: 0..<20)
  func restored(seed: Int) throws {
    var limits = TaskQueueLimits()
    limits.rememberedResults = 20
    var dice = Dice(state: UInt64(seed))
    var plain = TaskQueue(name: "q", instance: "a", limits: limits)
    var other = WrittenQueue(limits: limits)
    var tickets: [TaskTicket] = []
    for _ in 0..<600 {
      other.now += .milliseconds(dice.roll(2_000))
      let now = other.now
      let ticket = tickets.isEmpty ? nil : tickets[dice.roll(tickets.count)]
      switch dice.roll(7) {
      case 0, 1:
        let task = NewTask(
          lane: TaskLane.allCases[dice.roll(4)], key: dice.roll(3) == 0 ? TaskKey("k\(dice.roll(80))") : nil,
          payload: [UInt8](repeating: 1, count: dice.roll(9)),
          delay: dice.roll(3) == 0 ? .seconds(dice.roll(30)) : .zero)
        #expect(try plain.submit([task], now: now) == other.queue.submit([task], now: now))
      case 2:
        // All at once: whose turn it is among the lanes is forgotten by a restart.
        let claimed = try plain.claim(worker: "w", maximum: 100, lease: .seconds(20), now: now)
        let others = try other.queue.claim(worker: "w", maximum: 100, lease: .seconds(20), now: now)
        #expect(Set(claimed) == Set(others))
        tickets += claimed.map(\.ticket)
      case 3: same(&plain, &other.queue, ticket) { try $0.renew($1, lease: .seconds(25), now: now) == .zero }
      case 4: same(&plain, &other.queue, ticket) { try $0.complete($1, result: [9], now: now) == .committed }
      case 5:
        let head = CheckpointHead(step: UInt64(now.components.seconds), reference: [1])
        same(&plain, &other.queue, ticket) { queue, ticket in
          try queue.checkpoint(ticket, head, replacing: queue.record(ticket.id).checkpoint?.step, now: now)
          return true
        }
      default:
        same(&plain, &other.queue, ticket) {
          try $0.fail($1, reason: "x", isRetryable: true, delay: nil, jitter: 9, now: now) == .dead
        }
      }
      #expect(plain.statistics(now: now) == other.queue.statistics(now: now))
      other.write()
      #expect(!other.queue.hasChanges)
      if dice.roll(4) == 0 { other.crash() }
      #expect(plain.statistics(now: now) == other.queue.statistics(now: now))
    }
    #expect(plain.statistics(now: other.now).done > 0 && !tickets.isEmpty)
    #expect(other.written.values.filter { $0.state.name == .done }.count <= 20)
  }

  private func same(
    _ first: inout TaskQueue, _ second: inout TaskQueue, _ ticket: TaskTicket?,
    _ body: (inout TaskQueue, TaskTicket) throws -> Bool
  ) {
    guard let ticket else { return }
    let one = Result { try body(&first, ticket) }.mapError { $0 as? TaskQueueError ?? .invalid("\($0)") }
    let two = Result { try body(&second, ticket) }.mapError { $0 as? TaskQueueError ?? .invalid("\($0)") }
    #expect(one == two)
  }

  @Test("Looking at a queue leaves nothing to write; each step leaves its tasks alone")
  func few() throws {
    var one = WrittenQueue()
    _ = try one.queue.submit((0..<50).map { _ in NewTask(payload: [1]) }, now: .zero)
    #expect(one.write() == 50)
    _ = one.queue.statistics(now: .seconds(1))
    _ = one.queue.list(state: nil, after: 0, maximum: 10)
    #expect(!one.queue.hasChanges)
    _ = try one.queue.claim(worker: "w", maximum: 3, lease: nil, now: .seconds(1))
    #expect(one.queue.hasChanges)
    #expect(one.write() == 3)
  }

  @Test("C08: after a restart the epoch goes on, and a ticket of before holds until its lease ends")
  func epochs() throws {
    var one = WrittenQueue()
    _ = try one.queue.submit([NewTask(payload: [1])], now: .zero)
    let before = try #require(try one.queue.claim(worker: "a", maximum: 1, lease: .seconds(30), now: .zero).first)
      .ticket
    one.write()
    one.crash()
    #expect(try one.queue.claim(worker: "b", maximum: 1, lease: nil, now: .seconds(29)).isEmpty)
    #expect(try one.queue.renew(before, lease: .seconds(30), now: .seconds(29)) == .seconds(30))
    one.write()
    one.crash()
    let after = try #require(try one.queue.claim(worker: "b", maximum: 1, lease: nil, now: .seconds(59)).first).ticket
    #expect(after.epoch == before.epoch + 1)
    #expect(throws: TaskQueueError.staleTicket(before, currentEpoch: after.epoch, state: .leased)) {
      try one.queue.complete(before, result: [], now: .seconds(60))
    }
  }

  @Test("A lease that ran out before a restart or during it holds on until somebody else claims the task")
  func late() throws {
    var one = WrittenQueue()
    _ = try one.queue.submit([NewTask(payload: [1]), NewTask(payload: [2])], now: .zero)
    let tickets = try one.queue.claim(worker: "a", maximum: 2, lease: .seconds(30), now: .zero).map(\.ticket)
    one.write()
    one.queue.expire(now: .seconds(40))
    one.write()
    one.crash()
    #expect(try one.queue.complete(tickets[0], result: [], now: .seconds(50)) == .committed)
    one.write()
    one.crash()
    #expect(try one.queue.renew(tickets[1], lease: .seconds(30), now: .seconds(60)) == .seconds(30))
    one.write()
    one.crash()
    #expect(try one.queue.claim(worker: "b", maximum: 2, lease: nil, now: .seconds(70)).isEmpty)
    #expect(try one.queue.complete(tickets[1], result: [], now: .seconds(95)) == .committed)
  }

  @Test("C03: of two that go on from one checkpoint the second is told so, and the next claim begins at the first's")
  func checkpoints() throws {
    var queue = TaskQueue(name: "q", instance: "a")
    let id = try #require(try queue.submit([NewTask(payload: [1], attempts: 2)], now: .zero).first).id
    let claimed = try #require(try queue.claim(worker: "a", maximum: 1, lease: nil, now: .zero).first)
    #expect(claimed.checkpoint == nil)
    let first = CheckpointHead(step: 1, reference: [1])
    try queue.checkpoint(claimed.ticket, first, replacing: nil, now: .zero)
    // Said again, as after a lost answer.
    try queue.checkpoint(claimed.ticket, first, replacing: nil, now: .zero)
    #expect(throws: TaskQueueError.checkpointConflict(id, expected: nil, current: 1)) {
      try queue.checkpoint(claimed.ticket, CheckpointHead(step: 1, reference: [2]), replacing: nil, now: .zero)
    }
    #expect(throws: TaskQueueError.self) {
      try queue.checkpoint(claimed.ticket, CheckpointHead(step: 1, reference: [3]), replacing: 1, now: .zero)
    }
    let again = try #require(try queue.claim(worker: "b", maximum: 1, lease: nil, now: .seconds(31)).first)
    #expect(again.checkpoint == first)
    #expect(throws: TaskQueueError.staleTicket(claimed.ticket, currentEpoch: 2, state: .leased)) {
      try queue.checkpoint(claimed.ticket, CheckpointHead(step: 2, reference: [2]), replacing: 1, now: .seconds(31))
    }
    // C18: a dead letter keeps it.
    _ = try queue.fail(again.ticket, reason: "x", isRetryable: true, delay: nil, jitter: 0, now: .seconds(31))
    #expect(queue.deadLetters(maximum: 1).first?.record.checkpoint == first)
  }
}
