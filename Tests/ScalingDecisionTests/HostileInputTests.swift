import KubernetesCore
import SlowTests
import Testing

@testable import ScalingDecision

/// Nothing that an object, a source or a stored state says may trap, or lead outside the bounds.
@Suite("Hostile inputs")
struct HostileInputTests {
  private static let numbers: [Int64] = [
    .min, .min + 1, -1_000_000_007, -1, 0, 1, 2, 3, 7, 85, 100, 999, 1000, 1_000_000_007, .max / 1000, .max / 2,
    .max - 1, .max,
  ]

  private struct Source {
    var random: Seeded
    mutating func number() -> Int64 { numbers.randomElement(using: &random) ?? 0 }
    mutating func count() -> Int { Int(number()) }
    mutating func small() -> Int { Int.random(in: 0...4, using: &random) }
    mutating func flag() -> Bool { Bool.random(using: &random) }
    mutating func moment() -> Timestamp {
      flag() ? start : Timestamp(nanosecondsSinceEpoch: number())
    }
    mutating func duration() -> Duration { flag() ? .seconds(60) : .seconds(number()) }
    mutating func pick<Value>(_ values: [Value]) -> Value { values[Int.random(in: 0..<values.count, using: &random)] }

    mutating func target() -> MetricTarget {
      switch Int.random(in: 0..<7, using: &random) {
      case 0: .utilization(percent: number())
      case 1: .averageValue(milli: number())
      case 2: .value(milli: number())
      case 3: .utilizationBand(lower: number(), upper: number())
      case 4: .averageValueBand(lowerMilli: number(), upperMilli: number())
      case 5: .valueBand(lowerMilli: number(), upperMilli: number())
      default: .replicas
      }
    }

    mutating func metric(_ index: Int) -> MetricSpec {
      let source: MetricSpec.Source = pick([
        .resource(.cpu), .resource(.memory), .containerResource(.cpu, container: "main"), .pods, .object, .external,
        .prometheus, .backlog, .schedule, .apiRate,
      ])
      return MetricSpec(
        name: "m\(index)", source: source, target: target(), absent: pick([.hold, .zero, .fail, .ignore]),
        freshness: flag() ? nil : duration(), isTolerant: flag())
    }

    mutating func rules() -> ScalingRules {
      ScalingRules(
        stabilizationWindow: duration(), selectPolicy: pick([.max, .min, .disabled]),
        policies: (0..<small()).map { _ in
          ScalingRules.Policy(pick([.pods, .percent]), number(), per: duration())
        }, tolerance: Tolerance(billionths: number()))
    }

    mutating func spec() -> DecisionSpec {
      var limits = DecisionLimits()
      if flag() {
        limits.collapseConfirmations = count()
        limits.contestThreshold = count()
        limits.contestBackOff = duration()
        limits.contestWindow = duration()
        limits.rampPercentPerMinute = number()
        limits.gainBackOff = duration()
        limits.gainSettling = duration()
        limits.freshness = duration()
        limits.cpuInitializationPeriod = duration()
      }
      return DecisionSpec(
        minReplicas: count(), maxReplicas: count(), metrics: (0..<small()).map { metric($0) },
        behavior: ScalingBehavior(scaleUp: rules(), scaleDown: rules()),
        fallback: flag()
          ? nil
          : FallbackSpec(
            failureThreshold: count(), replicas: count(),
            behavior: pick([.static, .currentReplicas, .currentReplicasIfHigher, .currentReplicasIfLower])),
        drain: DrainSpec(
          strategy: pick([.idleFirst, .immediate]), timeout: flag() ? nil : duration(), expectsReports: flag()),
        pause: flag() ? PauseSpec() : PauseSpec(scaleUp: flag(), scaleDown: flag(), replicas: flag() ? nil : count()),
        isDryRun: flag(), limits: limits)
    }

    mutating func worker(_ index: Int) -> WorkerObservation {
      WorkerObservation(
        name: Fleet.name(index), phase: pick([.running, .pending, .succeeded, .failed, .unknown]),
        isDeleting: flag(), readiness: flag() ? nil : .init(isReady: flag(), since: moment(), isUnknown: flag()),
        createdAt: moment(), startedAt: flag() ? nil : moment(), isScheduled: flag(),
        requests: WorkerRequests(
          podCPU: flag() ? nil : number(),
          containers: [.init(name: "main", cpu: number(), memory: number()), .init(name: "b", cpu: number())]),
        activity: flag()
          ? nil
          : WorkerActivity(
            inFlight: count(), slots: count(), oldestWorkAt: flag() ? nil : moment(), isWaitingForAPI: flag(),
            drain: pick([.none, .ordered(since: moment()), .acknowledged(since: moment())])),
        deletionCost: Int32(truncatingIfNeeded: number()))
    }

