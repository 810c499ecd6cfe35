/// How urgent a task is. Lanes share the workers by weight, so that no lane waits for ever (`LanePolicy`).
package enum TaskLane: Int, Hashable, Sendable, CaseIterable, Comparable {
  /// Somebody waits for it, or the fleet depends on it: before all others, up to a share.
  case critical
  /// Before the ordinary.
  case high
  /// The ordinary.
  case normal
  /// Whenever there is room; the first to be turned away.
  case bulk

  /// The lane of a name; nil for a name that isn't one.
  package init?(name: String) {
    guard let lane = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = lane
  }

  /// The name as clients write it.
  package var name: String {
    switch self {
    case .critical: "critical"
    case .high: "high"
    case .normal: "normal"
    case .bulk: "bulk"
    }
  }

  package static func < (lhs: TaskLane, rhs: TaskLane) -> Bool { lhs.rawValue < rhs.rawValue }
}
