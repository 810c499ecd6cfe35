import HPAReference
import KubernetesCore

struct VectorController: Decodable {
  var tolerance: Double
  var downscaleStabilization: Seconds
  var cpuInitializationPeriod: Seconds
  var initialReadinessDelay: Seconds
  var featureGates: [String: Bool]

  enum CodingKeys: String, CodingKey {
    case tolerance
    case downscaleStabilization = "downscale_stabilization_s"
    case cpuInitializationPeriod = "cpu_initialization_period_s"
    case initialReadinessDelay = "initial_readiness_delay_s"
    case featureGates = "feature_gates"
  }

  var options: HPAControllerOptions {
    HPAControllerOptions(
      tolerance: tolerance, downscaleStabilization: downscaleStabilization.duration,
      cpuInitializationPeriod: cpuInitializationPeriod.duration, initialReadinessDelay: initialReadinessDelay.duration,
      featureGates: HPAFeatureGates(
        scaleToZero: featureGates["HPAScaleToZero"] ?? false,
        configurableTolerance: featureGates["HPAConfigurableTolerance"] ?? true,
        podLevelResources: featureGates["PodLevelResources"] ?? true))
  }
}

struct VectorStep: Decodable {
  struct Sample: Decodable {
    var error: String?
    var pods: [String: VectorMetric]?
    var value: Int64?
    var values: [Int64]?

    enum CodingKeys: String, CodingKey {
      case error, pods
      case value = "value_milli"
      case values = "values_milli"
    }

    func sample(now: Timestamp) -> HPAMetricSample {
      if let error { return .failed(error) }
      if let value { return .value(value) }
      if let values { return .values(values) }
      return .pods((pods ?? [:]).mapValues { $0.metric(now: now) })
    }
  }

  var time: Seconds
  var specReplicas: Int32
  var statusReplicas: Int32
  var selector: String
  var scaleGetError: String?
  var scaleUpdateError: String?
  var pods: [VectorPod]
  var samples: [Sample]

  enum CodingKeys: String, CodingKey {
    case selector, pods, samples
    case time = "t_s"
    case specReplicas = "spec_replicas"
    case statusReplicas = "status_replicas"
    case scaleGetError = "scale_get_error"
    case scaleUpdateError = "scale_update_error"
  }

  func step(now: Timestamp) -> HPAStep {
    HPAStep(
      specReplicas: specReplicas, statusReplicas: statusReplicas, selector: selector,
      pods: pods.map { $0.pod(now: now) }, samples: samples.map { $0.sample(now: now) },
      scaleGetError: scaleGetError, scaleUpdateError: scaleUpdateError)
  }
}

struct VectorStatusCondition: Decodable {
  var type: HPAConditionType
  var status: HPAConditionStatus
  var reason: String
  var since: Seconds

  enum CodingKeys: String, CodingKey {
    case type, status, reason
    case since = "since_s"
  }

  func condition(now: Timestamp) -> HPACondition {
    HPACondition(type: type, status: status, reason: reason, lastTransitionTime: since.timestamp(relativeTo: now))
  }
}

struct VectorStepResult: Decodable {
  struct MetricStatus: Decodable {
    var type: HPAMetricSourceType
    var averageUtilization: Int32?
    var averageValueMilli: Int64?
    var averageValueUndefined: Bool?
    var valueMilli: Int64?

    enum CodingKeys: String, CodingKey {
      case type
      case averageUtilization = "average_utilization"
      case averageValueMilli = "average_value_milli"
      case averageValueUndefined = "average_value_undefined"
      case valueMilli = "value_milli"
    }

    var status: HPAMetricStatus {
      HPAMetricStatus(
        type: type, averageUtilization: averageUtilization, averageValueMilli: averageValueMilli,
        valueMilli: valueMilli)
    }
  }

  struct Status: Decodable {
    var currentReplicas: Int32
    var desiredReplicas: Int32
    var lastScale: Seconds?
    var metrics: [MetricStatus?]
    var conditions: [VectorStatusCondition]

    enum CodingKeys: String, CodingKey {
      case metrics, conditions
      case currentReplicas = "current_replicas"
      case desiredReplicas = "desired_replicas"
      case lastScale = "last_scale_s"
    }
  }

  struct Event: Decodable {
    var type: String
    var reason: String
  }

  var scaledTo: Int32?
  var status: Status
  var events: [Event]
  var error: String?

  enum CodingKeys: String, CodingKey {
    case status, events, error
    case scaledTo = "scaled_to"
  }

