import KubernetesCore
import Testing

@testable import ScalingDecision

@Suite("Budgets and marginal gain at their edges")
struct CeilingTests {
  private func plan(_ report: BudgetReport, asked: Int = 90, replicas: Int = 20) -> Plan {
    decideOnce(.plain([.external(), .apiRate]), replicas: replicas, [.asking(asked), .budget(report)])
  }

  private func load(_ offered: Int64, sustained: Int64? = nil) -> BudgetReport {
    BudgetReport(loads: [.init(.requests, limit: 1000, offered: offered, sustained: sustained)])
  }

  @Test("A load exactly at an edge is in the band: no growth, no shrink, no burst")
  func edges() {
    for offered in [850, 900, 950] as [Int64] {
      #expect(plan(load(offered)).desiredReplicas == 20)
      #expect(plan(load(offered)).proposals[1].outcome == .allows(20))
      #expect(!plan(load(offered)).reasons.contains { if case .growthFrozen = $0 { true } else { false } })
    }
    #expect(plan(load(951)).desiredReplicas == 19)
    #expect(plan(load(849)).desiredReplicas == 22)
    // Nothing can have outlasted the burst that isn't there any more.
    #expect(plan(load(900, sustained: 2000)).desiredReplicas == 20)
    #expect(plan(load(951, sustained: 950)).reasons.contains(.growthFrozen(metric: 1, cause: .burst)))
  }

