import KubernetesCore

// Exact and never trapping: sums and products saturate, and products are compared in full width.

extension FixedWidthInteger {
  /// The sum, or the end of the range that it runs over.
  @inline(__always)
  package func addingSaturated(_ other: Self) -> Self {
    let (value, overflow) = addingReportingOverflow(other)
    return overflow ? (other < 0 ? .min : .max) : value
  }

  /// The difference, or the end of the range that it runs over.
  @inline(__always)
  package func subtractingSaturated(_ other: Self) -> Self {
    let (value, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other < 0 ? .max : .min) : value
  }

  /// The product, or the end of the range that it runs over.
  @inline(__always)
  package func multipliedSaturated(by other: Self) -> Self {
    let (value, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? ((self < 0) != (other < 0) ? .min : .max) : value
  }
}

extension UInt128 {
  /// The product, or the end of the range that it runs over; factors of 64 bits, the usual ones, take one instruction.
  @inline(__always)
  func multipliedSaturated(by other: UInt128) -> UInt128 {
    if (self | other) >> 64 == 0 { return product64(self, other) }
    let (value, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? .max : value
  }
}

/// The product of two numbers below 2⁶⁴, which can't overflow.
@inline(__always)
private func product64(_ a: UInt128, _ b: UInt128) -> UInt128 {
  let (high, low) = UInt64(truncatingIfNeeded: a).multipliedFullWidth(by: UInt64(truncatingIfNeeded: b))
  return UInt128(truncatingIfNeeded: high) << 64 | UInt128(truncatingIfNeeded: low)
}

/// The largest count of workers that any step can answer: that of `spec.replicas`.
package let largestReplicas = Int(Int32.max)

/// A fraction of two non-negative numbers, kept exact. The denominator is never zero.
struct Fraction: Hashable, Sendable {
  let numerator: UInt128
  let denominator: UInt128

  init(_ numerator: UInt128, over denominator: UInt128 = 1) {
    self.numerator = numerator
    self.denominator = Swift.max(denominator, 1)
  }

  /// Whether this fraction is below `other`; the cross products are compared in full width.
  func isLess(than other: Fraction) -> Bool {
    productIsLess(numerator, other.denominator, than: other.numerator, denominator)
  }

  /// This fraction times `factor / divisor`; a product out of range saturates.
  func scaled(by factor: UInt128, over divisor: UInt128 = 1) -> Fraction {
    Fraction(numerator.multipliedSaturated(by: factor), over: denominator.multipliedSaturated(by: divisor))
  }

  /// The smallest count that is no smaller than this fraction, at most `largestReplicas`.
  var roundedUp: Int {
    if (numerator | denominator) >> 64 == 0 {
      let (quotient, remainder) = UInt64(truncatingIfNeeded: numerator)
        .quotientAndRemainder(dividingBy: UInt64(truncatingIfNeeded: denominator))
      return clampedReplicas(UInt128(quotient) + (remainder == 0 ? 0 : 1))
    }
    let (quotient, remainder) = numerator.quotientAndRemainder(dividingBy: denominator)
    return clampedReplicas(quotient.addingSaturated(remainder == 0 ? 0 : 1))
  }

  /// The largest count that is no larger than this fraction, at most `largestReplicas`.
  var roundedDown: Int {
    if (numerator | denominator) >> 64 == 0 {
      return clampedReplicas(
        UInt128(UInt64(truncatingIfNeeded: numerator) / UInt64(truncatingIfNeeded: denominator)))
    }
    return clampedReplicas(numerator / denominator)
  }
}

/// Whether `a · b < c · d`, exactly for all operands.
@inline(__always)
func productIsLess(_ a: UInt128, _ b: UInt128, than c: UInt128, _ d: UInt128) -> Bool {
  if (a | b | c | d) >> 64 == 0 { return product64(a, b) < product64(c, d) }
  return wideProductIsLess(a, b, than: c, d)
}

@inline(never)
private func wideProductIsLess(_ a: UInt128, _ b: UInt128, than c: UInt128, _ d: UInt128) -> Bool {
  let (left, leftOverflow) = a.multipliedReportingOverflow(by: b)
  let (right, rightOverflow) = c.multipliedReportingOverflow(by: d)
  if !leftOverflow && !rightOverflow { return left < right }
  let wideLeft = a.multipliedFullWidth(by: b)
  let wideRight = c.multipliedFullWidth(by: d)
  return wideLeft.high == wideRight.high ? wideLeft.low < wideRight.low : wideLeft.high < wideRight.high
}

/// `count` as a number of workers, at most `largestReplicas`.
@inline(__always)
func clampedReplicas(_ count: UInt128) -> Int {
  count > UInt128(largestReplicas) ? largestReplicas : Int(truncatingIfNeeded: count)
}

/// Whatever an object says, as a count of workers: 0 … `largestReplicas`.
@inline(__always)
func saneReplicas(_ count: Int) -> Int { min(max(count, 0), largestReplicas) }

/// `value` without its sign; negative numbers become zero.
@inline(__always)
func magnitude(_ value: Int64) -> UInt128 { value <= 0 ? 0 : UInt128(UInt64(value)) }

/// A moment as the state keeps it: milliseconds since the epoch, rounded down.
package typealias Milliseconds = Int64

extension Timestamp {
  /// This moment in whole milliseconds since the epoch, rounded down.
  var milliseconds: Milliseconds {
    let (quotient, remainder) = nanosecondsSinceEpoch.quotientAndRemainder(dividingBy: 1_000_000)
    return remainder < 0 ? quotient - 1 : quotient
  }

  /// The moment that lies `milliseconds` after the epoch, saturating at the range's ends.
  init(milliseconds: Milliseconds) {
    self.init(nanosecondsSinceEpoch: milliseconds.multipliedSaturated(by: 1_000_000))
  }
}

extension Duration {
  /// This duration in whole milliseconds, at least zero; longer than 292 years saturates.
  var milliseconds: Milliseconds { max(nanoseconds / 1_000_000, 0) }

  /// This duration in whole nanoseconds, rounded towards zero; longer than 292 years saturates.
  ///
  /// The same as `nanosecondsClamped`, which takes apart what the standard library has put together by two divisions
  /// of 128 bits; a decision asks several times.
  var nanoseconds: Int64 {
    let attoseconds = attoseconds
    let magnitude = attoseconds.magnitude
    let high = UInt64(truncatingIfNeeded: magnitude >> 64)
    guard high < 1_000_000_000 else { return nanosecondsClamped }
    let quotient = UInt64(1_000_000_000).dividingFullWidth((high, UInt64(truncatingIfNeeded: magnitude))).quotient
    guard quotient <= UInt64(Int64.max) else { return nanosecondsClamped }
    return attoseconds < 0 ? 0 - Int64(quotient) : Int64(quotient)
  }
}
