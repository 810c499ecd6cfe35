import KubernetesCore
import Testing

@testable import ScalingDecision

/// One row of the table of production trouble (cases/decisions.md).
///
/// Rows that a single pure decision can't show are tested where the rest of it lives: D36 (who is older) and D37
/// (observedGeneration) and D47 (no extra call) in ScalingController's tests, D46 (two fleets share) and D45's first half
/// (the throttle) in RateBudget's. What the core does for D36 and D45 is shown here.
struct DecisionCase: Sendable, CustomTestStringConvertible {
  let id: String
  let situation: String
  /// What is wrong with the answer; empty if nothing is.
  let faults: @Sendable () throws -> [String]
  var testDescription: String { "\(id) \(situation)" }

  init(_ id: String, _ situation: String, _ faults: @escaping @Sendable () throws -> [String]) {
    self.id = id
    self.situation = situation
    self.faults = faults
  }
}

func expect<Value: Equatable>(_ what: String, _ value: Value, _ right: Value) -> [String] {
  value == right ? [] : ["\(what) is \(value), not \(right)"]
}

func expect(_ what: String, _ isRight: Bool) -> [String] { isRight ? [] : [what] }

@Suite("The cases of production trouble")
struct DecisionCaseTests {
  @Test(
    "The decision is the right answer to each case",
    arguments: workCases + rolloutCases + numberCases + bandCases + budgetCases)
  func rightAnswer(_ row: DecisionCase) throws {
    let faults = try row.faults()
    #expect(faults.isEmpty, "\(row.id): \(faults.joined(separator: "; "))")
  }

  @Test("Every row that a decision can show is in the table, once")
  func complete() {
    let ids = (workCases + rolloutCases + numberCases + bandCases + budgetCases).map(\.id)
    let elsewhere: Set = ["D37", "D46", "D47"]
    let all = (1...47).map { "D\($0 < 10 ? "0" : "")\($0)" }.filter { !elsewhere.contains($0) }
    #expect(ids.sorted() == all)
  }
}

private let idle = WorkerActivity(inFlight: 0)
private let busy = WorkerActivity(inFlight: 1, oldestWorkAt: start - .seconds(600))
private let drained = WorkerActivity(inFlight: 0, drain: .acknowledged(since: start - .seconds(10)))

private func fleet(_ activities: [WorkerActivity]) -> [WorkerObservation] {
  activities.enumerated().map { Fleet.worker($0.offset, activity: $0.element) }
}

private func drainOrders(_ plan: Plan) -> [String] {
  plan.orders.compactMap { if case .drain(let worker) = $0 { worker } else { nil } }
}

