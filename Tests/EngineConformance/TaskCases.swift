import CoordinationEngine
import TaskQueue

extension EngineHarness {
  /// The queues of the engine as it runs now.
  var tasks: any TaskEngine { get async { await engine.tasks } }

  func submit(_ tasks: [NewTask], to queue: String = "q") async throws -> [TaskID] {
    try await self.tasks.submit(tasks, to: queue).map(\.id)
  }

  func submitOne(_ text: String = "x", key: TaskKey? = nil, attempts: Int? = nil, delay: Duration = .zero) async throws
    -> TaskID
  {
    let tasks = [NewTask(key: key, payload: Array(text.utf8), attempts: attempts, delay: delay)]
    return try require(try await submit(tasks).first, "answer to a submission")
  }

  func claim(_ maximum: Int = 1, worker: String = "w", lease: Duration? = .seconds(2), wait: Duration = .zero)
    async throws -> [ClaimedTask]
  {
    try await tasks.claim(ClaimRequest(queue: "q", worker: worker, maximum: maximum, lease: lease), wait: wait)
  }

  func claimOne(worker: String = "w", lease: Duration? = .seconds(2), wait: Duration = .zero) async throws
    -> ClaimedTask
  {
    try require(try await claim(worker: worker, lease: lease, wait: wait).first, "task to claim")
  }

  func statistics() async throws -> TaskQueueStatistics {
    try require(try await tasks.statistics(of: "q")["q"], "statistics of the queue")
  }
}

