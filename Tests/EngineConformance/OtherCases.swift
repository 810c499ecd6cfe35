import CoordinationEngine
import TaskQueue

extension ConformanceCase {
  static let otherCases: [ConformanceCase] = [
    ConformanceCase("a counter that many add to is their sum, and each sees a value of its own") { harness in
      let counters = await harness.engine.counters
      try expectEqual(try await counters.value(of: "n"), 0)
      let values = try await withThrowingTaskGroup(of: [Int64].self) { group in
        for _ in 0..<5 {
          group.addTask {
            var values: [Int64] = []
            for _ in 0..<10 { values.append(try await counters.add(2, to: "n")) }
            return values
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      try expectEqual(values.sorted(), (1...50).map { 2 * $0 })
      try expectEqual(try await counters.add(-101, to: "n"), -1)
      try expectEqual(try await counters.value(of: "other"), 0)
      try await counters.remove("n")
      try expectEqual(try await counters.value(of: "n"), 0)
      try await expectInvalid("a counter's name") { _ = try await counters.add(1, to: "not a name") }
    },
    ConformanceCase("a counter survives a restart", needs: [.restart]) { harness in
      _ = try await harness.engine.counters.add(5, to: "n")
      try await harness.crash()
      try expectEqual(try await harness.engine.counters.add(1, to: "n"), 6)
    },
    ConformanceCase("C15: a scheduled task comes once, when it is due, and one worker gets it") { harness in
      let schedules = await harness.engine.schedules
      try await schedules.schedule("nightly", .task(NewTask(payload: [7]), queue: "q"), after: .seconds(2))
      try expectEqual(try await schedules.pending().map(\.key), ["nightly"])
      try expectEqual(try await harness.claim().count, 0, "a task before its time")
      try await harness.pass(.seconds(3))
      var claims = 0
      for round in 0..<100 where claims == 0 || round % 10 > 0 {
        claims += try await withThrowingTaskGroup(of: Int.self) { group in
          for worker in 0..<4 {
            group.addTask { try await harness.claim(worker: "w\(worker)", lease: .seconds(60)).count }
          }
          return try await group.reduce(0, +)
        }
        if claims == 0 { try await harness.pass(.milliseconds(100)) }
      }
      try expectEqual(claims, 1, "the number of deliveries")
      try expectEqual(try await schedules.pending(), [])
    },
    ConformanceCase("a schedule is replaced by its key, and cancelled") { harness in
      let schedules = await harness.engine.schedules
      try await schedules.schedule("a", .task(NewTask(payload: [1]), queue: "q"), after: .seconds(1))
      try await schedules.schedule("a", .task(NewTask(payload: [2]), queue: "q"), after: .seconds(2))
      try await schedules.schedule("b", .task(NewTask(payload: [3]), queue: "q"), after: .seconds(1))
      try expectEqual(try await schedules.cancel("b"), true)
      try expectEqual(try await schedules.cancel("b"), false)
      try await harness.pass(.seconds(3))
      try expectEqual(try await harness.claim(9, wait: .seconds(2)).map(\.payload), [[2]])
      try await expectInvalid("a task that no queue takes") {
        try await schedules.schedule("c", .task(NewTask(payload: [1]), queue: "Not A Name"), after: .seconds(1))
      }
    },
    ConformanceCase("C15: a schedule whose engine was down when it was due comes afterwards", needs: [.restart]) {
      harness in
      try await harness.engine.schedules.schedule(
        "a", .task(NewTask(payload: [1]), queue: "q"), after: .seconds(2))
      try await harness.crash()
      try await harness.pass(.seconds(3))
      try expectEqual(try await harness.claim(9, wait: .seconds(2)).map(\.payload), [[1]])
      try await harness.crash()
      try expectEqual(try await harness.engine.schedules.pending(), [])
    },
    ConformanceCase("a message comes to all that listen, in order, and to nobody else") { harness in
      let messages = await harness.engine.messages
      let exact = try await messages.subscribe(.exactly("events.a"), buffer: 10)
      let below = try await messages.subscribe(.below("events."), buffer: 10)
      let other = try await messages.subscribe(.exactly("other"), buffer: 10)
      for number in 0..<3 { try await messages.publish(Message(subject: "events.a", payload: [UInt8(number)])) }
      try await messages.publish(Message(subject: "events.b", payload: [9]))
      try await messages.publish(Message(subject: "other", payload: [5]))
      var (first, second, third) = (
        exact.makeAsyncIterator(), below.makeAsyncIterator(), other.makeAsyncIterator()
      )
      for number in 0..<3 { try expectEqual(try await first.next()?.payload, [UInt8(number)]) }
      for payload in [[0], [1], [2], [9]] as [[UInt8]] { try expectEqual(try await second.next()?.payload, payload) }
      try expectEqual(try await third.next()?.payload, [5])
      for subscription in [exact, below, other] { subscription.cancel() }
      try expectEqual(try await first.next(), nil)
    },
    ConformanceCase("a scheduled message comes when it is due") { harness in
      let messages = await harness.engine.messages
      let subscription = try await messages.subscribe(.exactly("bell"), buffer: 1)
      try await harness.engine.schedules.schedule(
        "bell", .message(Message(subject: "bell", payload: [1])), after: .seconds(1))
      try await harness.pass(.seconds(2))
      var iterator = subscription.makeAsyncIterator()
      try expectEqual(try await iterator.next()?.payload, [1])
      subscription.cancel()
    },
    ConformanceCase("C16: of many that ask one target at once each gets its own answer") { harness in
      let messages = await harness.engine.messages
      try await expectError(
        EngineError.self, "a request that nobody hears",
        where: { error in
          if case .notFound = error { true } else { false }
        }
      ) { _ = try await messages.request("adder", [], timeout: .seconds(5)) }
      let subscription = try await messages.subscribe(.exactly("adder"), buffer: 1_000)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          for try await message in subscription {
            let replyTo = try require(message.replyTo, "place for the answer")
            try await messages.publish(Message(subject: replyTo, payload: message.payload + [1]))
          }
        }
        try await withThrowingTaskGroup(of: Void.self) { askers in
          for number in 0..<50 {
            askers.addTask {
              let answer = try await messages.request("adder", [UInt8(number)], timeout: .seconds(10))
              try expectEqual(answer.payload, [UInt8(number), 1])
            }
          }
          try await askers.waitForAll()
        }
        subscription.cancel()
        try await group.waitForAll()
      }
    },
    ConformanceCase("verbs of an engine that is closed say so") { harness in
      let engine = await harness.engine
      await engine.close()
      try await expectError(
        TaskQueueError.self, "a submission",
        where: { error in
          if case .unavailable = error { true } else { false }
        }
      ) { _ = try await engine.tasks.submit([NewTask(payload: [])], to: "q") }
      try await expectError(
        EngineError.self, "a put",
        where: { error in
          if case .unavailable = error { true } else { false }
        }
      ) { try await engine.state.put("a", []) }
    },
  ]
}
