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

    init(kind: String) { self.kind = kind }

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
    var stabilization_window_s: Double?
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
    var controller_downscale_stabilization_s: Double?
    var recommendations: [Recommendation]?
  }
  struct Expected: Decodable, Sendable {
    var replicas: Int?
    var error: Failure?

    init() {}
  }
  var id: String
  var kind: String
  var input: Input
  var expected: Expected

  /// The vectors of the files whose names begin with `kind`.
  static func load(_ kind: String) throws -> [HPAVector] { try load(kind, as: HPAVector.self) }

  /// The same in another shape.
  static func load<Vector: Decodable>(_ kind: String, as type: Vector.Type) throws -> [Vector] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("HPAReferenceTests/Vectors")
    return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      .filter { $0 == "\(kind).json" || $0.hasPrefix("\(kind)-") }
      .flatMap { try JSONDecoder().decode([Vector].self, from: Data(contentsOf: folder.appendingPathComponent($0))) }
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

  /// The HPA's count; nil: it answers with an error.
  var theirs: Int? { expected.error == nil ? expected.replicas : nil }

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

// MARK: - Windows and policies

extension HPAVector {
  /// The windows and policies of the vector; without a `behavior` the product's defaults, as after `resolve`.
  var behavior: ScalingBehavior {
    var behavior = ScalingBehavior()
    let shrinkWindow = input.controller_downscale_stabilization_s ?? 300
    behavior.scaleDown.stabilizationWindow = .milliseconds(milliseconds(shrinkWindow))
    switch kind {
    case "legacy_normalize": return behavior
    case "behavior_stabilize":
      behavior = .immediate
      behavior.scaleUp.stabilizationWindow = .milliseconds(milliseconds(input.scale_up_stabilization_window_s ?? 0))
      behavior.scaleDown.stabilizationWindow = .milliseconds(
        milliseconds(input.scale_down_stabilization_window_s ?? shrinkWindow))
      return behavior
    default:
      let hasWindows = kind == "behavior_normalize"
      if let up = input.scale_up { behavior.scaleUp = Self.rules(up, window: hasWindows ? 0 : nil) }
      if let down = input.scale_down { behavior.scaleDown = Self.rules(down, window: hasWindows ? shrinkWindow : nil) }
      return behavior
    }
  }

  static func rules(_ rules: Rules, window: Double?) -> ScalingRules {
    ScalingRules(
      stabilizationWindow: .milliseconds(window.map { milliseconds(rules.stabilization_window_s ?? $0) } ?? 0),
      selectPolicy: .init(rawValue: rules.select_policy) ?? .max,
      policies: rules.policies.map {
        .init($0.type == "Pods" ? .pods : .percent, $0.value, per: .milliseconds(milliseconds($0.period_s)))
      })
  }

  /// What the whole decision makes of a metric that asks for the vector's count.
  var limited: Plan {
    let minimum = input.min_replicas ?? 0
    var spec = DecisionSpec.plain([.external()], min: minimum, max: input.max_replicas ?? largestReplicas)
    spec.behavior = behavior
    var state = DecisionState()
    state.expectedReplicas = current
    state.isScaledToZero = current == 0
    let now = start.milliseconds
    for past in (input.recommendations ?? []).sorted(by: { $0.at_s < $1.at_s }) {
      let at = now + milliseconds(past.at_s)
      state.growthWindow.noteForSmallest(
        past.replicas, at: at, window: spec.behavior.scaleUp.stabilizationWindow.milliseconds)
      state.shrinkWindow.noteForLargest(
        past.replicas, at: at, window: spec.behavior.scaleDown.stabilizationWindow.milliseconds)
    }
    let changes =
      (input.scale_up_events ?? []).map { ($0.change, $0.at_s) }
      + (input.scale_down_events ?? []).map { (-$0.change, $0.at_s) }
    for (change, at) in changes.sorted(by: { $0.1 < $1.1 }) {
      state.events.note(change, at: now + milliseconds(at), forgettingUntil: .min)
    }
    return ScalingDecision.decide(
      spec, state,
      DecisionInput(
        now: start, specReplicas: current, statusReplicas: current,
        readings: [.asking(input.desired_replicas ?? 0)]))
  }
}
