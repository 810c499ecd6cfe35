import Testing

@testable import TaskQueue

/// Seconds on the queue's clock.
private func at(_ seconds: Int) -> Duration { .seconds(seconds) }

extension TaskQueue {
  fileprivate mutating func submitOne(_ task: NewTask, now: Duration) throws -> TaskID {
    try #require(try submit([task], now: now).first).id
  }

  fileprivate mutating func claimOne(_ worker: String = "w", lease: Duration? = nil, now: Duration) throws
    -> ClaimedTask
  {
    try #require(try claim(worker: worker, maximum: 1, lease: lease, now: now).first)
  }
}

@Suite struct TaskQueueTests {
  private var queue = TaskQueue(name: "reviewers", instance: "a1")

  private func task(_ text: String = "x", lane: TaskLane = .normal, key: String? = nil) -> NewTask {
    NewTask(lane: lane, key: key.map { TaskKey($0) }, payload: Array(text.utf8))
  }

  @Test("A task that is submitted, claimed and completed is done, with its result")
  mutating func life() throws {
    let id = try queue.submitOne(task("hello"), now: at(0))
    let claimed = try queue.claimOne(now: at(3))
    #expect(claimed.ticket == TaskTicket(id: id, epoch: 1))
    #expect(claimed.payload == Array("hello".utf8))
    #expect(claimed.attempt == 1)
    #expect(claimed.age == at(3))
    #expect(try queue.claim(worker: "v", maximum: 5, lease: nil, now: at(3)).isEmpty)
    #expect(try queue.complete(claimed.ticket, result: [1, 2], now: at(4)) == .committed)
    #expect(try queue.record(id).state == .done(result: [1, 2]))
    let statistics = queue.statistics(now: at(4))
    #expect(statistics.done == 1 && statistics.submitted == 1 && statistics.outstanding == 0 && statistics.lost == 0)
    #expect(statistics.payloadBytes == 0)
  }

  @Test("A completion that is sent again is answered as before, and the first result stays")
  mutating func completedTwice() throws {
    let id = try queue.submitOne(task(), now: at(0))
    let ticket = try queue.claimOne(now: at(0)).ticket
    #expect(try queue.complete(ticket, result: [1], now: at(1)) == .committed)
    #expect(try queue.complete(ticket, result: [2], now: at(2)) == .alreadyCommitted)
    #expect(try queue.record(id).state == .done(result: [1]))
    #expect(queue.statistics(now: at(2)).done == 1)
  }