private let workCases: [DecisionCase] = [
  DecisionCase("D01", "idle workers go, busy ones stay") {
    let six = Array(repeating: busy, count: 6)
    let spec = DecisionSpec.plain([.external()])
    let ordered = decideOnce(spec, replicas: 10, [.asking(7)], workers: fleet(six + Array(repeating: idle, count: 4)))
    let told = drainOrders(ordered)
    let acknowledged = (0..<10).map { number in
      number < 6 ? busy : told.contains(Fleet.name(number)) ? drained : idle
    }
    let plan = decideOnce(spec, replicas: 10, [.asking(7)], workers: fleet(acknowledged))
    return expect("the first write", ordered.write, nil) + expect("orders", told.count, 3)
      + expect("a busy worker is told to drain", told.allSatisfy { $0 >= Fleet.name(6) })
      + expect("the second write", plan.write, 7) + expect("victims", plan.victims, told)
  },
  DecisionCase("D02", "all are busy: three drain, and go one by one as they finish") {
    let spec = DecisionSpec.plain([.external()])
    var activities = Array(repeating: busy, count: 8)
    let first = decideOnce(spec, replicas: 8, [.asking(5)], workers: fleet(activities))
    let told = drainOrders(first)
    var faults = expect("the first write", first.write, nil) + expect("orders", told.count, 3)
    for number in 0..<8 where told.contains(Fleet.name(number)) {
      activities[number].drain = .acknowledged(since: start)
    }
    var workers = fleet(activities)
    for (worker, right) in zip(told, [7, 6, 5]) {
      guard let index = workers.firstIndex(where: { $0.name == worker }) else { return ["\(worker) is gone"] }
      workers[index].activity?.inFlight = 0
      let plan = decideOnce(spec, replicas: right + 1, [.asking(5)], workers: workers)
      faults += expect("the write", plan.write, right) + expect("victims", plan.victims, [worker])
      workers.remove(at: index)
    }
    return faults
  },
  DecisionCase("D03", "work in flight needs its workers") {
    let spec = DecisionSpec.plain([.cpuBand, .backlog])
    let workers = Fleet.ready(9)
    let report = BacklogReport(queued: 0, inFlight: 6)
    let plan = decideOnce(spec, replicas: 9, [Fleet.cpu(workers, percent: 10), .backlog(report)], workers: workers)
    let reporting = fleet(Array(repeating: busy, count: 6) + Array(repeating: drained, count: 3))
    let other = decideOnce(
      spec, replicas: 9, [Fleet.cpu(reporting, percent: 10), .backlog(report)], workers: reporting)
    return expect("desired", plan.desiredReplicas, 6) + expect("the write", plan.write, 6)
      + expect("the write where workers report", other.write, 6)
  },
  DecisionCase("D04", "a lowered maximum removes no busy worker, and stops growth at once") {
    let spec = DecisionSpec.plain([.external()], max: 50)
    let workers = fleet(Array(repeating: busy, count: 60) + Array(repeating: drained, count: 40))
    let plan = decideOnce(spec, replicas: 100, [.asking(100)], workers: workers)
    let small = decideOnce(spec, replicas: 50, [.asking(100)])
    return expect("the write", plan.write, 60) + expect("desired", plan.desiredReplicas, 50)
      + expect("a busy worker is a victim", plan.victims.allSatisfy { $0 >= Fleet.name(60) })
      + expect("orders", drainOrders(plan).count, 10) + expect("growth", small.write, nil)
  },
  DecisionCase("D05", "the two idle ones of seven go") {
    let loads = [0, 0, 9, 9, 9, 9, 9]
    let workers = fleet(
      loads.map { load in
        WorkerActivity(inFlight: load, slots: 10, drain: load == 0 ? .acknowledged(since: start) : .none)
      })
    let plan = decideOnce(.plain([.external()]), replicas: 7, [.asking(5)], workers: workers)
    return expect("victims", plan.victims, [Fleet.name(0), Fleet.name(1)]) + expect("the write", plan.write, 5)
  },
  DecisionCase("D06", "a worker that is starting is capacity, not idleness") {
    let ready = Fleet.ready(5)
    let starting = Fleet.worker(5, phase: .pending, isReady: false, age: .seconds(40))
    return [76, 80, 85, 93, 100].flatMap { (percent: Int64) in
      let plan = decideOnce(
        .plain([.cpuBand]), replicas: 6, [Fleet.cpu(ready, percent: percent)], workers: ready + [starting])
      return expect("desired at \(percent) %", plan.desiredReplicas, 6)
    }
  },
  DecisionCase("D07", "a worker that took work meanwhile is taken off the list") {
    var activities = Array(repeating: busy, count: 5) + [drained, drained, idle]
    activities[5] = WorkerActivity(inFlight: 1, drain: .acknowledged(since: start))
    let plan = decideOnce(.plain([.external()]), replicas: 8, [.asking(6)], workers: fleet(activities))
    return expect("the write", plan.write, 7) + expect("victims", plan.victims, [Fleet.name(6)])
      + expect("another idle worker is asked", drainOrders(plan) == [Fleet.name(7)])
  },
]

