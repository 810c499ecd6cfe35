import CoordinationEngine
import Foundation
import NATSClient
import NATSTestSupport
import NIOCore
import Synchronization
import TaskQueue
import Testing

@testable import JetStreamEngine

extension JetStreamEngineTests {
  @Suite struct Cases {
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

    /// What workers said that they have committed.
    private final class Ledger: Sendable {
      let committed = Mutex<[String: Int]>([:])
    }

    private func claim(
      _ harness: JetStreamHarness, _ maximum: Int = 1, lease: Duration = .seconds(30), wait: Duration = .seconds(20)
    ) async throws -> [ClaimedTask] {
      try await harness.jetStream.tasks.claim(
        ClaimRequest(queue: "q", worker: "test", maximum: maximum, lease: lease), wait: wait)
    }

    /// How many claims of C05 die with their worker.
    private static let killedClaims =
      ProcessInfo.processInfo.environment["SWARMSCALE_KILLED_CLAIMS"].flatMap { Int($0) } ?? 100

    @Test("C05: of claims whose workers are killed before the result none is lost, and each task is committed once")
    func killedBetweenClaimAndResult() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        let count = Self.killedClaims
        for start in stride(from: 0, to: count, by: 500) {
          let part = start..<min(start + 500, count)
          _ = try await tasks.submit(part.map { _ in NewTask(payload: [1], attempts: 100) }, to: "q")
        }
        var killed = 0
        while killed < count {
          let worker = try WorkerProcess(harness.server.url, "die", 25)
          let words = try #require(await worker.line())
          killed += try #require(Int(words.dropFirst("held ".count)))
          worker.stop()
        }
        var done: Set<TaskID> = []
        while done.count < count {
          for task in try await claim(harness, 100) {
            #expect(try await tasks.complete(task.ticket, result: [2]) == .committed)
            #expect(done.insert(task.ticket.id).inserted, "done twice")
          }
        }
        let statistics = try #require(try await tasks.statistics(of: "q")["q"])
        #expect(statistics.lost == 0 && statistics.done == count && statistics.dead == 0)
        #expect(statistics.expired >= killed)
        print("C05: \(killed) claims were killed, \(done.count) tasks are done once")
      }
    }

    @Test("C06: a hundred tasks of a worker that is killed are back within one lease, and a second of the server's")
    func killedWorker() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        _ = try await tasks.submit((0..<100).map { _ in NewTask(payload: [1]) }, to: "q")
        let worker = try WorkerProcess(harness.server.url, "hold", 100)
        #expect(await worker.line() == "held 100")
        worker.stop()
        let start = ContinuousClock.now
        var back: Set<TaskID> = []
        while back.count < 100 {
          for task in try await claim(harness, 100) { #expect(back.insert(task.ticket.id).inserted) }
        }
        // Leases of 2 s, of which some may have been renewed right before; the server's wait is 1 s.
        print("C06: 100 tasks of a killed worker back after \(ContinuousClock.now - start)")
        #expect(try await tasks.statistics(of: "q")["q"]?.lost == 0)
      }
    }

    @Test("C08: a worker that was stopped beyond its lease is refused when it goes on; the other one's result stays")
    func stoppedWorker() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        let id = try await tasks.submit([NewTask(payload: [1])], to: "q")[0].id
        let worker = try WorkerProcess(harness.server.url, "late", 1)
        defer { worker.stop() }
        #expect(await worker.line() == "claimed")
        worker.signal(SIGSTOP)
        let second = try #require(try await claim(harness).first)
        #expect(second.attempt == 2 && second.ticket.epoch == 2)
        #expect(try await tasks.complete(second.ticket, result: [2]) == .committed)
        worker.signal(SIGCONT)
        worker.send("go on")
        #expect(await worker.line() == "stale")
        #expect(try await tasks.record(id).state == .done(result: [2]))
      }
    }

    @Test(
      "C12: a consumer that doesn't deliver although tasks and a worker wait is noticed and made anew; what is held stays held"
    )
    func stuckConsumer() async throws {
      try await withHarness {
        $0.stuckAfter = .seconds(1)
      } _: { harness in
        let tasks = harness.jetStream.tasks
        let held = try await tasks.submit([NewTask(payload: [0])], to: "q")[0].id
        let first = try #require(try await claim(harness).first)
        #expect(first.ticket.id == held)
        // A paused consumer is one that takes orders and brings nothing.
        let jetStream = JetStream(harness.jetStream.client)
        _ = try await jetStream.call("CONSUMER.PAUSE.sw_q_q.normal", ["pause_until": "2099-01-01T00:00:00Z"])
        let waiting = try await tasks.submit([NewTask(payload: [1])], to: "q")[0].id
        #expect(try await claim(harness).map(\.ticket.id) == [waiting])
        #expect(harness.jetStream.mendedConsumers == 1)
        #expect(try await claim(harness, wait: .zero).isEmpty, "the task that is held is handed out a second time")
        #expect(try await tasks.complete(first.ticket, result: []) == .committed)
      }
    }

    @Test(
      "A submission that ended half way, a token without its record, is a task like any other; said again with its key it is one"
    )
    func tokenWithoutRecord() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        let key = TaskKey("k")
        let id = try await tasks.submit([NewTask(key: key, payload: [1])], to: "q")[0].id
        let jetStream = JetStream(harness.jetStream.client)
        try await jetStream.purgeStream("sw_r_q", subject: "sw.r.q.t.\(id.number)")
        #expect(
          try await tasks.submit([NewTask(key: key, payload: [1])], to: "q") == [Submission(id: id, isDuplicate: true)])
        let task = try #require(try await claim(harness).first)
        #expect(task.ticket.id == id && task.payload == [1] && task.attempt == 1)
        #expect(try await claim(harness, wait: .zero).isEmpty)
        #expect(try await tasks.complete(task.ticket, result: []) == .committed)
        // A key without a task: the submission ended before its token.
        let lost = TaskKey("lost")
        try await jetStream.publish("sw.r.q.k.\(JetStreamTasks.hash(lost))", ByteBuffer(string: "1000"))
        #expect(try await tasks.submit([NewTask(key: lost, payload: [2])], to: "q").map(\.id.number) == [1000])
        #expect(try await claim(harness).map(\.payload) == [[2]])
      }
    }

    @Test("A copy of a token leads to no second execution")
    func copiedToken() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        let id = try await tasks.submit([NewTask(payload: [1])], to: "q")[0].id
        let jetStream = JetStream(harness.jetStream.client)
        let token = try #require(try await jetStream.message("sw_q_q", .last(subject: "sw.q.q.normal.\(id.number)")))
        var headers = token.message.headers
        headers["Nats-Msg-Id"] = nil
        try await jetStream.publish(token.message.subject, token.message.payload, headers: headers)
        #expect(try await claim(harness, 10).count == 1)
        #expect(try await claim(harness, 10, wait: .seconds(2)).isEmpty)
        // The copy isn't kept until the lease's end either.
        #expect(try await jetStream.streamInfo("sw_q_q").messages == 1)
      }
    }

    @Test("More submissions of several tasks at once than the server takes batches are all taken, each whole")
    func manyBatches() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<200 {
            group.addTask {
              let submissions = try await tasks.submit((0..<3).map { NewTask(payload: [UInt8($0)]) }, to: "q")
              #expect(submissions.count == 3)
            }
          }
          try await group.waitForAll()
        }
        let statistics = try #require(try await tasks.statistics(of: "q")["q"])
        #expect(statistics.ready[TaskLane.normal.rawValue] == 600 && statistics.submitted == 600)
        #expect(try await JetStream(harness.jetStream.client).streamInfo("sw_q_q").messages == 600)
      }
    }

    @Test("C18: back-offs are drawn up to a bound that doubles, and the lane is kept")
    func backOff() async throws {
      try await withHarness {
        $0.retries.firstDelay = .milliseconds(100)
      } _: { harness in
        let tasks = harness.jetStream.tasks
        let id = try await tasks.submit([NewTask(lane: .high, payload: [1], attempts: 4)], to: "q")[0].id
        var bound = Duration.milliseconds(100)
        for attempt in 1...4 {
          let task = try #require(try await claim(harness).first)
          #expect(task.attempt == attempt && task.lane == .high && task.payload == [1])
          let outcome = try await tasks.fail(task.ticket, reason: "no", isRetryable: true, delay: nil)
          if case .retried(let pause) = outcome { #expect(pause <= bound) } else { #expect(attempt == 4) }
          bound = bound * 2
        }
        #expect(try await tasks.record(id).state == .dead(reason: "no"))
        #expect(try await tasks.record(id).task.payload == [1])
      }
    }

    @Test("C17: when all is done, tokens, consumers and orders are back at the baseline")
    func baseline() async throws {
      try await withHarness { harness in
        let tasks = harness.jetStream.tasks
        for _ in 0..<10 {
          _ = try await tasks.submit(
            (0..<100).map { _ in NewTask(payload: [UInt8](repeating: 1, count: 100)) }, to: "q")
          var left = 100
          while left > 0 {
            let held = try await claim(harness, 100).map(\.ticket)
            left -= held.count
            _ = try await tasks.complete(held.map { TaskResult(ticket: $0, result: []) })
          }
        }
        let jetStream = JetStream(harness.jetStream.client)
        try await eventually { try await jetStream.streamInfo("sw_q_q").messages == 0 ? true : nil }
        #expect(try await jetStream.streamInfo("sw_q_q").consumers == TaskLane.allCases.count)
      }
    }

    @Test(
      "While the engine is away verbs say unavailable within their patience, and what is said again afterwards is committed"
    )
    func outbox() async throws {
      try await withHarness {
        $0.patience = .milliseconds(500)
      } _: { harness in
        let tasks = harness.jetStream.tasks
        _ = try await tasks.submit([NewTask(payload: [1])], to: "q")
        let ticket = try #require(try await claim(harness).first?.ticket)
        try await harness.breakDown()
        await #expect {
          try await tasks.complete(ticket, result: [1])
        } throws: { if case TaskQueueError.unavailable = $0 { true } else { false } }
        try await harness.restore()
        var completion: Completion?
        while completion == nil {
          do { completion = try await tasks.complete(ticket, result: [1]) } catch TaskQueueError.unavailable {}
        }
        // The first one may have been on its way to the server that came back.
        #expect(completion == .committed || completion == .alreadyCommitted)
        #expect(try await tasks.record(ticket.id).state == .done(result: [1]))
      }
    }

    @Test(
      "Three servers, workers as processes; leaders and workers are killed: nothing is lost, nothing is committed twice"
    )
    func chaos() async throws {
      let cluster = try ServerCluster()
      defer { cluster.remove() }
      try await cluster.start()
      var configuration = try JetStreamHarness.configuration(cluster.urls[0])
      configuration.client = try NATSConfiguration(urls: cluster.urls)
      configuration.client.reconnectLimit = .milliseconds(200)
      configuration.replicas = 3
      configuration.patience = .seconds(15)
      let engine = JetStreamEngine(configuration)
      #expect(engine.durability == .quorum)
      let running = Task { try await engine.run() }
      let urls = cluster.urls.joined(separator: ",")
      let ledger = Ledger()
      var submitted: Set<String> = []
      try await withThrowingTaskGroup(of: Void.self) { group in
        @Sendable func startWorker() throws -> WorkerProcess { try WorkerProcess(urls, "work", 25) }
        func follow(_ worker: WorkerProcess) {
          group.addTask {
            while let line = await worker.line() {
              if line.hasPrefix("done ") {
                ledger.committed.withLock { $0[String(line.dropFirst(5)), default: 0] += 1 }
              }
            }
          }
        }
        for number in 0..<10 {
          let key = TaskKey("warm-\(number)")
          submitted.insert(
            "\(try await eventually { try await engine.tasks.submit([NewTask(key: key, payload: [7])], to: "q")[0].id })"
          )
        }
        var workers = try (0..<3).map { _ in try startWorker() }
        for worker in workers { follow(worker) }
        for round in 0..<3 {
          for number in 0..<20 {
            let tasks = (0..<10).map { NewTask(key: TaskKey("\(round)-\(number)-\($0)"), payload: [UInt8(number)]) }
            let ids = try await eventually { try await engine.tasks.submit(tasks, to: "q") }
            submitted.formUnion(ids.map { "\($0.id)" })
          }
          let leader = try await eventually { try await JetStream(engine.client).streamInfo("sw_r_q").leader }
          let server = try #require(cluster.servers.enumerated().first { "n\($0.offset)" == leader }?.element)
          server.stop()
          workers[round].stop()
          let worker = try startWorker()
          workers.append(worker)
          follow(worker)
          try await server.start()
          let before = ledger.committed.withLock { $0.count }
          let goal = min(before + 50, submitted.count)
          try await eventually { ledger.committed.withLock { $0.count } >= goal ? true : nil }
        }
        try await eventually { ledger.committed.withLock { $0.count } >= submitted.count - 30 ? true : nil }
        // A worker that is killed between the commit and its word says nothing: the records have the truth.
        for id in submitted {
          let parsed = try #require(TaskID(id))
          try await eventually { if case .done = try await engine.tasks.record(parsed).state { true } else { nil } }
        }
        for worker in workers { worker.stop() }
        try await group.waitForAll()
      }
      let twice = ledger.committed.withLock { $0.filter { $0.value > 1 } }
      #expect(twice.isEmpty, "committed twice: \(twice)")
      let statistics = try #require(try await engine.tasks.statistics(of: "q")["q"])
      #expect(statistics.lost == 0 && statistics.done == submitted.count)
      print("chaos: \(submitted.count) tasks, \(statistics.claims) claims, \(statistics.expired) leases that ran out")
      await engine.close()
      running.cancel()
      _ = await running.result
    }
  }
}