  @Test("C08: of a worker that was paused beyond its lease the result is refused")
  mutating func fenced() throws {
    let id = try queue.submitOne(task(), now: at(0))
    let paused = try queue.claimOne("a", lease: at(30), now: at(0)).ticket
    let second = try queue.claimOne("b", lease: at(30), now: at(31)).ticket
    #expect(second.epoch == 2)
    #expect(throws: TaskQueueError.staleTicket(paused, currentEpoch: 2, state: .leased)) {
      try queue.complete(paused, result: [1], now: at(32))
    }
    #expect(try queue.complete(second, result: [2], now: at(33)) == .committed)
    #expect(throws: TaskQueueError.staleTicket(paused, currentEpoch: 2, state: .done)) {
      try queue.complete(paused, result: [1], now: at(34))
    }
    #expect(try queue.record(id).state == .done(result: [2]))
    #expect(queue.statistics(now: at(34)).stale == 2)
  }

  @Test("A lease that ran out holds on as long as nobody else has claimed the task: it is saved, renewed and committed")
  mutating func late() throws {
    let ids = try (0..<3).map { _ in try queue.submitOne(task(), now: at(0)) }
    let tickets = try queue.claim(worker: "a", maximum: 3, lease: at(30), now: at(0)).map(\.ticket)
    // The engine was away: it looks again after the leases have run out.
    #expect(queue.statistics(now: at(100)).pending == 3 && queue.claimable == 3)
    try queue.checkpoint(tickets[0], CheckpointHead(step: 1, reference: [1]), replacing: nil, now: at(100))
    #expect(queue.claimable == 3, "what is saved is not leased yet")
    #expect(try queue.renew(tickets[1], lease: at(30), now: at(100)) == at(30))
    #expect(queue.claimable == 2 && queue.nextDeadline == at(130))
    #expect(try queue.complete(tickets[2], result: [7], now: at(100)) == .committed)
    #expect(try queue.complete(tickets[2], result: [8], now: at(101)) == .alreadyCommitted)
    #expect(queue.claimable == 1)
    // Somebody else gets the one task that is left, and no other: from then on its first worker is late.
    let others = try queue.claim(worker: "b", maximum: 5, lease: at(30), now: at(102))
    #expect(others.map(\.ticket) == [TaskTicket(id: ids[0], epoch: 2)])
    #expect(others.first?.checkpoint?.step == 1 && others.first?.attempt == 2)
    #expect(throws: TaskQueueError.staleTicket(tickets[0], currentEpoch: 2, state: .leased)) {
      try queue.complete(tickets[0], result: [1], now: at(102))
    }
    // A second end of the same lease is as the first.
    #expect(queue.statistics(now: at(131)).ready.reduce(0, +) == 1)
    #expect(try queue.complete(tickets[1], result: [2], now: at(131)) == .committed)
    let statistics = queue.statistics(now: at(131))
    #expect(statistics.done == 2 && statistics.leased == 1 && statistics.pending == 0 && statistics.lost == 0)
    #expect(statistics.expired == 4 && queue.claimable == 0)
  }

  @Test("Who has handed a task back, failed it or let it become a dead letter has no ticket any more")
  mutating func ended() throws {
    _ = try queue.submitOne(task(), now: at(0))
    let released = try queue.claimOne(lease: at(30), now: at(0)).ticket
    // Late, which is no other than in time: the attempt doesn't count, the failure does.
    try queue.release(released, now: at(40))
    let failed = try queue.claimOne(lease: at(30), now: at(40))
    #expect(failed.attempt == 1)
    let outcome = try queue.fail(
      failed.ticket, reason: "x", isRetryable: true, delay: at(1), jitter: 0, now: at(80))
    #expect(outcome == .retried(after: at(1)))
    #expect(queue.statistics(now: at(80)).delayed == 1 && queue.claimable == 0)
    for ticket in [released, failed.ticket] {
      #expect(throws: TaskQueueError.self) { try queue.complete(ticket, result: [], now: at(82)) }
      #expect(throws: TaskQueueError.self) { _ = try queue.renew(ticket, lease: nil, now: at(82)) }
    }
    var (last, now) = (failed.ticket, 100)
    while queue.statistics(now: at(now)).dead == 0 {
      last = try queue.claimOne(lease: at(1), now: at(now)).ticket
      now += 2
    }
    #expect(throws: TaskQueueError.self) { try queue.complete(last, result: [], now: at(now)) }
    #expect(queue.statistics(now: at(now)).lost == 0)
  }

  @Test("C01: a task that takes ten times its lease is run once, as long as the lease is renewed")
  mutating func renewed() throws {
    _ = try queue.submitOne(task(), now: at(0))
    let ticket = try queue.claimOne(lease: at(30), now: at(0)).ticket
    for second in stride(from: 10, through: 300, by: 10) {
      #expect(try queue.renew(ticket, lease: at(30), now: at(second)) == at(30))
      #expect(try queue.claim(worker: "v", maximum: 1, lease: nil, now: at(second)).isEmpty)
    }
    #expect(try queue.complete(ticket, result: [], now: at(329)) == .committed)
    #expect(queue.statistics(now: at(329)).expired == 0)
  }

  @Test("A lease that is renewed for less ends earlier, and many renewals don't grow the queue")
  mutating func shortened() throws {
    _ = try queue.submitOne(task(), now: at(0))
    let ticket = try queue.claimOne(lease: at(100), now: at(0)).ticket
    for second in 1...50 {
      _ = try queue.renew(ticket, lease: second.isMultiple(of: 2) ? at(100) : at(3), now: at(second))
    }
    _ = try queue.renew(ticket, lease: at(2), now: at(51))
    #expect(try queue.claim(worker: "v", maximum: 1, lease: nil, now: at(52)).isEmpty)
    #expect(try queue.claimOne("v", now: at(53)).attempt == 2)
  }

  @Test("C04: a delayed task is delivered once, when its time has come")
  mutating func delayed() throws {
    _ = try queue.submit([NewTask(payload: [], delay: at(150))], now: at(0))
    #expect(queue.nextDeadline == at(150))
    #expect(try queue.claim(worker: "w", maximum: 1, lease: nil, now: at(149)).isEmpty)
    #expect(queue.statistics(now: at(149)).oldestPending == at(149))
    let claimed = try queue.claim(worker: "w", maximum: 9, lease: nil, now: at(150))
    #expect(claimed.count == 1)
  }

  @Test("C18: a task that always fails comes back after a growing back-off, then it is a dead letter with its reason")
  mutating func deadLetter() throws {
    let id = try queue.submitOne(task(), now: at(0))
    var now = at(0)
    for attempt in 1...5 {
      let claimed = try queue.claimOne(now: now)
      #expect(claimed.attempt == attempt)
      let outcome = try queue.fail(
        claimed.ticket, reason: "broken", isRetryable: true, delay: nil, jitter: 1 << 31, now: now)
      guard attempt < 5 else {
        #expect(outcome == .dead)
        break
      }
      #expect(outcome == .retried(after: .milliseconds(500 << (attempt - 1))))
      #expect(try queue.claim(worker: "w", maximum: 1, lease: nil, now: now).isEmpty)
      now += .milliseconds(500 << (attempt - 1))
    }
    #expect(queue.deadLetters(maximum: 10).map(\.id) == [id])
    #expect(try queue.record(id).state == .dead(reason: "broken"))
    try queue.retry(id, now: now)
    #expect(try queue.claimOne(now: now).attempt == 1)
    #expect(queue.statistics(now: now).lost == 0)
  }

  @Test("A failure that can't be retried is a dead letter at once; thrown away, its key is free")
  mutating func discarded() throws {
    let id = try queue.submitOne(task(key: "k"), now: at(0))
    let ticket = try queue.claimOne(now: at(0)).ticket
    #expect(
      try queue.fail(ticket, reason: "no such file", isRetryable: false, delay: nil, jitter: 0, now: at(0)) == .dead)
    #expect(try queue.submit([task(key: "k")], now: at(1)) == [Submission(id: id, isDuplicate: true)])
    try queue.discard(id, now: at(1))
    #expect(try queue.submit([task(key: "k")], now: at(2)).first?.isDuplicate == false)
    #expect(throws: TaskQueueError.unknownTask("\(id)")) { try queue.discard(id, now: at(2)) }
    #expect(queue.statistics(now: at(2)).lost == 0)
  }

  @Test("A worker that knows when to try again says so")
  mutating func retryAfter() throws {
    _ = try queue.submitOne(task(), now: at(0))
    let ticket = try queue.claimOne(now: at(0)).ticket
    let outcome = try queue.fail(ticket, reason: "429", isRetryable: true, delay: at(20), jitter: 0, now: at(0))
    #expect(outcome == .retried(after: at(20)))
    #expect(try queue.claim(worker: "w", maximum: 1, lease: nil, now: at(19)).isEmpty)
    #expect(try queue.claimOne(now: at(20)).attempt == 2)
  }

  @Test("C10: what is handed back at a drain can be claimed at once, first of its lane, and counts no attempt")
  mutating func released() throws {
    for number in 0..<60 { _ = try queue.submitOne(task("\(number)"), now: at(0)) }
    let held = try queue.claim(worker: "old", maximum: 50, lease: nil, now: at(0))
    for claimed in held { try queue.release(claimed.ticket, now: at(1)) }
    let again = try queue.claim(worker: "new", maximum: 50, lease: nil, now: at(1))
    #expect(again.map(\.payload) == held.map(\.payload))
    #expect(again.allSatisfy { $0.attempt == 1 && $0.ticket.epoch == 2 })
  }

  @Test("C06: what a killed worker had claimed is back within one lease")
  mutating func killed() throws {
    for number in 0..<100 { _ = try queue.submitOne(task("\(number)"), now: at(0)) }
    #expect(try queue.claim(worker: "killed", maximum: 100, lease: at(30), now: at(0)).count == 100)
    #expect(try queue.claim(worker: "w", maximum: 100, lease: nil, now: at(29)).isEmpty)
    #expect(queue.nextDeadline == at(30))
    #expect(try queue.claim(worker: "w", maximum: 100, lease: nil, now: at(30)).count == 100)
  }

  @Test("C09: a critical task whose worker dies keeps its lane before 10,000 bulk tasks")
  mutating func lanePreserved() throws {
    let id = try queue.submitOne(task("urgent", lane: .critical), now: at(0))
    _ = try queue.claimOne(lease: at(5), now: at(0))
    for _ in 0..<10 {
      _ = try queue.submit((0..<1_000).map { _ in task(lane: .bulk) }, now: at(1))
    }
    #expect(try queue.claim(worker: "w", maximum: 3, lease: nil, now: at(5)).prefix(2).map(\.ticket.id).contains(id))
  }

  @Test("C14: the same key gives the task of then; a new generation is a task of its own")
  mutating func keys() throws {
    let first = try queue.submitOne(task(key: "report"), now: at(0))
    #expect(try queue.submit([task(key: "report")], now: at(1)) == [Submission(id: first, isDuplicate: true)])
    let ticket = try queue.claimOne(now: at(1)).ticket
    _ = try queue.complete(ticket, result: [], now: at(2))
    #expect(try queue.submit([task(key: "report")], now: at(3)) == [Submission(id: first, isDuplicate: true)])
    let second = try queue.submit([NewTask(key: TaskKey("report", generation: 1), payload: [])], now: at(3))
    #expect(second.first?.isDuplicate == false)
    #expect(queue.statistics(now: at(3)).duplicates == 2)
  }

  @Test("What goes beyond the limits is refused, and nothing of it is taken")
  func limits() throws {
    var limits = TaskQueueLimits()
    limits.tasks = 3
    limits.payloadBytes = 10
    limits.totalPayloadBytes = 25
    limits.resultBytes = 4
    var queue = TaskQueue(name: "q", instance: "a", limits: limits)
    #expect(throws: TaskQueueError.tooLarge(what: "payload", bytes: 11, limit: 10)) {
      try queue.submit([NewTask(payload: [1]), NewTask(payload: Array(repeating: 0, count: 11))], now: .zero)
    }
    #expect(throws: TaskQueueError.full(queue: "q", what: "bytes of payloads", limit: 25)) {
      try queue.submit((0..<3).map { _ in NewTask(payload: Array(repeating: 0, count: 10)) }, now: .zero)
    }
    #expect(queue.statistics(now: .zero).submitted == 0)
    _ = try queue.submit([task(), task(), task()], now: .zero)
    #expect(throws: TaskQueueError.full(queue: "q", what: "tasks that are not done", limit: 3)) {
      try queue.submit([task()], now: .zero)
    }
    let ticket = try queue.claimOne(now: .zero).ticket
    #expect(throws: TaskQueueError.tooLarge(what: "result", bytes: 5, limit: 4)) {
      try queue.complete(ticket, result: [1, 2, 3, 4, 5], now: .zero)
    }
    #expect(try queue.complete(ticket, result: [1], now: .zero) == .committed)
    #expect(try queue.submit([task()], now: .zero).count == 1)
  }

  @Test("C17: what is done is forgotten beyond the limit, the oldest first, and its key with it")
  func forgetting() throws {
    var limits = TaskQueueLimits()
    limits.rememberedResults = 2
    var queue = TaskQueue(name: "q", instance: "a", limits: limits)
    var ids: [TaskID] = []
    for number in 0..<5_000 {
      ids.append(try queue.submitOne(task(key: "k\(number)"), now: at(number)))
      let ticket = try queue.claimOne(now: at(number)).ticket
      _ = try queue.complete(ticket, result: [1, 2, 3], now: at(number))
    }
    #expect(throws: TaskQueueError.unknownTask("\(ids[4_997])")) { try queue.record(ids[4_997]) }
    #expect(try queue.record(ids[4_998]).state == .done(result: [1, 2, 3]))
    #expect(try queue.submit([task(key: "k0")], now: at(5_000)).first?.isDuplicate == false)
    #expect(queue.statistics(now: at(5_000)).done == 5_000)
    #expect(queue.statistics(now: at(5_000)).lost == 0)
  }

  @Test(
    "What can't be meant is refused with the field and what is allowed",
    arguments: ["", String(repeating: "w", count: 300)])
  mutating func invalid(worker: String) throws {
    #expect(throws: TaskQueueError.self) { try queue.claim(worker: worker, maximum: 1, lease: nil, now: .zero) }
    #expect(throws: TaskQueueError.self) { try queue.claim(worker: "w", maximum: 0, lease: nil, now: .zero) }
    #expect(throws: TaskQueueError.self) { try queue.claim(worker: "w", maximum: 1, lease: .zero, now: .zero) }
    #expect(throws: TaskQueueError.self) { try queue.submit([], now: .zero) }
    #expect(throws: TaskQueueError.self) { try queue.submit([task(key: "")], now: .zero) }
    #expect(throws: TaskQueueError.self) { try queue.submit([NewTask(payload: [], attempts: 0)], now: .zero) }
  }

  @Test("An id of another run or another queue names no task here")
  mutating func foreignIDs() throws {
    let id = try queue.submitOne(task(), now: at(0))
    #expect(TaskID("\(id)") == id)
    for text in ["reviewers-b2-1", "others-a1-1", "reviewers-a1-2"] {
      let foreign = try #require(TaskID(text))
      #expect(throws: TaskQueueError.unknownTask(text)) { try queue.record(foreign) }
    }
    #expect(TaskID("my.long-queue-a1-7") == TaskID(queue: "my.long-queue", instance: "a1", number: 7))
    #expect(TaskID("17") == nil && TaskID("a-b") == nil && TaskID("a-b-c") == nil)
  }
}

@Suite struct TaskQueuesTests {
  @Test(
    "Queues come into being by use, within a bound, and their names are labels",
    arguments: ["", "A", "-a", "a-", "a/b", "ä", "a b"])
  func names(bad: String) throws {
    var queues = TaskQueues(instance: "a1", maximum: 2)
    #expect(throws: TaskQueueError.self) { try queues.change(bad) { $0.claimable } }
    #expect(queues.names.isEmpty)
    for name in ["b", "a"] {
      _ = try queues.change(name) { queue throws(TaskQueueError) in try queue.submit([NewTask(payload: [])], now: .zero)
      }
    }
    #expect(queues.names == ["a", "b"])
    #expect(throws: TaskQueueError.full(queue: "c", what: "queues", limit: 2)) {
      try queues.change("c") { $0.claimable }
    }
    #expect(queues.expire(now: .zero) == ["a", "b"])
  }
}
