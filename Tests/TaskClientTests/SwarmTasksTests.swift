import Foundation
import KubernetesRuntime
import LocalEngine
import SlowTests
import SwarmCoordination
import TaskQueue
import TaskQueueServer
import Testing

/// The library's side of a queue of tasks, against the real server.
@Suite("Tasks of the library", .alone, .timeLimit(.minutes(10))) struct SwarmTasksTests {
  @Test("Tasks are submitted and worked on, as many at once as there are slots, each once")
  func works() async throws {
    try await QueueRig.with { rig in
      try await rig.join(slots: 3) { swarm in
        let tasks = try swarm.tasks("q")
        let ids = try await tasks.submit((0..<50).map { SwarmTaskRequest(payload: Array("{\"n\":\($0)}".utf8)) })
        #expect(Set(ids).count == 50)
        let done = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await done.reaches(50)
            try await swarm.agents.drain()
          }
          try await tasks.work { task in
            #expect(swarm.agents.busy <= 3)
            done.add()
            return task.payload
          }
          try await group.waitForAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 50)
      #expect(statistics.claims == 50 + statistics.released)
      #expect(statistics.outstanding == 0)
    }
  }

  @Test("A submission that is repeated with its key makes no second task; a refused one says why")
  func submits() async throws {
    try await QueueRig.with { rig in
      try await rig.join { swarm in
        let tasks = try swarm.tasks("q")
        let request = SwarmTaskRequest(payload: Array("1".utf8), lane: "high", key: "review-17", delay: .seconds(60))
        #expect(try await tasks.submit([request]) == tasks.submit([request]))
        await #expect(throws: TaskQueueRefusal.self) {
          try await tasks.submit([SwarmTaskRequest(payload: Array("1".utf8), lane: "urgent")])
        }
        await #expect(throws: TaskQueueRefusal.self) { try await tasks.submit([SwarmTaskRequest(payload: [])]) }
      }
      #expect(try await rig.statistics().submitted == 1)
    }
  }

  @Test("What the work throws decides: tried again, at once a dead letter, or handed back")
  func failures() async throws {
    struct Odd: Error {}
    try await QueueRig.with(
      policy: .with {
        $0.attempts = 3; $0.firstDelay = .milliseconds(1)
      }
    ) {
      rig in
      try await rig.submit(3)
      try await rig.join(slots: 1) { swarm in
        let seen = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            // 0: three attempts, 1: one, 2: one.
            await seen.reaches(5)
            try await swarm.agents.drain()
          }
          try await swarm.tasks("q").work { task in
            defer { seen.add() }
            switch String(decoding: task.payload, as: UTF8.self) {
            case "{\"n\":0}": throw Odd()
            case "{\"n\":1}": throw TaskFailure("no such repository", isWorthRetrying: false)
            default: return Array("no json".utf8)
            }
          }
          try await group.waitForAll()
        }
      }
      let dead = try await rig.engine.deadLetters(of: "q", maximum: 10).map(\.record)
      #expect(dead.count == 3)
      #expect(dead.map(\.attempts).sorted() == [1, 1, 3])
      #expect(dead.contains { $0.lastFailure.contains("Odd") })
      #expect(dead.contains { $0.lastFailure == "no such repository" })
      #expect(dead.contains { $0.lastFailure.hasPrefix("the result is refused") })
    }
  }

  @Test("C01: work of several leases is one execution")
  func outlivesItsLease() async throws {
    try await QueueRig.with(policy: .with { $0.lease = .seconds(3) }) { rig in
      try await rig.submit(1)
      try await rig.join(slots: 2) { swarm in
        let begun = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          try await swarm.tasks("q").work { _ in
            begun.add()
            // The agent is busy for two leases, and blocks a thread with it.
            let end = ContinuousClock.now + .seconds(6)
            while ContinuousClock.now < end {}
            Task { try? await swarm.agents.drain() }
            return []
          }
          group.cancelAll()
        }
        #expect(begun.count == 1)
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 1)
      #expect(statistics.expired == 0)
    }
  }

  @Test("A submission waits while the queue takes no more, and is refused when it still does after its patience")
  func waitsForRoom() async throws {
    try await QueueRig.with(tasks: 1) { rig in
      try await rig.submit(1)
      try await rig.join { swarm in
        let tasks = try swarm.tasks("q")
        let request = [SwarmTaskRequest(payload: Array("1".utf8))]
        let refusal = await #expect(throws: TaskQueueRefusal.self) { try await tasks.submit(request, patience: .zero) }
        #expect(refusal?.status == 429)
        async let submitted = tasks.submit(request)
        let first = try #require(try await rig.engine.claim(ClaimRequest(queue: "q", worker: "w"), wait: .zero).first)
        _ = try await rig.engine.complete(first.ticket, result: [])
        #expect(try await submitted.count == 1)
      }
    }
  }

  @Test("C10: what wasn't begun when a drain begins is handed back at once; the rest is finished")
  func handsBack() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(4)
      try await rig.join(slots: 2) { swarm in
        let (begun, proceed) = (Tally(), Tally())
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await begun.reaches(2)
            async let drained: Void = swarm.agents.drain()
            proceed.add()
            try await drained
          }
          try await swarm.tasks("q").work { _ in
            begun.add()
            await proceed.reaches(1)
            return []
          }
          try await group.waitForAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 2)
      #expect(statistics.leased == 0)
      #expect(statistics.pending == 2)
      #expect(statistics.failures == 0)
    }
  }

  @Test("A drained agent stops at its checkpoint, and the task goes back without an attempt")
  func stopsAtCheckpoint() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(1)
      try await rig.join(slots: 1) { swarm in
        let begun = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await begun.reaches(1)
            try await swarm.agents.drain()
          }
          try await swarm.tasks("q").work { _ in
            begun.add()
            try await swarm.agents.untilDraining()
            try swarm.agents.checkpoint()
            return []
          }
          try await group.waitForAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.released == 1)
      #expect(statistics.pending == 1)
      #expect(statistics.failures == 0)
    }
  }

  @Test("A cancelled worker gives back what it has in hand: nobody waits for the lease to end")
  func givesBackWhenCancelled() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(2)
      try await rig.join(slots: 2) { swarm in
        let begun = Tally()
        await withTaskGroup(of: Void.self) { group in
          group.addTask {
            try? await swarm.tasks("q").work { _ in
              begun.add()
              try await Task.sleep(for: .seconds(3_600))
              return []
            }
          }
          await begun.reaches(2)
          group.cancelAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.pending == 2)
      #expect(statistics.leased == 0)
    }
  }

  @Test("C08: work whose lease was lost is cancelled, and its result is refused")
  func losesItsLease() async throws {
    try await QueueRig.with(policy: .with { $0.lease = .seconds(3) }) { rig in
      try await rig.submit(1)
      try await rig.join(slots: 1) { swarm in
        let begun = Tally()
        let held = Note()
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            await begun.reaches(1)
            // Somebody hands the task on behind the worker's back, as an engine does whose clock ran ahead.
            let id = try #require(TaskID(held.text))
            _ = try await rig.engine.fail(
              TaskTicket(id: id, epoch: 1), reason: "taken away", isRetryable: false, delay: nil)
          }
          try await swarm.tasks("q").work { task in
            held.text = task.id
            begun.add()
            do { try await Task.sleep(for: .seconds(3_600)) } catch {
              // It is cancelled by the renewal that is refused.
              Task { try? await swarm.agents.drain() }
              throw error
            }
            return []
          }
          try await group.waitForAll()
        }
      }
      let statistics = try await rig.statistics()
      #expect(statistics.dead == 1)
      #expect(statistics.done == 0)
    }
  }

  @Test(
    "A queue that is away for longer than the leases costs no work: what is done and what is under way is said before anything is claimed"
  )
  func outage() async throws {
    let engine = LocalEngine(policy: .with { $0.lease = .seconds(1) }, time: SystemTimeSource())
    let (begun, proceed, more) = (Tally(), Tally(), Tally())
    let url = AsyncStream.makeStream(of: String.self)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        var urls = url.stream.makeAsyncIterator()
        let rig = QueueRig(local: engine, url: await urls.next() ?? "")
        try await rig.join(slots: 2) { swarm in
          try await swarm.tasks("q").work { task in
            begun.add()
            // Of the first two one ends while the queue is away, the other one goes on.
            await (task.id.hasSuffix("-1") ? proceed : more).reaches(1)
            return []
          }
        }
      }
      let port = try await QueueRig.serving(engine) { rig in
        try await rig.submit(3)
        url.continuation.yield(rig.url)
        await begun.reaches(2)
        return try #require(URL(string: rig.url)?.port)
      }
      proceed.add()
      while try await engine.tasks.statistics(of: "q")["q"]?.expired ?? 0 < 2, !Task.isCancelled { await Task.yield() }
      try await QueueRig.serving(engine, port: port) { rig in
        // The third one: it was claimed after the others were heard.
        await begun.reaches(3)
        let statistics = try await rig.statistics()
        #expect(statistics.done == 1 && statistics.leased == 2 && statistics.pending == 0)
        more.add()
        while try await rig.statistics().done < 3, !Task.isCancelled { await Task.yield() }
        #expect(try await rig.statistics().claims == 3 && begun.count == 3)
      }
      group.cancelAll()
    }
  }

  @Test("Without a queue the library says what to set")
  func unset() async throws {
    try await Swarm.join(try SwarmConfiguration(environment: [:])) { swarm in
      _ = #expect(throws: SwarmConfigurationError.self) { try swarm.tasks("q") }
    }
    #expect(throws: SwarmConfigurationError.self) { try SwarmConfiguration(environment: ["SWARMSCALE_TASKS": "q"]) }
  }
}