  @Test("429s above one percent, a refused ramp and limits being learned freeze growth and say so")
  func freezes() {
    func frozen(_ change: (inout BudgetReport) -> Void) -> (desired: Int, cause: FreezeCause?) {
      var report = load(500)
      change(&report)
      let plan = plan(report)
      for case .growthFrozen(_, let cause) in plan.reasons { return (plan.desiredReplicas, cause) }
      return (plan.desiredReplicas, nil)
    }
    #expect(frozen { $0.throttledPPM = 10_000 } == (30, nil))
    #expect(frozen { $0.throttledPPM = 10_001 } == (20, .throttled))
    #expect(frozen { $0.isRampLimited = true } == (20, .ramp))
    #expect(frozen { $0.isLearning = true } == (20, .learning))
    // Also where the budget would have held the count by itself.
    #expect(
      frozen {
        $0.loads[0].offered = 900; $0.loads[0].sustained = 900; $0.isLearning = true
      } == (20, .learning))
  }

  @Test("Growth claims 25 points of the limit more than the fleet of a minute ago, and isn't taken back for that")
  func ramp() throws {
    // Each worker uses 20 of 1000: 12.5 more are 25 points.
    var scene = Scene(.plain([.external(), .apiRate], max: 1000), replicas: 10)
    func step(seconds: Int) throws {
      try scene.step([.asking(40), .budget(load(Int64(scene.replicas) * 20))], seconds: seconds)
    }
    try step(seconds: 30)
    #expect(scene.replicas == 22)
    try step(seconds: 29)
    #expect(scene.replicas == 22)
    try step(seconds: 1)
    #expect(scene.replicas == 22)
    try step(seconds: 0)
    #expect(scene.replicas == 34)
    // The load of each worker has doubled since: the ramp allows less than there is, and takes nothing away.
    scene.state.events = ScaleEvents()
    scene.state.events.note(30, at: scene.now.milliseconds, forgettingUntil: .min)
    let plan = try scene.step([.asking(60), .budget(load(800))])
    #expect(plan.desiredReplicas == 34)
  }

  /// Ten workers complete 120 pieces a minute; from twenty on the rate rises by `percent`.
  private func trial(gain percent: Int64, minutes: Int, asked: (Int) -> Int) throws -> Scene {
    var scene = Scene(.plain([.external()]), replicas: 10)
    var completed: Int64 = 1000
    for minute in 0..<minutes {
      try scene.step([.asking(asked(minute))], seconds: 60, completedWork: completed)
      completed += scene.replicas > 10 ? 120 * (100 + percent) / 100 : 120
    }
    return scene
  }

  @Test(
    "A tenth of the promised gain keeps the growth, less doesn't",
    arguments: [(10, [20]), (9, [20, 10])] as [(Int64, [Int])])
  func leastGain(_ row: (percent: Int64, writes: [Int])) throws {
    #expect(try trial(gain: row.percent, minutes: 14) { $0 < 5 ? 10 : 20 }.writes == row.writes)
  }

  @Test("Growth without gain is tried again after 10, 20, 40 and then each 80 minutes")
  func backOff() throws {
    var scene = Scene(.plain([.external()]), replicas: 10)
    var growths: [Int] = []
    for minute in 0..<300 {
      let before = scene.replicas
      try scene.step([.asking(minute < 5 ? 10 : 20)], seconds: 60, completedWork: Int64(minute) * 120)
      if scene.replicas > before { growths.append(minute) }
    }
    // A trial lasts 6 minutes: 3 to settle and 3 to be seen; then the back-off.
    #expect(growths == [5, 21, 47, 93, 179, 265])
  }

  @Test("No verdict where the demand has gone meanwhile, the fleet shrank, or the counter began anew")
  func noVerdict() throws {
    let fallen = try trial(gain: 0, minutes: 14) { $0 < 5 ? 10 : $0 < 11 ? 20 : 19 }
    #expect(fallen.state.gain.ceiling == nil && fallen.writes == [20, 19])
    let shrunk = try trial(gain: 0, minutes: 14) { $0 < 5 ? 10 : $0 < 8 ? 20 : 15 }
    #expect(shrunk.state.gain.ceiling == nil && shrunk.writes == [20, 15])
    var scene = try trial(gain: 0, minutes: 8) { $0 < 5 ? 10 : 20 }
    try scene.step([.asking(20)], completedWork: 0)
    #expect(scene.state.gain.trial == nil && scene.state.gain.completed == 0)
    scene = try trial(gain: 0, minutes: 11) { $0 < 5 ? 10 : 20 }
    #expect(scene.state.gain.trial?.completedAtStart == 1960)
    try scene.step([.asking(20)], completedWork: 1959)
    #expect(scene.state.gain.trial == nil && scene.state.gain.ceiling == nil && scene.writes == [20])
    scene = try trial(gain: 0, minutes: 8) { $0 < 5 ? 10 : 20 }
    #expect(scene.state.gain.trial != nil)
    scene.replicas = 15
    try scene.step([.asking(15)], completedWork: 2000)
    #expect(scene.state.gain.trial == nil)
  }

  @Test("Growth upon growth settles anew, and is judged against what was before both")
  func growthUponGrowth() throws {
    let scene = try trial(gain: 0, minutes: 10) { $0 < 5 ? 10 : $0 < 7 ? 15 : 20 }
    #expect(scene.writes == [15, 20])
    let trial = try #require(scene.state.gain.trial)
    #expect(trial.from == 10 && trial.to == 20)
    #expect(trial.at == (start + .seconds(420)).milliseconds)
    #expect(trial.completedAtStart == nil)
  }

  @Test("Twenty completions over a steady time make a rate, nineteen or a shorter time don't")
  func leastCompletions() {
    for (completed, seconds, isTried) in [(120, 180, true), (119, 180, false), (120, 179, false)]
      as [(Int64, Int, Bool)]
    {
      var state = DecisionState()
      state.expectedReplicas = 10
      state.gain.completed = 100
      state.gain.completedAt = (start - .seconds(seconds)).milliseconds
      let plan = ScalingDecision.decide(
        .plain([.external()]), state,
        DecisionInput(
          now: start, specReplicas: 10, statusReplicas: 10, workers: Fleet.ready(10), readings: [.asking(12)],
          completedWork: completed))
      #expect((plan.state.gain.trial != nil) == isTried)
    }
  }

  @Test("Growth that is taken back doesn't wait for fresh samples, and the ceiling is exact")
  func takenBackAtOnce() {
    var state = DecisionState()
    state.expectedReplicas = 12
    state.lastWriteAt = (start - .seconds(5)).milliseconds
    state.gain.ceiling = 11
    state.gain.ceilingUntil = (start + .seconds(60)).milliseconds
    let workers = Fleet.ready(12)
    let input = DecisionInput(
      now: start, specReplicas: 12, statusReplicas: 12, workers: workers,
      readings: [
        .perWorker(
          workers.map { WorkerSample(worker: $0.name, milli: 800, at: start - .seconds(10), window: .seconds(15)) })
      ])
    let plan = ScalingDecision.decide(.plain([.cpuBand]), state, input)
    #expect(plan.write == 11)
    state.gain.ceilingUntil = start.milliseconds
    #expect(ScalingDecision.decide(.plain([.cpuBand]), state, input).write == nil)
    #expect(ScalingDecision.decide(.plain([.cpuBand]), state, input).state.gain.ceiling == nil)
  }
}
