import CoordinationAPI
import CoordinationEngine
import LocalEngine
import Logging
import NIOHTTP1
import Observability
import RateBudget
import SidecarServer
import SlowTests
import SwarmCoordination
import TaskQueue
import TaskQueueServer
import Testing

/// The sidecar's `/v1/tasks` in front of the real queue, over real connections.
@Suite("Tasks through the sidecar", .alone, .timeLimit(.minutes(10))) struct TaskRelayTests {
  /// A sidecar, and a worker that speaks HTTP with it.
  struct Sidecar: Sendable {
    let pool: AgentPool
    let worker: TaskQueueLink
    let url: String

    func next(_ body: String = #"{"queue":"q"}"#, wait: Int = 0) async throws -> [TaskClaim] {
      let answer = try await worker.call(.POST, "/v1/tasks/next?wait=\(wait)", Array(body.utf8))
      #expect(answer.status == 200, "\(answer.message)")
      return try #require(TaskClaim.claims(answer.body))
    }

    func step(_ claim: TaskClaim, _ verb: String, _ members: String = "") async throws -> TaskQueueLink.Answer {
      try await worker.call(
        .POST, "/v1/tasks/\(claim.id)/\(verb)", Array(#"{"epoch":\#(claim.epoch)\#(members)}"#.utf8))
    }
  }

  private func withSidecar(
    slots: Int = 2, queue url: String?, _ body: @Sendable @escaping (Sidecar) async throws -> Void
  ) async throws {
    let clock = SystemClock()
    let logger = Logger(label: "sidecar") { _ in SwiftLogNoOpLogHandler() }
    let pool = AgentPool(slots: slots, clock: clock)
    let authority = LocalAuthority(plan: BudgetPlan(), clock: clock)
    let client = UpstreamClient(try UpstreamAddress("http://127.0.0.1:9"))
    let gateway = ClaudeGateway(
      configuration: .init(client: "test", hold: .seconds(1)), authority: authority, client: client, clock: clock)
    let link = try url.map { TaskQueueLink(try UpstreamAddress($0), clock: clock) }
    let relay = link.map { TaskRelay(link: $0, pool: pool, worker: "pod-a") }
    var configuration = SidecarServer.Configuration(port: 0)
    configuration.tasks = relay
    let engine = try url.map { RemoteEngine(try UpstreamAddress($0), clock: clock) }
    configuration.engine = engine.map { EngineAPI($0) }
    let server = try await SidecarServer(
      configuration: configuration, gateway: gateway, pool: pool, clock: clock,
      metrics: SidecarMetrics(budgets: { [] }), logger: logger)
    let worker = TaskQueueLink(try UpstreamAddress(server.url), clock: clock)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      defer { group.cancelAll() }
      try await body(Sidecar(pool: pool, worker: worker, url: server.url))
      // Ends streams that nobody has cancelled.
      server.stop()
    }
    await engine?.close()
    await worker.shutDown()
    await link?.shutDown()
    await client.shutDown()
  }

  @Test("A task takes a slot until it is completed; the claim carries the pod's name")
  func takesSlots() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(1)
      try await withSidecar(queue: rig.url) { sidecar in
        let claim = try #require(try await sidecar.next().first)
        #expect(String(decoding: claim.payload, as: UTF8.self) == #"{"n":0}"#)
        #expect(sidecar.pool.busy == 1)
        guard case .leased("pod-a", _) = try await rig.engine.record(try #require(TaskID(claim.id))).state else {
          Issue.record("the claim isn't pod-a's")
          return
        }
        #expect(try await sidecar.step(claim, "heartbeat").isSuccess)
        #expect(sidecar.pool.busy == 1)
        let completed = try await sidecar.step(claim, "complete", #","result":{"ok":true}"#)
        #expect(completed.isSuccess)
        #expect(sidecar.pool.busy == 0)
        #expect(try await rig.statistics().done == 1)
      }
    }
  }

  @Test("Failed, released and lost tasks free their slots, too", arguments: ["fail", "release", "lost"])
  func freesSlots(_ verb: String) async throws {
    try await QueueRig.with { rig in
      try await rig.submit(1)
      try await withSidecar(queue: rig.url) { sidecar in
        let claim = try #require(try await sidecar.next().first)
        if verb == "lost" {
          _ = try await rig.engine.fail(
            TaskTicket(id: try #require(TaskID(claim.id)), epoch: UInt64(claim.epoch)), reason: "", isRetryable: false,
            delay: nil)
          #expect(try await sidecar.step(claim, "heartbeat").status == 409)
        } else {
          #expect(try await sidecar.step(claim, verb).isSuccess)
        }
        #expect(sidecar.pool.busy == 0)
      }
    }
  }

  @Test("Nobody gets more tasks than there are slots")
  func keepsToSlots() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(10)
      try await withSidecar(slots: 3, queue: rig.url) { sidecar in
        var counts: [Int] = []
        for most in [2, 100, 100] {
          counts.append(try await sidecar.next(#"{"queue":"q","max":\#(most)}"#).count)
        }
        #expect(counts == [2, 1, 0])
        #expect(sidecar.pool.busy == 3)
        #expect(try await rig.statistics().leased == 3)
      }
    }
  }

  @Test("The task of a worker that is silent frees its slot when the lease has ended")
  func silentWorker() async throws {
    try await QueueRig.with(policy: .with { $0.lease = .seconds(3) }) { rig in
      try await rig.submit(1)
      try await withSidecar(slots: 1, queue: rig.url) { sidecar in
        #expect(try await sidecar.next().count == 1)
        // It waits for the only slot, and then gets the same task again.
        let claim = try #require(try await sidecar.next(wait: 20).first)
        #expect(claim.epoch == 2)
        #expect(sidecar.pool.busy == 1)
      }
    }
  }

  @Test("A draining worker gets no tasks, and whoever waits for one is answered at once")
  func drains() async throws {
    try await QueueRig.with { rig in
      try await withSidecar(queue: rig.url) { sidecar in
        async let waiting = sidecar.next(wait: 60)
        while rig.local.waiting(in: "q") == 0, !Task.isCancelled { await Task.yield() }
        sidecar.pool.close()
        let handedOut = try await waiting
        #expect(handedOut.isEmpty)
        while rig.local.waiting(in: "q") > 0, !Task.isCancelled { await Task.yield() }
        try await rig.submit(1)
        let answer = try await sidecar.worker.call(.POST, "/v1/tasks/next?wait=60", Array(#"{"queue":"q"}"#.utf8))
        #expect(String(decoding: answer.body, as: UTF8.self).contains(#""draining":true"#))
        #expect(try await rig.statistics().pending == 1)
        #expect(sidecar.pool.isDrained)
      }
    }
  }

  @Test("A worker that goes away while it waits gets nothing; the next one does")
  func goneWorker() async throws {
    try await QueueRig.with { rig in
      try await withSidecar(slots: 1, queue: rig.url) { sidecar in
        let waiting = Task { try await sidecar.next(wait: 60) }
        while rig.local.waiting(in: "q") == 0, !Task.isCancelled { await Task.yield() }
        waiting.cancel()
        _ = await waiting.result
        while rig.local.waiting(in: "q") > 0, !Task.isCancelled { await Task.yield() }
        // The server knows of it before the sidecar's own call has come back.
        while sidecar.pool.isFetching, !Task.isCancelled { await Task.yield() }
        try await rig.submit(1)
        let claim = try #require(try await sidecar.next(wait: 20).first)
        #expect(claim.attempt == 1)
      }
    }
  }

  @Test("Everything else of the queue's API is passed on; what is wrong is said by whoever knows it")
  func passesOn() async throws {
    try await QueueRig.with { rig in
      try await withSidecar(queue: rig.url) { sidecar in
        let worker = sidecar.worker
        let made = try await worker.call(.POST, "/v1/tasks", Array(#"{"queue":"q","payload":{"n":1}}"#.utf8))
        #expect(made.status == 201)
        let counts = try await worker.call(.GET, "/v1/tasks/stats?queue=q")
        #expect(JSONSlice(counts.body)?.members?["pending"]?.integer == 1)
        let refused = try await worker.call(.POST, "/v1/tasks/next", Array("[]".utf8))
        #expect(refused.status == 400)
        let unknown = try await worker.call(.POST, "/v1/tasks/next", Array(#"{"queue":"q","lease":1}"#.utf8))
        #expect(unknown.status == 400 && unknown.message.contains("lease"))
        let none = try await worker.call(.POST, "/v1/tasks/next", Array(#"{"queue":"q","max":0}"#.utf8))
        #expect(none.status == 400)
        #expect(sidecar.pool.busy == 0)
      }
    }
  }

  @Test("Several tasks in one step free their slots as one by one; one that is refused for its size keeps its")
  func severalSteps() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(3)
      try await withSidecar(slots: 3, queue: rig.url) { sidecar in
        let claims = try await sidecar.next(#"{"queue":"q","max":3}"#)
        try #require(claims.count == 3)
        #expect(sidecar.pool.busy == 3)
        let tasks = claims.map { #"{"id":"\#($0.id)","epoch":\#($0.epoch)"# }
        let large = String(repeating: "x", count: 300_000)
        let results = #"{"tasks":[\#(tasks[0])},\#(tasks[1]),"result":"\#(large)"}]}"#
        let done = try await sidecar.worker.call(.POST, "/v1/tasks/complete", Array(results.utf8))
        #expect(done.status == 200, "\(done.message)")
        #expect(sidecar.pool.busy == 2)
        let rest = #"{"tasks":[\#(tasks[1])},\#(tasks[2])}]}"#
        let renewed = try await sidecar.worker.call(.POST, "/v1/tasks/heartbeat", Array(rest.utf8))
        #expect(renewed.status == 200 && sidecar.pool.busy == 2)
        let released = try await sidecar.worker.call(.POST, "/v1/tasks/release", Array(rest.utf8))
        #expect(released.status == 200 && sidecar.pool.busy == 0)
      }
    }
  }

  @Test("State, blobs, counters, schedules and messages are the queue's engine's, through the sidecar")
  func engine() async throws {
    try await QueueRig.with { rig in
      try await withSidecar(queue: rig.url) { sidecar in
        let near = RemoteEngine(try UpstreamAddress(sidecar.url))
        let revision = try await near.state.put("a", [1, 255])
        #expect(try await rig.local.state.get("a")?.value == [1, 255])
        await #expect(throws: EngineError.conflict(key: "a", expected: .absent, current: revision)) {
          try await near.state.create("a", [2])
        }
        var watch = try await near.state.watch("", after: revision).makeAsyncIterator()
        try await rig.local.state.put("b", [3])
        #expect(try await watch.next() == .put(try #require(try await near.state.get("b"))))
        let bytes = [UInt8](repeating: 9, count: 2_000_000)
        #expect(try await near.blobs.get(near.blobs.put(bytes)) == bytes)
        #expect(try await near.counters.add(3, to: "n") == 3)
        try await near.schedules.schedule("s", .message(Message(subject: "m", payload: [1])), after: .seconds(900))
        #expect(try await rig.local.schedules.pending().map(\.key) == ["s"])
        let subscription = try await near.messages.subscribe(.below("events."), buffer: 10)
        try await rig.local.messages.publish(Message(subject: "events.x", payload: [7]))
        var messages = subscription.makeAsyncIterator()
        #expect(try await messages.next() == Message(subject: "events.x", payload: [7]))
        await near.close()
      }
    }
  }

  @Test("Without a queue, or with one that is away, the worker is told what to do")
  func noQueue() async throws {
    try await withSidecar(queue: nil) { sidecar in
      let answer = try await sidecar.worker.call(.GET, "/v1/tasks/stats")
      #expect(answer.status == 503 && answer.message.contains("SWARMSCALE_TASKS"))
    }
    try await withSidecar(queue: "http://127.0.0.1:9") { sidecar in
      let answer = try await sidecar.worker.call(.POST, "/v1/tasks/next?wait=1", Array(#"{"queue":"q"}"#.utf8))
      #expect(answer.status == 503 && answer.retryAfter == .seconds(1))
      #expect(!sidecar.pool.isFetching)
    }
  }
}
