import KubernetesCore
import Testing

@testable import ScalingDecision

@Suite("Each calculator alone")
struct CalculatorTests {
  @Test("The band rule finds what trying every count finds")
  func bandOracle() {
    for (lower, upper) in [(70, 85), (85, 95), (1, 100), (70, 70), (50, 60), (99, 100)] as [(Int64, Int64)] {
      for load in Int64(0)...2500 {
        let right = bruteForce(load: load, lower: lower, upper: upper)
        #expect(BandRule.count(load: load, lower: lower, upper: upper) == right, "\(load) in \(lower)–\(upper)")
      }
    }
  }

  private func bruteForce(load: Int64, lower: Int64, upper: Int64) -> Int {
    guard load > 0 else { return 0 }
    var best: Int64?
    for count in 1...(load / lower + 2) where load >= lower * count && load <= upper * count {
      // |2·load − (lower + upper)·count| / count, compared crosswise; at equality the later, larger count.
      func distance(_ count: Int64) -> Int64 { abs(2 * load - (lower + upper) * count) }
      if let present = best, distance(present) * count < distance(count) * present { continue }
      best = count
    }
    return Int(best ?? (load + upper - 1) / upper)
  }

  @Test("An upside-down or negative band is refused")
  func unusableBand() {
    #expect(BandRule.count(load: 100, lower: 85, upper: 70) == nil)
    #expect(BandRule.count(load: 100, lower: 0, upper: 0) == nil)
    #expect(BandRule.count(load: -1, lower: 70, upper: 85) == nil)
    #expect(BandRule.count(load: .max, over: 1, lower: 1, upper: 1) == largestReplicas)
  }

  @Test("Products beyond 128 bits are still compared exactly")
  func wideProducts() {
    let top = UInt128.max
    #expect(productIsLess(top, top - 1, than: top, top))
    #expect(!productIsLess(top, top, than: top, top))
    #expect(productIsLess(1, 1, than: top, 2))
    #expect(!productIsLess(top, 2, than: 1, 1))
    #expect(Fraction(top, over: 3).isLess(than: Fraction(top, over: 2)))
    #expect(Fraction(7, over: 0).roundedUp == 7)
  }

  @Test("Windows answer as the full list of proposals does", arguments: UInt64(1)...30)
  func windowOracle(seed: UInt64) {
    var random = Seeded(seed)
    var growth = WindowHistory()
    var shrink = WindowHistory()
    var all: [(replicas: Int, at: Milliseconds)] = []
    let growthWindow = Milliseconds(Int.random(in: 0...60, using: &random) * 1000)
    let shrinkWindow = Milliseconds(Int.random(in: 0...300, using: &random) * 1000)
    var now: Milliseconds = 1_000_000
    for _ in 0..<300 {
      let proposed = Int.random(in: 0...30, using: &random)
      let current = Int.random(in: 1...30, using: &random)
      growth.noteForSmallest(proposed, at: now, window: growthWindow)
      shrink.noteForLargest(proposed, at: now, window: shrinkWindow)
      all.append((proposed, now))
      let smallest = all.filter { $0.at > now - growthWindow }.map(\.replicas).min() ?? proposed
      let largest = all.filter { $0.at > now - shrinkWindow }.map(\.replicas).max() ?? proposed
      let right = min(max(current, min(smallest, proposed)), max(largest, proposed))
      let result = StabilizationWindow.stabilize(
        current: current, proposed: proposed, growth: growth, shrink: shrink, now: now, growthWindow: growthWindow,
        shrinkWindow: shrinkWindow)
      #expect(result.replicas == right)
      #expect((result.until == nil) == (result.replicas == proposed))
      now += Milliseconds(Int.random(in: 0...20, using: &random) * 1000)
    }
  }

