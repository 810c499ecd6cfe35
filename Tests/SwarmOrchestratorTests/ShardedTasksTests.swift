import CoordinationCore
import CoordinationEngine
import LocalEngine
import SlowTests
import SwarmOrchestrator
import TaskQueue
import Testing

@Suite(.alone) struct ShardedTasksTests {
  /// A pod whose plan says cells: shards 0 to 7 are cell 1's, 8 to 15 cell 2's.
  private func withPod(
    cell: Int = 1, transfers: [CellBalancer.Transfer] = [],
    _ body: (ShardedTasks, FleetPlace, LocalEngine, TestClock) async throws -> Void
  ) async throws {
    try await oneAtATime {
      let clock = TestClock()
      let engine = LocalEngine(clock: clock)
      var plan = PublishedPlan()
      (plan.epoch, plan.version, plan.tier) = (1, 1, .cells)
      plan.layout.shards = 16
      plan.layout.older = [1]
      plan.cells = [1: [cell == 1 ? "me" : "other": 10], 2: [cell == 2 ? "me" : "other": 10]]
      plan.shards = (0..<16).map { $0 < 8 ? 1 : 2 }
      var flow = FleetFlow()
      (flow.epoch, flow.version, flow.transfers) = (1, 1, transfers)
      try await engine.state.put(FleetKeys.plan, plan.bytes)
      try await engine.state.put(FleetKeys.flow, flow.bytes)
      let pod = TestPod("me", slots: 10, engine: engine, clock: clock, canLead: false)
      pod.start()
      await clock.advance(by: .seconds(1))
      let result: Result<Void, any Error>
      do { result = .success(try await body(pod.tasks, pod.place, engine, clock)) } catch { result = .failure(error) }
      await pod.kill()
      await engine.close()
      try result.get()
    }
  }

  private func fill(_ engine: LocalEngine, shard: Int, _ lane: TaskLane, _ count: Int) async throws {
    let tasks = (0..<count).map { _ in NewTask(lane: lane, payload: [UInt8(shard)]) }
    _ = try await engine.tasks.submit(tasks, to: ShardLayout.queue("q", shard: shard, of: 16))
  }

  private func claim(_ tasks: ShardedTasks, _ maximum: Int, wait: Duration = .zero) async throws -> [ClaimedTask] {
    try await tasks.claim(ClaimRequest(queue: "q", worker: "me", maximum: maximum), wait: wait)
  }

  @Test("Critical tasks come before other shards' bulk, whichever shard they are in", arguments: 0..<8)
  func lanes(shard: Int) async throws {
    try await withPod { tasks, _, engine, _ in
      for other in 0..<8 { try await fill(engine, shard: other, .bulk, 20) }
      try await fill(engine, shard: shard, .critical, 2)
      let first = try await claim(tasks, 4)
      #expect(first.count { $0.lane == .critical } == 2 && first.count == 4)
      // From now on it is known that such tasks are about: a single claim looks for them first.
      try await fill(engine, shard: shard, .critical, 1)
      #expect(try await claim(tasks, 1).map(\.lane) == [.critical])
    }
  }

  @Test("The weights hold over shards: of high, normal and bulk in shards of their own, each gets its turns")
  func weights() async throws {
    try await withPod { tasks, _, engine, _ in
      try await fill(engine, shard: 1, .high, 200)
      try await fill(engine, shard: 4, .normal, 200)
      try await fill(engine, shard: 6, .bulk, 200)
      var counts = LaneCounts(all: 0)
      for _ in 0..<10 { for task in try await claim(tasks, 21) { counts[task.lane] += 1 } }
      #expect(counts == LaneCounts(critical: 0, high: 160, normal: 40, bulk: 10))
    }
  }

  @Test("A pod claims from its own cell's shards and the queue itself, and nothing of other cells' without a transfer")
  func ownShards() async throws {
    try await withPod { tasks, place, engine, _ in
      for shard in 0..<16 { try await fill(engine, shard: shard, .normal, 1) }
      _ = try await engine.tasks.submit([NewTask(payload: [99])], to: "q")
      let claimed = try await claim(tasks, 100)
      let shards: [UInt8] = claimed.map { $0.payload[0] }.sorted()
      #expect(shards == [0, 1, 2, 3, 4, 5, 6, 7, 99])
      #expect(try await claim(tasks, 100).isEmpty && place.stolen == 0)
    }
  }

  @Test("An idle pod takes its part of what its cell may have from another one, no more, and anew with a new flow")
  func stealing() async throws {
    try await withPod(cell: 2, transfers: [.init(from: 1, to: 2, tasks: 5)]) { tasks, place, engine, clock in
      for shard in 0..<8 { try await fill(engine, shard: shard, .normal, 4) }
      try await fill(engine, shard: 9, .normal, 1)
      // Its own first.
      #expect(try await claim(tasks, 3).map(\.payload) == [[9]])
      #expect(try await claim(tasks, 3).count == 3 && place.stolen == 3)
      #expect(try await claim(tasks, 100).count == 2)
      #expect(try await claim(tasks, 100).isEmpty)
      var flow = place.flow
      (flow.version, flow.transfers) = (2, [.init(from: 1, to: 2, tasks: 2)])
      try await engine.state.put(FleetKeys.flow, flow.bytes)
      await clock.advance(by: .seconds(1))
      #expect(try await claim(tasks, 100).count == 2 && place.stolen == 7)
    }
  }

  @Test("A claim that waits gets a task from whichever shard it comes to, and what two shards give at once isn't kept")
  func waiting() async throws {
    try await withPod { tasks, _, engine, clock in
      async let waiting = claim(tasks, 1, wait: .seconds(20))
      await clock.advance(by: .seconds(3))
      for shard in [3, 5, 6] { try await fill(engine, shard: shard, .normal, 1) }
      await clock.advance(by: .milliseconds(250))
      #expect(try await waiting.count == 1)
      await clock.advance(by: .seconds(6))
      let rest = try await claim(tasks, 10)
      #expect(rest.count == 2 && rest.allSatisfy { $0.attempt == 1 })
    }
  }
}
