import KubernetesCore
import ScalingAPI
import ScalingObservation

@testable import ScalingDecision

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// One golden vector of the HPA about whole passes: `reconcile` (one pass) or `reconcile_sequence` (many in a row).
struct HPAPassVector: Decodable, Sendable {
  struct Controller: Decodable, Sendable {
    var tolerance: Double
    var downscale_stabilization_s: Double
    var cpu_initialization_period_s: Double
    var initial_readiness_delay_s: Double
    var feature_gates: [String: Bool]
  }
  struct Target: Decodable, Sendable {
    var type: String
    var value: Quantity?
    var averageValue: Quantity?
    var averageUtilization: Int64?
  }
  struct Source: Decodable, Sendable {
    var name: String?
    var container: String?
    var target: Target
  }
  struct Metric: Decodable, Sendable {
    var type: String
    var resource: Source?
    var containerResource: Source?
    var pods: Source?
    var object: Source?
    var external: Source?
  }
  struct Policy: Decodable, Sendable {
    var type: String
    var value: Int64
    var periodSeconds: Double
  }
  struct Rules: Decodable, Sendable {
    var stabilizationWindowSeconds: Double?
    var selectPolicy: String
    var policies: [Policy]
    var tolerance: Quantity?
  }
  struct Behavior: Decodable, Sendable {
    var scaleUp: Rules
    var scaleDown: Rules
  }
  struct Spec: Decodable, Sendable {
    var minReplicas: Int
    var maxReplicas: Int
    var metrics: [Metric]
    var behavior: Behavior?
  }
  struct Condition: Decodable, Sendable {
    var type: String
    var status: String
  }
  struct State: Decodable, Sendable {
    var recommendations: [HPAVector.Recommendation]?
    var scale_up_events: [HPAVector.Event]
    var scale_down_events: [HPAVector.Event]
    var last_scale_s: Double?
    var conditions: [Condition]
  }
  struct Reading: Decodable, Sendable {
    var error: HPAVector.Failure?
    var pods: [String: HPAVector.Sample]?
    var value_milli: Int64?
    var values_milli: [Int64]?
  }
  struct Step: Decodable, Sendable {
    var t_s: Double
    var spec_replicas: Int
    var status_replicas: Int
    var selector: String
    var scale_get_error: String?
    var scale_update_error: String?
    var pods: [HPAVector.Pod]
    var samples: [Reading]
  }
  struct Other: Decodable, Sendable {
    var selector: String
  }
  struct Input: Decodable, Sendable {
    var hpa_spec: Spec
    var controller: Controller
    var other_hpas: [Other]?
    var state: State?
    var step: Step?
    var steps: [Step]?
  }
  struct Result: Decodable, Sendable {
    var scaled_to: Int?
  }
  struct Expected: Decodable, Sendable {
    var step: Result?
    var steps: [Result]?
  }
  /// The spec once more as JSON, for the product's own decoding.
  private struct RawInput: Decodable {
    var hpa_spec: JSONValue
  }
  private enum Keys: String, CodingKey { case id, kind, input, expected }

  var id: String
  var kind: String
  var input: Input
  var rawSpec: JSONValue
  /// What the HPA wrote at each step; nil: nothing.
  var theirs: [Int?]

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Keys.self)
    id = try container.decode(String.self, forKey: .id)
    kind = try container.decode(String.self, forKey: .kind)
    input = try container.decode(Input.self, forKey: .input)
    rawSpec = try container.decode(RawInput.self, forKey: .input).hpa_spec
    let expected = try container.decode(Expected.self, forKey: .expected)
    theirs = (expected.steps ?? expected.step.map { [$0] } ?? []).map(\.scaled_to)
  }

  /// The passes.
  var steps: [Step] { input.steps ?? input.step.map { [$0] } ?? [] }

  /// Whether the feature gate is on.
  func isOn(_ gate: String) -> Bool { input.controller.feature_gates[gate] ?? false }

  /// Whether the HPA put the target to zero itself before the first pass.
  var isScaledToZero: Bool {
    isOn("HPAScaleToZero")
      && (input.state?.conditions.contains { $0.type == "ScaledToZero" && $0.status == "True" } ?? false)
  }
}

// MARK: - The product's path

/// The product's passes over a vector, as the controller makes them: the spec resolved and compiled, pods and numbers observed,
/// decided, and the state carried on.
struct ProductPasses {
  let spec: DecisionSpec
  private let vector: HPAPassVector
  private var state = DecisionState()

