import SlowTests
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#else
  import Darwin
#endif

/// The seeds that are run: a few as a rule, as many as `SWARMSCALE_DRAIN_SEEDS` says in the slow suite.
private let seeds: Range<UInt64> = 0..<(getenv("SWARMSCALE_DRAIN_SEEDS").flatMap { UInt64(String(cString: $0)) } ?? 24)

private let stuckSeeds = 0..<max(seeds.upperBound / 5, 12)

@Suite("Scale-downs in virtual time", .slow)
struct DrainTests {
  @Test("No scale-down loses work, whatever befalls it, and the fleet comes down", arguments: seeds)
  func nothingLost(seed: UInt64) async throws {
    let scenario = Scenario.drawn(seed: seed)
    let outcome = try await Simulation(scenario).run()
    let tally = outcome.tally
    #expect(tally.hit == [], "busy workers were removed: \(scenario)")
    #expect(tally.lost == 0 && tally.lostInRollout == 0, "preStop holds a pod until its work is done")
    #expect(tally.timedOut == 0 || !scenario.deaf.isEmpty, "only who never answers runs out of time")
    #expect(
      outcome.replicas == scenario.fallsTo && outcome.workers == scenario.fallsTo && outcome.settledAt != nil,
      "the fleet has come down: \(outcome), \(scenario)")
    #expect(outcome.draining == 0, "who stays works again: \(outcome), \(scenario)")
  }

  @Test("A rollout that is stuck doesn't hold a shrink for ever, and costs no work either", arguments: stuckSeeds)
  func stuckRollout(seed: UInt64) async throws {
    var scenario = Scenario.drawn(seed: seed)
    scenario.faults.remove(.rollout)
    scenario.faults.remove(.demandReturns)
    scenario.deaf = []
    scenario.rolloutStands = true
    let outcome = try await Simulation(scenario).run()
    #expect(outcome.tally.hit == [], "busy workers were removed: \(scenario)")
    #expect(outcome.tally.lost == 0 && outcome.tally.lostInRollout == 0 && outcome.tally.timedOut == 0)
    #expect(outcome.replicas == scenario.fallsTo && outcome.settledAt != nil, "\(outcome), \(scenario)")
    #expect(outcome.draining == 0, "who stays works again: \(outcome), \(scenario)")
  }

  @Test("Without the wait for the acknowledgement work is lost: what these tests look for can be found")
  func mutation() async throws {
    let hits = try await total(0..<16) { seed in
      var scenario = Scenario.drawn(seed: seed)
      scenario.faults = []
      scenario.deaf = []
      scenario.method = .drainWithoutWaiting
      return scenario
    }.hits
    #expect(hits > 0)
  }

  @Test("The HPA's way, the number written and the ReplicaSet's choice, removes busy workers")
  func written() async throws {
    let count = min(seeds.upperBound, 200)
    let written = try await total(0..<count / 3) { seed in
      var scenario = Scenario.drawn(seed: seed)
      scenario.deaf = []
      scenario.method = .write
      scenario.hasPreStop = false
      scenario.hasReadinessProbe = false
      return scenario
    }
    #expect(written.hits > 0 && written.lost > 0)
    print(
      "written: \(written.runs) scale-downs, \(written.removed) workers removed, \(written.hits) of them busy,",
      "\(written.lost) tasks lost, \(written.lostInRollout) more in rollouts")
  }

  private struct Total: Sendable {
    var runs = 0
    var removed = 0
    var hits = 0
    var lost = 0
    var lostInRollout = 0
  }

  /// What comes of several scale-downs, run side by side.
  private func total(_ seeds: Range<UInt64>, _ scenario: @escaping @Sendable (UInt64) -> Scenario) async throws -> Total
  {
    try await withThrowingTaskGroup(of: World.Tally.self) { group in
      for seed in seeds { group.addTask { try await Simulation(scenario(seed)).run().tally } }
      var total = Total()
      for try await tally in group {
        total.runs += 1
        total.removed += tally.removed
        total.hits += tally.hit.count
        total.lost += tally.lost
        total.lostInRollout += tally.lostInRollout
      }
      return total
    }
  }
}
