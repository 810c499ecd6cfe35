import KubernetesCore

@testable import ScalingDecision

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One golden vector of the HPA, as far as the decision's own path can answer it.
struct HPAVector: Decodable, Sendable {
  /// The answer's errors are objects, the input's bare kinds.
  struct Failure: Decodable, Sendable {
    var kind: String

    private enum Keys: String, CodingKey { case kind }

    init(from decoder: any Decoder) throws {
      if let kind = try? decoder.singleValueContainer().decode(String.self) {
        self.kind = kind
      } else {
        kind = try decoder.container(keyedBy: Keys.self).decode(String.self, forKey: .kind)
      }
    }
  }
  struct Container: Decodable, Sendable {
    var name: String
    var role: String
    var requests_milli: [String: Int64]
  }
  struct Pod: Decodable, Sendable {
    var name: String
    var phase: String
    var deleted: Bool
    var start_s: Double?
    var ready: String?
    var ready_transition_s: Double?
    var containers: [Container]?
    var pod_requests_milli: [String: Int64]?
  }
  struct Sample: Decodable, Sendable {
    var value_milli: Int64
    var timestamp_s: Double?
    var window_s: Double?

    private enum Keys: String, CodingKey { case value_milli, timestamp_s, window_s }

    init(from decoder: any Decoder) throws {
      // `calc_pods` gives bare numbers.
      if let value = try? decoder.singleValueContainer().decode(Int64.self) {
        value_milli = value
        return
      }
      let container = try decoder.container(keyedBy: Keys.self)
      value_milli = try container.decode(Int64.self, forKey: .value_milli)
      timestamp_s = try container.decodeIfPresent(Double.self, forKey: .timestamp_s)
      window_s = try container.decodeIfPresent(Double.self, forKey: .window_s)
    }
  }
  struct Policy: Decodable, Sendable {
    var type: String
    var value: Int64
    var period_s: Double
  }
  struct Rules: Decodable, Sendable {
    var select_policy: String
    var policies: [Policy]
  }
  struct Event: Decodable, Sendable {
    var change: Int
    var at_s: Double
  }
  struct Recommendation: Decodable, Sendable {
    var replicas: Int
    var at_s: Double
  }
  struct Input: Decodable, Sendable {
    var current_replicas: Int?
    var status_replicas: Int?
    var desired_replicas: Int?
    var min_replicas: Int?
    var max_replicas: Int?
    var target_utilization: Int64?
    var target_usage_milli: Int64?
    var target_average_milli: Int64?
    var target_milli: Int64?
    var resource: String?
    var container: String?
    var tolerance_up: Double?
    var tolerance_down: Double?
    var cpu_initialization_period_s: Double?
    var initial_readiness_delay_s: Double?
    var pod_level_resources_enabled: Bool?
    var pods_error: Failure?
    var metrics_error: Failure?
    var metric_error: Failure?
    var pods: [Pod]?
    var metrics: [String: Sample]?
    var metric_value_milli: Int64?
    var metric_values_milli: [Int64]?
    var scale_up: Rules?
    var scale_down: Rules?
    var scale_up_events: [Event]?
    var scale_down_events: [Event]?
    var scale_up_stabilization_window_s: Double?
    var scale_down_stabilization_window_s: Double?
    var recommendations: [Recommendation]?
  }
  struct Expected: Decodable, Sendable {
    var replicas: Int?
    var error: Failure?
  }
  var id: String
  var kind: String
  var input: Input
  var expected: Expected

  /// The vectors of the files whose names begin with `kind`.
  static func load(_ kind: String) throws -> [HPAVector] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("HPAReferenceTests/Vectors")
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      .filter { $0 == "\(kind).json" || $0.hasPrefix("\(kind)-") }
      .flatMap { try JSONDecoder().decode([HPAVector].self, from: Data(contentsOf: folder.appendingPathComponent($0))) }
  }
}

func milliseconds(_ seconds: Double) -> Milliseconds { Int64((seconds * 1000).rounded()) }

func moment(_ seconds: Double) -> Timestamp { start + .milliseconds(milliseconds(seconds)) }

func tolerance(_ fraction: Double?) -> Tolerance {
  Tolerance(billionths: Int64(((fraction ?? 0.1) * 1_000_000_000).rounded()))
}

