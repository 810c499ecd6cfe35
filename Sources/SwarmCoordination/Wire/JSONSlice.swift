/// A JSON value as it stands in a text: what is asked for is read, everything else is passed on byte for byte.
///
/// For answers of servers that are small and complete (`JSONFieldScanner` is for texts that come in pieces). Nesting costs no stack:
/// a value is skipped by counting brackets. Texts that are no JSON give nil where that is noticed; nothing is checked beyond what is
/// asked for.
package struct JSONSlice: Hashable, Sendable {
  /// The value, without space around it.
  package let bytes: ArraySlice<UInt8>

  /// The only value of a text; nil when there is none, or something behind it.
  package init?(_ text: [UInt8]) {
    var reader = Reader(text[...])
    guard let value = reader.value(), reader.isAtEnd else { return nil }
    self = value
  }

  private init(_ bytes: ArraySlice<UInt8>) { self.bytes = bytes }

  /// The members of an object, by name; of a name that comes twice the last; nil for other values.
  package var members: [String: JSONSlice]? {
    guard bytes.first == UInt8(ascii: "{") else { return nil }
    var reader = Reader(bytes.dropFirst())
    var members: [String: JSONSlice] = [:]
    if reader.take(UInt8(ascii: "}")) { return members }
    while true {
      guard let name = reader.value()?.string, reader.take(UInt8(ascii: ":")), let value = reader.value() else {
        return nil
      }
      members[name] = value
      if reader.take(UInt8(ascii: ",")) { continue }
      return reader.take(UInt8(ascii: "}")) ? members : nil
    }
  }

  /// The elements of an array; nil for other values.
  package var elements: [JSONSlice]? {
    guard bytes.first == UInt8(ascii: "[") else { return nil }
    var reader = Reader(bytes.dropFirst())
    var elements: [JSONSlice] = []
    if reader.take(UInt8(ascii: "]")) { return elements }
    while true {
      guard let value = reader.value() else { return nil }
      elements.append(value)
      if reader.take(UInt8(ascii: ",")) { continue }
      return reader.take(UInt8(ascii: "]")) ? elements : nil
    }
  }

  /// The text of a string; nil for other values, and for escapes that aren't JSON's.
  package var string: String? {
    guard bytes.count >= 2, bytes.first == UInt8(ascii: "\"") else { return nil }
    let body = bytes.dropFirst().dropLast()
    guard body.contains(UInt8(ascii: "\\")) else { return String(decoding: body, as: UTF8.self) }
    var units: [UInt16] = []
    var plain: [UInt8] = []
    var text = ""
    func settle() {
      text += String(decoding: units, as: UTF16.self) + String(decoding: plain, as: UTF8.self)
      units = []
      plain = []
    }
    var index = body.startIndex
    while index < body.endIndex {
      guard body[index] == UInt8(ascii: "\\") else {
        if !units.isEmpty { settle() }
        plain.append(body[index])
        index += 1
        continue
      }
      guard index + 1 < body.endIndex else { return nil }
      let escape = body[index + 1]
      index += 2
      if escape == UInt8(ascii: "u") {
        guard body.endIndex - index >= 4,
          let unit = UInt16(String(decoding: body[index..<index + 4], as: UTF8.self), radix: 16)
        else { return nil }
        if !plain.isEmpty { settle() }
        // Halves of a pair stand behind one another.
        units.append(unit)
        index += 4
      } else {
        guard let byte = Self.escapes[escape] else { return nil }
        if !units.isEmpty { settle() }
        plain.append(byte)
      }
    }
    settle()
    return text
  }

  /// A whole number; nil for other values.
  package var integer: Int64? { Int64(String(decoding: bytes, as: UTF8.self)) }

  /// A number of seconds, to the millisecond; nil for other values and for negative ones.
  package var seconds: Duration? {
    let text = String(decoding: bytes, as: UTF8.self)
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = Int64(parts[0]), (0...1 << 40).contains(whole) else { return nil }
    guard parts.count == 2 else { return .seconds(whole) }
    guard let fraction = Int64(parts[1].prefix(3).padded(to: 3)), fraction >= 0 else { return nil }
    return .seconds(whole) + .milliseconds(fraction)
  }

  /// True or false; nil for other values.
  package var boolean: Bool? {
    switch String(decoding: bytes, as: UTF8.self) {
    case "true": true
    case "false": false
    default: nil
    }
  }

  private static let escapes: [UInt8: UInt8] = [
    UInt8(ascii: "\""): UInt8(ascii: "\""), UInt8(ascii: "\\"): UInt8(ascii: "\\"),
    UInt8(ascii: "/"): UInt8(ascii: "/"), UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
    UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9,
  ]

  /// A text as a JSON string, with its quotes.
  package static func quoted(_ text: some StringProtocol) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += #"\""#
      case "\\": result += #"\\"#
      case "\n": result += #"\n"#
      case "\r": result += #"\r"#
      case "\t": result += #"\t"#
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += #"\u"# + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  /// Goes through a text from value to value.
  private struct Reader {
    private var rest: ArraySlice<UInt8>

    init(_ text: ArraySlice<UInt8>) { rest = text }

    var isAtEnd: Bool {
      mutating get {
        skipSpace()
        return rest.isEmpty
      }
    }

    private mutating func skipSpace() {
      rest = rest.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
      skipSpace()
      guard rest.first == byte else { return false }
      rest = rest.dropFirst()
      return true
    }

    /// The next value; nil when it doesn't end, or there is none.
    mutating func value() -> JSONSlice? {
      skipSpace()
      let start = rest.startIndex
      var index = start
      var depth = 0
      while index < rest.endIndex {
        switch rest[index] {
        case UInt8(ascii: "\""):
          guard let end = Self.endOfString(rest, from: index) else { return nil }
          index = end
        case UInt8(ascii: "{"), UInt8(ascii: "["):
          depth += 1
          index += 1
          continue
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
          guard depth > 0 else { return nil }
          depth -= 1
          index += 1
        case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0A, 0x0D, 0x09:
          // Between the parts of a value; at its beginning there would be none.
          guard depth > 0 else { return nil }
          index += 1
          continue
        default:
          index = rest[index...].firstIndex(where: Self.endsLiteral) ?? rest.endIndex
        }
        if depth == 0 {
          let value = JSONSlice(rest[start..<index])
          rest = rest[index...]
          return value
        }
      }
      return nil
    }

    private static func endsLiteral(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: "["),
        UInt8(ascii: "{"), UInt8(ascii: "\""), 0x20, 0x0A, 0x0D, 0x09:
        true
      default: false
      }
    }

    private static func endOfString(_ text: ArraySlice<UInt8>, from start: Int) -> Int? {
      var index = start + 1
      while index < text.endIndex {
        if text[index] == UInt8(ascii: "\\") {
          index += 2
        } else if text[index] == UInt8(ascii: "\"") {
          return index + 1
        } else {
          index += 1
        }
      }
      return nil
    }
  }
}

extension Substring {
  /// With zeros behind it, up to a length.
  fileprivate func padded(to length: Int) -> String {
    self + String(repeating: "0", count: Swift.max(0, length - count))
  }
}