private let rolloutCases: [DecisionCase] = [
  DecisionCase("D08", "a rollout's surge changes nothing") {
    var scene = Scene(.plain([.cpuBand]), replicas: 100)
    var faults: [String] = []
    for round in 0..<40 {
      // New workers become ready one after another, and take their part of the load; old ones still stand.
      let newReady = round * 25 / 40
      let ready = Fleet.ready(100 + newReady)
      let starting = (100 + newReady..<125).map { Fleet.worker($0, isReady: false, age: .seconds(20), now: scene.now) }
      let percent = Int64(7700 / ready.count)
      let burning = Fleet.usage(starting, percent: 200, at: scene.now)
      let samples = Fleet.usage(ready, percent: percent, at: scene.now) + burning
      let plan = try scene.step([.perWorker(samples)], workers: ready + starting)
      faults += expect("desired in round \(round)", plan.desiredReplicas, 100)
    }
    return faults
  },
  DecisionCase("D09", "the spec's count is decided from, not the status'") {
    let queue = MetricSpec(name: "queue", source: .external, target: .averageValue(milli: 30_000))
    let plan = decideOnce(.plain([queue]), replicas: 10, [.value(milli: 300_000, at: nil)], statusReplicas: 11)
    return expect("desired", plan.desiredReplicas, 10)
  },
  DecisionCase("D10", "surge never grows a shrink") {
    let workers = Fleet.ready(6)
    let plan = decideOnce(
      .plain([.cpu(percent: 50)], min: 1), replicas: 4, [Fleet.cpu(workers, percent: 40)], workers: workers)
    return expect("desired is \(plan.desiredReplicas)", plan.desiredReplicas <= 4)
  },
  DecisionCase("D11", "surge never grows a shrink of a large fleet") {
    let workers = Fleet.ready(125)
    let plan = decideOnce(
      .plain([.cpu(percent: 70)]), replicas: 100, [Fleet.cpu(workers, percent: 59)], workers: workers)
    return expect("desired is \(plan.desiredReplicas)", plan.desiredReplicas <= 100)
  },
  DecisionCase("D12", "terminating workers don't count") {
    let live = Fleet.ready(10)
    let dying = (10..<15).map { Fleet.worker($0, isDeleting: true) }
    let readings = [MetricReading.perWorker(Fleet.usage(live, percent: 80) + Fleet.usage(dying, percent: 0))]
    let plan = decideOnce(.plain([.cpuBand]), replicas: 10, readings, workers: live + dying)
    return expect("desired", plan.desiredReplicas, 10)
      + expect(
        "observed", plan.proposals[0].observed, .utilization(usageMilli: 8000, requestsMilli: 10_000))
  },
  DecisionCase("D13", "evicted workers don't count, not even without requests") {
    let live = Fleet.ready(10)
    let failed = (10..<40).map { Fleet.worker($0, phase: .failed, isReady: false, requests: nil) }
    let plan = decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(live, percent: 95)], workers: live + failed)
    return expect("desired", plan.desiredReplicas, 12)
  },
  DecisionCase("D14", "pending workers don't hold up a shrink, which goes at the configured rate") {
    let live = Fleet.ready(8)
    let pending = (8..<20).map { Fleet.worker($0, phase: .pending, isReady: false, age: .seconds(30)) }
    var spec = DecisionSpec.plain([.cpuBand])
    let free = decideOnce(spec, replicas: 20, [Fleet.cpu(live, percent: 10)], workers: live + pending)
    spec.behavior.scaleDown.policies = [.init(.pods, 3, per: .seconds(60))]
    let limited = decideOnce(spec, replicas: 20, [Fleet.cpu(live, percent: 10)], workers: live + pending)
    return expect("desired", free.desiredReplicas, 5) + expect("at the rate", limited.write, 17)
  },
  DecisionCase("D15", "a full cluster gets no further workers, and the reason says so") {
    let live = Fleet.ready(8)
    let pending = (8..<20).map {
      Fleet.worker($0, phase: .pending, isReady: false, isScheduled: false, age: .seconds(61))
    }
    let plan = decideOnce(
      .plain([.cpuBand, .external()]), replicas: 20, [Fleet.cpu(live, percent: 120), .asking(40)],
      workers: live + pending)
    let names = plan.logLine(name: "reviewers").contains("missing capacity")
    return expect("desired", plan.desiredReplicas, 20)
      + expect("the reason is missing", plan.reasons.contains(.missingCapacity(unplaced: 12)))
      + expect("the log line doesn't name it", names)
  },
  DecisionCase("D26", "what starting workers burn causes no growth") {
    var scene = Scene(.plain([.cpu(percent: 30)], min: 1), replicas: 3)
    let first = try scene.step([Fleet.cpu(Fleet.ready(3), percent: 40, at: scene.now)])
    var faults = expect("the first decision", first.write, 4)
    for _ in 0..<6 {
      let old = Fleet.ready(3)
      let new = Fleet.worker(3, isReady: false, age: .seconds(50), now: scene.now)
      let samples =
        Fleet.usage(old, percent: 40, at: scene.now) + Fleet.usage([new], percent: 200, at: scene.now)
      faults += expect("a later one", try scene.step([.perWorker(samples)], workers: old + [new]).write, nil)
    }
    return faults
  },
  DecisionCase("D27", "a moment in which no worker is ready isn't a moment without load") {
    let value = MetricSpec(name: "latency", source: .external, target: .value(milli: 1000))
    let workers = (0..<40).map { Fleet.worker($0, isReady: false) }
    let plan = decideOnce(.plain([value]), replicas: 40, [.value(milli: 5000, at: nil)], workers: workers)
    return expect("desired", plan.desiredReplicas, 40)
  },
]