    mutating func reading(_ metric: MetricSpec) -> MetricReading {
      if flag(), flag() { return .unavailable(pick([.absent, .sourceFailed, .notANumber])) }
      switch metric.source {
      case .resource, .containerResource, .pods:
        return .perWorker(
          (0..<8).map { WorkerSample(worker: Fleet.name($0), milli: number(), at: moment(), window: duration()) })
      case .object, .external, .prometheus:
        return flag()
          ? .value(milli: number(), at: flag() ? nil : moment())
          : .series(milli: (0..<small()).map { _ in number() }, at: nil)
      case .backlog: return .backlog(.init(queued: number(), inFlight: number(), slotsPerWorker: number()))
      case .schedule: return .schedule(replicas: flag() ? nil : count(), until: flag() ? nil : moment())
      case .apiRate:
        return .budget(
          BudgetReport(
            loads: BudgetDimension.allCases.map {
              .init(
                $0, limit: number(), offered: number(), sustained: number(),
                band: flag() ? nil : .init(lower: number(), upper: number()))
            }, throttledPPM: number(), isRampLimited: flag(), isLearning: flag()))
      }
    }

    mutating func state() -> DecisionState {
      var state = DecisionState()
      if flag() { return state }
      state.expectedReplicas = flag() ? nil : count()
      state.lastWriteAt = flag() ? nil : number()
      state.isScaledToZero = flag()
      state.growthWindow.entries = (0..<small()).map { _ in .init(replicas: count(), at: number()) }
      state.shrinkWindow.entries = (0..<small()).map { _ in .init(replicas: count(), at: number()) }
      state.events.events = (0..<small()).map { _ in .init(change: count(), at: number()) }
      state.metrics = (0..<small()).map { index in
        var memory = MetricMemory(key: "m\(index)")
        memory.failures = count()
        memory.lastMilli = number()
        memory.lastWanted = count()
        memory.collapses = Int.random(in: 0...1_000_000, using: &random)
        memory.collapseAt = number()
        return memory
      }
      state.contest.changes = count()
      state.contest.lastChangeAt = flag() ? nil : number()
      state.contest.ownWrites = count()
      state.gain.completed = number()
      state.gain.completedAt = number()
      state.gain.ceiling = flag() ? nil : count()
      state.gain.ceilingUntil = number()
      state.gain.failedTrials = count()
      if flag() {
        state.gain.trial = .init(
          from: count(), to: count(), at: number(), rateBefore: number(), completedAtStart: flag() ? nil : number(),
          startedAt: flag() ? nil : number())
      }
      return state
    }
  }

  @Test("Extreme numbers neither trap nor leave the bounds", .slow, arguments: UInt64(0)..<40)
  func extremes(seed: UInt64) throws {
    var source = Source(random: Seeded(seed))
    for round in 0..<100 {
      let spec = source.spec()
      let input = DecisionInput(
        now: source.moment(), specReplicas: source.count(), statusReplicas: source.count(),
        workers: (0..<source.small() * 2).map { source.worker($0) }, readings: spec.metrics.map { source.reading($0) },
        completedWork: source.flag() ? nil : source.number())
      // A state comes out of an object's status, but the core holds against one that doesn't, too.
      let raw = source.state()
      _ = ScalingDecision.decide(spec, raw, input)
      let plan = ScalingDecision.decide(spec, try raw.restarted(), input)
      let isPaused = plan.reasons.contains { if case .pausedAt = $0 { true } else { false } }
      if let write = plan.intendedWrite {
        #expect(write >= 0 && write <= largestReplicas)
        #expect(write >= min(plan.currentReplicas, plan.bounds.lowerBound) || isPaused)
        #expect(write <= max(plan.currentReplicas, plan.bounds.upperBound) || isPaused)
      }
      if round % 10 == 0 { try expectReplay(spec, try raw.restarted(), input, plan) }
      #expect(!plan.logLine(name: "x").isEmpty)
      #expect(plan.conditions.count == PlanCondition.Kind.allCases.count)
      _ = plan.stateIfWriteFails(after: raw)
      let again = ScalingDecision.decide(spec, try plan.state.restarted(), input)
      #expect(again == ScalingDecision.decide(spec, plan.state, input))
    }
  }

  @Test("A huge number means the maximum, not a negative count")
  func overflow() {
    let plan = decideOnce(.plain([.external()]), replicas: 10, [.series(milli: [.max, .max], at: nil)])
    #expect(plan.desiredReplicas == 100)
    let workers = Fleet.ready(10)
    let samples = workers.map { WorkerSample(worker: $0.name, milli: .max, at: start) }
    #expect(
      decideOnce(.plain([.cpuBand]), replicas: 10, [.perWorker(samples)], workers: workers).desiredReplicas == 100)
  }

  @Test("A state of another version, or none, is refused; an empty one holds for a window")
  func strangeState() throws {
    var spec = DecisionSpec.plain([.external()])
    spec.behavior.scaleDown.stabilizationWindow = .seconds(300)
    var scene = Scene(spec, replicas: 40)
    for _ in 0..<20 { try scene.step([.asking(10)]) }
    #expect(scene.writes == [])
    try scene.step([.asking(10)])
    #expect(scene.writes == [10])
  }
}
