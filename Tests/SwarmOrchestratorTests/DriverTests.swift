import CoordinationCore
import CoordinationEngine
import LocalEngine
import SlowTests
import SwarmOrchestrator
import Synchronization
import Testing

@Suite(.alone, .serialized) struct DriverTests {
  /// Pods on an engine in memory, all by one clock, while `body` runs.
  private func withFleet(
    _ count: Int, slots: Int = 2, leaders: Int = .max, _ body: ([TestPod], TestClock, FlakyEngine) async throws -> Void
  ) async throws {
    try await oneAtATime {
      try await withFleetHere(count, slots: slots, leaders: leaders, body)
    }
  }

  private func withFleetHere(
    _ count: Int, slots: Int, leaders: Int, _ body: ([TestPod], TestClock, FlakyEngine) async throws -> Void
  ) async throws {
    let clock = TestClock()
    let engine = FlakyEngine(base: LocalEngine(clock: clock))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await engine.run() }
      let pods = (0..<count).map {
        TestPod("pod-\($0)", slots: slots, engine: engine, clock: clock, canLead: $0 < leaders)
      }
      for pod in pods { pod.start() }
      let result: Result<Void, any Error>
      do { result = .success(try await body(pods, clock, engine)) } catch { result = .failure(error) }
      for pod in pods { await pod.kill() }
      await engine.close()
      group.cancelAll()
      try result.get()
    }
  }

  private func leader(_ pods: [TestPod]) -> TestPod? { pods.first { $0.candidate?.epoch != nil } }

  /// Lets time pass until something holds; gives the time that it took, nil when it doesn't within `limit`.
  private func time(
    _ clock: TestClock, limit: Duration = .seconds(120), until isTrue: () -> Bool
  ) async -> Duration? {
    let start = clock.now
    while !isTrue() {
      guard clock.now - start < limit else { return nil }
      await clock.advance(by: .milliseconds(250))
    }
    return clock.now - start
  }

  @Test("Pods find a leader, and all of them go by its plan")
  func start() async throws {
    try await withFleet(5) { pods, clock, _ in
      let taken = await time(clock) { pods.allSatisfy { $0.place.plan.pods == 5 } }
      #expect(taken != nil && pods.count { $0.candidate?.epoch != nil } == 1)
      #expect(pods.allSatisfy { $0.place.plan == pods[0].place.plan && $0.place.cell != nil })
      #expect(pods[0].place.plan.tier == .inProcess)
    }
  }

  @Test(
    "The leader is killed, again and again, at any moment: another one has a new plan within 10 s", arguments: 0..<8)
  func kill(phase: Int) async throws {
    try await withFleet(6) { pods, clock, _ in
      var left = pods
      for _ in 0..<4 {
        #expect(
          await time(clock) { leader(left) != nil && left.allSatisfy { $0.place.plan.pods >= left.count } } != nil)
        await clock.advance(by: .milliseconds(250 * phase))
        let dead = try #require(leader(left))
        let epoch = dead.place.plan.epoch
        await dead.kill()
        left.removeAll { $0 === dead }
        let taken = await time(clock) { left.allSatisfy { $0.place.plan.epoch > epoch } }
        #expect(try #require(taken) <= .seconds(10))
      }
    }
  }

  @Test("A leader that says goodbye is followed at once")
  func resign() async throws {
    try await withFleet(3) { pods, clock, _ in
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.pods == 3 } } != nil)
      let first = try #require(leader(pods))
      await first.leave()
      let left = pods.filter { $0 !== first }
      let taken = await time(clock) { left.allSatisfy { $0.place.plan.pods == 2 } }
      #expect(try #require(taken) <= .seconds(3))
    }
  }

  @Test("A leader that stood still beyond its lease changes nothing when it is back, and no pod takes its plan")
  func pause() async throws {
    try await withFleet(4) { pods, clock, engine in
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.pods == 4 } } != nil)
      let old = try #require(leader(pods))
      let plan = old.place.plan
      old.clock.stop(true)
      let others = pods.filter { $0 !== old }
      #expect(await time(clock) { others.allSatisfy { $0.place.plan.epoch > plan.epoch } } != nil)
      await clock.advance(by: .seconds(30))
      old.clock.stop(false)
      await clock.advance(by: .seconds(5))
      #expect(old.candidate?.epoch == nil && pods.count { $0.candidate?.epoch != nil } == 1)
      let now = try #require(try await engine.state.get(FleetKeys.plan).flatMap { PublishedPlan($0.value) })
      #expect(now.epoch > plan.epoch && now.leader != old.place.pod)
      // Somebody writes the old one back with force: whoever has seen the new one refuses it.
      try await engine.base.state.put(FleetKeys.plan, plan.bytes)
      await clock.settle()
      #expect(await time(clock) { others.allSatisfy { $0.place.refusedPlans > 0 } } != nil)
      #expect(others.allSatisfy { $0.place.plan.epoch > plan.epoch })
      // The leader sees that the plan isn't what it wrote as soon as it has something to write.
      let added = TestPod("late", slots: 2, engine: engine, clock: clock, canLead: false)
      added.start()
      #expect(await time(clock) { added.place.plan.epoch > plan.epoch && added.place.cell != nil } != nil)
      await added.kill()
    }
  }

  @Test("While the store is away nobody leads and pods go on by the last plan; then one leads again")
  func outage() async throws {
    try await withFleet(4) { pods, clock, engine in
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.pods == 4 } } != nil)
      let plan = pods[0].place.plan
      engine.isAway.set(true)
      await clock.advance(by: .seconds(20))
      #expect(leader(pods) == nil && pods.allSatisfy { $0.place.plan.cells == plan.cells })
      engine.isAway.set(false)
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.epoch > plan.epoch } } != nil)
      #expect(pods.allSatisfy { $0.place.plan.cells == plan.cells })
    }
  }

  @Test("A pod that was away for longer than its lease comes back under a new number")
  func rejoin() async throws {
    try await withFleet(3) { pods, clock, engine in
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.pods == 3 } } != nil)
      let away = try #require(pods.first { $0.candidate?.epoch == nil })
      away.clock.stop(true)
      let others = pods.filter { $0 !== away }
      #expect(await time(clock) { others.allSatisfy { $0.place.plan.pods == 2 } } != nil)
      #expect(!away.place.isPlaced(now: clock.now))
      away.clock.stop(false)
      #expect(await time(clock) { pods.allSatisfy { $0.place.plan.pods == 3 } } != nil)
      let entry = try #require(try await engine.state.get(FleetKeys.pods + away.place.pod))
      #expect(try #require(PodHeartbeat(entry.value)).incarnation == 2)
    }
  }

  @Test("A pod that drains gives up its place in its cell, and one that leaves is gone at once")
  func drain() async throws {
    try await withFleet(3) { pods, clock, _ in
      #expect(await time(clock) { leader(pods) != nil && pods.allSatisfy { $0.place.plan.pods == 3 } } != nil)
      let other = try #require(pods.first { $0.candidate?.epoch == nil })
      other.slots.withLock { $0 = 0 }
      let taken = await time(clock) { pods.allSatisfy { $0.place.plan.pods == 2 } }
      #expect(try #require(taken) <= .seconds(3) && other.place.cell == nil)
    }
  }

  @Test("A thousand pods: few look after the leader, none reads the others, and the plan has cells with heads")
  func thousand() async throws {
    try await withFleet(1_000, slots: 5, leaders: 10) { pods, clock, engine in
      #expect(await time(clock) { pods.allSatisfy { $0.place.plan.pods == 1_000 } } != nil)
      let plan = pods[0].place.plan
      #expect(plan.tier == .cells && plan.agents == 5_000 && plan.cells.count >= 5 && plan.standbys.count == 4)
      #expect(plan.cells.values.allSatisfy { $0.values.reduce(0, +) <= 1_000 })
      #expect(Set(plan.heads.keys) == Set(plan.cells.keys))
      #expect(await time(clock) { pods.allSatisfy { $0.place.plan.layout.shards == 16 } } != nil)
      // One summary a cell, a second.
      await clock.advance(by: .seconds(3))
      let cells = try await engine.state.list(FleetKeys.cells).entries
      #expect(cells.count == plan.cells.count)
      let version = pods[0].place.plan.version
      await clock.advance(by: .seconds(10))
      #expect(pods[0].place.plan.version == version, "the plan is written again although nothing changed")
    }
  }
}
