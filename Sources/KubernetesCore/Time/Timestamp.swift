/// A moment of civil time with nanosecond resolution, counted from 1970-01-01T00:00:00Z without leap seconds.
///
/// Range: the years 1678–2262 (a signed 64-bit count of nanoseconds). Kubernetes writes such moments as RFC 3339
/// text (`metav1.Time`, whole seconds; `metav1.MicroTime`, microseconds).
package struct Timestamp: Hashable, Comparable, Sendable {
  /// Nanoseconds since the Unix epoch; negative before it.
  package var nanosecondsSinceEpoch: Int64

  /// Makes the moment that lies `nanosecondsSinceEpoch` nanoseconds after the Unix epoch.
  package init(nanosecondsSinceEpoch: Int64) {
    self.nanosecondsSinceEpoch = nanosecondsSinceEpoch
  }

  /// Makes the moment that lies `seconds` whole seconds after the Unix epoch, saturating at the range's ends.
  package init(secondsSinceEpoch seconds: Int64) {
    let (value, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    self.nanosecondsSinceEpoch = overflow ? (seconds < 0 ? .min : .max) : value
  }

  /// Whole seconds since the Unix epoch, rounded down.
  package var secondsSinceEpoch: Int64 {
    let (quotient, remainder) = nanosecondsSinceEpoch.quotientAndRemainder(dividingBy: 1_000_000_000)
    return remainder < 0 ? quotient - 1 : quotient
  }

  package static func < (lhs: Timestamp, rhs: Timestamp) -> Bool {
    lhs.nanosecondsSinceEpoch < rhs.nanosecondsSinceEpoch
  }

  /// The moment `duration` after `lhs`, saturating at the range's ends.
  package static func + (lhs: Timestamp, duration: Duration) -> Timestamp {
    let (value, overflow) = lhs.nanosecondsSinceEpoch.addingReportingOverflow(duration.nanosecondsClamped)
    return Timestamp(nanosecondsSinceEpoch: overflow ? (duration < .zero ? .min : .max) : value)
  }

  /// The moment `duration` before `lhs`, saturating at the range's ends.
  package static func - (lhs: Timestamp, duration: Duration) -> Timestamp {
    lhs + .nanoseconds(0 &- max(duration.nanosecondsClamped, -Int64.max))
  }

  /// The time that passed from `rhs` to `lhs`; negative when `lhs` is the earlier one.
  package static func - (lhs: Timestamp, rhs: Timestamp) -> Duration {
    .nanoseconds(lhs.nanosecondsSinceEpoch) - .nanoseconds(rhs.nanosecondsSinceEpoch)
  }
}

extension Duration {
  /// This duration in nanoseconds, saturating at the range of `Int64` (±292 years).
  package var nanosecondsClamped: Int64 {
    let (seconds, attoseconds) = components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds < 0 ? .min : .max }
    let (sum, overflow2) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflow2 ? (seconds < 0 ? .min : .max) : sum
  }
}
