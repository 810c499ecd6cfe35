import AgentMessages
import CoordinationEngine
import LocalEngine
import Logging
import Synchronization
import Testing

@testable import SwarmCoordination

/// Several workers over one engine in memory.
private func withWorkers(
  _ names: [String], _ engine: any CoordinationEngine = LocalEngine(),
  _ body: @escaping @Sendable ([SwarmMessages]) async throws -> Void
) async throws {
  let workers = names.map { SwarmMessages(engine: engine, worker: $0, logger: Logger(label: "test")) }
  try await withThrowingTaskGroup(of: Bool.self) { group in
    for worker in workers {
      group.addTask {
        await worker.run()
        return false
      }
    }
    group.addTask {
      try await body(workers)
      return true
    }
    while try await group.next() != true {}
    group.cancelAll()
  }
}

@Suite("Messages of the library", .timeLimit(.minutes(10))) struct SwarmMessagesTests {
  @Test("Two agents on two workers talk: each is found by its name, and asks the other")
  func talk() async throws {
    try await withWorkers(["pod-1", "pod-2"]) { workers in
      let (first, second) = (workers[0], workers[1])
      try await first.withAgent(
        "planner",
        answering: { question in
          // A question on the way to an answer.
          let review = try await first.ask("reviewer", question.payload + [2])
          return review + [4]
        }
      ) {
        try await second.withAgent("reviewer", answering: { $0.payload + [3] }) {
          let answer = try await second.ask("planner", [1], urgency: .high)
          #expect(answer == [1, 2, 3, 4])
          let workers = try await second.workers(with: "planner")
          #expect(workers == ["pod-1"])
          let there = try await second.ask(AgentName("planner", on: "pod-1"), [1])
          #expect(there == [1, 2, 3, 4])
        }
      }
    }
  }

  @Test("What keeps an agent from answering is told in words, with what kind of trouble it is")
  func errors() async throws {
    try await withWorkers(["pod-1", "pod-2"]) { workers in
      struct Broken: Error, CustomStringConvertible { let description = "the repository is gone" }
      let nobody = await #expect(throws: MessageError.self) { _ = try await workers[0].ask("nobody", []) }
      #expect(nobody?.reason == .unknownAgent && nobody?.isWorthRetrying == true)
      let nowhere = await #expect(throws: MessageError.self) {
        _ = try await workers[0].ask(AgentName("x", on: "pod-9"), [])
      }
      #expect(nowhere?.reason == .unreachable && nowhere?.message.contains("pod-9") == true)
      try await workers[1].withAgent("broken", answering: { _ in throw Broken() }) {
        let failed = await #expect(throws: MessageError.self) { _ = try await workers[0].ask("broken", []) }
        #expect(failed == MessageError(.failed, "the other agent failed: the repository is gone"))
        let large = await #expect(throws: MessageError.self) {
          _ = try await workers[0].ask("broken", [UInt8](repeating: 0, count: 2 << 20))
        }
        #expect(large?.reason == .tooLarge)
      }
    }
  }

  @Test("An agent that has moved to another worker is found there, although it is remembered where it was")
  func moved() async throws {
    try await withWorkers(["pod-1", "pod-2", "pod-3"]) { workers in
      try await workers[0].withAgent("reviewer", answering: { _ in [1] }) {
        let answer = try await workers[2].ask("reviewer", [])
        #expect(answer == [1])
      }
      try await workers[1].withAgent("reviewer", answering: { _ in [2] }) {
        let answer = try await workers[2].ask("reviewer", [])
        #expect(answer == [2])
      }
    }
  }

  @Test("Answers in parts and topics reach who listens")
  func parts() async throws {
    try await withWorkers(["pod-1", "pod-2"]) { workers in
      try await workers[0].withAgent(
        "counter", answering: { _ in [] },
        inParts: { question, writer in
          for number in 0..<question.payload[0] { try await writer.send([number]) }
        }
      ) {
        let parts = try await workers[1].withParts(of: "counter", [100]) { parts in
          var all: [UInt8] = []
          for try await part in parts { all += part }
          return all
        }
        #expect(parts == Array(0..<100))
      }
      try await workers[1].withTopic("progress") { messages in
        for number in UInt8(0)..<20 { try await workers[0].publish([number], to: "progress", urgency: .high) }
        var seen: [UInt8] = []
        for try await message in messages {
          #expect(message.from == "pod-1" && message.urgency == .high && message.missed == 0)
          seen += message.payload
          if seen.count == 20 { break }
        }
        #expect(seen == Array(0..<20))
      }
    }
  }

  @Test("After the end questions are refused; nothing is left in the store")
  func ended() async throws {
    let engine = LocalEngine()
    let kept = Mutex<SwarmMessages?>(nil)
    try await withWorkers(["pod-1"], engine) { workers in
      try await workers[0].withAgent("reviewer", answering: { $0.payload }) {
        let answer = try await workers[0].ask("reviewer", [7])
        #expect(answer == [7])
      }
      kept.withLock { $0 = workers[0] }
    }
    let left = try await engine.state.list("").entries
    #expect(left.isEmpty)
    let worker = try #require(kept.withLock { $0 })
    let error = await #expect(throws: MessageError.self) { _ = try await worker.ask("reviewer", []) }
    #expect(error?.reason == .stopped)
  }

  @Test("A worker whose name another one takes is told so, and the other one answers")
  func twins() async throws {
    let engine = LocalEngine()
    try await withWorkers(["pod-1"], engine) { earlier in
      _ = try await earlier[0].workers(with: "x")
      let directory = AgentDirectory(node: "pod-1", store: engine.state)
      directory.announce()
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await directory.keep() }
        try await directory.untilFound()
        // Whatever is to be announced makes the earlier one look.
        await #expect(throws: MessageError.self) {
          try await earlier[0].withAgent("reviewer", answering: { _ in [] }) {
            while true { _ = try await earlier[0].ask(AgentName("nobody-\(UInt8.random(in: 0...9))"), []) }
          }
        }
        while true {
          do { _ = try await earlier[0].workers(with: "x") } catch let error as MessageError {
            #expect(error.reason == .stopped && error.message.contains("another process is called pod-1"))
            break
          }
          await Task.yield()
        }
        group.cancelAll()
      }
    }
  }
}