extension HPAVector {
  /// The count that the HPA's input is decided from.
  var current: Int { input.current_replicas ?? input.status_replicas ?? 0 }

  /// The metric that the vector is about.
  var metric: MetricSpec {
    let source: MetricSpec.Source
    switch kind {
    case "calc_resource_utilization", "calc_resource_raw":
      let resource: ComputeResource = input.resource == "memory" ? .memory : .cpu
      if let container = input.container, !container.isEmpty {
        source = .containerResource(resource, container: container)
      } else {
        source = .resource(resource)
      }
    case "calc_pods": source = .pods
    case "calc_object", "calc_object_per_pod": source = .object
    default: source = .external
    }
    let target: MetricTarget =
      if let percent = input.target_utilization {
        .utilization(percent: percent)
      } else if let milli = input.target_usage_milli ?? input.target_average_milli {
        .averageValue(milli: milli)
      } else {
        .value(milli: input.target_milli ?? 0)
      }
    return MetricSpec(name: "m", source: source, target: target, freshness: .seconds(1_000_000_000))
  }

  var reading: MetricReading {
    if input.metrics_error != nil || input.metric_error != nil { return .unavailable(.sourceFailed) }
    if let metrics = input.metrics {
      return .perWorker(
        metrics.map { name, sample in
          WorkerSample(
            worker: name, milli: sample.value_milli, at: moment(sample.timestamp_s ?? 0),
            window: .milliseconds(milliseconds(sample.window_s ?? 0)))
        })
    }
    if let value = input.metric_value_milli { return .value(milli: value, at: nil) }
    return .series(milli: input.metric_values_milli ?? [], at: nil)
  }

  var workers: [WorkerObservation] {
    guard input.pods_error == nil else { return [] }
    return (input.pods ?? []).map { pod in
      let isPodLevel = input.pod_level_resources_enabled ?? true
      let counted = (pod.containers ?? []).filter { $0.role != "init" }
      return WorkerObservation(
        name: pod.name, phase: .init(rawValue: pod.phase) ?? .unknown, isDeleting: pod.deleted,
        readiness: pod.ready.map {
          .init(isReady: $0 == "True", since: moment(pod.ready_transition_s ?? 0), isUnknown: $0 == "Unknown")
        },
        createdAt: moment(pod.start_s ?? 0), startedAt: pod.start_s.map(moment),
        requests: WorkerRequests(
          podCPU: isPodLevel ? pod.pod_requests_milli?["cpu"] : nil,
          podMemory: isPodLevel ? pod.pod_requests_milli?["memory"] : nil,
          containers: counted.map {
            .init(name: $0.name, cpu: $0.requests_milli["cpu"], memory: $0.requests_milli["memory"])
          }))
    }
  }

  /// What the decision makes of the vector's metric.
  var proposal: Proposal {
    var spec = DecisionSpec.plain([metric], min: 0, max: largestReplicas)
    spec.behavior.scaleUp.tolerance = tolerance(input.tolerance_up)
    spec.behavior.scaleDown.tolerance = tolerance(input.tolerance_down)
    spec.limits.cpuInitializationPeriod = .milliseconds(milliseconds(input.cpu_initialization_period_s ?? 300))
    spec.limits.initialReadinessDelay = .milliseconds(milliseconds(input.initial_readiness_delay_s ?? 30))
    var state = DecisionState()
    state.expectedReplicas = current
    state.isScaledToZero = current == 0
    let plan = ScalingDecision.decide(
      spec, state,
      DecisionInput(
        now: start, specReplicas: current, statusReplicas: current, workers: workers, readings: [reading]))
    return plan.proposals[0]
  }
}

/// The documented reasons for which the decision differs from the HPA (docs/decision.md).
enum Difference: String, CaseIterable, Sendable {
  case exactNumbers = "exact fractions instead of doubles and whole percent"
  case surge = "a shrink never grows"
  case startingCapacity = "asked-for capacity is capacity"
  case readyBlip = "a moment in which few are ready isn't little load"
  case finishedPods = "finished pods aren't workers"
  case ignoredRequests = "only workers that count need a request"
  case negative = "a negative number is unknown"
  case ghosts = "numbers of pods that are gone don't count"
  case noPods = "without pods the present count is decided from"

