/// What a suffix multiplies by.
private enum Multiplier {
  case decimal(exponent: Int, Quantity.Format)
  case binary(shift: Int)
}

extension Quantity {
  /// Reads a quantity; see the type for the rules.
  package init(_ text: some StringProtocol) throws(QuantityError) {
    let bytes = Array(text.utf8)
    var scanner = Scanner(bytes: bytes)
    let isNegative = scanner.takeSign()
    let whole = scanner.takeDigits()
    var fraction: ArraySlice<UInt8> = []
    if scanner.take(UInt8(ascii: ".")) { fraction = scanner.takeDigits() }
    if whole.isEmpty && fraction.isEmpty {
      throw QuantityError(text: String(text), problem: bytes.isEmpty ? "it is empty" : "it doesn't begin with a number")
    }
    guard let multiplier = Self.multiplier(for: scanner.rest) else {
      let suffix = String(decoding: scanner.rest.prefix(16), as: UTF8.self)
      throw QuantityError(text: String(text), problem: "the suffix \"\(suffix)\" is unknown")
    }
    var magnitude: Int128
    var format: Format
    switch multiplier {
    case .decimal(let exponent, let family):
      magnitude = Self.decimalNanoUnits(whole: whole, fraction: fraction, exponent: exponent)
      format = family
    case .binary(let shift):
      magnitude = Self.binaryNanoUnits(whole: whole, fraction: fraction, shift: shift)
      format = magnitude > 0 && magnitude < 1_000_000_000 ? .decimalSI : .binarySI
    }
    self.init(nanoUnits: isNegative ? -magnitude : magnitude, format: format)
  }

  private static func multiplier(for suffix: ArraySlice<UInt8>) -> Multiplier? {
    switch String(decoding: suffix, as: UTF8.self) {
    case "n": return .decimal(exponent: -9, .decimalSI)
    case "u": return .decimal(exponent: -6, .decimalSI)
    case "m": return .decimal(exponent: -3, .decimalSI)
    case "": return .decimal(exponent: 0, .decimalSI)
    case "k": return .decimal(exponent: 3, .decimalSI)
    case "M": return .decimal(exponent: 6, .decimalSI)
    case "G": return .decimal(exponent: 9, .decimalSI)
    case "T": return .decimal(exponent: 12, .decimalSI)
    case "P": return .decimal(exponent: 15, .decimalSI)
    case "E": return .decimal(exponent: 18, .decimalSI)
    case "Ki": return .binary(shift: 10)
    case "Mi": return .binary(shift: 20)
    case "Gi": return .binary(shift: 30)
    case "Ti": return .binary(shift: 40)
    case "Pi": return .binary(shift: 50)
    case "Ei": return .binary(shift: 60)
    default: return decimalExponent(of: suffix).map { .decimal(exponent: $0, .decimalExponent) }
    }
  }

  /// The exponent of an `e`/`E` suffix, clamped to ±10,000, far beyond what can make a difference.
  private static func decimalExponent(of suffix: ArraySlice<UInt8>) -> Int? {
    guard suffix.first == UInt8(ascii: "e") || suffix.first == UInt8(ascii: "E") else { return nil }
    var scanner = Scanner(bytes: Array(suffix.dropFirst()))
    let isNegative = scanner.takeSign()
    let digits = scanner.takeDigits()
    guard !digits.isEmpty, scanner.rest.isEmpty else { return nil }
    var exponent = 0
    for digit in digits { exponent = min(exponent * 10 + Int(digit - UInt8(ascii: "0")), 10_000) }
    return isNegative ? -exponent : exponent
  }

  /// `whole.fraction` × 10^exponent in nano units, rounded up, saturating.
  private static func decimalNanoUnits(
    whole: ArraySlice<UInt8>, fraction: ArraySlice<UInt8>, exponent: Int
  ) -> Int128 {
    let digits = (whole + fraction).map { $0 - UInt8(ascii: "0") }
    // So many leading digits stand before the point when counting in nano units.
    let kept = whole.count + exponent + 9
    var result: Int128 = 0
    for digit in digits.prefix(max(kept, 0)) {
      result = result * 10 + Int128(digit)
      if result > maximumNanoUnits { return maximumNanoUnits }
    }
    if result > 0, kept > digits.count {
      for _ in digits.count..<kept {
        result *= 10
        if result > maximumNanoUnits { return maximumNanoUnits }
      }
    }
    let isInexact = digits.dropFirst(max(kept, 0)).contains { $0 != 0 }
    return isInexact ? result + 1 : result
  }

  /// `whole.fraction` × 2^shift in nano units, rounded up, capped at 2⁶³−1 units.
  private static func binaryNanoUnits(whole: ArraySlice<UInt8>, fraction: ArraySlice<UInt8>, shift: Int) -> Int128 {
    let cap = Int128(Int64.max) * 1_000_000_000
    let unit = (Int128(1) << Int128(shift)) * 1_000_000_000
    var count: Int128 = 0
    for digit in whole {
      count = count * 10 + Int128(digit - UInt8(ascii: "0"))
      if count > Int128(Int64.max) { return cap }
    }
    // From the last digit to the first, rounding up at each step, which is exact:
    // ⌈(a + ⌈x⌉) / 10⌉ = ⌈(a + x) / 10⌉ for a whole number a.
    var tail: Int128 = 0
    for digit in fraction.reversed() {
      tail = (Int128(digit - UInt8(ascii: "0")) * unit + tail + 9) / 10
    }
    // count < 2^63 and unit < 2^90: the product can exceed Int128.
    let (product, overflow) = count.multipliedReportingOverflow(by: unit)
    return overflow ? cap : min(min(product, cap) + tail, cap)
  }
}

extension Quantity: CustomStringConvertible {
  /// The canonical text: no fraction, the largest suffix that loses nothing.
  package var description: String {
    if nanoUnits == 0 { return "0" }
    if format == .binarySI, let text = binaryText { return text }
    return decimalText
  }

  /// The text with a binary suffix; nil below 1 Ki and for fractions, which Kubernetes prints in decimal.
  private var binaryText: String? {
    var (whole, remainder) = nanoUnits.quotientAndRemainder(dividingBy: 1_000_000_000)
    guard remainder == 0, whole.magnitude >= 1024 else { return nil }
    let suffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    var step = 0
    while step < suffixes.count - 1, whole % 1024 == 0 {
      whole /= 1024
      step += 1
    }
    return "\(whole)\(suffixes[step])"
  }

  private var decimalText: String {
    var mantissa = nanoUnits
    var exponent = -9
    while mantissa % 1000 == 0 {
      mantissa /= 1000
      exponent += 3
    }
    if format == .decimalExponent { return exponent == 0 ? "\(mantissa)" : "\(mantissa)e\(exponent)" }
    let suffixes = [-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"]
    return suffixes[exponent].map { "\(mantissa)\($0)" } ?? "\(mantissa)e\(exponent)"
  }
}

/// Reads signs and digits off the front of a text.
private struct Scanner {
  var rest: ArraySlice<UInt8>

  init(bytes: [UInt8]) { rest = bytes[...] }

  /// Takes `+` or `-`, if there; true for `-`.
  mutating func takeSign() -> Bool {
    if take(UInt8(ascii: "-")) { return true }
    _ = take(UInt8(ascii: "+"))
    return false
  }

  mutating func take(_ byte: UInt8) -> Bool {
    guard rest.first == byte else { return false }
    rest = rest.dropFirst()
    return true
  }

  mutating func takeDigits() -> ArraySlice<UInt8> {
    let digits = rest.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    rest = rest.dropFirst(digits.count)
    return digits
  }
}
