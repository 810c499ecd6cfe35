import CoordinationEngine
import LocalEngine
import Testing

@testable import AgentMessages

@Suite struct AgentDirectoryTests {
  private let engine = LocalEngine()

  private func keeping(
    _ directories: [AgentDirectory], _ body: @escaping @Sendable () async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for directory in directories {
        directory.announce()
        group.addTask {
          do { try await directory.keep() } catch is CancellationError {}
          return false
        }
      }
      for directory in directories { try await directory.untilFound() }
      group.addTask {
        try await body()
        return true
      }
      while try await group.next() != true {}
      group.cancelAll()
    }
  }

  @Test("Agents are found while their process keeps them, and neither they nor it after it has said goodbye")
  func found() async throws {
    let (first, second) = (directory("pod-1"), directory("pod.2 ä"))
    try first.add("reviewer")
    try second.add("reviewer")
    try second.add("planner, the best")
    try await keeping([first, second]) {
      let value1 = try await first.processes(with: "reviewer")
      #expect(value1 == ["pod-1", "pod.2 ä"])
      let value2 = try await first.processes(with: "planner, the best")
      #expect(value2 == ["pod.2 ä"])
      let value3 = try await first.processes(with: "review")
      #expect(value3 == [])
      let value4 = try await first.isPresent("pod.2 ä")
      #expect(value4 == true)
      let value5 = try await first.isPresent("pod")
      #expect(value5 == false)
    }
    let other = directory("pod-3")
    let value6 = try await other.processes(with: "reviewer")
    #expect(value6 == [])
    let value7 = try await other.isPresent("pod-1")
    #expect(value7 == false)
    #expect(try await engine.state.list("presence.").entries.isEmpty)
  }

  private func directory(_ node: String, clock: any MessengerClock = SystemMessengerClock()) -> AgentDirectory {
    AgentDirectory(node: node, store: engine.state, clock: clock)
  }

  @Test("An agent that is removed is soon not found by who looks for the first time")
  func removed() async throws {
    let node = directory("pod-1")
    try node.add("reviewer")
    try await keeping([node]) {
      let value8 = try await node.processes(with: "reviewer")
      #expect(value8 == ["pod-1"])
      node.remove("reviewer")
      while try await engine.state.get("presence.agent.reviewer.pod-1") != nil, !Task.isCancelled { await Task.yield() }
      let value9 = try await directory("pod-2").processes(with: "reviewer")
      #expect(value9 == [])
      try node.add("reviewer")
      while try await engine.state.get("presence.agent.reviewer.pod-1") == nil, !Task.isCancelled { await Task.yield() }
    }
  }

  @Test("Of two processes with one name the later one has it: the earlier one ends with words, and takes nothing away")
  func twins() async throws {
    let clock = ManualClock()
    let earlier = directory("pod-1", clock: clock)
    try earlier.add("reviewer")
    earlier.announce()
    let hasEnded = Box(false)
    // Owned: this test, which awaits it.
    let ending = Task {
      defer { hasEnded.withLock { $0 = true } }
      do {
        try await earlier.keep()
      } catch let error as AgentDirectory.NameTaken {
        return error.description
      } catch {
        return "\(error)"
      }
      return ""
    }
    try await earlier.untilFound()
    let later = directory("pod-1")
    try later.add("reviewer")
    try await keeping([later]) {
      // When the earlier one begins to sleep isn't known: it is woken until it has looked.
      while !hasEnded.withLock({ $0 }), !Task.isCancelled {
        clock.advance(to: clock.now + AgentDirectory.timeToLive / 3)
        await Task.yield()
      }
      ending.cancel()
      #expect(await ending.value.contains("another process is called pod-1"))
      let nodes = try await later.processes(with: "reviewer")
      #expect(nodes == ["pod-1"])
    }
  }

  @Test("Keys are said anew before they end, and made anew where they ended because the engine was away")
  func renewed() async throws {
    let clock = ManualClock()
    let node = directory("pod-1", clock: clock)
    try node.add("reviewer")
    node.announce()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await node.keep() }
      try await node.untilFound()
      let first = try #require(try await engine.state.get("presence.node.pod-1"))
      while clock.nextWake != .seconds(10), !Task.isCancelled { await Task.yield() }
      clock.advance(to: .seconds(10))
      while try await engine.state.get("presence.node.pod-1")?.revision == first.revision, !Task.isCancelled {
        await Task.yield()
      }
      try await engine.state.delete("presence.node.pod-1")
      while clock.nextWake != .seconds(20), !Task.isCancelled { await Task.yield() }
      clock.advance(to: .seconds(20))
      while try await engine.state.get("presence.node.pod-1") == nil, !Task.isCancelled { await Task.yield() }
      group.cancelAll()
    }
  }

  @Test("More agents than a batch takes are refused with words")
  func bounded() throws {
    let node = directory("pod-1")
    for number in 0..<AgentDirectory.agents { try node.add("agent-\(number)") }
    #expect(throws: MessagingError.self) { try node.add("one-more") }
    try node.add("agent-0")
    node.remove("agent-0")
    try node.add("one-more")
  }
}

@Suite struct PlaceNameTests {
  @Test(
    "Names become parts of subjects and come back; no two become one",
    arguments: [
      ("pod-1", "pod-1"), ("a.b", "a.b"), ("a..b", "a=2e=2eb"), (".a", "=2ea"), ("a=", "a=3d"), ("ä b", "=c3=a4=20b"),
      ("*", "=2a"), (">", "=3e"), ("a\u{0}", "a=00"),
    ])
  func round(name: String, encoded: String) throws {
    #expect(try PlaceName.encode(name, dots: true) == encoded)
    #expect(PlaceName.decode(encoded) == name)
    let token = try PlaceName.encode(name, dots: false)
    #expect(!token.contains(".") && PlaceName.decode(token) == name)
    try StateLimits().check(key: "agents.node.\(encoded)")
  }

  @Test("What is empty or too long is refused")
  func refused() {
    for name in ["", String(repeating: "a", count: 97), String(repeating: "ä", count: 17)] {
      #expect(throws: MessagingError.self) { try PlaceName.encode(name, dots: true) }
    }
  }
}