  /// Compiles the vector's spec; throws what is wrong with it.
  init(_ vector: HPAPassVector) throws {
    self.vector = vector
    let controller = vector.input.controller
    let autoscaler = SwarmAutoscaler([
      "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler",
      "metadata": ["name": "web", "namespace": "default"], "spec": vector.rawSpec,
    ])
    var defaults = ResolvedAutoscaler.Defaults()
    defaults.tolerance = Quantity(milliValue: Int64((controller.tolerance * 1000).rounded()))
    defaults.downscaleStabilization = .milliseconds(milliseconds(controller.downscale_stabilization_s))
    var limits = DecisionLimits()
    limits.cpuInitializationPeriod = .milliseconds(milliseconds(controller.cpu_initialization_period_s))
    limits.initialReadinessDelay = .milliseconds(milliseconds(controller.initial_readiness_delay_s))
    spec = DecisionSpec(try autoscaler.resolved(defaults), limits: limits)
    if let before = vector.input.state { restore(before) }
  }

  /// What the HPA remembers, as the product would remember it.
  private mutating func restore(_ before: HPAPassVector.State) {
    let now = start.milliseconds
    state.isScaledToZero = vector.isScaledToZero
    state.lastWriteAt = before.last_scale_s.map { now + milliseconds($0) }
    if let recommendations = before.recommendations {
      state.expectedReplicas = vector.steps.first?.spec_replicas
      for past in recommendations.sorted(by: { $0.at_s < $1.at_s }) {
        let at = now + milliseconds(past.at_s)
        state.growthWindow.noteForSmallest(
          past.replicas, at: at, window: spec.behavior.scaleUp.stabilizationWindow.milliseconds)
        state.shrinkWindow.noteForLargest(
          past.replicas, at: at, window: spec.behavior.scaleDown.stabilizationWindow.milliseconds)
      }
    }
    let changes =
      before.scale_up_events.map { ($0.change, $0.at_s) } + before.scale_down_events.map { (-$0.change, $0.at_s) }
    for (change, at) in changes.sorted(by: { $0.1 < $1.1 }) {
      state.events.note(change, at: now + milliseconds(at), forgettingUntil: .min)
    }
  }

  /// One pass; gives the count that was written.
  mutating func pass(_ step: HPAPassVector.Step) -> Int? {
    // The controller decides nothing without a scale and the pods that its selector names (`ScaleTargets.read`).
    guard step.scale_get_error == nil, !step.selector.isEmpty, let selector = try? Selector(step.selector) else {
      return nil
    }
    let now = start + .milliseconds(milliseconds(step.t_s))
    let pods = step.pods.map { $0.pod(now: now) }.filter { selector.matches($0.labels) }
    let plan = ScalingDecision.decide(
      spec, state,
      Observation.input(
        now: now, specReplicas: step.spec_replicas, statusReplicas: step.status_replicas, pods: pods,
        metrics: spec.metrics, readings: step.samples.map { $0.reading(now: now) }))
    let isWritten = step.scale_update_error == nil
    state = isWritten ? plan.state : plan.stateIfWriteFails(after: state)
    return isWritten ? plan.write : nil
  }
}

extension HPAVector.Pod {
  /// The pod as the cache has it; a node is taken to be found, since vectors don't speak of it.
  fileprivate func pod(now: Timestamp) -> Pod {
    func moment(_ seconds: Double) -> Timestamp { now + .milliseconds(milliseconds(seconds)) }
    func amounts(_ requests: [String: Int64]) -> ResourceRequests {
      ResourceRequests(cpu: requests["cpu"], memory: requests["memory"])
    }
    return Pod(
      key: ObjectKey(namespace: "default", name: name), labels: ["app": "x"],
      template: PodTemplate(
        containers: (containers ?? []).map { container in
          PodContainer(
            name: container.name,
            role: container.role == "app" ? .app : container.role == "sidecar" ? .sidecar : .`init`,
            requests: amounts(container.requests_milli))
        }, podRequests: pod_requests_milli.map(amounts)),
      creationTimestamp: start_s.map(moment) ?? now, deletionTimestamp: deleted ? now : nil,
      startTime: start_s.map(moment), phase: Pod.Phase(text: phase),
      ready: ready.map {
        Pod.Condition(status: ConditionStatus(text: $0), lastTransitionTime: ready_transition_s.map(moment))
      }, nodeName: "n")
  }
}

