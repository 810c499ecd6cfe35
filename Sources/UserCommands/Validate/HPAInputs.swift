import HPAReference
import KubernetesCore
import ScalingDecision

/// A recorded decision's inputs in the HPA's terms.
struct HPAInputs {
  /// The spec.
  let spec: HPASpec
  /// The flags of kube-controller-manager.
  let options: HPAControllerOptions
  /// What is read at the pass.
  let step: HPAStep
  /// Growth that really happened, by whomever.
  let scaleUpEvents: [HPAScaleEvent]
  /// Shrinking that really happened.
  let scaleDownEvents: [HPAScaleEvent]
  /// What was translated, in words.
  let translations: Set<String>

  private static let label = (name: "swarmscale.dev/worker", value: "true")

  /// Translates a record; nil when none of its metrics can be an HPA's.
  init?(_ record: DecisionRecord) {
    var metrics: [HPAMetricSpec] = []
    var samples: [HPAMetricSample] = []
    var notes: Set<String> = []
    for (index, metric) in record.spec.metrics.enumerated() {
      guard let translated = Self.metric(metric, &notes) else { continue }
      metrics.append(translated)
      let reading =
        index < record.input.readings.count ? record.input.readings[index] : .unavailable(.notYetRead)
      samples.append(Self.sample(metric, reading))
    }
    guard !metrics.isEmpty else { return nil }
    let limits = record.spec.limits
    let behavior = record.spec.behavior
    spec = HPASpec(
      scaleTargetRef: HPAObjectReference(kind: "Deployment", name: record.name, apiVersion: "apps/v1"),
      minReplicas: Int32(clamping: record.spec.minReplicas), maxReplicas: Int32(clamping: record.spec.maxReplicas),
      metrics: metrics,
      behavior: HPABehaviorSpec(scaleUp: Self.rules(behavior.scaleUp), scaleDown: Self.rules(behavior.scaleDown)))
    options = HPAControllerOptions(
      downscaleStabilization: behavior.scaleDown.stabilizationWindow,
      cpuInitializationPeriod: limits.cpuInitializationPeriod, initialReadinessDelay: limits.initialReadinessDelay,
      featureGates: HPAFeatureGates(scaleToZero: record.spec.minReplicas == 0))
    step = HPAStep(
      specReplicas: Int32(clamping: record.input.specReplicas),
      statusReplicas: Int32(clamping: record.input.statusReplicas),
      selector: "\(Self.label.name)=\(Self.label.value)", pods: record.input.workers.map(Self.pod), samples: samples)
    let events = record.stateBefore.events.events.map { event in
      HPAScaleEvent(
        change: Int32(clamping: event.change.magnitude),
        at: Timestamp(nanosecondsSinceEpoch: event.at.multipliedSaturated(by: 1_000_000)))
    }
    let isGrowth = record.stateBefore.events.events.map { $0.change > 0 }
    scaleUpEvents = zip(events, isGrowth).filter(\.1).map(\.0)
    scaleDownEvents = zip(events, isGrowth).filter { !$0.1 }.map(\.0)
    translations = notes
  }

  // MARK: Metrics

  private static func metric(_ metric: MetricSpec, _ notes: inout Set<String>) -> HPAMetricSpec? {
    switch metric.source {
    case .resource(let resource):
      guard let target = target(metric.target, &notes) else { return nil }
      return HPAMetricSpec(type: .resource, resource: HPAResourceSource(name: resource.rawValue, target: target))
    case .containerResource(let resource, let container):
      guard let target = target(metric.target, &notes) else { return nil }
      return HPAMetricSpec(
        type: .containerResource,
        containerResource: HPAResourceSource(name: resource.rawValue, target: target, container: container))
    case .pods:
      guard let target = target(metric.target, &notes) else { return nil }
      return HPAMetricSpec(type: .pods, pods: named(metric, target))
    case .object:
      guard let target = target(metric.target, &notes) else { return nil }
      return HPAMetricSpec(
        type: .object,
        object: HPAObjectSource(
          describedObject: HPAObjectReference(kind: "Object", name: metric.name, apiVersion: "v1"),
          metric: HPAMetricIdentifier(name: metric.name), target: target))
    case .external:
      guard let target = target(metric.target, &notes) else { return nil }
      return HPAMetricSpec(type: .external, external: named(metric, target))
    case .prometheus, .backlog:
      guard let target = target(metric.target, &notes) else { return nil }
      notes.insert("Prometheus and Backlog metrics are taken as External, as through an adapter")
      return HPAMetricSpec(type: .external, external: named(metric, target))
    case .schedule, .apiRate:
      notes.insert("APIRate and Schedule are left out; an HPA has neither")
      return nil
    }
  }

