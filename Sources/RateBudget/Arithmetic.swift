extension Int64 {
  /// The sum, held at the ends of the range.
  func addingSaturated(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other < 0 ? .min : .max) : sum
  }

  /// The difference, held at the ends of the range.
  func subtractingSaturated(_ other: Int64) -> Int64 {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return overflow ? (other < 0 ? .max : .min) : difference
  }

  /// `self × numerator ÷ denominator`, rounded down, held at the ends of the range; the product has 128 bits.
  func scaled(by numerator: Int64, over denominator: Int64) -> Int64 {
    precondition(denominator > 0, "a ratio needs a positive denominator")
    let product = Int128(self) * Int128(numerator)
    var quotient = product / Int128(denominator)
    if product < 0, quotient * Int128(denominator) != product { quotient -= 1 }
    return Int64(clamping: quotient)
  }

  /// This value, held inside `range`.
  func clamped(to range: ClosedRange<Int64>) -> Int64 {
    Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
  }
}

/// Parts in a million: the unit of factors.
let million: Int64 = 1_000_000

/// Nanoseconds in a minute.
let minuteNanoseconds: Int64 = 60_000_000_000

/// Nanoseconds in a second.
let secondNanoseconds: Int64 = 1_000_000_000
