import KubernetesCore
import Testing

@testable import ScalingDecision

/// The exact edges of single rules, each found by a mutation of the code that no other test noticed.
@Suite("Edges of single rules")
struct EdgeTests {
  private func decide(
    _ spec: DecisionSpec, _ state: DecisionState, replicas: Int, _ readings: [MetricReading],
    workers: [WorkerObservation]? = nil, completedWork: Int64? = nil
  ) -> Plan {
    ScalingDecision.decide(
      spec, state,
      DecisionInput(
        now: start, specReplicas: replicas, statusReplicas: replicas, workers: workers ?? Fleet.ready(replicas),
        readings: readings, completedWork: completedWork))
  }

  // MARK: Before the metrics

  @Test("Our own zero is forgotten as soon as somebody else has raised the count")
  func zeroByHandAfterOwnZero() throws {
    var scene = Scene(.plain([.external()], min: 0), replicas: 3)
    try scene.step([.asking(0)])
    #expect(scene.writes == [0])
    scene.replicas = 5
    try scene.step([.asking(5)])
    scene.replicas = 0
    #expect(try scene.step([.asking(5)]).write == nil)
  }

  @Test("No window holds growth from our own zero")
  func windowFromZero() throws {
    var spec = DecisionSpec.plain([.external()], min: 0)
    spec.behavior.scaleUp.stabilizationWindow = .seconds(300)
    var scene = Scene(spec, replicas: 3)
    try scene.step([.asking(0)])
    try scene.step([.asking(7)])
    #expect(scene.writes == [0, 7])
  }

  @Test("An annotation's count also holds for a fleet that was set to zero by hand")
  func pausedAtFromZero() {
    var spec = DecisionSpec.plain([.external()])
    spec.pause = PauseSpec(replicas: 3)
    #expect(decideOnce(spec, replicas: 0, [.asking(20)]).write == 3)
  }

  @Test("A pause of one direction holds against the bounds, too")
  func pausedBounds() {
    var spec = DecisionSpec.plain([.external()], max: 20)
    spec.pause = PauseSpec(scaleUp: true)
    #expect(decideOnce(spec, replicas: 2, [.asking(10)]).write == nil)
    #expect(decideOnce(spec, replicas: 30, [.asking(10)]).write == 20)
    spec.pause = PauseSpec(scaleDown: true)
    #expect(decideOnce(spec, replicas: 30, [.asking(10)]).write == nil)
    #expect(decideOnce(spec, replicas: 2, [.asking(10)]).write == 5)
  }

  @Test("A dry run tells the change of another writer from the write that it didn't make")
  func dryRunForeignChange() throws {
    var scene = Scene(.plain([.external()], isDryRun: true), replicas: 10)
    #expect(try scene.step([.asking(14)]).intendedWrite == 14)
    #expect(try scene.step([.asking(10)]).reasons.contains(.foreignChange(from: 14, to: 10)) == false)
    scene.replicas = 13
    try scene.step([.asking(13)])
    scene.replicas = 10
    #expect(try scene.step([.asking(10)]).reasons.contains(.foreignChange(from: 13, to: 10)))
  }

  @Test("Changes are remembered for the longest period of either direction, and for a minute at least")
  func longestPeriod() throws {
    for slow in [true, false] {
      var spec = DecisionSpec.plain([.external()])
      let policy = ScalingRules.Policy(.pods, 4, per: .seconds(1800))
      if slow { spec.behavior.scaleDown.policies = [policy] } else { spec.behavior.scaleUp.policies = [policy] }
      var scene = Scene(spec, replicas: 20)
      try scene.step([.asking(slow ? 17 : 23)], seconds: 1790)
      try scene.step([.asking(slow ? 17 : 23)], seconds: 0)
      #expect(try scene.step([.asking(slow ? 10 : 50)]).write == (slow ? 16 : 24))
    }
    var scene = Scene(.plain([.external()]), replicas: 20)
    try scene.step([.asking(25)], seconds: 59)
    try scene.step([.asking(25)], seconds: 1)
    #expect(scene.state.events.events.map(\.change) == [5])
    try scene.step([.asking(25)])
    #expect(scene.state.events.events.isEmpty)
  }

