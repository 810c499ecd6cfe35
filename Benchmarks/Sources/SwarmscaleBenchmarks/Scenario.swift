import HPAReference
import KubernetesCore
import ScalingDecision

/// What the autoscalers of a benchmark are like.
enum Scenario: String, CaseIterable {
  /// CPU and memory band, the product's default; the load stays inside. The HPA has no bands: it gets one target each.
  case band
  /// CPU and memory by `Utilization`, within the tolerance: equal specs on both sides.
  case utilization
  /// CPU, memory, a Pods metric and an External metric, all of HPA types, all within the tolerance.
  case mixed
  /// CPU and memory by `Utilization`; the load jumps between 60 and 95 % at each pass, at the maximum: windows,
  /// policies and bounds work, and nothing is written.
  case moving
  /// CPU and memory band, backlog, API rate and a schedule: what a fleet of Claude workers has. The HPA has no such.
  case fleet

  /// Whether the HPA reference can be given the same, or (for bands) the nearest.
  var hasReference: Bool { self != .fleet }
}

/// Autoscalers with their states and inputs, for both algorithms, made ahead so that only deciding is measured.
struct DecisionFleet {
  /// The product's side of one object: two inputs, which passes use in turn.
  struct Object {
    /// What was asked.
    var spec: DecisionSpec
    /// What is remembered.
    var state = DecisionState()
    /// What is observed at even and at odd passes.
    var inputs: [DecisionInput]

    /// Decides from one of the inputs, and remembers; gives the count.
    mutating func decide(_ parity: Int, now: Timestamp) -> Int {
      Self.decide(spec, &state, &inputs[parity], now: now)
    }

    /// Decides from `input` instead, and remembers; gives the count.
    mutating func decide(from input: inout DecisionInput, now: Timestamp) -> Int {
      Self.decide(spec, &state, &input, now: now)
    }

    private static func decide(
      _ spec: DecisionSpec, _ state: inout DecisionState, _ input: inout DecisionInput, now: Timestamp
    ) -> Int {
      input.now = now
      let plan = ScalingDecision.decide(spec, state, input)
      state = plan.state
      return plan.desiredReplicas
    }
  }

  /// The reference's side of one object.
  struct Reference {
    /// Spec, history and status.
    var controller: HPAController
    /// What is read at even and at odd passes.
    var steps: [HPAStep]
  }

  /// The product's objects.
  var objects: [Object]
  /// The reference's objects; none where it has no such metric.
  var references: [Reference]

  /// The first objects once more, for their observations.
  private var pool: [Object]
  private var pass = 0
  private static let start = Timestamp(secondsSinceEpoch: 1_790_000_000)
  private static let period = Duration.seconds(15)

  /// Makes `objects` autoscalers of `pods` workers each; they differ a little in their numbers.
  init(_ scenario: Scenario, objects: Int, pods: Int) {
    self.objects = (0..<objects).map { Self.object(scenario, $0, pods) }
    pool = Array(self.objects.prefix(10))
    references = scenario.hasReference ? (0..<objects).map { Self.reference(scenario, $0, pods) } : []
  }

  /// Decides once for each object; gives the sum of the counts, so that nothing can be left out as unused.
  mutating func decideAll() -> Int {
    var sum = 0
    let now = nextPass()
    for index in objects.indices {
      sum &+= objects[index].decide(pass % 2, now: now)
    }
    return sum
  }

  /// The same, where every object is decided from the observations of one of the first `count`.
  mutating func decideAll(observationsOf count: Int) -> Int {
    var sum = 0
    let now = nextPass()
    for index in objects.indices {
      sum &+= objects[index].decide(from: &pool[index % count].inputs[pass % 2], now: now)
    }
    return sum
  }

  /// The same for the reference.
  mutating func reconcileAll() -> Int {
    var sum = 0
    let now = nextPass()
    for index in references.indices {
      let result = references[index].controller.reconcile(references[index].steps[pass % 2], now: now)
      sum &+= Int(result.status.desiredReplicas)
    }
    return sum
  }

