/// How urgent a message is. The numbers travel in frames; the lanes are those of tasks.
package enum MessageLane: UInt8, Hashable, Sendable, CaseIterable, Comparable {
  /// Somebody waits for it, or the fleet depends on it: it isn't held back for a fuller frame.
  case critical = 0
  /// Before the ordinary.
  case high = 1
  /// The ordinary.
  case normal = 2
  /// Whenever there is room.
  case bulk = 3

  /// Turns of 85 that the lane gets while all have messages: four times those of the next, as for tasks.
  package var weight: UInt64 {
    switch self {
    case .critical: 64
    case .high: 16
    case .normal: 4
    case .bulk: 1
    }
  }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
