import CoordinationEngine
import Foundation
import LocalEngine
import SlowTests
import SwarmCoordination
import Synchronization
import TaskQueue
import Testing

/// Steps, checkpoints and results that survive their worker, through the library and against the real server.
@Suite("Tasks that go on where they were", .alone, .timeLimit(.minutes(10))) struct SwarmRecoveryTests {
  private struct Review: Codable, Equatable, Sendable { var files: [String] = [] }
  private struct Lost: Error {}

  private static let quickly = TaskRetryPolicy.with {
    $0.attempts = 5; $0.firstDelay = .milliseconds(1)
  }

  /// What is kept of tasks.
  private func records(_ rig: QueueRig) async throws -> [String] {
    try await rig.local.state.list("recovery.").entries.map(\.key)
  }

  @Test("An attempt that follows gets state and answers; the call that was under way is made again, under its key")
  func resumes() async throws {
    try await QueueRig.with(policy: Self.quickly) { rig in
      try await rig.submit(1)
      let calls = Calls()
      try await rig.work { task in
        var review = try await task.restore(as: Review.self) ?? Review()
        #expect(review.files == (task.attempt == 1 ? [] : ["a"]))
        if review.files.isEmpty {
          review.files.append(
            try await task.step("a", as: String.self) {
              calls.made("a", $0); return "a"
            })
          #expect(try await task.checkpoint(review) == 1)
        }
        let second = try await task.step("b") {
          calls.made("b", $0); return Array("of b".utf8)
        }
        #expect(second == Array("of b".utf8))
        _ = try await task.step("c") { call in
          calls.made("c", call)
          if task.attempt == 1 { throw Lost() }
          return []
        }
        return Array(#""\#(review.files.joined())""#.utf8)
      }
      #expect(calls.all.map(\.name) == ["a", "b", "c", "c"])
      #expect(calls.all.map(\.isRepeat) == [false, false, false, true])
      #expect(Set(calls.all.map(\.key)).count == 3 && calls.all[2].key == calls.all[3].key)
      #expect(try await rig.statistics().done == 1)
      #expect(try await records(rig) == [])
    }
  }

  @Test("Another worker goes on with what a cancelled one had saved, and what is kept stays until there is a result")
  func moves() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(1)
      let (calls, begun) = (Calls(), Tally())
      try await rig.join(slots: 1) { swarm in
        await withTaskGroup(of: Void.self) { group in
          group.addTask {
            try? await swarm.tasks("q").work { task in
              _ = try await task.step("a") {
                calls.made("a", $0); return [1]
              }
              try await task.checkpoint([7, 7] as [UInt8])
              _ = try await task.step("b") { call in
                calls.made("b", call)
                begun.add()
                try await Task.sleep(for: .seconds(3_600))
                return []
              }
              return []
            }
          }
          await begun.reaches(1)
          group.cancelAll()
        }
      }
      #expect(try await !records(rig).isEmpty)
      try await rig.work { task in
        #expect(try await task.restore() == [7, 7])
        return try await task.step("b") {
          calls.made("b", $0); return Array("2".utf8)
        }
      }
      #expect(calls.all.map(\.name) == ["a", "b", "b"])
      #expect(calls.all[1].key == calls.all[2].key && calls.all[2].isRepeat)
      #expect(try await records(rig) == [])
    }
  }

  @Test("A rollback goes to the checkpoint before for good: steps since are made again, under other keys")
  func rollsBack() async throws {
    try await QueueRig.with(policy: Self.quickly) { rig in
      try await rig.submit(1)
      let calls = Calls()
      try await rig.work { task in
        if task.attempt == 1 {
          #expect(try await task.restore() == nil)
          #expect(try await task.checkpoint([1] as [UInt8]) == 1)
          _ = try await task.step("a") {
            calls.made("a", $0); return [1]
          }
          #expect(try await task.checkpoint([2] as [UInt8]) == 2)
          #expect(try await task.rollBack() == [1])
          throw Lost()
        }
        #expect(try await task.restore() == [1])
        _ = try await task.step("a") {
          calls.made("a", $0); return [2]
        }
        await #expect(throws: TaskRecoveryError.self) { try await task.rollBack() }
        return []
      }
      #expect(calls.all.map(\.isRepeat) == [false, false])
      #expect(Set(calls.all.map(\.key)).count == 2)
      #expect(try await rig.statistics().done == 1)
    }
  }

  @Test("C08: a worker that lost its task is told so by what it saves, and the next one finds nothing of it")
  func superseded() async throws {
    try await QueueRig.with(policy: Self.quickly) { rig in
      try await rig.submit(1)
      try await rig.work { task in
        guard task.attempt == 1 else {
          #expect(try await task.restore() == [1])
          return []
        }
        try await task.checkpoint([1] as [UInt8])
        // Somebody hands the task on behind the worker's back, as an engine does whose clock ran ahead.
        _ = try await rig.engine.fail(
          TaskTicket(id: try #require(TaskID(task.id)), epoch: 1), reason: "taken away", isRetryable: true, delay: nil)
        let error = await #expect(throws: TaskRecoveryError.self) { try await task.checkpoint([2] as [UInt8]) }
        #expect(error?.isSuperseded == true)
        return Array("1".utf8)
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 1 && statistics.claims == 2)
    }
  }

  @Test("A result whose queue went away is said by the next process, from its disk; the work isn't done again")
  func leavesResults() async throws {
    let folder = "/tmp/swarm-outbox-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let (begun, proceed, done) = (Tally(), Tally(), Tally())
    let engine = try await QueueRig.with { rig in
      try await rig.submit(1)
      return rig.local
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      // The worker outlives this server.
      let url = AsyncStream.makeStream(of: String.self)
      group.addTask {
        var urls = url.stream.makeAsyncIterator()
        let rig = QueueRig(local: engine, url: await urls.next() ?? "")
        try? await rig.join(slots: 1, outbox: folder) { swarm in
          try await swarm.tasks("q").work { _ in
            begun.add()
            await proceed.reaches(1)
            done.add()
            return Array("17".utf8)
          }
        }
      }
      try await QueueRig.serving(engine) { rig in
        url.continuation.yield(rig.url)
        await begun.reaches(1)
      }
      proceed.add()
      // It is on the disk: what comes now may be a kill.
      while (try? Data(contentsOf: URL(fileURLWithPath: "\(folder)/q/outbox.log")).isEmpty) ?? true {
        await Task.yield()
      }
      group.cancelAll()
      try await group.waitForAll()
    }
    #expect(try await engine.tasks.statistics(of: "q")["q"]?.done == 0)
    try await QueueRig.serving(engine) { rig in
      try await rig.join(slots: 1, outbox: folder) { swarm in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            try await swarm.tasks("q").work { _ in
              done.add()
              return []
            }
          }
          // It ends when what lies in the outbox is said.
          try await swarm.agents.drain()
          try await group.waitForAll()
        }
        let metrics = await swarm.metrics()
        #expect(metrics.contains(#"swarmscale_agents_outbox_settled_total{outcome="delivered"} 1"#))
        #expect(metrics.contains("swarmscale_agents_outbox_results 0"))
      }
    }
    let statistics = try #require(try await engine.tasks.statistics(of: "q")["q"])
    #expect(statistics.done == 1 && statistics.claims == 1 && statistics.failures == 0)
    #expect(done.count == 1)
  }

  @Test("Results that come together are said together; one that is refused doesn't hold up the others")
  func together() async throws {
    try await QueueRig.with { rig in
      try await rig.submit(40)
      // The third looks like the end of its result and another one: it must be no more than a text that is no JSON.
      let odd = ["no json", "1]", #"1},{"id":"q-1-1","epoch":1,"result":2"#]
      try await rig.work(slots: 20) { task in
        let number = Int(String(decoding: task.payload, as: UTF8.self).filter(\.isNumber)) ?? 0
        return Array((number < odd.count ? odd[number] : "\(number)").utf8)
      }
      let statistics = try await rig.statistics()
      #expect(statistics.done == 37 && statistics.dead == 3)
    }
  }
}

/// Calls in their order.
private final class Calls: Sendable {
  private let state = Mutex<[(name: String, key: String, isRepeat: Bool)]>([])

  var all: [(name: String, key: String, isRepeat: Bool)] { state.withLock { $0 } }

  func made(_ name: String, _ call: SwarmTask.Call) {
    state.withLock { $0.append((name, call.idempotencyKey, call.isRepeat)) }
  }
}

extension QueueRig {
  /// Works until no task is outstanding.
  fileprivate func work(slots: Int = 1, _ body: @escaping @Sendable (SwarmTask) async throws -> [UInt8]) async throws {
    try await join(slots: slots) { swarm in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await swarm.tasks("q").work(body) }
        group.addTask {
          while try await statistics().outstanding > 0 { try await Task.sleep(for: .milliseconds(20)) }
          try await swarm.agents.drain()
        }
        try await group.waitForAll()
      }
    }
  }
}
