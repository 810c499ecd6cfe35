import CoordinationEngine
import TaskQueue

extension ConformanceCase {
  static let taskRecoveryCases: [ConformanceCase] = [
    ConformanceCase("C05: with a crash between claim and result, again and again, nothing is lost", needs: [.restart]) {
      harness in
      let ids = Set(try await harness.submit((0..<12).map { NewTask(key: TaskKey("k\($0)"), payload: [1]) }))
      var committed: Set<TaskID> = []
      var rounds = 0
      while committed.count < ids.count {
        rounds += 1
        try expect(rounds < 60, "the queue doesn't drain: \(committed.count) of \(ids.count) are done")
        let held = try await harness.claim(3, lease: .seconds(1), wait: .seconds(2))
        if let first = held.first {
          try expect(!committed.contains(first.ticket.id), "a task that is done is handed out")
          try expectEqual(try await harness.tasks.complete(first.ticket, result: [9]), .committed)
          committed.insert(first.ticket.id)
        }
        try await harness.crash()
        try await harness.pass(.seconds(1))
      }
      for id in ids { try expectEqual(try await harness.tasks.record(id).state, .done(result: [9])) }
      try expectEqual(try await harness.statistics().lost, 0)
    },
    ConformanceCase(
      "C05: a thousand workers that end between claim and result lose nothing, and no result is taken twice",
      needs: [.manualTime]
    ) { harness in
      let ids = Set(try await harness.submit((0..<1_000).map { _ in NewTask(payload: [1]) }))
      var dead: [TaskTicket] = []
      for _ in ids { dead.append(try await harness.claimOne(lease: .seconds(30)).ticket) }
      try await harness.pass(.seconds(31))
      var done: Set<TaskID> = []
      while let next = try await harness.claim(1).first {
        try expectEqual(try await harness.tasks.complete(next.ticket, result: [2]), .committed)
        try expect(done.insert(next.ticket.id).inserted, "\(next.ticket.id) is handed out again")
      }
      try expectEqual(done, ids)
      for ticket in dead {
        try await expectStale("a result of a dead worker's claim") {
          _ = try await harness.tasks.complete(ticket, result: [3])
        }
      }
      try expectEqual(try await harness.statistics().expired, 1_000)
    },
    ConformanceCase("C07: the engine restarts 20 times, and work goes on each time", needs: [.restart]) { harness in
      for round in 0..<20 {
        let id = try await harness.submitOne("\(round)")
        try await harness.crash()
        let claimed = try await harness.claimOne(lease: .seconds(30), wait: .seconds(5))
        try expectEqual(claimed.ticket.id, id)
        try expectEqual(try await harness.tasks.complete(claimed.ticket, result: []), .committed)
      }
      try expectEqual(try await harness.statistics().done, 20)
    },
    ConformanceCase("a ticket holds across a restart until its lease ends, and the epoch goes on", needs: [.restart]) {
      harness in
      _ = try await harness.submitOne()
      let before = try await harness.claimOne(lease: .seconds(3)).ticket
      try await harness.crash()
      try expectEqual(try await harness.claim(worker: "v").count, 0, "a task that is held")
      try expectEqual(try await harness.tasks.renew(before, lease: .seconds(2)), .seconds(2))
      try await harness.crash()
      try await harness.pass(.seconds(2))
      let after = try await harness.claimOne(worker: "v", lease: .seconds(30), wait: .seconds(5)).ticket
      try expect(after.epoch > before.epoch, "the epoch doesn't rise")
      try await expectStale("a late result") { _ = try await harness.tasks.complete(before, result: [1]) }
    },
    ConformanceCase(
      "keys, checkpoints, dead letters and delays survive a restart; ids aren't given twice", needs: [.restart]
    ) { harness in
      let keyed = try await harness.submitOne(key: TaskKey("k"))
      let held = try await harness.claimOne(lease: .seconds(30))
      let head = CheckpointHead(step: 1, reference: [1])
      try await harness.tasks.checkpoint(held.ticket, head, replacing: nil)
      let bad = try await harness.submitOne("bad")
      let failed = try await harness.claimOne()
      _ = try await harness.tasks.fail(failed.ticket, reason: "no such file", isRetryable: false, delay: nil)
      let delayed = try await harness.submitOne("later", delay: .seconds(3))
      try await harness.crash()
      let again = try await harness.tasks.submit([NewTask(key: TaskKey("k"), payload: [1])], to: "q")
      try expectEqual(again, [Submission(id: keyed, isDuplicate: true)])
      let letters = try await harness.tasks.deadLetters(of: "q", maximum: 10)
      try expectEqual(letters.map(\.id), [bad])
      try expectEqual(letters.first?.record.state, .dead(reason: "no such file"))
      try expectEqual(letters.first?.record.task.payload, Array("bad".utf8))
      try await harness.tasks.release(held.ticket)
      try expectEqual(try await harness.claimOne(lease: .seconds(30)).checkpoint, head)
      try expectEqual(try await harness.claim().count, 0, "a task before its time")
      try await harness.pass(.seconds(3))
      try expectEqual(try await harness.claimOne(wait: .seconds(5)).ticket.id, delayed)
      let new = try await harness.submitOne("new")
      try expect(![keyed, bad, delayed].contains(new), "an id is given twice")
    },
    ConformanceCase("C09: a critical task whose worker dies keeps its lane before a long backlog", needs: [.manualTime])
    {
      harness in
      _ = try await harness.submit([NewTask(lane: .critical, payload: [1])])
      for _ in 0..<10 { _ = try await harness.submit((0..<1_000).map { _ in NewTask(lane: .bulk, payload: [2]) }) }
      try expectEqual(try await harness.claimOne(lease: .seconds(30)).lane, .critical)
      try await harness.pass(.seconds(30))
      let again = try await harness.claimOne(worker: "v")
      try expectEqual(again.lane, .critical)
      try expectEqual(again.attempt, 2)
    },
    ConformanceCase("an engine that can't work says so, and goes on afterwards with what it had", needs: [.outage]) {
      harness in
      let before = try await harness.submitOne("before")
      try await harness.breakDown()
      try await expectError(
        TaskQueueError.self, "a submission",
        where: { error in
          if case .unavailable = error { true } else { false }
        }
      ) { _ = try await harness.submitOne("during", key: TaskKey("during")) }
      try await expectError(
        EngineError.self, "a put",
        where: { error in
          if case .unavailable = error { true } else { false }
        }
      ) { try await harness.engine.state.put("a", [1]) }
      try await harness.restore()
      try await harness.pass(.seconds(2))
      let after = try await harness.submitOne("after")
      let claimed = try await harness.claim(9, lease: .seconds(30), wait: .seconds(2))
      let texts = claimed.map { String(decoding: $0.payload, as: UTF8.self) }
      try expect(texts.first == "before" && texts.last == "after", "the queue has \(texts)")
      try expect(claimed.map(\.ticket.id).first == before && after != before, "ids are given twice")
      // What wasn't acknowledged may be there or not; said again, it is there once.
      let again = try await harness.submitOne("during", key: TaskKey("during"))
      let more = try await harness.claim(9, lease: .seconds(30))
      try expectEqual((claimed + more).filter { $0.ticket.id == again }.count, 1, "the task that was said twice")
      try expectEqual(try await harness.statistics().lost, 0)
    },
  ]
}