private let refused = MetricReading.unavailable(.sourceFailed)

private let numberCases: [DecisionCase] = [
  DecisionCase("D16", "an unknown demand never shrinks") {
    let plan = decideOnce(.plain([.external(), .memoryBand]), replicas: 30, [.asking(12), refused])
    return expect("desired", plan.desiredReplicas, 30) + expect("the step", plan.bindingStep, .unknownMetric)
  },
  DecisionCase("D17", "an unknown ceiling never grows") {
    let plan = decideOnce(.plain([.external(), .apiRate]), replicas: 30, [.asking(40), refused])
    return expect("desired", plan.desiredReplicas, 30) + expect("the step", plan.bindingStep, .unknownMetric)
  },
  DecisionCase("D18", "an unknown demand doesn't keep others from growing") {
    let spec = DecisionSpec.plain([.external(), .memoryBand, .apiRate])
    let plan = decideOnce(spec, replicas: 30, [.asking(40), refused, .budget(20)])
    return expect("desired", plan.desiredReplicas, 40)
  },
  DecisionCase("D19", "an outage of all sources moves nothing, or goes to the fallback once") {
    var held = Scene(.plain([.external(), .cpuBand]), replicas: 40)
    var fallen = Scene(.plain([.external(), .cpuBand], fallback: .init(replicas: 50)), replicas: 40)
    for _ in 0..<20 {
      try held.step([refused, refused])
      try fallen.step([refused, refused])
    }
    return expect("writes", held.writes, []) + expect("writes with a fallback", fallen.writes, [50])
  },
  DecisionCase("D20", "a collapse within one sample is confirmed first") {
    var scene = Scene(.plain([.external()]), replicas: 60)
    for value in [80, 80, 0, 0, 80] {
      scene.spec.maxReplicas = 60
      try scene.step([.asking(value)])
    }
    var fall = Scene(.plain([.external()]), replicas: 60)
    for value in [60, 0, 0, 0] { try fall.step([.asking(value)]) }
    return expect("writes", scene.writes, []) + expect("writes of a real fall", fall.writes, [5])
  },
  DecisionCase("D21", "what is no number is unknown") {
    let readings: [MetricReading] = [
      refused, .unavailable(.absent), .unavailable(.notANumber), .unavailable(.misconfigured),
      .unavailable(.notYetRead), .value(milli: -1, at: nil), .series(milli: [5000, -1], at: nil),
      .series(milli: [], at: nil), .value(milli: 5000, at: start - .seconds(121)),
      .value(milli: 5000, at: start + .seconds(121)), .budget(BudgetReport(loads: [])),
    ]
    return readings.flatMap { reading in
      let plan = decideOnce(.plain([.external()]), replicas: 30, [reading])
      return expect("desired for \(reading)", plan.desiredReplicas, 30)
        + expect("\(reading) has a number", plan.proposals[0].replicas == nil)
    }
  },
  DecisionCase("D22", "the fallback of one source doesn't silence the others") {
    var scene = Scene(.plain([.external("broken"), .external("cpu")], fallback: .init(replicas: 6)), replicas: 20)
    var last: Plan?
    for _ in 0..<3 { last = try scene.step([refused, .asking(14)]) }
    return expect("desired", last?.desiredReplicas, 14) + expect("writes", scene.writes, [14])
  },
  DecisionCase("D23", "a permanent failure leads to the fallback, once") {
    var up = Scene(.plain([.external()], min: 1, fallback: .init(replicas: 5)), replicas: 3)
    var down = Scene(.plain([.external()], min: 1, fallback: .init(replicas: 5)), replicas: 30)
    for _ in 0..<60 {
      try up.step([refused])
      try down.step([refused])
    }
    return expect("writes", up.writes, [5]) + expect("writes from above", down.writes, [5])
  },
  DecisionCase("D24", "a schedule still counts when a source is broken") {
    let spec = DecisionSpec.plain([.schedule, .external("cpu"), .external("broken")])
    let plan = decideOnce(spec, replicas: 10, [.schedule(replicas: 20, until: nil), .asking(12), refused])
    return expect("desired", plan.desiredReplicas, 20)
  },
  DecisionCase("D25", "an empty reply is zero, the last value, or unknown, as asked") {
    var faults: [String] = []
    for (policy, right) in [(MetricSpec.AbsentPolicy.zero, 5), (.hold, 12), (.fail, 20)] {
      var scene = Scene(.plain([.external(absent: policy)]), replicas: 20)
      if policy == .hold {
        scene.state.metrics = [MetricMemory(key: "external")]
        scene.state.metrics[0].lastMilli = 12_000
      }
      faults += expect("\(policy)", try scene.step([.series(milli: [], at: nil)]).desiredReplicas, right)
    }
    return faults
  },
]