  @Test("A contest ends when its last change is a window old, or lies in the future")
  func contestEnds() {
    for (age, changes) in [(599, 3), (600, 0), (-1, 0)] {
      var state = DecisionState()
      state.expectedReplicas = 10
      state.contest.changes = 3
      state.contest.lastChangeAt = (start - .seconds(age)).milliseconds
      #expect(decide(.plain([.external()]), state, replicas: 10, [.asking(10)]).state.contest.changes == changes)
    }
  }

  @Test("In a contest own writes wait for twice as long each time, and a failed one doesn't count")
  func contestBackOff() {
    var state = DecisionState()
    state.expectedReplicas = 10
    state.contest.changes = 3
    state.contest.lastChangeAt = start.milliseconds
    for (ownWrites, ago, writes) in [
      (0, 59, false), (0, 60, true), (1, 119, false), (1, 120, true), (3, 479, false), (3, 480, true), (9, 599, false),
      (9, 600, true), (0, -541, true), (0, -540, false),
    ] {
      state.contest.ownWrites = ownWrites
      state.lastWriteAt = (start - .seconds(ago)).milliseconds
      let plan = decide(.plain([.external()]), state, replicas: 10, [.asking(7)])
      #expect((plan.write != nil) == writes, "\(ownWrites) writes, \(ago) s ago")
      #expect(plan.state.contest.ownWrites == ownWrites + (writes ? 1 : 0))
      #expect(plan.stateIfWriteFails(after: state).contest.ownWrites == ownWrites)
      #expect((plan.bindingStep == .contest) == !writes)
    }
    state.contest.ownWrites = 0
    state.lastWriteAt = start.milliseconds
    let drained = (0..<10).map {
      Fleet.worker($0, activity: WorkerActivity(inFlight: 0, drain: .acknowledged(since: start)))
    }
    let held = decide(.plain([.external()]), state, replicas: 10, [.asking(7)], workers: drained)
    #expect(held.write == nil && held.victims.isEmpty)
  }

  @Test("A write that fails takes nothing back but what it noted: an older trial goes on")
  func failedWriteKeepsTrial() {
    var state = DecisionState()
    state.expectedReplicas = 10
    state.gain.trial = .init(
      from: 8, to: 10, at: (start - .seconds(60)).milliseconds, rateBefore: 1, completedAtStart: nil, startedAt: nil)
    let plan = decide(.plain([.external()], min: 12), state, replicas: 10, [.asking(12)])
    #expect(plan.write == 12)
    #expect(plan.stateIfWriteFails(after: state).gain == state.gain)
  }

  @Test("A fleet that we put to zero wakes although the first write of its growth fails")
  func failedWriteFromZero() {
    var state = DecisionState()
    state.expectedReplicas = 0
    state.isScaledToZero = true
    state.lastWriteAt = (start - .seconds(600)).milliseconds
    let spec = DecisionSpec.plain([.external()], min: 0)
    for _ in 0..<3 {
      let plan = decide(spec, state, replicas: 0, [.asking(4)])
      #expect(plan.write == 4)
      state = plan.stateIfWriteFails(after: state)
      #expect(state.lastWriteAt == (start - .seconds(600)).milliseconds)
      #expect(state.events.events.isEmpty)
    }
  }

  @Test("A zero by hand stays one when the write that an annotation asked for fails")
  func failedWriteFromZeroByHand() {
    var state = DecisionState()
    state.expectedReplicas = 0
    var spec = DecisionSpec.plain([.external()], min: 0)
    spec.pause.replicas = 3
    let plan = decide(spec, state, replicas: 0, [.asking(4)])
    #expect(plan.write == 3)
    state = plan.stateIfWriteFails(after: state)
    spec.pause.replicas = nil
    #expect(decide(spec, state, replicas: 0, [.asking(4)]).reasons.contains(.scaledToZeroByHand))
  }

