import KubernetesCore
import Testing

@testable import ScalingDecision

/// The moment at which test scenes begin; any will do.
let start = Timestamp(secondsSinceEpoch: 1_790_000_000)

/// Makes scenes: workers that request one core (1000 milli), and samples of what they use.
enum Fleet {
  /// A worker that has been ready for an hour.
  static func worker(
    _ number: Int, phase: WorkerObservation.Phase = .running, isReady: Bool = true, isDeleting: Bool = false,
    isScheduled: Bool = true, age: Duration = .seconds(3600), now: Timestamp = start,
    activity: WorkerActivity? = nil, deletionCost: Int32 = 0, requests: Int64? = 1000
  ) -> WorkerObservation {
    WorkerObservation(
      name: name(number), phase: phase, isDeleting: isDeleting,
      readiness: .init(isReady: isReady, since: now - age + .seconds(5)), createdAt: now - age,
      startedAt: isScheduled ? now - age : nil, isScheduled: isScheduled,
      requests: WorkerRequests(
        podCPU: requests, podMemory: requests, containers: [.init(name: "main", cpu: requests, memory: requests)]),
      activity: activity, deletionCost: deletionCost)
  }

  static func name(_ number: Int) -> String { "w-\(number < 10 ? "00" : number < 100 ? "0" : "")\(number)" }

  /// `count` ready workers.
  static func ready(_ count: Int, from first: Int = 0) -> [WorkerObservation] {
    (first..<(first + count)).map { worker($0) }
  }

  /// Each of `workers` uses `percent` of its request.
  static func usage(_ workers: [WorkerObservation], percent: Int64, at: Timestamp = start) -> [WorkerSample] {
    workers.map { WorkerSample(worker: $0.name, milli: percent * 10, at: at, window: .seconds(30)) }
  }

  /// A reading in which each worker uses `percent` of its request.
  static func cpu(_ workers: [WorkerObservation], percent: Int64, at: Timestamp = start) -> MetricReading {
    .perWorker(usage(workers, percent: percent, at: at))
  }
}

extension MetricSpec {
  static let cpuBand = MetricSpec(name: "cpu", source: .resource(.cpu), target: .utilizationBand(lower: 70, upper: 85))
  static let memoryBand = MetricSpec(
    name: "memory", source: .resource(.memory), target: .utilizationBand(lower: 70, upper: 85))
  static let backlog = MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: 4000))
  static let apiRate = MetricSpec(name: "API", source: .apiRate, target: .utilizationBand(lower: 85, upper: 95))
  static let schedule = MetricSpec(name: "schedule", source: .schedule, target: .replicas)

  static func cpu(percent: Int64) -> MetricSpec {
    MetricSpec(name: "cpu", source: .resource(.cpu), target: .utilization(percent: percent))
  }

  /// An external number that asks for as many workers as it says.
  static func external(_ name: String = "external", absent: AbsentPolicy = .fail) -> MetricSpec {
    MetricSpec(name: name, source: .external, target: .averageValue(milli: 1000), absent: absent, isTolerant: false)
  }
}

extension MetricReading {
  /// A number for `MetricSpec.external` that asks for `count` workers.
  static func asking(_ count: Int, at: Timestamp? = nil) -> MetricReading {
    .value(milli: Int64(count) * 1000, at: at)
  }

  /// A budget in which one dimension is at `percent`.
  static func budget(_ percent: Int64, throttledPPM: Int64 = 0) -> MetricReading {
    .budget(BudgetReport(loads: [.init(.outputTokens, limit: 1000, offered: percent * 10)], throttledPPM: throttledPPM))
  }
}

extension DecisionSpec {
  /// The spec that the rows of cases/decisions.md have in common: min 5, max 100, no windows, no policies.
  static func plain(
    _ metrics: [MetricSpec], min: Int = 5, max: Int = 100, fallback: FallbackSpec? = nil, isDryRun: Bool = false
  ) -> DecisionSpec {
    DecisionSpec(
      minReplicas: min, maxReplicas: max, metrics: metrics, behavior: .immediate, fallback: fallback,
      isDryRun: isDryRun)
  }
}

/// A scene with a count of its own, in which every write succeeds at once.
struct Scene {
  var spec: DecisionSpec
  var state = DecisionState()
  var replicas: Int
  var now = start
  var writes: [Int] = []
  var steps = 0
  /// Whether the state goes through its encoded form between decisions, as in a restart.
  var restarts = false

  init(_ spec: DecisionSpec, replicas: Int) {
    self.spec = spec
    self.replicas = replicas
  }

  /// Decides once, writes, and lets `seconds` pass.
  @discardableResult
  mutating func step(
    _ readings: [MetricReading], workers: [WorkerObservation]? = nil, seconds: Int = 15, completedWork: Int64? = nil
  ) throws -> Plan {
    if restarts { state = try state.restarted() }
    let input = DecisionInput(
      now: now, specReplicas: replicas, statusReplicas: replicas, workers: workers ?? Fleet.ready(replicas),
      readings: readings, completedWork: completedWork)
    let plan = ScalingDecision.decide(spec, state, input)
    // Every scene's beginning is also a trace of the decision log: what is recorded decides alike when it is read back.
    if steps < 8, input.workers.count <= 20 { try expectReplay(spec, state, input, plan) }
    steps += 1
    state = plan.state
    if let write = plan.write {
      replicas = write
      writes.append(write)
    }
    now = now + .seconds(seconds)
    return plan
  }
}

/// Decides once, without a past.
func decideOnce(
  _ spec: DecisionSpec, replicas: Int, _ readings: [MetricReading], workers: [WorkerObservation]? = nil,
  statusReplicas: Int? = nil
) -> Plan {
  ScalingDecision.decide(
    spec, DecisionState(),
    DecisionInput(
      now: start, specReplicas: replicas, statusReplicas: statusReplicas ?? replicas,
      workers: workers ?? Fleet.ready(replicas), readings: readings))
}

/// A small generator with a seed (SplitMix64), so that a failure can be run again.
struct Seeded: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
