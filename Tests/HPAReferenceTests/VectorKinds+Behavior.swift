import HPAReference
import KubernetesCore

/// The input of all behaviour kinds; which fields are there depends on the kind.
struct BehaviorInput: Decodable {
  var currentReplicas: Int32?
  var desiredReplicas: Int32?
  var prevReplicas: Int32?
  var newReplicas: Int32?
  var minReplicas: Int32?
  var maxReplicas: Int32?
  var scaleUpWindow: Int32?
  var scaleDownWindow: Int32?
  var scaleUp: VectorRules?
  var scaleDown: VectorRules?
  var scaleUpEvents: [VectorEvent]?
  var scaleDownEvents: [VectorEvent]?
  var recommendations: [VectorRecommendation]?
  var downscaleStabilization: Seconds?

  enum CodingKeys: String, CodingKey {
    case recommendations
    case currentReplicas = "current_replicas"
    case desiredReplicas = "desired_replicas"
    case prevReplicas = "prev_replicas"
    case newReplicas = "new_replicas"
    case minReplicas = "min_replicas"
    case maxReplicas = "max_replicas"
    case scaleUpWindow = "scale_up_stabilization_window_s"
    case scaleDownWindow = "scale_down_stabilization_window_s"
    case scaleUp = "scale_up"
    case scaleDown = "scale_down"
    case scaleUpEvents = "scale_up_events"
    case scaleDownEvents = "scale_down_events"
    case downscaleStabilization = "controller_downscale_stabilization_s"
  }

  var bounds: HPABehavior.Bounds { HPABehavior.Bounds(min: minReplicas ?? 0, max: maxReplicas ?? 0) }

  var behavior: HPABehaviorSpec { HPABehaviorSpec(scaleUp: scaleUp?.rules, scaleDown: scaleDown?.rules) }

  var history: HPAHistory {
    HPAHistory(
      recommendations: recommendations?.map { $0.recommendation(now: vectorNow) },
      scaleUpEvents: (scaleUpEvents ?? []).map { $0.event(now: vectorNow) },
      scaleDownEvents: (scaleDownEvents ?? []).map { $0.event(now: vectorNow) })
  }
}

struct VectorCondition: Decodable, Equatable {
  var status: HPAConditionStatus
  var reason: String
}

struct BehaviorExpectation: Decodable {
  var replicas: Int32?
  var reason: String?
  var scaleUpLimit: Int32?
  var scaleDownLimit: Int32?
  var ableToScale: VectorCondition?
  var scalingLimited: VectorCondition?
  var recommendationsAfter: [VectorRecommendation]?
  var scaleUpEventsAfter: [VectorEvent]?
  var scaleDownEventsAfter: [VectorEvent]?

  enum CodingKeys: String, CodingKey {
    case replicas, reason
    case scaleUpLimit = "scale_up_limit"
    case scaleDownLimit = "scale_down_limit"
    case ableToScale = "able_to_scale"
    case scalingLimited = "scaling_limited"
    case recommendationsAfter = "recommendations_after"
    case scaleUpEventsAfter = "scale_up_events_after"
    case scaleDownEventsAfter = "scale_down_events_after"
  }

  func compareRecommendations(_ history: HPAHistory, _ differences: inout Differences) {
    differences.compare(
      "recommendations", history.recommendations,
      recommendationsAfter?.map { $0.recommendation(now: vectorNow) })
  }

  func compare(_ result: HPABehavior.Normalization, _ history: HPAHistory, _ differences: inout Differences) {
    differences.compare("replicas", result.replicas, replicas)
    for (what, actual, expected) in [
      ("AbleToScale", result.ableToScale, ableToScale), ("ScalingLimited", result.scalingLimited, scalingLimited),
    ] {
      differences.compare("type of \(what)", actual.type.rawValue, what)
      differences.compare(what, VectorCondition(status: actual.status, reason: actual.reason), expected)
    }
    compareRecommendations(history, &differences)
  }
}

enum StabilizeVectors: VectorKind {
  static func check(_ input: BehaviorInput, _ expected: BehaviorExpectation, _ differences: inout Differences) {
    var history = input.history
    let outcome = HPABehavior.stabilize(
      current: input.currentReplicas ?? 0, desired: input.desiredReplicas ?? 0,
      scaleUpWindowSeconds: input.scaleUpWindow ?? 0, scaleDownWindowSeconds: input.scaleDownWindow ?? 0,
      history: &history, now: vectorNow)
    differences.compare("replicas", outcome.replicas, expected.replicas)
    differences.compare("reason", outcome.reason, expected.reason)
    expected.compareRecommendations(history, &differences)
  }
}

enum RateVectors: VectorKind {
  static func check(_ input: BehaviorInput, _ expected: BehaviorExpectation, _ differences: inout Differences) {
    let (current, desired) = (input.currentReplicas ?? 0, input.desiredReplicas ?? 0)
    let outcome = HPABehavior.limitRate(
      current: current, desired: desired, bounds: input.bounds, behavior: input.behavior, history: input.history,
      now: vectorNow)
    differences.compare("replicas", outcome.replicas, expected.replicas)
    differences.compare("reason", outcome.reason, expected.reason)
    let up = HPABehavior.scaleUpLimit(
      current: current, rules: input.scaleUp?.rules, history: input.history, now: vectorNow)
    let down = HPABehavior.scaleDownLimit(
      current: current, rules: input.scaleDown?.rules, history: input.history, now: vectorNow)
    differences.compare("scale-up limit", desired > current ? up : nil, expected.scaleUpLimit)
    differences.compare("scale-down limit", desired < current ? down : nil, expected.scaleDownLimit)
  }
}

enum NormalizeVectors: VectorKind {
  static func check(_ input: BehaviorInput, _ expected: BehaviorExpectation, _ differences: inout Differences) {
    var history = input.history
    let result = HPABehavior.normalize(
      current: input.currentReplicas ?? 0, desired: input.desiredReplicas ?? 0, bounds: input.bounds,
      behavior: input.behavior, downscaleStabilization: input.downscaleStabilization?.duration ?? .zero,
      history: &history, now: vectorNow)
    expected.compare(result, history, &differences)
  }
}

enum LegacyNormalizeVectors: VectorKind {
  static func check(_ input: BehaviorInput, _ expected: BehaviorExpectation, _ differences: inout Differences) {
    var history = input.history
    let result = HPABehavior.normalizeWithoutBehavior(
      current: input.currentReplicas ?? 0, desired: input.desiredReplicas ?? 0, bounds: input.bounds,
      downscaleStabilization: input.downscaleStabilization?.duration ?? .zero, history: &history, now: vectorNow)
    expected.compare(result, history, &differences)
  }
}

enum StoreScaleEventVectors: VectorKind {
  static func check(_ input: BehaviorInput, _ expected: BehaviorExpectation, _ differences: inout Differences) {
    var history = input.history
    let hasBehavior = input.scaleUp != nil || input.scaleDown != nil
    history.storeScaleEvent(
      behavior: hasBehavior ? input.behavior : nil, from: input.prevReplicas ?? 0, to: input.newReplicas ?? 0,
      now: vectorNow)
    differences.compare(
      "scale-up events", history.scaleUpEvents, (expected.scaleUpEventsAfter ?? []).map { $0.event(now: vectorNow) })
    differences.compare(
      "scale-down events", history.scaleDownEvents,
      (expected.scaleDownEventsAfter ?? []).map { $0.event(now: vectorNow) })
  }
}
