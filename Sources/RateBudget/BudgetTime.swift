/// An instant of a monotonic clock: nanoseconds since an arbitrary origin.
///
/// Instants of different processes can't be compared; what crosses a process boundary is a duration.
package struct BudgetTime: Hashable, Comparable, Sendable {
  /// Nanoseconds since the origin.
  package var nanoseconds: Int64

  /// The origin.
  package static let zero = BudgetTime(nanoseconds: 0)

  /// Makes an instant.
  package init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// Whether one instant is before another.
  package static func < (left: BudgetTime, right: BudgetTime) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  /// The instant after `duration`; stops at the end of the representable time.
  package static func + (left: BudgetTime, duration: Duration) -> BudgetTime {
    BudgetTime(nanoseconds: left.nanoseconds.addingSaturated(duration.wholeNanoseconds))
  }

  /// The time from the right instant to the left one.
  package static func - (left: BudgetTime, right: BudgetTime) -> Duration {
    .nanoseconds(left.nanoseconds.subtractingSaturated(right.nanoseconds))
  }

  /// Nanoseconds since `earlier`, never negative.
  func nanoseconds(since earlier: BudgetTime) -> Int64 {
    max(0, nanoseconds.subtractingSaturated(earlier.nanoseconds))
  }
}

/// An instant of a wall clock: milliseconds since 1970-01-01T00:00:00Z.
package struct WallTime: Hashable, Comparable, Sendable {
  /// Milliseconds since the epoch.
  package var milliseconds: Int64

  /// Makes an instant.
  package init(milliseconds: Int64) {
    self.milliseconds = milliseconds
  }

  /// Whether one instant is before another.
  package static func < (left: WallTime, right: WallTime) -> Bool {
    left.milliseconds < right.milliseconds
  }

  /// The instant after `duration`.
  package static func + (left: WallTime, duration: Duration) -> WallTime {
    WallTime(milliseconds: left.milliseconds.addingSaturated(duration.wholeNanoseconds / 1_000_000))
  }

  /// The time from the right instant to the left one.
  package static func - (left: WallTime, right: WallTime) -> Duration {
    .milliseconds(left.milliseconds.subtractingSaturated(right.milliseconds))
  }
}

extension Duration {
  /// The whole nanoseconds of this duration, within what 64 bits hold.
  package var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return seconds < 0 ? .min : .max }
    return product.addingSaturated(attoseconds / 1_000_000_000)
  }
}