  /// Compares all but texts, as the vectors' README asks.
  func compare(_ actual: HPAStepResult, at what: String, now: Timestamp, _ differences: inout Differences) {
    differences.compare("\(what)scaled_to", actual.scaledTo, scaledTo)
    differences.compare("\(what)current_replicas", actual.status.currentReplicas, status.currentReplicas)
    differences.compare("\(what)desired_replicas", actual.status.desiredReplicas, status.desiredReplicas)
    differences.compare(
      "\(what)last_scale", actual.status.lastScaleTime, status.lastScale?.timestamp(relativeTo: now))
    var metrics = actual.status.currentMetrics
    for (index, expected) in status.metrics.enumerated() where expected?.averageValueUndefined == true {
      if index < metrics.count { metrics[index]?.averageValueMilli = expected?.averageValueMilli }
    }
    differences.compare("\(what)metrics", metrics, status.metrics.map { $0?.status })
    let conditions = actual.status.conditions.sorted { $0.type.rawValue < $1.type.rawValue }
    differences.compare(
      "\(what)conditions",
      conditions.map {
        HPACondition(
          type: $0.type, status: $0.status, reason: $0.reason, lastTransitionTime: $0.lastTransitionTime)
      }, status.conditions.map { $0.condition(now: now) })
    differences.compare(
      "\(what)events", actual.events.map { "\($0.type.rawValue) \($0.reason)" },
      events.map { "\($0.type) \($0.reason)" })
    differences.compare("\(what)has error", actual.error != nil, error != nil)
  }
}

struct ReconcileInput: Decodable {
  struct Other: Decodable {
    var name: String
    var selector: String
  }

  struct State: Decodable {
    var recommendations: [VectorRecommendation]?
    var scaleUpEvents: [VectorEvent]
    var scaleDownEvents: [VectorEvent]
    var currentReplicas: Int32
    var desiredReplicas: Int32
    var lastScale: Seconds?
    var conditions: [VectorStatusCondition]

    enum CodingKeys: String, CodingKey {
      case recommendations, conditions
      case scaleUpEvents = "scale_up_events"
      case scaleDownEvents = "scale_down_events"
      case currentReplicas = "status_current_replicas"
      case desiredReplicas = "status_desired_replicas"
      case lastScale = "last_scale_s"
    }

    var history: HPAHistory {
      HPAHistory(
        recommendations: recommendations?.map { $0.recommendation(now: vectorNow) },
        scaleUpEvents: scaleUpEvents.map { $0.event(now: vectorNow) },
        scaleDownEvents: scaleDownEvents.map { $0.event(now: vectorNow) })
    }

    var status: HPAStatus {
      HPAStatus(
        currentReplicas: currentReplicas, desiredReplicas: desiredReplicas,
        lastScaleTime: lastScale?.timestamp(relativeTo: vectorNow),
        conditions: conditions.map { $0.condition(now: vectorNow) })
    }
  }

  var spec: HPASpec
  var controller: VectorController
  var otherHPAs: [Other]
  var state: State
  var step: VectorStep

  enum CodingKeys: String, CodingKey {
    case controller, state, step
    case spec = "hpa_spec"
    case otherHPAs = "other_hpas"
  }
}

struct ReconcileExpectation: Decodable {
  struct State: Decodable {
    var recommendations: [VectorRecommendation]?
    var scaleUpEvents: [VectorEvent]
    var scaleDownEvents: [VectorEvent]

    enum CodingKeys: String, CodingKey {
      case recommendations
      case scaleUpEvents = "scale_up_events"
      case scaleDownEvents = "scale_down_events"
    }
  }

  var step: VectorStepResult
  var stateAfter: State

  enum CodingKeys: String, CodingKey {
    case step
    case stateAfter = "state_after"
  }
}

enum ReconcileVectors: VectorKind {
  static func check(_ input: ReconcileInput, _ expected: ReconcileExpectation, _ differences: inout Differences) {
    var neighbours: [HPAController.Neighbour] = []
    for other in input.otherHPAs {
      do {
        neighbours.append(HPAController.Neighbour(name: other.name, selector: try HPALabelSelector(other.selector)))
      } catch {
        differences.note("selector of \(other.name) cannot be read: \(error)")
      }
    }
    var controller = HPAController(
      spec: input.spec, options: input.controller.options, neighbours: neighbours, history: input.state.history,
      status: input.state.status)
    let result = controller.reconcile(input.step.step(now: vectorNow), now: vectorNow)
    expected.step.compare(result, at: "", now: vectorNow, &differences)
    let after = expected.stateAfter
    differences.compare(
      "recommendations", controller.history.recommendations,
      after.recommendations?.map { $0.recommendation(now: vectorNow) })
    differences.compare(
      "scale-up events", controller.history.scaleUpEvents, after.scaleUpEvents.map { $0.event(now: vectorNow) })
    differences.compare(
      "scale-down events", controller.history.scaleDownEvents, after.scaleDownEvents.map { $0.event(now: vectorNow) })
  }
}

struct ReconcileSequenceInput: Decodable {
  var spec: HPASpec
  var controller: VectorController
  var steps: [VectorStep]

  enum CodingKeys: String, CodingKey {
    case controller, steps
    case spec = "hpa_spec"
  }
}

struct ReconcileSequenceExpectation: Decodable {
  var steps: [VectorStepResult]
}

enum ReconcileSequenceVectors: VectorKind {
  static func check(
    _ input: ReconcileSequenceInput, _ expected: ReconcileSequenceExpectation, _ differences: inout Differences
  ) {
    differences.compare("number of steps", input.steps.count, expected.steps.count)
    var controller = HPAController(spec: input.spec, options: input.controller.options)
    for (index, (step, result)) in zip(input.steps, expected.steps).enumerated() {
      let now = step.time.timestamp(relativeTo: vectorNow)
      let actual = controller.reconcile(step.step(now: now), now: now)
      result.compare(actual, at: "step \(index): ", now: now, &differences)
    }
  }
}