extension HPAPassVector.Reading {
  fileprivate func reading(now: Timestamp) -> MetricReading {
    if error != nil { return .unavailable(.sourceFailed) }
    if let pods {
      return .perWorker(
        pods.map { name, sample in
          WorkerSample(
            worker: name, milli: sample.value_milli, at: now + .milliseconds(milliseconds(sample.timestamp_s ?? 0)),
            window: .milliseconds(milliseconds(sample.window_s ?? 0)))
        })
    }
    return value_milli.map { .value(milli: $0, at: nil) } ?? .series(milli: values_milli ?? [], at: nil)
  }
}

// MARK: - The parts of a pass as vectors of their own

extension HPAPassVector {
  /// The vector of the calculator for metric `index`; `status` is the count that averages are compared with.
  func calculation(_ index: Int, _ step: Step, status: Int, honoursTolerance: Bool) -> HPAVector {
    let metric = input.hpa_spec.metrics[index]
    let reading = index < step.samples.count ? step.samples[index] : Reading(error: .init(kind: "metrics_unavailable"))
    var vector = HPAVector.Input(current_replicas: step.spec_replicas)
    let tolerances = honoursTolerance ? input.hpa_spec.behavior : nil
    vector.tolerance_up = tolerances?.scaleUp.tolerance.map(Self.fraction) ?? input.controller.tolerance
    vector.tolerance_down = tolerances?.scaleDown.tolerance.map(Self.fraction) ?? input.controller.tolerance
    vector.cpu_initialization_period_s = input.controller.cpu_initialization_period_s
    vector.initial_readiness_delay_s = input.controller.initial_readiness_delay_s
    vector.pods = step.pods
    vector.metrics_error = reading.error
    vector.metric_error = reading.error
    vector.metrics = reading.pods
    vector.metric_value_milli = reading.value_milli
    vector.metric_values_milli = reading.values_milli
    let kind: String
    if let source = metric.resource ?? metric.containerResource {
      vector.resource = source.name
      vector.container = source.container
      vector.target_utilization = source.target.averageValue == nil ? source.target.averageUtilization : nil
      vector.target_usage_milli = source.target.averageValue?.milliValue
      kind = vector.target_utilization == nil ? "calc_resource_raw" : "calc_resource_utilization"
    } else if let source = metric.pods {
      vector.target_average_milli = source.target.averageValue?.milliValue
      kind = "calc_pods"
    } else {
      let target = (metric.object ?? metric.external)?.target
      let isValue = target?.type == "Value"
      vector.target_milli = isValue ? target?.value?.milliValue : nil
      vector.target_average_milli = isValue ? nil : target?.averageValue?.milliValue
      if !isValue {
        vector.current_replicas = nil
        vector.status_replicas = status
      }
      kind = (metric.object == nil ? "calc_external" : "calc_object") + (isValue ? "" : "_per_pod")
    }
    return HPAVector(id: id, kind: kind, input: vector, expected: .init())
  }

  private static func fraction(_ quantity: Quantity) -> Double { Double("\(quantity.nanoValue)e-9") ?? 0 }

  /// The vector of windows, policies and bounds for a proposal.
  func normalization(current: Int, desired: Int) -> HPAVector {
    var vector = HPAVector.Input(current_replicas: current, desired_replicas: desired)
    vector.min_replicas = input.hpa_spec.minReplicas
    vector.max_replicas = input.hpa_spec.maxReplicas
    vector.controller_downscale_stabilization_s = input.controller.downscale_stabilization_s
    func rules(_ rules: Rules) -> HPAVector.Rules {
      HPAVector.Rules(
        stabilization_window_s: rules.stabilizationWindowSeconds, select_policy: rules.selectPolicy,
        policies: rules.policies.map { .init(type: $0.type, value: $0.value, period_s: $0.periodSeconds) })
    }
    vector.scale_up = (input.hpa_spec.behavior?.scaleUp).map(rules)
    vector.scale_down = (input.hpa_spec.behavior?.scaleDown).map(rules)
    let kind = input.hpa_spec.behavior == nil ? "legacy_normalize" : "behavior_normalize"
    return HPAVector(id: id, kind: kind, input: vector, expected: .init())
  }
}