private let bandCases: [DecisionCase] = [
  DecisionCase("D28", "41 tasks at four per worker need eleven") {
    let plan = decideOnce(.plain([.backlog]), replicas: 10, [.backlog(.init(queued: 31, inFlight: 10))])
    return expect("desired", plan.desiredReplicas, 11)
  },
  DecisionCase("D29", "inside the band nothing changes; outside, the way is right") {
    var faults: [String] = []
    for count in 5...100 {
      let workers = Fleet.ready(count)
      for percent in Int64(69)...86 {
        let plan = decideOnce(
          .plain([.cpuBand], min: 1, max: 1000), replicas: count, [Fleet.cpu(workers, percent: percent)],
          workers: workers)
        let moves = plan.desiredReplicas - count
        // Five workers at 69 % are 345 %: no smaller count is at most at 85 %.
        let right = percent < 70 ? (moves < 0 || count == 5) : percent > 85 ? moves > 0 : moves == 0
        if !right { faults.append("\(count) at \(percent) % became \(plan.desiredReplicas)") }
      }
    }
    return faults
  },
  DecisionCase("D30", "70 workers at 29 % of 70 are 29, where doubles say 30") {
    let workers = Fleet.ready(70)
    let plan = decideOnce(
      .plain([.cpu(percent: 70)]), replicas: 70, [Fleet.cpu(workers, percent: 29)], workers: workers)
    return expect("desired", plan.desiredReplicas, 29)
  },
  DecisionCase("D31", "percent policies are exact") {
    func grown(_ count: Int, _ percent: Int64) -> Int? {
      var spec = DecisionSpec.plain([.external()], max: 10_000)
      spec.behavior.scaleUp.policies = [.init(.percent, percent, per: .seconds(60))]
      return decideOnce(spec, replicas: count, [.asking(10_000)]).write
    }
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleDown.policies = [.init(.percent, 30, per: .seconds(60))]
    let shrunk = decideOnce(spec, replicas: 90, [.asking(5)]).write
    return expect("100 + 10 %", grown(100, 10), 110) + expect("50 + 10 %", grown(50, 10), 55)
      + expect("90 + 10 %", grown(90, 10), 99) + expect("90 − 30 %", shrunk, 63)
  },
  DecisionCase("D32", "no use means the minimum, with one write") {
    var scene = Scene(.plain([.cpuBand], min: 15), replicas: 20)
    for _ in 0..<100 {
      try scene.step([Fleet.cpu(Fleet.ready(scene.replicas), percent: 0, at: scene.now)])
    }
    return expect("writes", scene.writes, [15])
  },
  DecisionCase("D33", "a restart at each step changes no decision") {
    try restartFaults(seed: 33, steps: 200)
  },
  DecisionCase("D34", "a restart doesn't cut the window short") {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleDown.stabilizationWindow = .seconds(300)
    var scene = Scene(spec, replicas: 40)
    scene.restarts = true
    scene.now = start - .seconds(300)
    for _ in 0..<20 { try scene.step([.asking(30)]) }
    var faults = expect("scaled down at 0", try scene.step([.asking(30)]).write, 30)
    scene.now = start + .seconds(10)
    while scene.now < start + .seconds(300) {
      faults += expect("the write at \(scene.now - start)", try scene.step([.asking(20)], seconds: 10).write, nil)
    }
    return faults + expect("the write at 300 s", try scene.step([.asking(20)]).write, 20)
  },
  DecisionCase("D35", "another writer is named, and own writes stay bounded") {
    var scene = Scene(.plain([.external()], min: 4), replicas: 4)
    var named: Int?
    for reset in 1...10 {
      try scene.step([.asking(4)], seconds: 15)
      scene.replicas = 2
      let plan = ScalingDecision.decide(
        scene.spec, scene.state,
        DecisionInput(
          now: scene.now, specReplicas: 2, statusReplicas: 2, workers: Fleet.ready(2), readings: [.asking(4)],
          foreignWriter: .init(manager: "argocd-controller")))
      scene.state = plan.state
      if let write = plan.write {
        scene.replicas = write
        scene.writes.append(write)
      }
      scene.now = scene.now + .seconds(15)
      let condition = plan.conditions.first { $0.kind == .contestedReplicas }
      if condition?.isTrue == true, condition?.message.contains("argocd-controller") == true { named = named ?? reset }
    }
    return expect("named after \(named ?? 99) resets", named ?? 99 <= 3)
      + expect("\(scene.writes.count) writes", scene.writes.count <= 6)
  },
  DecisionCase("D36", "the younger of two autoscalers is refused with a reason") {
    let input = DecisionInput(
      now: start, specReplicas: 10, statusReplicas: 10, workers: Fleet.ready(10), readings: [.asking(50)],
      olderRival: "elder")
    let plan = ScalingDecision.decide(.plain([.external()]), DecisionState(), input)
    let condition = plan.conditions[0]
    return expect("the write", plan.write, nil) + expect("able", condition.isTrue, false)
      + expect("the reason doesn't name it", condition.message.contains("elder"))
  },
  DecisionCase("D38", "a dry run decides alike and writes nothing") {
    var live = Scene(.plain([.external()]), replicas: 20)
    live.spec.behavior = ScalingBehavior()
    var dry = live
    dry.spec.isDryRun = true
    var random = Seeded(38)
    var faults: [String] = []
    for round in 0..<100 {
      let reading = MetricReading.asking(Int.random(in: 1...90, using: &random))
      dry.replicas = live.replicas
      let one = try live.step([reading])
      let other = try dry.step([reading])
      faults += expect("round \(round)", other.intendedWrite, one.write) + expect("a dry write", other.write, nil)
      faults += expect("desired", other.desiredReplicas, one.desiredReplicas)
    }
    return faults
  },
]

