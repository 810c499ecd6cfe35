import HPAReference
import KubernetesCore

/// The moment at which every vector is evaluated; times in vectors are relative to it.
let vectorNow = Timestamp(secondsSinceEpoch: 1_800_000_000)

/// A JSON number of seconds with at most three decimals.
struct Seconds: Decodable, Equatable, Sendable {
  var milliseconds: Int64

  init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer().decode(Double.self)
    milliseconds = Int64((value * 1000).rounded())
  }

  var duration: Duration { .milliseconds(milliseconds) }
  func timestamp(relativeTo now: Timestamp) -> Timestamp { now + duration }
}

struct VectorContainer: Decodable {
  var name: String
  var role: HPAPod.Container.Role
  var requestsMilli: [String: Int64]

  enum CodingKeys: String, CodingKey {
    case name, role
    case requestsMilli = "requests_milli"
  }

  var container: HPAPod.Container {
    HPAPod.Container(name: name, role: role, requestsMilli: requestsMilli)
  }
}

struct VectorPod: Decodable {
  var name: String
  var phase: HPAPod.Phase
  var deleted: Bool
  var start: Seconds?
  var ready: HPAConditionStatus?
  var readyTransition: Seconds?
  var containers: [VectorContainer]?
  var podRequestsMilli: [String: Int64]?

  enum CodingKeys: String, CodingKey {
    case name, phase, deleted, ready, containers
    case start = "start_s"
    case readyTransition = "ready_transition_s"
    case podRequestsMilli = "pod_requests_milli"
  }

  /// The pod; all pods of vectors carry the label `app=x`.
  func pod(now: Timestamp) -> HPAPod {
    HPAPod(
      name: name, labels: ["app": "x"], phase: phase, isDeleted: deleted,
      startTime: start?.timestamp(relativeTo: now),
      ready: ready.map {
        HPAPod.ReadyCondition(
          status: $0, lastTransitionTime: readyTransition?.timestamp(relativeTo: now) ?? .goZero)
      },
      containers: (containers ?? []).map(\.container), podRequestsMilli: podRequestsMilli)
  }
}

struct VectorMetric: Codable, Equatable {
  var valueMilli: Int64
  var timestamp: Double
  var window: Double

  enum CodingKeys: String, CodingKey {
    case valueMilli = "value_milli"
    case timestamp = "timestamp_s"
    case window = "window_s"
  }

  func metric(now: Timestamp) -> HPAPodMetric {
    HPAPodMetric(
      timestamp: now + .milliseconds(Int64((timestamp * 1000).rounded())),
      window: .milliseconds(Int64((window * 1000).rounded())), valueMilli: valueMilli)
  }
}

struct VectorGroups: Decodable, Equatable {
  var ready: Int
  var unready: Int
  var missing: Int
  var ignored: Int
}

struct VectorError: Decodable {
  var kind: String
}

struct VectorPolicy: Decodable {
  var type: HPAPolicyType
  var value: Int32
  var period: Int32

  enum CodingKeys: String, CodingKey {
    case type, value
    case period = "period_s"
  }
}

struct VectorRules: Decodable {
  var window: Int32?
  var selectPolicy: HPASelectPolicy
  var policies: [VectorPolicy]

  enum CodingKeys: String, CodingKey {
    case policies
    case window = "stabilization_window_s"
    case selectPolicy = "select_policy"
  }

  var rules: HPAScalingRules {
    HPAScalingRules(
      stabilizationWindowSeconds: window, selectPolicy: selectPolicy,
      policies: policies.map { HPAScalingPolicy(type: $0.type, value: $0.value, periodSeconds: $0.period) })
  }
}

struct VectorRecommendation: Decodable, Equatable {
  var replicas: Int32
  var at: Seconds

  enum CodingKeys: String, CodingKey {
    case replicas
    case at = "at_s"
  }

  func recommendation(now: Timestamp) -> HPARecommendation {
    HPARecommendation(replicas: replicas, at: at.timestamp(relativeTo: now))
  }
}

struct VectorEvent: Decodable, Equatable {
  var change: Int32
  var at: Seconds
  var outdated: Bool

  enum CodingKeys: String, CodingKey {
    case change, outdated
    case at = "at_s"
  }

  func event(now: Timestamp) -> HPAScaleEvent {
    HPAScaleEvent(change: change, at: at.timestamp(relativeTo: now), isOutdated: outdated)
  }
}

extension HPACalculationError {
  /// The name that vectors have for this kind of error.
  var vectorKind: String {
    switch self {
    case .metricsUnavailable: "metrics_unavailable"
    case .podListFailed: "pod_list_failed"
    case .noPods: "no_pods"
    case .noUsableMetrics: "no_usable_metrics"
    case .missingContainerRequest: "missing_container_request"
    case .containerNotFound: "container_not_found"
    case .noMetricsMatchRequests: "no_metrics_match_requests"
    case .readyPodsUnavailable: "ready_pods_unavailable"
    }
  }
}
