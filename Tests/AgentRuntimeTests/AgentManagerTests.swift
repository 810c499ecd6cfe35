import AgentRuntime
import CoordinationCore
import EngineConformance
import PayloadCompression
import SlowTests
import Synchronization
import Testing

private struct Fault: Error {}

@Suite struct AgentTableTests {
  private func fail(_ table: inout AgentTable, _ name: String, at second: Int) -> AgentTable.Refusal? {
    let now = Duration.seconds(second)
    if let refusal = table.spawn(name, now: now) { return refusal }
    _ = table.end(name, .failed, jitter: 1 << 31, now: now)
    return nil
  }

  @Test("An agent that fails five times in a row is left alone, and begins anew after its time")
  func ejected() {
    var table = AgentTable(limit: 100)
    for number in 0..<9 {
      #expect(table.spawn("good\(number)", now: .zero) == nil)
      _ = table.end("good\(number)", .committed, jitter: 0, now: .zero)
    }
    for second in 0..<5 { #expect(fail(&table, "bad", at: second) == nil) }
    #expect(table.spawn("bad", now: .seconds(5)) == .leftAlone(.seconds(29)))
    #expect(table.spawn("good0", now: .seconds(5)) == nil, "others are none of its business")
    #expect(table.counts.ejected == 1 && table.counts.refused == 1 && table.isClosed)
    #expect(table.spawn("bad", now: .seconds(34)) == nil)
  }

  @Test("A success between two failures begins the count anew")
  func interrupted() {
    var table = AgentTable(limit: 100)
    for number in 0..<9 {
      _ = table.spawn("good\(number)", now: .zero)
      _ = table.end("good\(number)", .committed, jitter: 0, now: .zero)
    }
    for second in 0..<20 {
      #expect(table.spawn("some", now: .seconds(second)) == nil)
      _ = table.end("some", second % 5 == 4 ? .committed : .failed, jitter: 0, now: .seconds(second))
    }
    #expect(table.counts.ejected == 0)
  }

  @Test("Never more than half of the pool is left alone")
  func half() {
    var table = AgentTable(limit: 100)
    // A success each keeps the pool as a whole from opening.
    for second in 0..<8 {
      for number in 0..<12 {
        _ = table.spawn("well\(number)", now: .seconds(second))
        _ = table.end("well\(number)", .committed, jitter: 0, now: .seconds(second))
      }
      for name in ["a", "b", "c", "d"] { _ = fail(&table, name, at: second) }
    }
    #expect(table.counts.ejected == 4 && table.isClosed)
    var alone = AgentTable(limit: 100)
    for second in 0..<20 { #expect(fail(&alone, "only", at: second) == nil, "the only one is spared") }
  }

  @Test("Five agents that fail open the pool for a minute; probes that succeed close it")
  func pool() {
    var table = AgentTable(limit: 100)
    for number in 0..<4 {
      _ = table.spawn("well\(number)", now: .zero)
      _ = table.end("well\(number)", .committed, jitter: 0, now: .zero)
    }
    for number in 0..<5 { #expect(fail(&table, "agent\(number)", at: number) == nil) }
    #expect(!table.isClosed && table.counts.opened == 1)
    guard case .poolOpen(let time) = table.spawn("other", now: .seconds(5)) else {
      Issue.record("an agent was begun in an open pool")
      return
    }
    #expect(time > .seconds(50) && time < .seconds(66))
    for second in [71, 73] {
      #expect(table.spawn("other", now: .seconds(second)) == nil)
      _ = table.end("other", .committed, jitter: 0, now: .seconds(second))
    }
    #expect(table.isClosed && table.spawn("third", now: .seconds(74)) == nil)
  }

  @Test("Five failures among hundreds of successes don't open the pool")
  func few() {
    var table = AgentTable(limit: 1_000)
    for number in 0..<500 {
      _ = table.spawn("a\(number)", now: .milliseconds(number))
      _ = table.end("a\(number)", number % 50 == 0 ? .failed : .committed, jitter: 0, now: .milliseconds(number))
    }
    #expect(table.isClosed && table.count == 0)
  }

  @Test("One of a name at a time, and no more than the bound")
  func bounds() {
    var table = AgentTable(limit: 2)
    #expect(table.spawn("a", now: .zero) == nil && table.spawn("a", now: .zero) == .taken)
    #expect(table.spawn("b", now: .zero) == nil && table.spawn("c", now: .zero) == .full(limit: 2))
    table.move("a", to: .running)
    table.move("a", to: .parked)
    #expect(table.count(.parked) == 1 && table.count(.spawned) == 1 && table.count(.running) == 0)
    _ = table.end("a", .committed, jitter: 0, now: .zero)
    #expect(table.count(.parked) == 0 && table.count == 1)
  }
}

@Suite(.alone, .timeLimit(.minutes(10))) struct AgentManagerTests {
  @Test("Ten times as many agents as slots run, as many at once as there are slots, and leave nothing")
  func many() async throws {
    let pod = Pod(slots: 4)
    let peak = Peak()
    try await withThrowingTaskGroup(of: Int.self) { group in
      for number in 0..<40 {
        group.addTask {
          try await pod.agents.run(named: "agent\(number)", in: pod.slots) { _ in
            peak.add(1)
            await Task.yield()
            peak.add(-1)
            return number
          }
        }
      }
      var sum = 0
      for try await number in group { sum += number }
      #expect(sum == 780)
    }
    #expect((1...4).contains(peak.most))
    #expect(pod.agents.statistics.counts.committed == 40 && pod.agents.statistics.stages.values.allSatisfy { $0 == 0 })
    #expect(pod.slots.free == 4 && pod.resources.statistics.agents == 0 && pod.resources.statistics.reserved == 0)
  }

  @Test("A parked agent gives its slot and its memory to others, and has its state again afterwards")
  func parked() async throws {
    let pod = Pod(slots: 1)
    let gate = Gate()
    let state = Array("a long conversation, again and again. ".utf8).repeated(2_000)
    let parked = Task {
      try await pod.agents.run(named: "waits", in: pod.slots) { agent in
        var mine = state
        let answer = try await agent.park(&mine) {
          try await gate.wait()
          return 42
        }
        return (answer, mine == state)
      }
    }
    await until { pod.agents.statistics.stages[.parked] == 1 && gate.waiting == 1 }
    let lot = await pod.parking.statistics
    #expect(lot.agents == 1 && lot.stateBytes == state.count && lot.residentBytes * 3 < state.count)
    #expect(pod.resources.statistics.agents == 0 && pod.slots.free == 1 && pod.slots.aside == 1)
    try await pod.agents.run(named: "other", in: pod.slots) { _ in }
    gate.open()
    let (answer, isSame) = try await parked.value
    #expect(answer == 42 && isSame && pod.slots.aside == 0)
    #expect(await pod.parking.statistics.agents == 0)
  }

  @Test("Where nothing more can be parked an agent waits with its state in memory, and is counted")
  func fullLot() async throws {
    let pod = Pod(slots: 1, parking: ParkingLot.Limits(residentBytes: 0))
    let answer = try await pod.agents.run(named: "a", in: pod.slots) { agent in
      var state: [UInt8] = [1, 2, 3]
      let answer = try await agent.park(&state) { 7 }
      return state == [1, 2, 3] ? answer : 0
    }
    #expect(answer == 7 && pod.agents.statistics.unparked == 1 && pod.resources.statistics.agents == 0)
  }

  @Test("Where the store is away an agent waits with its state in memory instead of failing")
  func storeAway() async throws {
    let away = ParkedStateStore(
      put: { _ in throw Fault() }, get: { _ in throw Fault() }, release: { _ in throw Fault() })
    let pod = Pod(slots: 1, store: away, parking: ParkingLot.Limits(stateBytes: 0))
    let isSame = try await pod.agents.run(named: "a", in: pod.slots) { agent in
      var state: [UInt8] = [1, 2, 3]
      try await agent.park(&state) {}
      return state == [1, 2, 3]
    }
    #expect(isSame && pod.agents.statistics.unparked == 1)
  }

  @Test("A drain wakes who waits: it has its state, and is told to put the rest of its work back")
  func drain() async throws {
    let pod = Pod(slots: 2)
    let gate = Gate()
    let agents = (0..<6).map { number in
      Task {
        try await pod.agents.run(named: "agent\(number)", in: pod.slots) { agent in
          var state = [UInt8](repeating: UInt8(number), count: 5_000)
          do {
            if number % 2 == 0 {
              try await agent.park(&state) { try await gate.wait() }
            } else {
              try await agent.wait { try await gate.wait() }
            }
            return false
          } catch is SlotQueue.Draining { return state == [UInt8](repeating: UInt8(number), count: 5_000) }
        }
      }
    }
    await until { gate.waiting == 6 }
    pod.slots.drain()
    pod.agents.wake()
    for agent in agents {
      let hadItsState = try await agent.value
      #expect(hadItsState)
    }
    #expect(pod.slots.free == 2 && pod.slots.aside == 0 && pod.resources.statistics.agents == 0)
    #expect(await pod.parking.statistics.agents == 0)
  }

  @Test("A cancelled agent releases all it held, the last first, whether it runs, waits or is parked")
  func cancelled() async throws {
    for place in 0..<3 {
      let pod = Pod(slots: 1)
      let gate = Gate()
      let released = Mutex<[Int]>([])
      let agent = Task {
        try await pod.agents.run(named: "a", in: pod.slots) { agent in
          agent.onEnd {
            try Task.checkCancellation()
            released.withLock { $0.append(1) }
          }
          agent.onEnd { released.withLock { $0.append(2) } }
          var state: [UInt8] = Array(repeating: 9, count: 1_000)
          switch place {
          case 0: try await gate.wait()
          case 1: try await agent.wait { try await gate.wait() }
          default: try await agent.park(&state) { try await gate.wait() }
          }
        }
      }
      await until { gate.waiting == 1 }
      agent.cancel()
      await #expect(throws: CancellationError.self) { try await agent.value }
      #expect(released.withLock { $0 } == [2, 1])
      #expect(pod.slots.free == 1 && pod.slots.aside == 0 && pod.resources.statistics.agents == 0)
      #expect(await pod.parking.statistics.agents == 0)
      #expect(pod.agents.statistics.counts.handedBack == 1 && pod.agents.statistics.counts.failed == 0)
    }
  }

  @Test("Agents that fail are refused with what to do; what they held is released all the same")
  func refused() async throws {
    let pod = Pod(slots: 1)
    for number in 0..<4 { try await pod.agents.run(named: "well\(number)", in: pod.slots) { _ in } }
    for number in 0..<5 {
      await #expect(throws: Fault.self) {
        try await pod.agents.run(named: "agent\(number)", in: pod.slots) { _ in throw Fault() }
      }
    }
    let refusal = await #expect(throws: AgentRefusal.self) {
      try await pod.agents.run(named: "next", in: pod.slots) { _ in }
    }
    #expect(refusal?.retryAfter ?? .zero > .seconds(50) && pod.agents.statistics.isOpen && pod.slots.free == 1)
    pod.clock.advance(by: .seconds(70))
    try await pod.agents.run(named: "next", in: pod.slots) { _ in }
  }

  @Test("A thousand agents wait parked over four slots, and each is back with its own state")
  func thousand() async throws {
    let pod = Pod(slots: 4)
    let gate = Gate()
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for number in 0..<1_000 {
        group.addTask {
          try await pod.agents.run(named: "agent\(number)", in: pod.slots) { agent in
            let mine = Array("agent \(number) ".utf8).repeated(100)
            var state = mine
            try await agent.park(&state) { try await gate.wait() }
            return state == mine
          }
        }
      }
      await until { gate.waiting == 1_000 }
      #expect(pod.agents.statistics.stages[.parked] == 1_000 && pod.slots.free == 4)
      gate.open()
      for try await isSame in group { #expect(isSame) }
    }
    #expect(pod.agents.statistics.counts.committed == 1_000)
  }
}

extension Array {
  func repeated(_ times: Int) -> [Element] { (0..<times).flatMap { _ in self } }
}