  private mutating func nextPass() -> Timestamp {
    pass &+= 1
    return Self.start + Self.period * pass
  }

  // MARK: The product's side

  private static func object(_ scenario: Scenario, _ number: Int, _ pods: Int) -> Object {
    let names = (0..<pods).map { name($0, of: number) }
    let workers = names.map { name in
      WorkerObservation(
        name: name, readiness: .init(isReady: true, since: start - .seconds(3_500)), createdAt: start - .seconds(3_600),
        startedAt: start - .seconds(3_590),
        requests: WorkerRequests(containers: [.init(name: "worker", cpu: 250, memory: 512_000_000_000)]))
    }
    let inputs = (0..<2).map { parity in
      DecisionInput(
        now: start, specReplicas: pods, statusReplicas: pods, workers: workers,
        readings: readings(scenario, number, names, parity))
    }
    var metrics = metricSpecs(scenario)
    // Samples are made once, and must not grow stale while time goes on.
    for index in metrics.indices { metrics[index].freshness = .seconds(1_000_000_000) }
    let maximum = scenario == .moving ? pods : 200
    return Object(spec: DecisionSpec(minReplicas: 5, maxReplicas: maximum, metrics: metrics), inputs: inputs)
  }

  private static func metricSpecs(_ scenario: Scenario) -> [MetricSpec] {
    let band = MetricTarget.utilizationBand(lower: 70, upper: 85)
    let isBand = scenario == .band || scenario == .fleet
    let target = isBand ? band : .utilization(percent: 77)
    var metrics = [
      MetricSpec(name: "cpu", source: .resource(.cpu), target: target),
      MetricSpec(name: "memory", source: .resource(.memory), target: target),
    ]
    switch scenario {
    case .band, .utilization, .moving: break
    case .mixed:
      metrics.append(MetricSpec(name: "sessions", source: .pods, target: .averageValue(milli: 10_000)))
      metrics.append(MetricSpec(name: "jobs", source: .external, target: .averageValue(milli: 4_000)))
    case .fleet:
      metrics.append(MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: 4_000)))
      metrics.append(
        MetricSpec(name: "API", source: .apiRate, target: .utilizationBand(lower: 85, upper: 95)))
      metrics.append(MetricSpec(name: "schedule", source: .schedule, target: .replicas))
    }
    return metrics
  }

  private static func readings(
    _ scenario: Scenario, _ number: Int, _ names: [String], _ parity: Int
  ) -> [MetricReading] {
    func samples(_ value: (Int) -> Int64) -> MetricReading {
      .perWorker(
        names.enumerated().map {
          WorkerSample(worker: $0.element, milli: value($0.offset), at: start, window: .seconds(30))
        })
    }
    var readings = [
      samples { cpu(scenario, number, $0, parity) }, samples { memory(scenario, number, $0, parity) },
    ]
    switch scenario {
    case .band, .utilization, .moving: break
    case .mixed:
      readings.append(samples { sessions(number, $0) })
      readings.append(.series(milli: [jobs(names.count)], at: start))
    case .fleet:
      let pods = Int64(names.count)
      readings.append(.backlog(BacklogReport(queued: pods, inFlight: pods * 3, slotsPerWorker: 4, at: start)))
      readings.append(
        .budget(
          BudgetReport(
            loads: [
              .init(.requests, limit: 4_000, offered: 1_200), .init(.inputTokens, limit: 2_000_000, offered: 900_000),
              .init(.outputTokens, limit: 400_000, offered: 348_000),
            ], at: start)))
      readings.append(.schedule(replicas: names.count, until: start + .seconds(1_000_000_000)))
    }
    return readings
  }

  // MARK: The reference's side

  private static func reference(_ scenario: Scenario, _ number: Int, _ pods: Int) -> Reference {
    let names = (0..<pods).map { name($0, of: number) }
    let labels = ["app": "reviewers-\(number)"]
    let hpaPods = names.map { name in
      HPAPod(
        name: name, labels: labels, phase: .running, startTime: start - .seconds(3_590),
        ready: .init(status: .true, lastTransitionTime: start - .seconds(3_500)),
        containers: [.init(name: "worker", requestsMilli: ["cpu": 250, "memory": 512_000_000_000])])
    }
    let steps = (0..<2).map { parity in
      HPAStep(
        specReplicas: Int32(pods), statusReplicas: Int32(pods), selector: "app=reviewers-\(number)", pods: hpaPods,
        samples: hpaSamples(scenario, number, names, parity))
    }
    let spec = HPADefaults.applied(
      to: HPASpec(
        scaleTargetRef: HPAObjectReference(kind: "Deployment", name: "reviewers-\(number)", apiVersion: "apps/v1"),
        minReplicas: 5, maxReplicas: scenario == .moving ? Int32(pods) : 200, metrics: hpaMetrics(scenario),
        behavior: HPABehaviorSpec()))
    return Reference(controller: HPAController(spec: spec), steps: steps)
  }

  private static func hpaMetrics(_ scenario: Scenario) -> [HPAMetricSpec] {
    let target = HPAMetricTarget(type: .utilization, averageUtilization: 77)
    var metrics = ["cpu", "memory"].map {
      HPAMetricSpec(type: .resource, resource: HPAResourceSource(name: $0, target: target))
    }
    if scenario == .mixed {
      let sessions = HPAMetricTarget(type: .averageValue, averageValue: HPAQuantity("10"))
      let jobs = HPAMetricTarget(type: .averageValue, averageValue: HPAQuantity("4"))
      metrics.append(
        HPAMetricSpec(
          type: .pods, pods: HPANamedMetricSource(metric: HPAMetricIdentifier(name: "sessions"), target: sessions)))
      metrics.append(
        HPAMetricSpec(
          type: .external, external: HPANamedMetricSource(metric: HPAMetricIdentifier(name: "jobs"), target: jobs)))
    }
    return metrics
  }

  private static func hpaSamples(
    _ scenario: Scenario, _ number: Int, _ names: [String], _ parity: Int
  ) -> [HPAMetricSample] {
    func samples(_ value: (Int) -> Int64) -> HPAMetricSample {
      var metrics: [String: HPAPodMetric] = [:]
      for (index, name) in names.enumerated() {
        metrics[name] = HPAPodMetric(timestamp: start, window: .seconds(30), valueMilli: value(index))
      }
      return .pods(metrics)
    }
    var all = [
      samples { cpu(scenario, number, $0, parity) }, samples { memory(scenario, number, $0, parity) },
    ]
    if scenario == .mixed {
      all.append(samples { sessions(number, $0) })
      all.append(.values([jobs(names.count)]))
    }
    return all
  }

  // MARK: Numbers, the same on both sides

  private static func name(_ pod: Int, of object: Int) -> String {
    "reviewers-\(object)-7d4b9c6f5d-\(String(10_000 + pod, radix: 36))"
  }

  /// Percent of the request: inside the band and the tolerance, or jumping.
  private static func percent(_ scenario: Scenario, _ number: Int, _ pod: Int, _ parity: Int) -> Int64 {
    let wiggle = Int64((number &* 7 &+ pod &* 3) % 5)
    guard scenario == .moving else { return 74 + wiggle }
    return (parity == 0 ? 60 : 95) + wiggle - 2
  }

  private static func cpu(_ scenario: Scenario, _ number: Int, _ pod: Int, _ parity: Int) -> Int64 {
    250 * percent(scenario, number, pod, parity) / 100
  }

  private static func memory(_ scenario: Scenario, _ number: Int, _ pod: Int, _ parity: Int) -> Int64 {
    512_000_000_000 * percent(scenario, number, pod, parity) / 100
  }

  private static func sessions(_ number: Int, _ pod: Int) -> Int64 { 9_600 + Int64((number &+ pod) % 8) * 100 }

  private static func jobs(_ pods: Int) -> Int64 { 4_000 * Int64(pods) - 1_000 }
}
