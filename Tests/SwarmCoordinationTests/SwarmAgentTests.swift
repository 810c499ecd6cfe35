import AgentRuntime
import CoordinationCore
import CoordinationProtocol
import Logging
import PayloadCompression
import RateBudget
import SwarmCoordination
import Synchronization
import Testing

private func until(_ condition: () async -> Bool) async {
  while !(await condition()), !Task.isCancelled { await Task.yield() }
}

/// A number that several tasks know; of memory, MiB of 1,000.
private final class Number: Sendable {
  let value = Mutex(0)
}

@Suite(.timeLimit(.minutes(10))) struct SwarmAgentTests {
  private func pool(slots: Int, _ memory: Number) -> (AgentPool, ResourceManager) {
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let pool = AgentPool(slots: slots, clock: ManualClock())
    let resources = ResourceManager(
      inputs: ResourceInputs(memory: { (1_000 << 20, memory.value.withLock { $0 << 20 }) }), logger: logger)
    pool.manage(
      by: AgentManager(resources: resources, parking: ParkingLot(codec: PayloadCodec()), logger: logger))
    return (pool, resources)
  }

  @Test("An agent that waits leaves its slot to others, and the pool isn't idle meanwhile")
  func waits() async throws {
    let pool = AgentPool(slots: 1, clock: ManualClock())
    let (answers, answer) = AsyncStream.makeStream(of: Int.self)
    async let result = pool.run(named: "waits") { agent in
      var state: [UInt8] = [1, 2, 3]
      let number = try await agent.park(&state) { await answers.first { _ in true } ?? 0 }
      try pool.checkpoint()
      return number + state.count
    }
    await until { pool.isFetching && pool.busy == 0 }
    #expect(try await pool.withSlot { 5 } == 5)
    pool.receive(DrainOrder(order: 1, timeout: .zero, isWithdrawn: true))
    answer.yield(4)
    #expect(try await result == 7 && pool.busy == 0 && !pool.isFetching)
  }

  @Test("A drain wakes a parked agent: it has its state, and puts the rest of its work back")
  func drained() async throws {
    let pool = AgentPool(slots: 1, clock: ManualClock())
    let (answers, answer) = AsyncStream.makeStream(of: Int.self)
    async let rest = pool.run(named: "waits") { agent in
      var state: [UInt8] = [1, 2, 3]
      do {
        _ = try await agent.park(&state) { await answers.first { _ in true } ?? 0 }
      } catch is AgentPool.Draining { return state }
      return []
    }
    await until { pool.isFetching && pool.busy == 0 }
    try await pool.drain()
    #expect(try await rest == [1, 2, 3])
    answer.finish()
  }

  @Test("Five failing agents open the pool, and the refusal says for how long")
  func open() async throws {
    struct Fault: Error {}
    let pool = AgentPool(slots: 1, clock: ManualClock())
    for number in 0..<4 { try await pool.run(named: "well\(number)") { _ in } }
    for number in 0..<5 {
      await #expect(throws: Fault.self) { try await pool.run(named: "agent\(number)") { _ in throw Fault() } }
    }
    let refusal = await #expect(throws: AgentUnavailable.self) { try await pool.run(named: "next") { _ in } }
    #expect(refusal?.retryAfter ?? .zero > .seconds(50))
  }

  @Test("Under pressure the pool takes fewer tasks, one at least, and all again when there is room")
  func pressure() async throws {
    let memory = Number()
    let (pool, resources) = pool(slots: 8, memory)
    memory.value.withLock { $0 = 100 }
    resources.look()
    let (ends, end) = AsyncStream.makeStream(of: Void.self)
    let begun = Number()
    memory.value.withLock { $0 = 880 }
    resources.look()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await pool.work(taking: { begun.value.withLock { $0 < 8 ? $0 : nil } }) { _ in
          begun.value.withLock { $0 += 1 }
          for await _ in ends { break }
        }
      }
      await until { begun.value.withLock { $0 } == 1 }
      // Nobody else is let in, however often it looks.
      for _ in 0..<100 { await Task.yield() }
      #expect(pool.busy == 1)
      memory.value.withLock { $0 = 100 }
      for _ in 0..<5 { resources.look() }
      end.finish()
      try await group.waitForAll()
    }
    #expect(begun.value.withLock { $0 } == 8 && resources.statistics.agents == 0 && resources.statistics.reserved == 0)
  }

  @Test("Where memory is almost gone, a checkpoint ends the work as a drain does")
  func checkpoint() async throws {
    let memory = Number()
    let (pool, resources) = pool(slots: 2, memory)
    try await pool.run(named: "agent") { _ in
      try pool.checkpoint()
      memory.value.withLock { $0 = 960 }
      resources.look()
      #expect(throws: AgentPool.Draining.self) { try pool.checkpoint() }
    }
  }

  @Test("What agents do is there as text for Prometheus")
  func metrics() async throws {
    let memory = Number()
    let (pool, resources) = pool(slots: 2, memory)
    memory.value.withLock { $0 = 500 }
    try await pool.run(named: "agent") { _ in resources.look() }
    let text = await pool.metrics()
    for line in [
      "swarmscale_agents_count{stage=\"running\"} 0", "swarmscale_agents_ended_total{outcome=\"committed\"} 1",
      "swarmscale_agents_memory_limit_bytes 1048576000", "swarmscale_agents_degradation_rung 0",
    ] {
      #expect(text.contains(line + "\n"), "\(line) is missing")
    }
  }
}