private let budgetCases: [DecisionCase] = [
  DecisionCase("D39", "the ceiling cuts the demand, and is named") {
    let spec = DecisionSpec.plain([.external("cpu"), .external("memory"), .apiRate])
    // 20 workers at 105 % of the budget: 95 % carry 18.
    let plan = decideOnce(spec, replicas: 20, [.asking(30), .asking(22), .budget(105)])
    return expect("desired", plan.desiredReplicas, 18) + expect("the step", plan.bindingStep, .ceiling)
      + expect("not named", plan.logLine(name: "reviewers").contains("limited by API budget"))
  },
  DecisionCase("D40", "429s freeze growth, then the budget decides") {
    let workers = Fleet.ready(20)
    let plan = decideOnce(
      .plain([.cpuBand, .apiRate]), replicas: 20,
      [Fleet.cpu(workers, percent: 95), .budget(100, throttledPPM: 300_000)], workers: workers)
    let calm = decideOnce(
      .plain([.external(), .apiRate]), replicas: 20, [.asking(40), .budget(60, throttledPPM: 20_000)])
    return expect("desired", plan.desiredReplicas, 19) + expect("frozen", calm.desiredReplicas, 20)
  },
  DecisionCase("D41", "a quiet budget is no reason to shrink") {
    let workers = Fleet.ready(20)
    let plan = decideOnce(
      .plain([.cpuBand, .apiRate]), replicas: 20, [Fleet.cpu(workers, percent: 80), .budget(20)], workers: workers)
    return expect("desired", plan.desiredReplicas, 20)
  },
  DecisionCase("D42", "the tightest dimension decides, and is named") {
    let report = BudgetReport(loads: [
      .init(.requests, limit: 4000, offered: 1600), .init(.inputTokens, limit: 2_000_000, offered: 1_000_000),
      .init(.outputTokens, limit: 400_000, offered: 384_000),
    ])
    let plan = decideOnce(.plain([.external(), .apiRate]), replicas: 20, [.asking(30), .budget(report)])
    return expect("desired", plan.desiredReplicas, 19)
      + expect("not named", plan.logLine(name: "reviewers").contains("output tokens 96 %"))
  },
  DecisionCase("D43", "workers that wait for the API aren't idle") {
    let waiting = WorkerActivity(inFlight: 1, isWaitingForAPI: true)
    let workers = fleet(Array(repeating: waiting, count: 12))
    let plan = decideOnce(.plain([.cpuBand]), replicas: 12, [Fleet.cpu(workers, percent: 5)], workers: workers)
    return expect("desired", plan.desiredReplicas, 12)
      + expect("not named", plan.logLine(name: "reviewers").contains("rate limited"))
  },
  DecisionCase("D44", "half the limit is half the ceiling") {
    func ceiling(_ limit: Int64) -> Int? {
      let report = BudgetReport(loads: [.init(.requests, limit: limit, offered: 950)])
      return decideOnce(.plain([.external(), .apiRate]), replicas: 20, [.asking(90), .budget(report)]).proposals[1]
        .replicas
    }
    return expect("before", ceiling(1000), 20) + expect("after", ceiling(500), 10)
  },
  DecisionCase("D45", "a burst moves no worker") {
    let report = BudgetReport(loads: [.init(.requests, limit: 1000, offered: 1500, sustained: 900)])
    return [15, 20, 40].flatMap { asked in
      let plan = decideOnce(.plain([.external(), .apiRate]), replicas: 20, [.asking(asked), .budget(report)])
      return expect("desired for \(asked)", plan.desiredReplicas, min(asked, 20))
    }
  },
]

