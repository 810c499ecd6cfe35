/// A fixed-point number with a unit suffix, such as `250m`, `1.5Gi` or `2e3`, held exactly to the nano unit.
///
/// The rules are those of apimachinery's `resource.Quantity`: a fraction finer than nano rounds away from zero, a value
/// written with a binary suffix is capped at 2⁶³−1, and the suffix family is remembered for printing. Two differences:
/// a text without any digit (`"m"`, `"+"`) is an error here, and magnitudes above 10²⁸ saturate there.
package struct Quantity: Sendable {
  /// The family of suffixes in which a quantity was written and will be printed.
  package enum Format: Hashable, Sendable {
    /// `n u m "" k M G T P E`.
    case decimalSI
    /// `Ki Mi Gi Ti Pi Ei`.
    case binarySI
    /// `e3`, `E-2`.
    case decimalExponent
  }

  /// A power of ten in which a quantity can be counted.
  package enum Scale: Int, Hashable, Sendable, CaseIterable {
    case nano = -9
    case micro = -6
    case milli = -3
    case one = 0
    case kilo = 3
    case mega = 6
    case giga = 9
    case tera = 12
    case peta = 15
    case exa = 18
  }

  /// The largest magnitude held, in nano units: 10²⁸ whole units.
  ///
  /// Ten times as much, and the sum of two such, still fit into `Int128`, which the arithmetic here relies on.
  static let maximumNanoUnits: Int128 = {
    var value: Int128 = 1
    for _ in 0..<37 { value *= 10 }
    return value
  }()

  /// The value as a count of 10⁻⁹ units.
  package private(set) var nanoUnits: Int128
  /// The suffix family for printing.
  package var format: Format

  /// Makes a quantity of `nanoUnits` × 10⁻⁹, saturating at ±10²⁸ units.
  package init(nanoUnits: Int128, format: Format = .decimalSI) {
    self.nanoUnits = min(max(nanoUnits, -Self.maximumNanoUnits), Self.maximumNanoUnits)
    self.format = format
  }

  /// Makes a quantity of `value` whole units.
  package init(_ value: Int64, format: Format = .decimalSI) {
    self.init(nanoUnits: Int128(value) * 1_000_000_000, format: format)
  }

  /// Makes a quantity of `milliValue` thousandths.
  package init(milliValue: Int64, format: Format = .decimalSI) {
    self.init(nanoUnits: Int128(milliValue) * 1_000_000, format: format)
  }

  /// Nothing.
  package static let zero = Quantity(0)

  /// Whether the value is zero.
  package var isZero: Bool { nanoUnits == 0 }

  /// The value in units of `scale`, rounded away from zero, saturating at the range of `Int64`.
  package func scaled(to scale: Scale) -> Int64 {
    var divisor: Int128 = 1
    for _ in 0..<(scale.rawValue + 9) { divisor *= 10 }
    let (quotient, remainder) = nanoUnits.quotientAndRemainder(dividingBy: divisor)
    let rounded = remainder == 0 ? quotient : quotient + remainder.signum()
    return Int64(clamping: rounded)
  }

  /// The value in whole units, rounded away from zero, saturating.
  package var value: Int64 { scaled(to: .one) }
  /// The value in thousandths, rounded away from zero, saturating.
  package var milliValue: Int64 { scaled(to: .milli) }
  /// The value in billionths, saturating.
  package var nanoValue: Int64 { scaled(to: .nano) }

  /// The sum, saturating, in the format of `lhs`.
  package static func + (lhs: Quantity, rhs: Quantity) -> Quantity {
    Quantity(nanoUnits: lhs.nanoUnits + rhs.nanoUnits, format: lhs.format)
  }

  /// The difference, saturating, in the format of `lhs`.
  package static func - (lhs: Quantity, rhs: Quantity) -> Quantity {
    Quantity(nanoUnits: lhs.nanoUnits - rhs.nanoUnits, format: lhs.format)
  }
}

// Quantities are equal when their values are, however they were written.
extension Quantity: Hashable, Comparable {
  package static func == (lhs: Quantity, rhs: Quantity) -> Bool { lhs.nanoUnits == rhs.nanoUnits }

  package static func < (lhs: Quantity, rhs: Quantity) -> Bool { lhs.nanoUnits < rhs.nanoUnits }

  package func hash(into hasher: inout Hasher) { hasher.combine(nanoUnits) }
}

/// A text that is not a quantity.
package struct QuantityError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The offending text, cut to 64 characters.
  package var text: String
  /// What is wrong with it.
  package var problem: String

  /// Names a text and its problem.
  package init(text: String, problem: String) {
    self.text = String(text.prefix(64))
    self.problem = problem
  }

  package var description: String {
    "\"\(text)\" is not a quantity: \(problem). Write a number with an optional suffix of n u m k M G T P E, "
      + "Ki Mi Gi Ti Pi Ei or an exponent, such as \"500m\", \"1.5Gi\" or \"2e3\"."
  }
}

extension Quantity: Codable {
  /// Accepts a JSON string or a JSON number.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text: String
    if let string = try? container.decode(String.self) {
      text = string
    } else if let integer = try? container.decode(Int64.self) {
      text = String(integer)
    } else {
      // The shortest text that reads back as the same double: what the author wrote, up to 15 digits.
      text = try container.decode(Double.self).description
    }
    do {
      try self.init(text)
    } catch {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: error.description, underlyingError: error))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