@Suite("State that agents share", .timeLimit(.minutes(10))) struct SharedStateTests {
  private let engine = LocalEngine()

  @Test("Many agents that change one value at once lose no change")
  func update() async throws {
    let state = try SharedState("plan", store: engine.state)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 {
        group.addTask {
          for _ in 0..<5 { try await state.update("count") { [($0?.first ?? 0) + 1] } }
        }
      }
      try await group.waitForAll()
    }
    let count = try await state.value("count")
    #expect(count == [100])
    try await state.update("count") { _ in nil }
    let gone = try await state.values()
    #expect(gone.isEmpty)
  }

  @Test("Spaces don't see one another, and names may be any")
  func spaces() async throws {
    let (first, second) = (
      try SharedState("plan", store: engine.state), try SharedState("plan.b ä", store: engine.state)
    )
    try await first.update("a.b ü") { _ in [1] }
    try await second.update("a") { _ in [2] }
    let values = (try await first.values(), try await second.values())
    #expect(values.0 == ["a.b ü": [1]] && values.1 == ["a": [2]])
    await #expect(throws: MessageError.self) { try await first.update("") { _ in [1] } }
    await #expect(throws: SharedStateError.self) {
      try await first.update("large") { _ in [UInt8](repeating: 0, count: 1 << 20) }
    }
    #expect(throws: MessageError.self) { try SharedState("", store: engine.state) }
  }

  @Test("A view has all that was there when it begins, and sees each value's last change")
  func view() async throws {
    let state = try SharedState("plan", store: engine.state)
    try await state.update("a") { _ in [1] }
    try await state.withView { view in
      #expect(view["a"] == [1] && view["b"] == nil)
      var version = view.version
      try await state.update("b") { _ in [2] }
      try await state.update("a") { _ in nil }
      while view.values != ["b": [2]] { version = try await view.changed(since: version) }
    }
  }
}