  private static func named(_ metric: MetricSpec, _ target: HPAMetricTarget) -> HPANamedMetricSource {
    HPANamedMetricSource(metric: HPAMetricIdentifier(name: metric.name), target: target)
  }

  private static func target(_ target: MetricTarget, _ notes: inout Set<String>) -> HPAMetricTarget? {
    switch target {
    case .utilization(let percent):
      return HPAMetricTarget(type: .utilization, averageUtilization: Int32(clamping: percent))
    case .averageValue(let milli):
      return HPAMetricTarget(type: .averageValue, averageValue: HPAQuantity("\(milli)m"))
    case .value(let milli):
      return HPAMetricTarget(type: .value, value: HPAQuantity("\(milli)m"))
    case .utilizationBand:
      notes.insert("a band of utilization is taken as a target of \(HPAComparison.bandPercent) %; an HPA has no bands")
      return HPAMetricTarget(type: .utilization, averageUtilization: HPAComparison.bandPercent)
    case .averageValueBand(let lower, let upper):
      notes.insert("a band of values is taken as its middle; an HPA has no bands")
      return HPAMetricTarget(type: .averageValue, averageValue: HPAQuantity("\(middle(lower, upper))m"))
    case .valueBand(let lower, let upper):
      notes.insert("a band of values is taken as its middle; an HPA has no bands")
      return HPAMetricTarget(type: .value, value: HPAQuantity("\(middle(lower, upper))m"))
    case .replicas:
      return nil
    }
  }

  private static func middle(_ lower: Int64, _ upper: Int64) -> Int64 { lower.addingSaturated(upper) / 2 }

  private static func rules(_ rules: ScalingRules) -> HPAScalingRules {
    HPAScalingRules(
      stabilizationWindowSeconds: seconds(rules.stabilizationWindow),
      selectPolicy: HPASelectPolicy(rawValue: rules.selectPolicy.rawValue),
      policies: rules.policies.map {
        HPAScalingPolicy(
          type: HPAPolicyType(rawValue: $0.unit.rawValue), value: Int32(clamping: $0.value),
          periodSeconds: seconds($0.period))
      },
      tolerance: HPAQuantity("\(rules.tolerance.billionths)n"))
  }

  private static func seconds(_ duration: Duration) -> Int32 { Int32(clamping: duration.components.seconds) }

  // MARK: Readings

  private static func sample(_ metric: MetricSpec, _ reading: MetricReading) -> HPAMetricSample {
    switch reading {
    case .workers(let samples):
      guard !samples.samples.isEmpty else { return .failed("no metrics returned from resource metrics API") }
      return .pods(
        Dictionary(
          samples.samples.map {
            ($0.worker, HPAPodMetric(timestamp: $0.at, window: $0.window, valueMilli: $0.milli))
          }
        ) { first, _ in first })
    case .value(let milli, _):
      return metric.source == .object ? .value(milli) : .values([milli])
    case .series(let values, _):
      if values.isEmpty { return .failed("no metrics returned") }
      return metric.source == .object ? .value(values.reduce(0) { $0.addingSaturated($1) }) : .values(values)
    case .backlog(let report):
      return .values([report.queued.addingSaturated(report.inFlight).multipliedSaturated(by: 1000)])
    case .schedule, .budget: return .failed("not a metric of an HPA")
    case .unavailable(let reason): return .failed("unable to get metric \(metric.name): \(reason.rawValue)")
    }
  }

  // MARK: Pods

  private static func pod(_ worker: WorkerObservation) -> HPAPod {
    HPAPod(
      name: worker.name, labels: [label.name: label.value],
      phase: HPAPod.Phase(rawValue: worker.phase.rawValue) ?? .unknown, isDeleted: worker.isDeleting,
      startTime: worker.startedAt,
      ready: worker.readiness.map {
        HPAPod.ReadyCondition(
          status: $0.isReady ? .true : $0.isUnknown ? .unknown : .false, lastTransitionTime: $0.since)
      },
      containers: worker.requests.containers.map { container in
        HPAPod.Container(name: container.name, requestsMilli: requests(container.cpu, container.memory))
      },
      podRequestsMilli: podRequests(worker.requests))
  }

  /// Pod-level requests, where the totals are not just the sums over the containers.
  private static func podRequests(_ requests: WorkerRequests) -> [String: Int64]? {
    let sums = WorkerRequests(containers: requests.containers)
    guard sums.cpu != requests.cpu || sums.memory != requests.memory else { return nil }
    let own = Self.requests(
      sums.cpu == requests.cpu ? nil : requests.cpu, sums.memory == requests.memory ? nil : requests.memory)
    return own.isEmpty ? nil : own
  }

  private static func requests(_ cpu: Int64?, _ memory: Int64?) -> [String: Int64] {
    var requests: [String: Int64] = [:]
    requests["cpu"] = cpu
    requests["memory"] = memory
    return requests
  }
}
