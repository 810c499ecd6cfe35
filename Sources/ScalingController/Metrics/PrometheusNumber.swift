/// A number as Prometheus writes it, read exactly.
package enum PrometheusNumber: Hashable, Sendable {
  /// Thousandths, rounded to the nearest (half away from zero).
  ///
  /// Nearest and not up: PromQL computes in doubles, and a sum that should be 3 may read 3.0000000000000004; rounded up
  /// that would ask for one worker more than needed.
  case milli(Int64)
  /// `NaN`, as from a division of zero by zero.
  case notANumber
  /// `+Inf` or `-Inf`, or a number whose thousandths exceed 63 bits.
  case outOfRange
  /// No number at all.
  case malformed

  /// Reads decimal text with an optional exponent (`0.3333`, `1e+06`), `NaN`, `+Inf` and `-Inf`, by decimal arithmetic.
  package init(_ text: String) {
    var bytes = Array(text.utf8)[...]
    let isNegative = bytes.first == UInt8(ascii: "-")
    if isNegative || bytes.first == UInt8(ascii: "+") { bytes = bytes.dropFirst() }
    switch String(decoding: bytes, as: UTF8.self).lowercased() {
    case "nan":
      self = .notANumber
      return
    case "inf", "infinity":
      self = .outOfRange
      return
    default: break
    }
    guard let parts = Parts(bytes) else {
      self = .malformed
      return
    }
    guard let magnitude = parts.milli else {
      self = .outOfRange
      return
    }
    self = .milli(isNegative ? -magnitude : magnitude)
  }

  /// Digits and where the point stands among them.
  private struct Parts {
    /// All digits, 0…9.
    var digits: [UInt8]
    /// How many of them stand before the point, after the exponent; may be negative or beyond the digits.
    var point: Int

    init?(_ bytes: ArraySlice<UInt8>) {
      var rest = bytes
      let whole = Self.takeDigits(&rest)
      var fraction: [UInt8] = []
      if rest.first == UInt8(ascii: ".") {
        rest = rest.dropFirst()
        fraction = Self.takeDigits(&rest)
      }
      digits = whole + fraction
      guard !digits.isEmpty else { return nil }
      point = whole.count
      guard !rest.isEmpty else { return }
      guard rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") else { return nil }
      rest = rest.dropFirst()
      let isNegative = rest.first == UInt8(ascii: "-")
      if isNegative || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
      let exponentDigits = Self.takeDigits(&rest)
      guard !exponentDigits.isEmpty, rest.isEmpty else { return nil }
      // Beyond four digits nothing changes any more: the number is zero or out of range.
      let exponent = exponentDigits.reduce(0) { min($0 * 10 + Int($1), 100_000) }
      point += isNegative ? -exponent : exponent
    }

    /// The number in thousandths, rounded to the nearest; nil when it doesn't fit.
    var milli: Int64? {
      let kept = point + 3
      var value: Int64 = 0
      for index in 0..<max(min(kept, digits.count), 0) {
        guard let next = Self.append(digits[index], to: value) else { return nil }
        value = next
      }
      if kept > digits.count, value != 0 {
        for _ in digits.count..<kept {
          guard let next = Self.append(0, to: value) else { return nil }
          value = next
        }
      }
      guard kept >= 0, kept < digits.count, digits[kept] >= 5 else { return value }
      let (rounded, overflow) = value.addingReportingOverflow(1)
      return overflow ? nil : rounded
    }

    private static func append(_ digit: UInt8, to value: Int64) -> Int64? {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int64(digit))
      return overflow || carry ? nil : sum
    }

    private static func takeDigits(_ rest: inout ArraySlice<UInt8>) -> [UInt8] {
      let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
      rest = rest.dropFirst(digits.count)
      return digits.map { $0 - UInt8(ascii: "0") }
    }
  }
}
