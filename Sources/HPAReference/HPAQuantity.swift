/// A Kubernetes quantity ("250m", "12Gi", "0.3384", "3e2") as the two integers that `resource.Quantity` keeps.
///
/// Source: `ParseQuantity`, `ScaledValue` and `AsApproximateFloat64` of
/// `k8s.io/apimachinery/pkg/api/resource/quantity.go`. Amounts beyond ±(2⁶³−1) are capped as there (BinarySI ones
/// too, where the original goes on with big integers); digits below one nano are rounded away from zero.
package struct HPAQuantity: Sendable {
  /// The text that the quantity was read from.
  package let text: String
  /// The amount in units of 10^`scale`.
  let unscaled: Int128
  /// The power of ten of one unit of `unscaled`; -9 at least.
  let scale: Int

  /// Reads a quantity's text, or gives nil where Kubernetes refuses it.
  package init?(_ text: String) {
    guard let parts = Parts(text), let factor = Self.factor(ofSuffix: parts.suffix) else { return nil }
    self.text = text
    var scale = factor.exponent - parts.fractionDigits
    guard var amount = parts.magnitude(multipliedBy: factor.binary) else {
      (unscaled, self.scale) = (parts.isNegative ? -Int128(Int64.max) : Int128(Int64.max), 0)
      return
    }
    while scale < -9 {
      let (quotient, remainder) = amount.quotientAndRemainder(dividingBy: 10)
      amount = quotient + (remainder == 0 ? 0 : 1)
      scale += 1
    }
    if Self.exceedsCap(amount, scale: scale) { (amount, scale) = (Int128(Int64.max), 0) }
    unscaled = parts.isNegative ? -amount : amount
    self.scale = scale
  }

  /// The amount in thousandths, rounded away from zero.
  ///
  /// Source: `Quantity.MilliValue`. An amount that leaves 64 bits wraps, as the original's ignored overflow does.
  package var milliValue: Int64 {
    var value = unscaled
    var exponent = scale + 3
    while exponent > 0 {
      value = value &* 10
      exponent -= 1
    }
    while exponent < 0 {
      let (quotient, remainder) = value.quotientAndRemainder(dividingBy: 10)
      value = quotient + Int128(remainder.signum())
      exponent += 1
    }
    return Int64(truncatingIfNeeded: value)
  }

  /// The amount as a double: the integer times a power of ten, which is not always the double nearest to the text.
  ///
  /// Source: `Quantity.AsApproximateFloat64`.
  package var approximateDouble: Double {
    scale == 0 ? Double(unscaled) : Double(unscaled) * Self.powerOfTen(scale)
  }

  /// -1, 0 or 1. Source: `Quantity.Sign`.
  package var signum: Int { Int(unscaled.signum()) }

  private static func exceedsCap(_ amount: Int128, scale: Int) -> Bool {
    var value = amount
    for _ in 0..<max(scale, 0) {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      if overflow { return true }
      value = product
    }
    for _ in 0..<max(-scale, 0) { value /= 10 }
    return value > Int128(Int64.max)
  }

  /// Go's `math.Pow10`, a table of literals: the double nearest to 10^exponent.
  private static func powerOfTen(_ exponent: Int) -> Double {
    let negative: [Double] = [1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]
    if exponent < 0 { return negative[min(-exponent, 9)] }
    // Exact up to 10^22, far beyond what the cap on the amount lets through.
    return (0..<exponent).reduce(1) { power, _ in power * 10 }
  }

  private static func factor(ofSuffix suffix: Substring) -> (exponent: Int, binary: Int128)? {
    let decimal = ["n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18]
    let binary = ["Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60]
    if let exponent = decimal[String(suffix)] { return (exponent, 1) }
    if let shift = binary[String(suffix)] { return (0, Int128(1) << Int128(shift)) }
    guard suffix.first == "e" || suffix.first == "E", let exponent = Int(suffix.dropFirst()) else { return nil }
    return abs(exponent) > 99 ? nil : (exponent, 1)
  }
}

extension HPAQuantity: Hashable {
  /// Equal amounts are equal, however they are written (`Quantity.Cmp`).
  package static func == (lhs: HPAQuantity, rhs: HPAQuantity) -> Bool {
    lhs.normalized == rhs.normalized
  }

  /// Hashes the amount.
  package func hash(into hasher: inout Hasher) {
    hasher.combine(normalized.unscaled)
    hasher.combine(normalized.scale)
  }

  private var normalized: (unscaled: Int128, scale: Int) {
    if unscaled == 0 { return (0, 0) }
    var (value, exponent) = (unscaled, scale)
    while value % 10 == 0 {
      value /= 10
      exponent += 1
    }
    return (value, exponent)
  }
}

extension HPAQuantity: Codable {
  /// Reads a string, or a bare number as Kubernetes also accepts it.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text: String
    if let string = try? container.decode(String.self) {
      text = string
    } else if let integer = try? container.decode(Int64.self) {
      text = String(integer)
    } else {
      text = "\(try container.decode(Double.self))"
    }
    guard let quantity = HPAQuantity(text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "\"\(text)\" is not a Kubernetes quantity; write for example 500m, 2 or 1Gi")
    }
    self = quantity
  }

  /// Writes the text that was read.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

/// The lexical parts of a quantity: sign, digits before and after the point, suffix.
private struct Parts {
  var isNegative = false
  var digits: Substring.UTF8View
  var fraction: Substring.UTF8View
  var suffix: Substring

  var fractionDigits: Int { fraction.count }

  init?(_ text: String) {
    var rest = text[...]
    if let sign = rest.first, sign == "-" || sign == "+" {
      isNegative = sign == "-"
      rest = rest.dropFirst()
    }
    func isDigit(_ character: Character) -> Bool { character.isASCII && character.isNumber }
    let whole = rest.prefix(while: isDigit)
    rest = rest[whole.endIndex...]
    var decimals = rest.prefix(0)
    if rest.first == "." {
      rest = rest.dropFirst()
      decimals = rest.prefix(while: isDigit)
      rest = rest[decimals.endIndex...]
    }
    guard !whole.isEmpty || !decimals.isEmpty else { return nil }
    (digits, fraction, suffix) = (whole.utf8, decimals.utf8, rest)
  }

  /// All digits as one integer times `factor`, or nil where that leaves 128 bits.
  func magnitude(multipliedBy factor: Int128) -> Int128? {
    var value: Int128 = 0
    for view in [digits, fraction] {
      for digit in view {
        let (product, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, overflow2) = product.addingReportingOverflow(Int128(digit - UInt8(ascii: "0")))
        if overflow || overflow2 { return nil }
        value = sum
      }
    }
    let (product, overflow) = value.multipliedReportingOverflow(by: factor)
    return overflow ? nil : product
  }
}
