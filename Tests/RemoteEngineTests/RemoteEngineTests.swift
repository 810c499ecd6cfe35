import CoordinationEngine
import LocalEngine
import NIOCore
import TaskQueue
import Testing

@testable import SwarmCoordination

@Suite(.timeLimit(.minutes(10))) struct RemoteEngineTests {
  private func with(_ body: (RemoteHarness) async throws -> Void) async throws {
    let harness = try await RemoteHarness()
    do { try await body(harness) } catch {
      await harness.stop()
      throw error
    }
    await harness.stop()
  }

  @Test(
    "A watch goes on where it was when its server has ended and is there again, without a change missed or given twice")
  func watchResumes() async throws {
    try await with { harness in
      let state = harness.remote.state
      try await state.put("a", [1])
      var events = try await state.watch("", after: nil).makeAsyncIterator()
      #expect(try await events.next() == .put(try #require(try await state.get("a"))))
      guard case .current? = try await events.next() else {
        Issue.record("the end of what is there isn't said")
        return
      }
      try await state.put("a", [2])
      guard case .put(let second)? = try await events.next() else {
        Issue.record("the change isn't given")
        return
      }
      #expect(second.value == [2])
      await harness.breakDown()
      // Behind the server the engine goes on.
      try await harness.local.state.put("b", [3])
      try await harness.local.state.delete("a")
      await harness.restore()
      var seen: [String] = []
      while seen.count < 2 {
        switch try await events.next() {
        case .put(let entry)?: seen.append("put \(entry.key)")
        case .removed(let key, _)?: seen.append("removed \(key)")
        default: seen.append("other")
        }
      }
      #expect(seen.sorted() == ["put b", "removed a"])
    }
  }

  @Test("A watch whose server stays away says so when its patience is over")
  func watchEnds() async throws {
    try await with { harness in
      var events = try await harness.remote.state.watch("", after: nil).makeAsyncIterator()
      _ = try await events.next()
      await harness.breakDown()
      await #expect(throws: EngineError.self) { try await events.next() }
    }
  }

  @Test("A subscription hears again when its server is there again")
  func subscriptionResumes() async throws {
    try await with { harness in
      let subscription = try await harness.remote.messages.subscribe(.exactly("s"), buffer: 10)
      var messages = subscription.makeAsyncIterator()
      try await harness.remote.messages.publish(Message(subject: "s", payload: [1]))
      #expect(try await messages.next()?.payload == [1])
      await harness.breakDown()
      await harness.restore()
      // Until it is heard again, messages go to nobody: so they are sent until one comes.
      let sender = Task {
        while !Task.isCancelled {
          try await harness.local.messages.publish(Message(subject: "s", payload: [2]))
          await Task.yield()
        }
      }
      #expect(try await messages.next()?.payload == [2])
      sender.cancel()
      _ = await sender.result
      subscription.cancel()
      #expect(try await messages.next() == nil)
    }
  }

  @Test("Messages that a slow listener has no room for are counted")
  func droppedMessages() async throws {
    try await with { harness in
      let subscription = try await harness.remote.messages.subscribe(.exactly("s"), buffer: 1)
      let payload = [UInt8](repeating: 7, count: 500_000)
      // Far more than connections hold.
      for _ in 0..<60 { try await harness.local.messages.publish(Message(subject: "s", payload: payload)) }
      try await harness.local.messages.publish(Message(subject: "s", payload: [9]))
      var messages = subscription.makeAsyncIterator()
      var count = 0
      while try await messages.next()?.payload != [9] { count += 1 }
      #expect(count + subscription.dropped == 60)
      #expect(subscription.dropped > 0)
      subscription.cancel()
    }
  }

  @Test("Claims that wait end when their engine is told to end, and lose no task")
  func endWaiting() async throws {
    try await with { harness in
      let tasks = harness.remote.tasks
      async let waiting = tasks.claim(ClaimRequest(queue: "q", worker: "w"), wait: .seconds(60))
      while harness.local.waiting(in: "q") == 0, !Task.isCancelled { await Task.yield() }
      tasks.endWaiting()
      #expect(try await waiting.isEmpty)
      _ = try await tasks.submit([NewTask(payload: [1])], to: "q")
      // The server may not have seen yet that nobody waits any more: then it takes back what it couldn't hand out.
      #expect(try await tasks.claim(ClaimRequest(queue: "q", worker: "w"), wait: .seconds(60)).count == 1)
    }
  }

  @Test("What a queue keeps of a task is the same in front of the server")
  func records() async throws {
    try await with { harness in
      let (local, remote) = (harness.local.tasks, harness.remote.tasks)
      let task = NewTask(
        lane: .high, key: TaskKey("k", generation: 2), payload: [0, 255], attempts: 7, delay: .zero,
        fairnessKey: "tenant", cost: 3)
      let id = try await remote.submit([task], to: "q")[0].id
      #expect(try await remote.record(id).task == task)
      let ticket = try await remote.claim(ClaimRequest(queue: "q", worker: "w"), wait: .zero)[0].ticket
      try await remote.checkpoint(ticket, CheckpointHead(step: 1, reference: [200]), replacing: nil)
      let (here, there) = (try await remote.record(id), try await local.record(id))
      #expect(here.state == there.state && here.checkpoint == there.checkpoint && here.epoch == there.epoch)
      #expect(here.submitted == there.submitted && here.attempts == there.attempts)
      #expect(try await remote.backlog(of: "q") == local.backlog(of: "q"))
      #expect(try await remote.statistics(of: nil) == local.statistics(of: nil))
    }
  }

  @Test("The engine learns how durable its server's engine is")
  func durability() async throws {
    try await with { harness in
      try await harness.remote.look()
      #expect(harness.remote.durability == .memory)
    }
  }

  @Test("Events are put together from pieces of any size", arguments: 1..<9)
  func pieces(_ size: Int) throws {
    let text = Array(":\n\nevent: put\nid: 4\ndata: {\"key\":\"a\"}\n\n:\n\nevent: current\ndata: {}\n\n".utf8)
    var parser = EventParserOfLines()
    var types: [String] = []
    for start in stride(from: 0, to: text.count, by: size) {
      parser.take(ByteBuffer(bytes: text[start..<min(text.count, start + size)]))
      while let event = try parser.next() { types.append(event.type) }
    }
    #expect(types == ["put", "current"])
  }
}
