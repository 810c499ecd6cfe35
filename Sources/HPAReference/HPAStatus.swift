package import KubernetesCore

/// The type of a condition (`HorizontalPodAutoscalerConditionType`).
package enum HPAConditionType: String, Codable, Hashable, Sendable {
  /// The scale can be read and written.
  case ableToScale = "AbleToScale"
  /// Replicas can be computed from metrics.
  case scalingActive = "ScalingActive"
  /// A bound or a rate holds scaling back.
  case scalingLimited = "ScalingLimited"
  /// The controller itself scaled to zero (gate `HPAScaleToZero`).
  case scaledToZero = "ScaledToZero"
}

/// A new state of one condition.
package struct HPAConditionChange: Hashable, Sendable {
  /// Which condition.
  package var type: HPAConditionType
  /// The status.
  package var status: HPAConditionStatus
  /// The reason, one word.
  package var reason: String
  /// The reason, one sentence.
  package var message: String

  /// Makes a change.
  package init(type: HPAConditionType, status: HPAConditionStatus, reason: String, message: String) {
    self.type = type
    self.status = status
    self.reason = reason
    self.message = message
  }
}

/// A condition of the status.
package struct HPACondition: Hashable, Sendable {
  /// Which condition.
  package var type: HPAConditionType
  /// The status.
  package var status: HPAConditionStatus
  /// The reason, one word.
  package var reason: String
  /// The reason, one sentence.
  package var message: String
  /// When the status, not the reason, last changed.
  package var lastTransitionTime: Timestamp

  /// Makes a condition.
  package init(
    type: HPAConditionType, status: HPAConditionStatus, reason: String, message: String = "",
    lastTransitionTime: Timestamp
  ) {
    self.type = type
    self.status = status
    self.reason = reason
    self.message = message
    self.lastTransitionTime = lastTransitionTime
  }
}

/// The current value of one metric (`MetricStatus`).
package struct HPAMetricStatus: Hashable, Sendable {
  /// The metric's type.
  package var type: HPAMetricSourceType
  /// Usage in whole percent of the request, for a utilization target.
  package var averageUtilization: Int32?
  /// The average over pods in thousandths.
  package var averageValueMilli: Int64?
  /// The whole value in thousandths, for a `Value` target.
  package var valueMilli: Int64?

  /// Makes a metric's status.
  package init(
    type: HPAMetricSourceType, averageUtilization: Int32? = nil, averageValueMilli: Int64? = nil,
    valueMilli: Int64? = nil
  ) {
    self.type = type
    self.averageUtilization = averageUtilization
    self.averageValueMilli = averageValueMilli
    self.valueMilli = valueMilli
  }
}

/// The HPA's status as it is stored.
package struct HPAStatus: Hashable, Sendable {
  /// The replica count of the scale's *spec* at the last pass.
  package var currentReplicas: Int32
  /// The replica count last decided on.
  package var desiredReplicas: Int32
  /// When a replica count was last written.
  package var lastScaleTime: Timestamp?
  /// One entry for each metric of the spec, nil where it failed; empty where no metric was read.
  package var currentMetrics: [HPAMetricStatus?]
  /// The conditions, in the order in which they first came up.
  package var conditions: [HPACondition]

  /// Makes a status, by default the empty one of a new HPA.
  package init(
    currentReplicas: Int32 = 0, desiredReplicas: Int32 = 0, lastScaleTime: Timestamp? = nil,
    currentMetrics: [HPAMetricStatus?] = [], conditions: [HPACondition] = []
  ) {
    self.currentReplicas = currentReplicas
    self.desiredReplicas = desiredReplicas
    self.lastScaleTime = lastScaleTime
    self.currentMetrics = currentMetrics
    self.conditions = conditions
  }

  /// Sets a condition; the time of transition moves only with the status (`setConditionInList`).
  package mutating func set(_ change: HPAConditionChange, now: Timestamp) {
    let index = conditions.firstIndex { $0.type == change.type }
    let old = index.map { conditions[$0] }
    let condition = HPACondition(
      type: change.type, status: change.status, reason: change.reason, message: change.message,
      lastTransitionTime: old.flatMap { $0.status == change.status ? $0.lastTransitionTime : nil } ?? now)
    if let index {
      conditions[index] = condition
    } else {
      conditions.append(condition)
    }
  }

  /// Removes a condition (`removeCondition`).
  package mutating func remove(_ type: HPAConditionType) {
    conditions.removeAll { $0.type == type }
  }

  /// Whether the controller itself scaled to zero (`getScaledToZeroConditionStatus`).
  var isScaledToZero: Bool {
    conditions.first { $0.type == .scaledToZero }?.status == .true
  }
}

/// An event that the controller records for the HPA.
package struct HPAEvent: Hashable, Sendable {
  /// The type of an event.
  package enum Severity: String, Hashable, Sendable {
    /// Something was done.
    case normal = "Normal"
    /// Something failed.
    case warning = "Warning"
  }

  /// The type.
  package var type: Severity
  /// The reason, one word.
  package var reason: String
  /// What happened.
  package var message: String

  /// Makes an event.
  package init(type: Severity, reason: String, message: String) {
    self.type = type
    self.reason = reason
    self.message = message
  }
}
