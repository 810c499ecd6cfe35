import CoordinationEngine
import NATSClient
import NATSTestSupport
import TaskQueue
import Testing

@testable import JetStreamEngine

extension JetStreamEngineTests {
  /// What lanes promise, on a real server.
  @Suite struct Lanes {
    private func withHarness(
      _ change: @escaping @Sendable (inout JetStreamEngineConfiguration) -> Void = { _ in },
      _ body: (JetStreamHarness) async throws -> Void
    ) async throws {
      let harness = try await JetStreamHarness(change)
      do { try await body(harness) } catch {
        await harness.stop()
        throw error
      }
      await harness.stop()
    }

    @Test(
      "Bulk whose backlog is too old is turned away with the time to come again; what is known, and other lanes, are taken"
    )
    func shedding() async throws {
      try await withHarness({ $0.lanes.deadlines = [.bulk: .seconds(2)] }) { harness in
        let tasks = harness.jetStream.tasks
        let known = NewTask(lane: .bulk, key: TaskKey("known"), payload: [1])
        _ = try await tasks.submit([known], to: "q")
        try await harness.pass(.seconds(3))
        let refused = await #expect(throws: TaskQueueError.self) {
          try await tasks.submit([NewTask(lane: .bulk, payload: [2]), NewTask(lane: .high, payload: [3])], to: "q")
        }
        guard case .shed("q", .bulk, let age, let retryAfter)? = refused else {
          Issue.record("\(String(describing: refused))")
          return
        }
        #expect(age > .seconds(2) && retryAfter >= .seconds(1) && retryAfter <= .seconds(300))
        await #expect(throws: TaskQueueError.self) {
          try await tasks.submit([NewTask(lane: .bulk, key: TaskKey("new"), payload: [2])], to: "q")
        }
        #expect(try await tasks.submit([known], to: "q").first?.isDuplicate == true)
        _ = try await tasks.submit([NewTask(lane: .high, payload: [4])], to: "q")
        let statistics = try #require(try await tasks.statistics(of: "q")["q"])
        #expect((statistics.submitted, statistics.shed) == (2, 2))
        // Once the old one is taken, the lane takes new ones; what is remembered of its age is a second old at most.
        _ = try await tasks.claim(ClaimRequest(queue: "q", worker: "w", maximum: 10), wait: .seconds(5))
        try await eventually { try await tasks.submit([NewTask(lane: .bulk, payload: [5])], to: "q").first }
      }
    }

    @Test("Several delayed tasks of one submission are taken whole, with others, and come when their time has come")
    func delayedTogether() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        let submitted = try await tasks.submit(
          [
            NewTask(payload: [1], delay: .seconds(1)), NewTask(payload: [2]), NewTask(payload: [3], delay: .seconds(1)),
          ], to: "q")
        #expect(Set(submitted.map(\.id)).count == 3)
        // Counted in the stream itself, right after the acknowledgement: none of them is on its way yet.
        #expect(try await JetStream(harness.jetStream.client).streamInfo("sw_q_q").messages == 3)
        var payloads: [[UInt8]] = []
        while payloads.count < 3 {
          let claimed = try await tasks.claim(ClaimRequest(queue: "q", worker: "w", maximum: 10), wait: .seconds(10))
          try #require(!claimed.isEmpty)
          payloads += claimed.map(\.payload)
        }
        #expect(payloads.first == [2])
        #expect(payloads.sorted { $0[0] < $1[0] } == [[1], [2], [3]])
      }
    }

    @Test(
      "Fairness keys take turns as far as an engine looks ahead; what it took in advance and nobody claims goes back")
    func fairness() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        func many(_ key: String, _ count: Int) -> [NewTask] {
          (0..<count).map { _ in NewTask(payload: Array(key.utf8), fairnessKey: key) }
        }
        _ = try await tasks.submit(many("a", 10) + many("b", 2) + many("a", 200), to: "q")
        func claim(_ count: Int) async throws -> [String] {
          try await tasks.claim(ClaimRequest(queue: "q", worker: "w", maximum: count), wait: .seconds(10)).map {
            String(decoding: $0.payload, as: UTF8.self)
          }
        }
        // The two of the small tenant wait for two of the large one, not for ten.
        #expect(try await claim(4) == ["a", "b", "a", "b"])
        var rest = 0
        while rest < 208 {
          let more = try await claim(100)
          try #require(!more.isEmpty)
          rest += more.count
        }
        let statistics = try #require(try await tasks.statistics(of: "q")["q"])
        #expect((statistics.leased, statistics.pending, statistics.claims) == (212, 0, 212))
      }
    }

    @Test("Without a claim that follows, others get what was taken in advance")
    func handsBackWhatWasTakenInAdvance() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        _ = try await tasks.submit((0..<200).map { _ in NewTask(payload: [1], fairnessKey: "a") }, to: "q")
        #expect(try await tasks.claim(ClaimRequest(queue: "q", worker: "w"), wait: .seconds(5)).count == 1)
        let other = JetStreamEngine(try JetStreamHarness.configuration(harness.server.url))
        let running = Task { try? await other.run() }
        var count = 1
        while count < 200 {
          let more = try await other.tasks.claim(
            ClaimRequest(queue: "q", worker: "v", maximum: 100), wait: .seconds(10))
          try #require(!more.isEmpty, "\(200 - count) tasks are kept by an engine that doesn't claim")
          count += more.count
        }
        await other.close()
        running.cancel()
        await running.value
      }
    }

    @Test("The backlog is what could be taken now, and how long its oldest task has waited")
    func backlog() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        #expect(try await tasks.backlog(of: "q") == TaskBacklog(waiting: 0, oldest: .zero))
        _ = try await tasks.submit(
          [NewTask(payload: [1]), NewTask(lane: .bulk, payload: [2]), NewTask(payload: [3], delay: .seconds(60))],
          to: "q")
        try await harness.pass(.seconds(1))
        let waiting = try await tasks.backlog(of: "q")
        #expect(waiting.waiting == 2)
        #expect(waiting.oldest >= .seconds(1) && waiting.oldest < .seconds(60))
        let claimed = try await tasks.claim(ClaimRequest(queue: "q", worker: "w", maximum: 10), wait: .seconds(5))
        #expect(claimed.count == 2)
        #expect(try await tasks.backlog(of: "q") == TaskBacklog(waiting: 0, oldest: .zero))
      }
    }
  }
}