  @Test("The most negative number is a negative one, not a missing one")
  func mostNegativeNumber() {
    let worker = Fleet.worker(0)
    for milli in [-1, .min] as [Int64] {
      let plan = decideOnce(
        .plain([.cpuBand], min: 1), replicas: 1,
        [.perWorker([WorkerSample(worker: worker.name, milli: milli, at: start)])], workers: [worker])
      #expect(plan.proposals.map(\.outcome) == [.unknown(.negative)])
    }
  }

  @Test("A limit moves when the first change that its period still sees leaves it, not one that has just left")
  func limitMoves() {
    var rules = ScalingRules(
      stabilizationWindow: .zero, selectPolicy: .min,
      policies: [.init(.pods, 4, per: .seconds(60)), .init(.pods, 90, per: .seconds(120))])
    var events = ScaleEvents()
    events.note(1, at: -60_000, forgettingUntil: .min)
    events.note(2, at: -30_000, forgettingUntil: .min)
    #expect(
      RatePolicies.growthLimit(rules, current: 10, events: events, now: 0) == .init(replicas: 12, until: 30_000))
    rules.selectPolicy = .max
    #expect(
      RatePolicies.shrinkLimit(rules, current: 10, events: events, now: 0) == .init(replicas: -83, until: 60_000))
  }

  @Test("Of two dimensions that allow equally much the first one is named")
  func equalDimensions() {
    let report = BudgetReport(loads: [
      .init(.inputTokens, limit: 1_000, offered: 960), .init(.requests, limit: 100, offered: 96),
    ])
    let allowance = Ceilings.allowance(
      report, lower: 85, upper: 95, current: 20, minuteAgo: 20, limits: DecisionLimits())
    #expect(allowance.replicas == 19)
    #expect(
      allowance.observed == .budget(dimension: .inputTokens, load: 960, limit: 1_000, lower: 85, upper: 95))
  }

  // MARK: Demands

  @Test("Of two equal demands the first is named; schedules outside their hours ask for the minimum")
  func demands() {
    let tie = decideOnce(.plain([.external("a"), .external("b")]), replicas: 10, [.asking(12), .asking(12)])
    #expect(tie.reasons.first == .demand(metric: 0, replicas: 12))
    let silent = decideOnce(.plain([.schedule]), replicas: 10, [.schedule(replicas: nil, until: nil)])
    #expect(silent.write == 5)
    let none = decideOnce(.plain([]), replicas: 10, [])
    #expect(none.write == nil && none.reasons.contains(.noMetrics))
  }

  @Test("Workers that wait for the API hold the count, and never make it grow")
  func waiting() {
    let waiting = (0..<15).map { Fleet.worker($0, activity: WorkerActivity(inFlight: 1, isWaitingForAPI: true)) }
    #expect(decideOnce(.plain([.external()]), replicas: 12, [.asking(6)], workers: waiting).desiredReplicas == 12)
  }

  @Test("Work in flight holds the count by the slots of a worker, and never makes it grow")
  func workInFlight() {
    func desired(_ inFlight: Int64, slots: Int64, _ workers: [WorkerObservation]? = nil) -> Int {
      decideOnce(
        .plain([.backlog]), replicas: 9,
        [.backlog(.init(queued: 0, inFlight: inFlight, slotsPerWorker: slots))], workers: workers
      ).desiredReplicas
    }
    #expect(desired(7, slots: 1) == 7)
    #expect(desired(14, slots: 2) == 7)
    #expect(desired(15, slots: 2) == 8)
    #expect(desired(30, slots: 1) == 9)
    // Where workers report, they are told to drain, and the goal may go lower.
    #expect(desired(7, slots: 1, (0..<9).map { Fleet.worker($0, activity: WorkerActivity(inFlight: 1)) }) == 5)
    let two = DecisionSpec.plain([
      .backlog, MetricSpec(name: "b2", source: .backlog, target: .averageValue(milli: 9000)),
    ])
    let plan = decideOnce(
      two, replicas: 9,
      [.backlog(.init(queued: 0, inFlight: 8)), .backlog(.init(queued: 0, inFlight: 2))])
    #expect(plan.desiredReplicas == 8)
  }

  @Test("A number as old as its limit still counts, on both sides of now")
  func freshness() {
    for (age, counts) in [(120, true), (121, false), (-120, true), (-121, false)] {
      let at = start - .seconds(age)
      #expect((decideOnce(.plain([.external()]), replicas: 10, [.asking(12, at: at)]).write == 12) == counts)
      let workers = Fleet.ready(10)
      let reading = Fleet.cpu(workers, percent: 100, at: at)
      #expect((decideOnce(.plain([.cpuBand]), replicas: 10, [reading], workers: workers).write != nil) == counts)
    }
  }

  @Test("Half is no collapse; less than half is, until two later samples show it; a recovery starts anew")
  func collapse() throws {
    func writes(_ values: [Int], replicas: Int = 60, frozen: Bool = false) throws -> [Int] {
      var scene = Scene(.plain([.external()]), replicas: replicas)
      for (index, value) in values.enumerated() {
        try scene.step([.asking(value, at: frozen && index > 0 ? start + .seconds(15) : scene.now)])
      }
      return scene.writes
    }
    #expect(try writes([60, 30]) == [30])
    #expect(try writes([60, 29]) == [])
    #expect(try writes([60, 29, 29]) == [])
    #expect(try writes([60, 29, 29, 29]) == [29])
    #expect(try writes([60, 29, 29, 29], frozen: true) == [])
    #expect(try writes([60, 0, 60, 0, 60, 0, 60, 0]) == [])
    // A collapsed number may still ask for more than there is.
    #expect(try writes([10, 80, 35], replicas: 10) == [80])
    var growing = Scene(.plain([.external()]), replicas: 10)
    growing.state.metrics = [MetricMemory(key: "external")]
    growing.state.metrics[0].lastMilli = 80_000
    growing.state.expectedReplicas = 10
    #expect(try growing.step([.asking(35)]).write == 35)
    // What was confirmed is the number that the next fall is measured by.
    #expect(try writes([60, 20, 20, 20, 9]) == [20])
  }

  @Test("A number that goes to and fro below what there is doesn't hold the count", arguments: [false, true])
  func flicker(restarts: Bool) throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleDown.stabilizationWindow = .seconds(60)
    var scene = Scene(spec, replicas: 20)
    scene.restarts = restarts
    for value in [2, 0, 2, 0, 0, 2] { try scene.step([.asking(value)]) }
    #expect(scene.writes == [5])
    // The fall itself still waits to be confirmed, however little the number asked for before.
    var fall = Scene(.plain([.external()]), replicas: 20)
    for value in [12, 0] { try fall.step([.asking(value)]) }
    #expect(fall.writes == [12])
  }

  @Test("Of samples of several moments the newest tells whether a collapse was seen again")
  func newestSample() throws {
    var scene = Scene(.plain([.cpuBand]), replicas: 20)
    func reading(_ percent: Int64, _ first: Timestamp, _ others: Timestamp) -> MetricReading {
      .perWorker(
        Fleet.ready(20).enumerated().map {
          WorkerSample(worker: $0.element.name, milli: percent * 10, at: $0.offset == 0 ? first : others)
        })
    }
    try scene.step([reading(80, start, start)])
    try scene.step([reading(10, start + .seconds(15), start)])
    try scene.step([reading(10, start + .seconds(30), start)])
    #expect(scene.writes == [])
    try scene.step([reading(10, start + .seconds(45), start)])
    #expect(scene.writes == [5])
  }

  @Test(
    "The fallback stands in from the given failure on, as its behaviour says",
    arguments: [
      (FallbackSpec.Behavior.static, 30, 12), (.static, 8, 12), (.currentReplicas, 30, 30), (.currentReplicas, 8, 8),
      (.currentReplicasIfHigher, 30, 30), (.currentReplicasIfHigher, 8, 12), (.currentReplicasIfLower, 30, 12),
      (.currentReplicasIfLower, 8, 8),
    ])
  func fallback(_ row: (behavior: FallbackSpec.Behavior, replicas: Int, right: Int)) throws {
    let spec = DecisionSpec.plain(
      [.external()], fallback: .init(failureThreshold: 3, replicas: 12, behavior: row.behavior))
    var scene = Scene(spec, replicas: row.replicas)
    let refused = MetricReading.unavailable(.sourceFailed)
    try scene.step([refused])
    try scene.step([refused])
    #expect(scene.writes == [])
    try scene.step([refused])
    #expect(scene.replicas == row.right)
  }

  @Test("A reading between two failures makes the count of failures start anew; another order of metrics doesn't")
  func failures() throws {
    let spec = DecisionSpec.plain([.external("a"), .external("b")], fallback: .init(failureThreshold: 3, replicas: 30))
    var scene = Scene(spec, replicas: 10)
    let refused = MetricReading.unavailable(.sourceFailed)
    for reading in [refused, refused, .asking(10), refused, refused] { try scene.step([reading, .asking(10)]) }
    #expect(scene.writes == [])
    scene.spec.metrics.reverse()
    try scene.step([.asking(10), refused])
    #expect(scene.writes == [30])
  }

  @Test("A default metric whose requests nobody has made isn't there; one that was asked for is unknown")
  func missingRequests() {
    let workers = (0..<10).map { Fleet.worker($0, requests: nil) }
    func plan(_ absent: MetricSpec.AbsentPolicy) -> Plan {
      var metric = MetricSpec.cpuBand
      metric.absent = absent
      return decideOnce(
        .plain([metric, .external()]), replicas: 10, [Fleet.cpu(workers, percent: 95), .asking(6)], workers: workers)
    }
    #expect(plan(.ignore).proposals[0].outcome == .silent)
    #expect(plan(.ignore).write == 6)
    #expect(plan(.fail).proposals[0].outcome == .unknown(.missingRequest(worker: Fleet.name(0))))
    #expect(plan(.fail).write == nil)
    // Requests that are there, and no usable number: unknown, also for a default metric.
    var metric = MetricSpec.cpuBand
    metric.absent = .ignore
    let blind = decideOnce(.plain([metric, .external()]), replicas: 10, [.perWorker([]), .asking(6)])
    #expect(blind.proposals[0].outcome == .unknown(.noUsableSamples) && blind.write == nil)
  }

  @Test("A request of zero is a request; where all are zero there is no share to compute")
  func zeroRequests() {
    var workers = Fleet.ready(10)
    workers[0].requests = WorkerRequests(podCPU: 0, podMemory: 0)
    let plan = decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(workers, percent: 95)], workers: workers)
    #expect(plan.proposals[0].observed == .utilization(usageMilli: 9500, requestsMilli: 9000))
    for index in workers.indices { workers[index].requests = WorkerRequests(podCPU: 0, podMemory: 0) }
    let none = decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(workers, percent: 95)], workers: workers)
    #expect(none.proposals[0].outcome == .unknown(.noUsableSamples))
  }

  @Test("Workers that were asked for and aren't there yet speak against growth, and not for a shrink")
  func unborn() {
    let eight = Fleet.ready(8)
    func desired(_ percent: Int64) -> Int {
      decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(eight, percent: percent)], workers: eight)
        .desiredReplicas
    }
    // 8 at 90 % are 720, over ten 72 %; at 75 % they are 600, over ten 60 %, but each is in its band.
    #expect(desired(90) == 10)
    #expect(desired(75) == 10)
    // 840 over ten are 84 %, inside the band, though eleven would be nearer its middle.
    #expect(desired(105) == 10)
    #expect(desired(120) == 12)
    #expect(desired(40) == 5)
  }

  @Test("A worker that has waited for a node for exactly the threshold isn't yet without room")
  func capacity() {
    for (age, unplaced) in [(60, 0), (61, 1)] {
      let waiting = Fleet.worker(9, phase: .pending, isReady: false, isScheduled: false, age: .seconds(age))
      let plan = decideOnce(.plain([.external()]), replicas: 10, [.asking(12)], workers: Fleet.ready(9) + [waiting])
      #expect(plan.reasons.contains(.missingCapacity(unplaced: 1)) == (unplaced == 1))
      if unplaced == 0 { #expect(plan.nextDeadline == start + .milliseconds(1)) }
      var gone = waiting
      gone.isDeleting = true
      #expect(decideOnce(.plain([.external()]), replicas: 10, [.asking(12)], workers: [gone]).write == 12)
    }
  }

  @Test("A value exactly at an edge of its band changes nothing")
  func bandEdges() {
    let average = MetricSpec(
      name: "a", source: .external, target: .averageValueBand(lowerMilli: 1000, upperMilli: 2000))
    let value = MetricSpec(name: "v", source: .external, target: .valueBand(lowerMilli: 1000, upperMilli: 2000))
    func desired(_ metric: MetricSpec, _ milli: Int64) -> Int {
      decideOnce(.plain([metric], min: 1), replicas: 10, [.value(milli: milli, at: nil)]).desiredReplicas
    }
    #expect([10_000, 20_000].map { desired(average, $0) } == [10, 10])
    #expect(desired(average, 9_999) < 10 && desired(average, 20_001) > 10)
    #expect([1000, 2000].map { desired(value, $0) } == [10, 10])
    #expect(desired(value, 999) < 10 && desired(value, 2001) > 10)
    // Few that are ready for a moment aren't little load.
    let blip = (0..<10).map { Fleet.worker($0, isReady: $0 < 2) }
    let plan = decideOnce(.plain([value], min: 1), replicas: 10, [.value(milli: 900, at: nil)], workers: blip)
    #expect(plan.desiredReplicas == 6)
  }

  // MARK: Limits

  @Test("A count that the maximum cuts anyway isn't called limited by a policy")
  func maximumBeforePolicy() {
    var spec = DecisionSpec.plain([.external()], max: 12)
    spec.behavior.scaleUp.policies = [.init(.pods, 4, per: .seconds(60))]
    let plan = decideOnce(spec, replicas: 10, [.asking(500)])
    #expect(plan.write == 12 && plan.bindingStep == .maximum)
    #expect(!plan.reasons.contains { if case .rateLimited = $0 { true } else { false } })
  }

  @Test("The plan names when the oldest change leaves its period, or the holding proposal its window")
  func deadlines() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleUp.policies = [.init(.pods, 4, per: .seconds(60)), .init(.pods, 1, per: .seconds(300))]
    var scene = Scene(spec, replicas: 10)
    try scene.step([.asking(12)], seconds: 100)
    try scene.step([.asking(14)], seconds: 20)
    #expect(try scene.step([.asking(50)], seconds: 0).nextDeadline == start + .seconds(160))
    var windows = DecisionSpec.plain([.external()])
    windows.behavior.scaleUp.stabilizationWindow = .seconds(100)
    windows.behavior.scaleDown.stabilizationWindow = .seconds(300)
    var up = Scene(windows, replicas: 10)
    try up.step([.asking(10)], seconds: 10)
    #expect(try up.step([.asking(30)], seconds: 0).nextDeadline == start + .seconds(100))
    var down = Scene(windows, replicas: 40)
    try down.step([.asking(40)], seconds: 10)
    try down.step([.asking(30)], seconds: 10)
    #expect(try down.step([.asking(25)], seconds: 0).nextDeadline == start + .seconds(300))
  }

  @Test("A window that is full merges its oldest values towards holding longer")
  func fullWindow() {
    var history = WindowHistory()
    let window: Milliseconds = 1_000_000
    for index in 0...WindowHistory.capacity {
      history.noteForLargest(1000 - index, at: Milliseconds(index) * 10, window: window)
    }
    #expect(history.entries.count == WindowHistory.capacity)
    #expect(history.entries.first == .init(replicas: 1000, at: 10))
  }

  @Test("A write whose record was lost is taken for our own, with its event")
  func lostRecord() {
    var state = DecisionState()
    state.expectedReplicas = 4
    state.adoptOwnWrite(of: 0, at: start)
    #expect(state.expectedReplicas == 0 && state.isScaledToZero)
    #expect(state.events.events == [.init(change: -4, at: start.milliseconds)])
    state.adoptOwnWrite(of: 0, at: start + .seconds(1))
    #expect(state.events.events.count == 1 && state.lastWriteAt == start.milliseconds)
  }
}
