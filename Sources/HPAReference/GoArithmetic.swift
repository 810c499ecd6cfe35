/// The number conversions of Go on linux/amd64 that the HPA's results depend on.
///
/// Swift traps where Go wraps or yields a fixed pattern; each function here says what Go does instead.
package enum GoArithmetic {
  /// Go's `int32(f)`: truncation towards zero, and `math.MinInt32` for NaN and everything out of range
  /// (the "integer indefinite" value of the instruction CVTTSD2SL).
  package static func int32(_ value: Double) -> Int32 {
    Int32(exactly: value.rounded(.towardZero)) ?? .min
  }

  /// Go's `int64(f)`: truncation towards zero, and `math.MinInt64` for NaN and everything out of range
  /// (CVTTSD2SQ).
  package static func int64(_ value: Double) -> Int64 {
    Int64(exactly: value.rounded(.towardZero)) ?? .min
  }

  /// Go's `a / b` for int64: truncation towards zero, and `math.MinInt64 / -1` is `math.MinInt64`.
  ///
  /// `divisor` must not be zero (Go would panic, and no caller of the original lets it come to that).
  package static func quotient(_ dividend: Int64, by divisor: Int64) -> Int64 {
    dividend.dividedReportingOverflow(by: divisor).partialValue
  }

  /// Go's `math.Ceil(f)`.
  package static func ceil(_ value: Double) -> Double {
    value.rounded(.up)
  }
}