/// What differs between a run that is never stopped and one that is restarted before each decision.
func restartFaults(seed: UInt64, steps: Int) throws -> [String] {
  var spec = DecisionSpec(
    minReplicas: 5, maxReplicas: 100, metrics: [.external(), .apiRate, .backlog],
    behavior: ScalingBehavior(
      scaleUp: ScalingRules(
        stabilizationWindow: .seconds(45), selectPolicy: .max,
        policies: [.init(.pods, 6, per: .seconds(30)), .init(.percent, 30, per: .seconds(60))]),
      scaleDown: ScalingRules(
        stabilizationWindow: .seconds(120), selectPolicy: .min,
        policies: [.init(.pods, 5, per: .seconds(60)), .init(.percent, 20, per: .seconds(90))])),
    fallback: FallbackSpec(failureThreshold: 4, replicas: 30, behavior: .currentReplicasIfHigher))
  spec.limits.gainSettling = .seconds(30)
  var running = Scene(spec, replicas: 20)
  var restarted = running
  restarted.restarts = true
  var random = Seeded(seed)
  var faults: [String] = []
  var completed: Int64 = 0
  var asked = 20
  for step in 0..<steps {
    completed += Int64.random(in: 0...40, using: &random)
    // A demand that stands for a while, so that it gets through the windows.
    if step % 12 == 0 { asked = Int.random(in: 1...100, using: &random) }
    let external: MetricReading = Int.random(in: 0..<8, using: &random) == 0 ? refused : .asking(asked)
    let readings = [
      external, .budget(Int64.random(in: 20...100, using: &random)),
      .backlog(.init(queued: Int64.random(in: 0...100, using: &random), inFlight: 10)),
    ]
    if Int.random(in: 0..<25, using: &random) == 0 {
      let other = Int.random(in: 3...100, using: &random)
      running.replicas = other
      restarted.replicas = other
    }
    let one = try running.step(readings, completedWork: completed)
    let other = try restarted.step(readings, completedWork: completed)
    if one != other { faults.append("step \(step): \(one.write ?? -1) and \(other.write ?? -1)") }
  }
  if running.writes.count < 5 { faults.append("only \(running.writes.count) writes: the trace shows nothing") }
  return faults
}
