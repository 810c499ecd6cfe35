package import KubernetesCore

/// The metrics that other autoscalers can read.
package enum BridgedMetric: String, Hashable, Sendable, CaseIterable {
  /// The count that was decided for a `SwarmAutoscaler`, as in its status. Labels: `autoscaler`.
  case desiredReplicas = "swarmscale-desired-replicas"
  /// What an `APIBudget` still admits, in units a minute. Labels: `budget`, `dimension`.
  case apiHeadroom = "swarmscale-api-headroom"

  /// The labels of the metrics' series.
  package enum Label {
    /// The name of a `SwarmAutoscaler`.
    package static let autoscaler = "autoscaler"
    /// The name of an `APIBudget`.
    package static let budget = "budget"
    /// The name of a dimension, as in the budget's status.
    package static let dimension = "dimension"
  }
}

/// One number of one series.
package struct BridgedValue: Hashable, Sendable {
  /// The labels by which the series is selected.
  package var labels: [String: String]
  /// The number.
  package var value: Int64
  /// When it was decided, or measured.
  package var at: Timestamp

  /// Makes a value.
  package init(labels: [String: String], value: Int64, at: Timestamp) {
    self.labels = labels
    self.value = value
    self.at = at
  }
}

/// What is left of one dimension of a budget.
package struct HeadroomReading: Hashable, Sendable {
  /// The dimension's name, as in the budget's status.
  package var dimension: String
  /// Units a minute that are neither used nor waited for, below the target.
  package var units: Int64

  /// What `limit` units a minute leave, of which `targetPercent` may be granted, when `offered` are granted or waited for and others
  /// use `foreign`. Never negative.
  package init(dimension: String, limit: Int64, targetPercent: Int64, offered: Int64, foreign: Int64) {
    self.dimension = dimension
    let granted = Int128(max(limit, 0)) * Int128(max(targetPercent, 0)) / 100
    units = Int64(clamping: max(granted - Int128(max(offered, 0)) - Int128(max(foreign, 0)), 0))
  }

  /// A dimension of which nothing is left: everybody is refused now.
  package init(exhausted dimension: String) {
    self.dimension = dimension
    units = 0
  }
}