  /// The reason for which `ours` (nil: unknown) differs from the vector's answer; nil: none of the documented ones.
  static func explain(_ vector: HPAVector, ours: Int?) -> Difference? {
    let input = vector.input
    let pods = input.pods ?? []
    let theirs = vector.expected.error == nil ? vector.expected.replicas : nil
    let values =
      (input.metrics?.values.map(\.value_milli) ?? []) + (input.metric_values_milli ?? [])
      + (input.metric_value_milli.map { [$0] } ?? [])
    if values.contains(where: { $0 < 0 }) { return .negative }
    if pods.contains(where: { $0.phase == "Succeeded" && !$0.deleted }) { return .finishedPods }
    let names = Set(pods.map(\.name))
    if input.metrics?.keys.contains(where: { !names.contains($0) }) == true { return .ghosts }
    if let error = vector.expected.error {
      if error.kind.hasPrefix("missing_container") || error.kind.hasPrefix("container_not") {
        return ours != nil && pods.contains { $0.deleted || $0.phase == "Failed" } ? .ignoredRequests : nil
      }
      return ours != nil && input.target_milli != nil && pods.isEmpty || error.kind == "ready_pods_unavailable"
        ? .noPods : nil
    }
    guard let ours, let theirs else { return nil }
    let current = vector.current
    let total = values.reduce(Int64(0)) { $0.addingSaturated($1) }
    if ours <= current, theirs > current, pods.count > current { return .surge }
    guard let target = input.target_milli else {
      if ours == current, theirs < current { return .startingCapacity }
      return isRounding(vector, ours, theirs) ? .exactNumbers : nil
    }
    let ready = pods.count { $0.ready == "True" && $0.phase == "Running" }
    if total < target, ready < current, ours > theirs, ours <= current { return .readyBlip }
    if total > target, ready < current, ours == max(current, theirs) { return .startingCapacity }
    if pods.contains(where: { $0.deleted }) { return .startingCapacity }
    return isRounding(vector, ours, theirs) ? .exactNumbers : nil
  }

  /// Whether whole percent, or doubles, explain the difference: a relative error of 1/target moves the count by no
  /// more than that part of it, or moves the ratio into the tolerance.
  private static func isRounding(_ vector: HPAVector, _ ours: Int, _ theirs: Int) -> Bool {
    let target = max(vector.input.target_utilization ?? vector.input.target_usage_milli ?? .max, 1)
    let allowed = 1 + Int(Int64(max(ours, theirs)) / target)
    return abs(ours - theirs) <= allowed || theirs == vector.current && isInsideWhenCut(vector)
  }

  /// Whether the utilisation cut to whole percent is inside the tolerance.
  private static func isInsideWhenCut(_ vector: HPAVector) -> Bool {
    guard let target = vector.input.target_utilization, case .workers = vector.reading else {
      return false
    }
    var limits = DecisionLimits()
    limits.cpuInitializationPeriod = .milliseconds(milliseconds(vector.input.cpu_initialization_period_s ?? 300))
    limits.initialReadinessDelay = .milliseconds(milliseconds(vector.input.initial_readiness_delay_s ?? 30))
    var question = UtilizationCalculator.Question(needsRequests: true, freshness: .max)
    if case .resource(let resource) = vector.metric.source { question.resource = resource }
    if case .containerResource(let resource, let container) = vector.metric.source {
      (question.resource, question.container) = (resource, container)
    }
    let input = DecisionInput(
      now: start, specReplicas: vector.current, statusReplicas: vector.current, workers: vector.workers,
      readings: [vector.reading])
    let groups = UtilizationCalculator(now: start, limits: limits).groups(input, row: 0, question)
    let isOver = groups.usage * 100 > groups.requests * UInt128(target)
    let load =
      isOver
      ? UtilizationCalculator.lowLoad(groups, isShare: true)
      : UtilizationCalculator.highLoad(groups, isShare: true, full: UInt128(target))
    let interval = ToleranceInterval(
      up: tolerance(vector.input.tolerance_up), down: tolerance(vector.input.tolerance_down))
    return interval.compare(load.sum / max(load.weight, 1), to: UInt128(target)) == .hold
  }
}