  @Test("A held count can move at the moment that the plan names, and not before")
  func windowDeadline() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleDown.stabilizationWindow = .seconds(300)
    var scene = Scene(spec, replicas: 40)
    let plan = try scene.step([.asking(10)])
    let deadline = try #require(plan.nextDeadline)
    #expect(deadline == start + .seconds(300))
    scene.now = deadline - .milliseconds(1)
    #expect(try scene.step([.asking(10)], seconds: 0).write == nil)
    scene.now = deadline
    #expect(try scene.step([.asking(10)]).write == 10)
  }

  struct PolicyRow: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var rules: ScalingRules
    var current: Int
    var changes: [(Int, secondsAgo: Int)]
    var growth: Int?
    var shrink: Int?

    init(
      _ name: String, _ policies: [ScalingRules.Policy], _ select: ScalingRules.SelectPolicy = .max, current: Int,
      _ changes: [(Int, secondsAgo: Int)] = [], growth: Int?, shrink: Int?
    ) {
      testDescription = name
      rules = ScalingRules(stabilizationWindow: .zero, selectPolicy: select, policies: policies)
      self.current = current
      self.changes = changes
      self.growth = growth
      self.shrink = shrink
    }
  }

  @Test(
    "Policies limit the change within their periods",
    arguments: [
      PolicyRow("no policy", [], current: 10, growth: nil, shrink: nil),
      PolicyRow("pods", [.init(.pods, 4, per: .seconds(60))], current: 10, growth: 14, shrink: 6),
      PolicyRow("percent", [.init(.percent, 33, per: .seconds(60))], current: 10, growth: 14, shrink: 6),
      PolicyRow(
        "the larger", [.init(.pods, 4, per: .seconds(60)), .init(.percent, 100, per: .seconds(60))], current: 10,
        growth: 20, shrink: 0),
      PolicyRow(
        "the smaller", [.init(.pods, 4, per: .seconds(60)), .init(.percent, 100, per: .seconds(60))], .min,
        current: 10, growth: 14, shrink: 6),
      PolicyRow("disabled", [.init(.pods, 4, per: .seconds(60))], .disabled, current: 10, growth: 10, shrink: 10),
      PolicyRow(
        "what was added counts", [.init(.pods, 4, per: .seconds(60))], current: 10, [(3, 59)], growth: 11, shrink: 3),
      PolicyRow(
        "an age equal to the period counts no more", [.init(.pods, 4, per: .seconds(60))], current: 10, [(3, 60)],
        growth: 14, shrink: 6),
      PolicyRow(
        "both directions count", [.init(.percent, 300, per: .seconds(60))], current: 6, [(4, 40), (-2, 20)],
        growth: 16, shrink: -8),
      PolicyRow(
        "percentages of less than nothing", [.init(.percent, 10, per: .seconds(60))], current: 2, [(5, 10)], growth: -3,
        shrink: -2),
    ])
  func policies(_ row: PolicyRow) {
    var events = ScaleEvents()
    let now: Milliseconds = 10_000_000
    for (change, secondsAgo) in row.changes {
      events.note(change, at: now - Int64(secondsAgo) * 1000, forgettingUntil: 0)
    }
    #expect(
      RatePolicies.growthLimit(row.rules, current: row.current, events: events, now: now)?.replicas == row.growth)
    #expect(
      RatePolicies.shrinkLimit(row.rules, current: row.current, events: events, now: now)?.replicas == row.shrink)
  }

  @Test("A change by hand counts for rate policies, which the HPA forgets")
  func foreignChange() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleUp.policies = [.init(.pods, 4, per: .seconds(60))]
    var scene = Scene(spec, replicas: 10)
    try scene.step([.asking(10)])
    scene.replicas = 13
    let plan = try scene.step([.asking(50)])
    #expect(plan.write == 14)
    #expect(plan.reasons.contains(.foreignChange(from: 10, to: 13)))
  }

  @Test("A clock that stepped back holds neither policies, windows nor confirmations for longer than they last")
  func clockStepsBack() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleUp.policies = [.init(.pods, 4, per: .seconds(60))]
    spec.behavior.scaleDown.stabilizationWindow = .seconds(60)
    var scene = Scene(spec, replicas: 10)
    scene.now = start + .seconds(3600)
    try scene.step([.asking(14)], seconds: 0)
    // The change, the proposal and a first sign of a collapse now lie an hour in the future.
    try scene.step([.asking(3)], seconds: 0)
    scene.now = start
    #expect(scene.writes == [14])
    #expect(try scene.step([.asking(20)], seconds: 60).write == nil)
    #expect(try scene.step([.asking(20)], seconds: 0).write == 18)
    scene.now = scene.now + .seconds(3600)
    try scene.step([.asking(3)], seconds: 0)
    scene.now = start + .seconds(100)
    for _ in 0..<3 { try scene.step([.asking(3)]) }
    scene.now = scene.now + .seconds(60)
    #expect(try scene.step([.asking(3)]).write == 5)
  }

  @Test("A failed write leaves no event behind")
  func failedWrite() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleUp.policies = [.init(.pods, 4, per: .seconds(60))]
    let plan = decideOnce(spec, replicas: 10, [.asking(50)])
    #expect(plan.write == 14)
    #expect(plan.state.events.events.map(\.change) == [4])
    #expect(plan.stateIfWriteFails(after: DecisionState()).events.events.isEmpty)
    #expect(plan.stateIfWriteFails(after: DecisionState()).expectedReplicas == 10)
  }

  @Test("One busy worker that isn't ready shields all ready ones, since Kubernetes would take it first")
  func shield() {
    let idle = WorkerActivity(inFlight: 0, drain: .acknowledged(since: start))
    let workers =
      [Fleet.worker(0, isReady: false, activity: WorkerActivity(inFlight: 1))]
      + (1..<8).map { Fleet.worker($0, activity: idle) }
    let plan = decideOnce(.plain([.external()]), replicas: 8, [.asking(6)], workers: workers)
    #expect(plan.write == nil)
    #expect(plan.reasons.contains(.shieldedByNotReady(worker: Fleet.name(0))))
  }

  @Test("A busy worker goes only when its drain has run out of time")
  func drainTimeout() {
    var spec = DecisionSpec.plain([.external()])
    func plan(orderedAgo seconds: Int) -> Plan {
      let workers = (0..<6).map {
        Fleet.worker($0, activity: WorkerActivity(inFlight: 1, drain: .ordered(since: start - .seconds(seconds))))
      }
      return decideOnce(spec, replicas: 6, [.asking(5)], workers: workers)
    }
    #expect(plan(orderedAgo: 1_000_000).write == nil)
    spec.drain.timeout = .seconds(1800)
    #expect(plan(orderedAgo: 1799).write == nil)
    #expect(plan(orderedAgo: 1799).nextDeadline == start + .seconds(1))
    #expect(plan(orderedAgo: 1800).write == 5)
  }

  @Test("Where every worker must report, one that doesn't may be busy")
  func silentWorker() {
    var spec = DecisionSpec.plain([.external()])
    #expect(decideOnce(spec, replicas: 8, [.asking(6)]).write == 6)
    spec.drain.expectsReports = true
    #expect(decideOnce(spec, replicas: 8, [.asking(6)]).write == nil)
    spec.drain.strategy = .immediate
    #expect(decideOnce(spec, replicas: 8, [.asking(6)]).write == 6)
  }

  @Test("Drain orders are taken back when the workers are needed again")
  func undrain() {
    let workers = (0..<6).map {
      Fleet.worker($0, activity: WorkerActivity(inFlight: 0, drain: $0 == 3 ? .acknowledged(since: start) : .none))
    }
    let plan = decideOnce(.plain([.external()]), replicas: 6, [.asking(6)], workers: workers)
    #expect(plan.orders == [.undrain(worker: Fleet.name(3))])
  }

  @Test("Zero by hand is off; zero by us comes back by itself, whatever the policies say")
  func zero() throws {
    #expect(decideOnce(.plain([.external()]), replicas: 0, [.asking(20)]).write == nil)
    var spec = DecisionSpec.plain([.external()], min: 0)
    spec.behavior.scaleUp.policies = [.init(.percent, 10, per: .seconds(60))]
    var scene = Scene(spec, replicas: 10)
    scene.restarts = true
    try scene.step([.asking(0)])
    #expect(scene.writes == [0])
    try scene.step([.asking(7)])
    #expect(scene.writes == [0, 7])
    scene.replicas = 0
    #expect(try scene.step([.asking(7)]).write == nil)
  }

  @Test("Annotations hold back what they say")
  func pauses() {
    var spec = DecisionSpec.plain([.external()])
    spec.pause = PauseSpec(scaleUp: true)
    #expect(decideOnce(spec, replicas: 10, [.asking(20)]).write == nil)
    #expect(decideOnce(spec, replicas: 10, [.asking(6)]).write == 6)
    spec.pause = PauseSpec(scaleDown: true)
    #expect(decideOnce(spec, replicas: 10, [.asking(6)]).write == nil)
    #expect(decideOnce(spec, replicas: 10, [.asking(20)]).write == 20)
    spec.pause = PauseSpec(all: true)
    #expect(decideOnce(spec, replicas: 2, [.asking(20)]).write == nil)
    spec.pause = PauseSpec(replicas: 3)
    #expect(decideOnce(spec, replicas: 10, [.asking(20)]).write == 3)
  }

  @Test("Growth that gets no more work done is taken back, and not tried again for a while")
  func marginalGain() throws {
    var scene = Scene(.plain([.external()]), replicas: 10)
    var completed: Int64 = 0
    var highest = 0
    // Ten workers complete 30 pieces in 15 s; so do twenty.
    for _ in 0..<60 {
      completed += 30
      let asked = scene.now < start + .seconds(300) ? 10 : 20
      try scene.step([.asking(asked)], completedWork: completed)
      highest = max(highest, scene.replicas)
    }
    #expect(highest == 20)
    #expect(scene.writes == [20, 10])
    // Growth that is worth it stays.
    var good = Scene(.plain([.external()]), replicas: 10)
    completed = 0
    for _ in 0..<60 {
      completed += Int64(good.replicas) * 3
      try good.step([.asking(good.now < start + .seconds(300) ? 10 : 20)], completedWork: completed)
    }
    #expect(good.writes == [20])
  }
}