/// Fails unless the ticket is refused as one that no longer holds.
func expectStale(_ what: String, file: String = #fileID, line: Int = #line, _ body: () async throws -> Void)
  async throws
{
  try await expectError(
    TaskQueueError.self, what,
    where: { error in
      if case .staleTicket = error { true } else { false }
    }, file: file, line: line, body)
}

extension ConformanceCase {
  static let taskCases: [ConformanceCase] = [
    ConformanceCase("a task goes from submission to its one result") { harness in
      let id = try await harness.submitOne("hello")
      let claimed = try await harness.claimOne()
      try expectEqual(claimed.ticket.id, id)
      try expectEqual(claimed.payload, Array("hello".utf8))
      try expectEqual(claimed.attempt, 1)
      try expectEqual(try await harness.claim().count, 0, "what is claimed twice")
      try expectEqual(try await harness.tasks.complete(claimed.ticket, result: [1, 2]), .committed)
      try expectEqual(try await harness.tasks.complete(claimed.ticket, result: [3]), .alreadyCommitted)
      try expectEqual(try await harness.tasks.record(id).state, .done(result: [1, 2]))
      let statistics = try await harness.statistics()
      try expectEqual(statistics.done, 1)
      try expectEqual(statistics.outstanding, 0)
      try expectEqual(statistics.lost, 0)
    },
    ConformanceCase("a submission is taken whole or not at all, and unknown things are refused") { harness in
      try await expectError(
        TaskQueueError.self, "a payload over the limit",
        where: { error in
          if case .tooLarge = error { true } else { false }
        }
      ) {
        let large = [UInt8](repeating: 1, count: TaskQueueLimits().payloadBytes + 1)
        _ = try await harness.submit([NewTask(payload: [1]), NewTask(payload: large)])
      }
      try expectEqual(try await harness.claim(5).count, 0, "what was taken of a refused submission")
      try await expectError(TaskQueueError.self, "an unknown task", where: { $0 == .unknownTask("q-zz-9") }) {
        _ = try await harness.tasks.record(TaskID(queue: "q", instance: "zz", number: 9))
      }
      try await expectError(
        TaskQueueError.self, "a queue's name",
        where: { error in
          if case .invalid = error { true } else { false }
        }
      ) { _ = try await harness.submit([NewTask(payload: [1])], to: "Not A Name") }
    },
    ConformanceCase("a key names one task; C14: a new generation is a task of its own") { harness in
      let first = try await harness.submitOne(key: TaskKey("report"))
      let again = try await harness.tasks.submit([NewTask(key: TaskKey("report"), payload: [2])], to: "q")
      try expectEqual(again, [Submission(id: first, isDuplicate: true)])
      let claimed = try await harness.claimOne()
      _ = try await harness.tasks.complete(claimed.ticket, result: [])
      let later = try await harness.tasks.submit([NewTask(key: TaskKey("report"), payload: [2])], to: "q")
      try expectEqual(later, [Submission(id: first, isDuplicate: true)])
      let next = try await harness.tasks.submit(
        [NewTask(key: TaskKey("report", generation: 1), payload: [3])], to: "q")
      try expectEqual(next.map(\.isDuplicate), [false])
      try expectEqual(try await harness.claimOne().payload, [3])
    },
    ConformanceCase("a claim waits for the task that comes") { harness in
      async let waiting = harness.claim(wait: .seconds(20))
      let id = try await harness.submitOne()
      try expectEqual(try await waiting.map(\.ticket.id), [id])
    },
    ConformanceCase(
      "lanes: a critical task comes before what waits in bulk; a worker gets no more of a lane than it has room for"
    ) {
      harness in
      _ = try await harness.submit((0..<5).map { _ in NewTask(lane: .bulk, payload: [1]) })
      _ = try await harness.submit([NewTask(lane: .critical, payload: [2])])
      try expectEqual(try await harness.claimOne().lane, .critical)
      let room = LaneCounts(critical: 5, high: 5, normal: 5, bulk: 2)
      let some = try await harness.tasks.claim(
        ClaimRequest(queue: "q", worker: "w", maximum: 5, lease: .seconds(5), room: room), wait: .zero)
      try expectEqual(some.map(\.lane), [.bulk, .bulk])
    },
    ConformanceCase("C01: a task of ten times its lease runs once, as long as the lease is renewed") { harness in
      _ = try await harness.submitOne()
      let claimed = try await harness.claimOne(lease: .seconds(2))
      for _ in 0..<10 {
        try await harness.pass(.seconds(1))
        try expectEqual(try await harness.tasks.renew(claimed.ticket, lease: .seconds(2)), .seconds(2))
        try expectEqual(try await harness.claim(worker: "v").count, 0, "a second execution")
      }
      try expectEqual(try await harness.tasks.complete(claimed.ticket, result: []), .committed)
      try expectEqual(try await harness.statistics().claims, 1)
    },
    ConformanceCase(
      "C03: of two that go on from one checkpoint the second gets a conflict; the next claim begins at the first's"
    ) {
      harness in
      let id = try await harness.submitOne()
      let claimed = try await harness.claimOne()
      let head = CheckpointHead(step: 1, reference: [1, 2, 3])
      try await harness.tasks.checkpoint(claimed.ticket, head, replacing: nil)
      try await harness.tasks.checkpoint(claimed.ticket, head, replacing: nil)
      try await expectError(
        TaskQueueError.self, "a second checkpoint from the same one",
        where: { $0 == .checkpointConflict(id, expected: nil, current: 1) }
      ) {
        try await harness.tasks.checkpoint(
          claimed.ticket, CheckpointHead(step: 1, reference: [9]), replacing: nil)
      }
      try await harness.tasks.checkpoint(claimed.ticket, CheckpointHead(step: 2, reference: [4]), replacing: 1)
      try await harness.tasks.release(claimed.ticket)
      let next = try await harness.claimOne()
      try expectEqual(next.checkpoint, CheckpointHead(step: 2, reference: [4]))
      try expectEqual(next.attempt, 1, "the attempt after a release")
      try await expectStale("a checkpoint of an earlier claim") {
        try await harness.tasks.checkpoint(
          claimed.ticket, CheckpointHead(step: 3, reference: [5]), replacing: 2)
      }
    },
    ConformanceCase("C04: a task delayed by more than its lease is delivered once, when its time has come") { harness in
      _ = try await harness.submitOne(delay: .seconds(3))
      try expectEqual(try await harness.claim(lease: .seconds(1)).count, 0, "a task before its time")
      try await harness.pass(.seconds(3))
      let claimed = try await harness.claimOne(lease: .seconds(1), wait: .seconds(5))
      try expectEqual(claimed.attempt, 1)
      try expectEqual(try await harness.claim().count, 0, "a second delivery")
    },
    ConformanceCase("C06: what a worker held that is gone is back within one lease") { harness in
      let ids = Set(try await harness.submit((0..<40).map { _ in NewTask(payload: [1]) }))
      let first = try await harness.claim(40, lease: .seconds(2))
      try expectEqual(Set(first.map(\.ticket.id)), ids)
      try await harness.pass(.seconds(2))
      var again: Set<TaskID> = []
      while again.count < 40 {
        let some = try await harness.claim(40, worker: "v", lease: .seconds(30), wait: .seconds(3))
        try expect(!some.isEmpty, "\(40 - again.count) tasks don't come back")
        for claimed in some {
          try expect(claimed.ticket.epoch > 1, "the epoch of a second claim is \(claimed.ticket.epoch)")
          try expect(again.insert(claimed.ticket.id).inserted, "\(claimed.ticket.id) is handed out twice")
        }
      }
      try expectEqual(again, ids)
    },
    ConformanceCase("C08: of a worker that was paused beyond its lease everything is refused") { harness in
      let id = try await harness.submitOne()
      let paused = try await harness.claimOne(worker: "a", lease: .seconds(1)).ticket
      try await harness.pass(.seconds(1))
      let second = try await harness.claimOne(worker: "b", lease: .seconds(30), wait: .seconds(5)).ticket
      try expect(second.epoch > paused.epoch, "the epoch doesn't rise")
      let tasks = await harness.tasks
      try await expectStale("a late result") { _ = try await tasks.complete(paused, result: [1]) }
      try await expectStale("a late renewal") { _ = try await tasks.renew(paused, lease: nil) }
      try await expectStale("a late release") { try await tasks.release(paused) }
      try await expectStale("a late failure") {
        _ = try await tasks.fail(paused, reason: "x", isRetryable: true, delay: nil)
      }
      try expectEqual(try await tasks.complete(second, result: [2]), .committed)
      try await expectStale("a late result after the end") { _ = try await tasks.complete(paused, result: [1]) }
      try expectEqual(try await tasks.record(id).state, .done(result: [2]))
    },
    ConformanceCase(
      "C10: fifty tasks that are handed back in one call are claimed again at once, and no attempt is counted"
    ) {
      harness in
      _ = try await harness.submit((0..<50).map { _ in NewTask(payload: [1]) })
      let held = try await harness.claim(50, lease: .seconds(30))
      try expectEqual(held.count, 50)
      let answers = try await harness.tasks.release(held.map(\.ticket))
      try expect(answers.allSatisfy { (try? $0.get()) != nil }, "not all are handed back")
      let again = try await harness.claim(50, worker: "v", lease: .seconds(30), wait: .seconds(1))
      try expectEqual(again.count, 50)
      try expect(again.allSatisfy { $0.attempt == 1 }, "an attempt was counted")
    },
    ConformanceCase("C11: whatever a worker says a second time has no second effect") { harness in
      _ = try await harness.submit((0..<3).map { _ in NewTask(payload: [1]) })
      let held = try await harness.claim(3, lease: .seconds(30)).map(\.ticket)
      let results = held.map { TaskResult(ticket: $0, result: [7]) }
      let first = try await harness.tasks.complete(Array(results[0..<2]))
      try expectEqual(try first.map { try $0.get() }, [.committed, .committed])
      let second = try await harness.tasks.complete(results.map { TaskResult(ticket: $0.ticket, result: [8]) })
      try expectEqual(try second.map { try $0.get() }, [.alreadyCommitted, .alreadyCommitted, .committed])
      try expectEqual(try await harness.tasks.record(held[0].id).state, .done(result: [7]))
      let statistics = try await harness.statistics()
      try expectEqual(statistics.done, 3)
      try expectEqual(statistics.lost, 0)
    },
    ConformanceCase("a lease that ran out holds on until somebody else has claimed the task") { harness in
      let ids = try await harness.submit((0..<2).map { _ in NewTask(payload: [1]) })
      let held = try await harness.claim(2, lease: .seconds(2)).map(\.ticket)
      try expectEqual(Set(held.map(\.id)), Set(ids))
      try await harness.pass(.seconds(3))
      try expectEqual(try await harness.tasks.renew(held[0], lease: .seconds(30)), .seconds(30))
      try expectEqual(try await harness.tasks.complete(held[1], result: [7]), .committed)
      try expectEqual(try await harness.claim(2, worker: "v").count, 0, "what is claimed of a renewed and a done task")
      try await harness.tasks.checkpoint(held[0], CheckpointHead(step: 1, reference: [1]), replacing: nil)
      try expectEqual(try await harness.tasks.complete(held[0], result: [8]), .committed)
      let statistics = try await harness.statistics()
      try expectEqual([statistics.done, statistics.outstanding, statistics.dead, statistics.lost], [2, 0, 0, 0])
      let next = try await harness.submitOne()
      let late = try await harness.claimOne(lease: .seconds(2)).ticket
      try await harness.pass(.seconds(3))
      let other = try await harness.claim(worker: "v", lease: .seconds(30), wait: .seconds(10)).map(\.ticket)
      try expectEqual(other.map(\.id), [next])
      try await expectStale("a result after another claim") {
        _ = try await harness.tasks.complete(late, result: [9])
      }
      try await harness.tasks.release(other[0])
      try await expectStale("a result of who has handed the task back") {
        _ = try await harness.tasks.complete(other[0], result: [9])
      }
    },
    ConformanceCase("several leases are renewed in one call; a ticket that doesn't hold spoils none of the others") {
      harness in
      _ = try await harness.submit((0..<2).map { _ in NewTask(payload: [1]) })
      let held = try await harness.claim(2, lease: .seconds(2)).map(\.ticket)
      let stale = TaskTicket(id: held[0].id, epoch: held[0].epoch + 1)
      let answers = try await harness.tasks.renew([held[0], stale, held[1]], lease: .seconds(20))
      try expectEqual(try? answers[0].get(), .seconds(20))
      try expectEqual(try? answers[2].get(), .seconds(20))
      guard case .failure(.staleTicket) = answers[1] else { throw ConformanceFailure("\(answers[1])") }
      try await harness.pass(.seconds(3))
      try expectEqual(try await harness.claim().count, 0, "a task whose lease was renewed")
    },
    ConformanceCase("C17: what is done leaves nothing that waits, is held or can be claimed") { harness in
      for _ in 0..<10 {
        _ = try await harness.submit((0..<50).map { _ in NewTask(payload: [UInt8](repeating: 1, count: 100)) })
        let held = try await harness.claim(50, lease: .seconds(30), wait: .seconds(2)).map(\.ticket)
        _ = try await harness.tasks.complete(held.map { TaskResult(ticket: $0, result: []) })
      }
      let statistics = try await harness.statistics()
      try expectEqual(statistics.done, 500)
      try expectEqual([statistics.pending, statistics.leased, statistics.dead, statistics.lost], [0, 0, 0, 0])
      try expectEqual(statistics.payloadBytes, 0, "bytes of payloads")
    },
    ConformanceCase(
      "C18: a task that always fails backs off, then is a dead letter with its reason and last checkpoint"
    ) {
      harness in
      let id = try await harness.submitOne(attempts: 2)
      let first = try await harness.claimOne(lease: .seconds(20))
      let head = CheckpointHead(step: 4, reference: [4])
      try await harness.tasks.checkpoint(first.ticket, head, replacing: nil)
      let outcome = try await harness.tasks.fail(
        first.ticket, reason: "overloaded", isRetryable: true, delay: .seconds(1))
      try expectEqual(outcome, .retried(after: .seconds(1)))
      try expectEqual(try await harness.claim().count, 0, "a task in its back-off")
      try await harness.pass(.seconds(1))
      let second = try await harness.claimOne(lease: .seconds(20), wait: .seconds(5))
      try expectEqual(second.attempt, 2)
      try expectEqual(second.checkpoint, head)
      try expectEqual(
        try await harness.tasks.fail(second.ticket, reason: "broken", isRetryable: true, delay: nil), .dead)
      let letters = try await harness.tasks.deadLetters(of: "q", maximum: 10)
      try expectEqual(letters.map(\.id), [id])
      try expectEqual(letters.first?.record.state, .dead(reason: "broken"))
      try expectEqual(letters.first?.record.checkpoint, head)
      try await harness.tasks.retry(id)
      try expectEqual(try await harness.claimOne(wait: .seconds(1)).attempt, 1)
    },
    ConformanceCase("a dead letter that is thrown away frees its key") { harness in
      let id = try await harness.submitOne(key: TaskKey("k"))
      let claimed = try await harness.claimOne()
      try expectEqual(
        try await harness.tasks.fail(claimed.ticket, reason: "no", isRetryable: false, delay: nil), .dead)
      try await expectError(TaskQueueError.self, "a new task", where: { _ in true }) {
        try await harness.tasks.discard(TaskID(queue: "q", instance: "zz", number: 1))
      }
      try await harness.tasks.discard(id)
      let next = try await harness.tasks.submit([NewTask(key: TaskKey("k"), payload: [1])], to: "q")
      try expectEqual(next.map(\.isDuplicate), [false])
      try expectEqual(try await harness.statistics().lost, 0)
    },
    ConformanceCase("tasks are listed in pages, by state, the oldest first") { harness in
      let ids = try await harness.submit((0..<7).map { _ in NewTask(payload: [1]) })
      _ = try await harness.claim(2, lease: .seconds(30))
      let first = try await harness.tasks.list(TaskListQuery(queue: "q", state: .ready, maximum: 3))
      try expectEqual(first.map(\.id), Array(ids[2..<5]))
      let last = try require(first.last, "task").id.number
      let rest = try await harness.tasks.list(TaskListQuery(queue: "q", state: .ready, after: last, maximum: 3))
      try expectEqual(rest.map(\.id), Array(ids[5...]))
      try expectEqual(try await harness.tasks.list(TaskListQuery(queue: "q", maximum: 100)).map(\.id), ids)
      try expectEqual(try await harness.tasks.list(TaskListQuery(queue: "none")).count, 0)
    },
    ConformanceCase("many clients and workers at once: each task has one result") { harness in
      let tasks = await harness.tasks
      try await withThrowingTaskGroup(of: Int.self) { group in
        for client in 0..<4 {
          group.addTask {
            for number in 0..<25 {
              let key = TaskKey("c\(client)-\(number)")
              _ = try await tasks.submit([NewTask(key: key, payload: [1])], to: "q")
            }
            return 0
          }
        }
        for worker in 0..<6 {
          group.addTask {
            var count = 0
            while true {
              let request = ClaimRequest(queue: "q", worker: "w\(worker)", maximum: 3, lease: .seconds(30))
              let held = try await tasks.claim(request, wait: .zero)
              // An engine in memory never suspends: without this two workers take all threads from the clients.
              await Task.yield()
              if held.isEmpty, try await tasks.statistics(of: "q")["q"]?.done == 100 { return count }
              for claimed in held where try await tasks.complete(claimed.ticket, result: [1]) == .committed {
                count += 1
              }
            }
          }
        }
        var sum = 0
        for try await count in group { sum += count }
        try expectEqual(sum, 100, "results")
      }
    },
  ]
}
