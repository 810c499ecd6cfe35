/// What is wrong with a JSON text, and where.
package struct JSONSyntaxError: Error, Hashable, CustomStringConvertible {
  /// What was found, or what is missing.
  package var message: String
  /// The offset in bytes from the beginning of the document.
  package var offset: Int

  package var description: String { "\(message) at byte \(offset)" }
}

/// Reads JSON (RFC 8259) value by value, without building a document.
///
/// A list of ten thousand pods' metrics is read in one go and only what is asked for is kept; reading it through
/// `JSONDecoder` took a quarter of the controller's CPU (Benchmarks/README.md). The reader is strict: UTF-8 only, no
/// trailing commas, no comments, no text behind the document, nesting up to `maximumDepth`.
package struct JSONReader {
  /// What kind of value comes next.
  package enum Kind: Hashable, Sendable {
    case null
    case bool
    case number
    case string
    case array
    case object
  }

  /// A number as it was written.
  package enum Number: Hashable, Sendable {
    /// A whole number that fits, also when written with a fraction or an exponent.
    case int(Int64)
    /// Any other number.
    case double(Double)
  }

  /// How deeply arrays and objects may nest; what `JSONDecoder` allows, too.
  package static let maximumDepth = 512

  private let bytes: [UInt8]
  private var index = 0
  private var depth = 0

  /// Begins to read a document.
  package init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  // MARK: Structure

  /// The kind of the value that comes next.
  package mutating func peek() throws(JSONSyntaxError) -> Kind {
    skipSpace()
    guard index < bytes.count else { throw error("the text ends where a value is needed") }
    switch bytes[index] {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
    default: throw error("no JSON value begins with \(Self.shown(bytes[index]))")
    }
  }

  /// Enters an object; read its members with `nextKey(first:)`.
  package mutating func beginObject() throws(JSONSyntaxError) {
    try enter(UInt8(ascii: "{"), "an object")
  }

  /// The next member's name, whose value must be read or skipped next; nil at the end of the object.
  package mutating func nextKey(first: inout Bool) throws(JSONSyntaxError) -> String? {
    guard try continues(until: UInt8(ascii: "}"), first: &first) else { return nil }
    guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { throw error("a member's name is missing") }
    let key = try readString()
    skipSpace()
    guard index < bytes.count, bytes[index] == UInt8(ascii: ":") else {
      throw error("a colon is missing behind the name \"\(key.prefix(64))\"")
    }
    index += 1
    return key
  }

  /// Enters an array; read its elements after each true `nextElement(first:)`.
  package mutating func beginArray() throws(JSONSyntaxError) {
    try enter(UInt8(ascii: "["), "an array")
  }

  /// Whether another element follows, which must be read or skipped next.
  package mutating func nextElement(first: inout Bool) throws(JSONSyntaxError) -> Bool {
    try continues(until: UInt8(ascii: "]"), first: &first)
  }

  /// Makes sure that nothing but white space follows.
  package mutating func finish() throws(JSONSyntaxError) {
    skipSpace()
    guard index == bytes.count else { throw error("there is text behind the document") }
  }

  private mutating func enter(_ bracket: UInt8, _ name: String) throws(JSONSyntaxError) {
    skipSpace()
    guard index < bytes.count, bytes[index] == bracket else { throw error("\(name) is needed") }
    depth += 1
    guard depth <= Self.maximumDepth else { throw error("the nesting is deeper than \(Self.maximumDepth)") }
    index += 1
  }

  private mutating func continues(until bracket: UInt8, first: inout Bool) throws(JSONSyntaxError) -> Bool {
    skipSpace()
    guard index < bytes.count else { throw error("the text ends inside an array or object") }
    if bytes[index] == bracket {
      index += 1
      depth -= 1
      return false
    }
    if first {
      first = false
      return true
    }
    guard bytes[index] == UInt8(ascii: ",") else { throw error("a comma or bracket is missing") }
    index += 1
    skipSpace()
    guard index < bytes.count, bytes[index] != bracket else { throw error("nothing follows a comma") }
    return true
  }

  // MARK: Values

  /// Reads null if it comes next.
  package mutating func readNull() throws(JSONSyntaxError) -> Bool {
    guard try peek() == .null else { return false }
    try expect("null")
    return true
  }

  /// Reads a Boolean.
  package mutating func readBool() throws(JSONSyntaxError) -> Bool {
    guard try peek() == .bool else { throw error("true or false is needed") }
    let value = bytes[index] == UInt8(ascii: "t")
    try expect(value ? "true" : "false")
    return value
  }

  /// Reads a string.
  package mutating func readString() throws(JSONSyntaxError) -> String {
    guard try peek() == .string else { throw error("a string is needed") }
    let start = index + 1
    var end = start
    while end < bytes.count {
      let byte = bytes[end]
      if byte == UInt8(ascii: "\"") {
        guard let text = String(validating: bytes[start..<end], as: UTF8.self) else {
          throw error("the string is not valid UTF-8")
        }
        index = end + 1
        return text
      }
      if byte == UInt8(ascii: "\\") { return try readEscapedString(start, end) }
      guard byte >= 0x20 else {
        index = end
        throw error("a control character stands in a string")
      }
      end += 1
    }
    throw error("a string has no end")
  }

  /// Reads a number.
  package mutating func readNumber() throws(JSONSyntaxError) -> Number {
    guard try peek() == .number else { throw error("a number is needed") }
    let start = index
    let isWhole = try scanNumber()
    let text = bytes[start..<index]
    if isWhole, let value = Self.integer(text) { return .int(value) }
    guard let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else {
      index = start
      throw error("the number is too large")
    }
    // 1e3 and 2.0 are whole numbers as well; beyond 2⁵³ a Double doesn't tell which.
    if abs(value) <= 9_007_199_254_740_992, let whole = Int64(exactly: value) { return .int(whole) }
    return .double(value)
  }

  /// Skips the value that comes next, checking its syntax.
  package mutating func skipValue() throws(JSONSyntaxError) {
    switch try peek() {
    case .null: try expect("null")
    case .bool: _ = try readBool()
    case .number: _ = try scanNumber()
    case .string: try skipString()
    case .array:
      try beginArray()
      var first = true
      while try nextElement(first: &first) { try skipValue() }
    case .object:
      try beginObject()
      var first = true
      while try nextKey(first: &first) != nil { try skipValue() }
    }
  }

  // MARK: Pieces

  private mutating func skipSpace() {
    while index < bytes.count {
      switch bytes[index] {
      case 0x20, 0x09, 0x0A, 0x0D: index += 1
      default: return
      }
    }
  }

  private mutating func expect(_ word: StaticString) throws(JSONSyntaxError) {
    let length = word.utf8CodeUnitCount
    guard index + length <= bytes.count else { throw error("\"\(word)\" is cut off") }
    let matches = word.withUTF8Buffer { $0.elementsEqual(bytes[index..<(index + length)]) }
    guard matches else { throw error("\"\(word)\" is needed") }
    index += length
  }

  private mutating func skipString() throws(JSONSyntaxError) {
    let start = index
    var end = index + 1
    while end < bytes.count {
      let byte = bytes[end]
      if byte == UInt8(ascii: "\\") || byte >= 0x80 || byte < 0x20 {
        // Escapes and UTF-8 are checked by reading.
        index = start
        _ = try readString()
        return
      }
      end += 1
      if byte == UInt8(ascii: "\"") {
        index = end
        return
      }
    }
    throw error("a string has no end")
  }

  /// Moves behind a number; true when it has neither fraction nor exponent.
  private mutating func scanNumber() throws(JSONSyntaxError) -> Bool {
    if bytes[index] == UInt8(ascii: "-") { index += 1 }
    guard let lead = digit(at: index) else { throw error("a number needs a digit") }
    index += 1
    if lead != 0 {
      skipDigits()
    } else if digit(at: index) != nil {
      throw error("a number mustn't begin with 0")
    }
    var isWhole = true
    if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
      isWhole = false
      index += 1
      guard digit(at: index) != nil else { throw error("a digit is missing behind the decimal point") }
      skipDigits()
    }
    if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
      isWhole = false
      index += 1
      if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
      guard digit(at: index) != nil else { throw error("a digit is missing in the exponent") }
      skipDigits()
    }
    return isWhole
  }

  private mutating func skipDigits() {
    while digit(at: index) != nil { index += 1 }
  }

  private func digit(at position: Int) -> UInt8? {
    guard position < bytes.count else { return nil }
    let value = bytes[position] &- UInt8(ascii: "0")
    return value <= 9 ? value : nil
  }

  private static func integer(_ text: ArraySlice<UInt8>) -> Int64? {
    let isNegative = text.first == UInt8(ascii: "-")
    var value: Int64 = 0
    for byte in isNegative ? text.dropFirst() : text {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let digit = Int64(byte &- UInt8(ascii: "0"))
      // Counted downwards, since the negative range is the larger one.
      let (next, overflowToo) = tens.subtractingReportingOverflow(digit)
      if overflow || overflowToo { return nil }
      value = next
    }
    if isNegative { return value }
    return value == .min ? nil : -value
  }

  // MARK: Escapes

  private mutating func readEscapedString(_ start: Int, _ firstEscape: Int) throws(JSONSyntaxError) -> String {
    var text = Array(bytes[start..<firstEscape])
    index = firstEscape
    while index < bytes.count {
      let byte = bytes[index]
      switch byte {
      case UInt8(ascii: "\""):
        index += 1
        guard let string = String(validating: text, as: UTF8.self) else { throw error("the string is not valid UTF-8") }
        return string
      case UInt8(ascii: "\\"): try readEscape(into: &text)
      case 0..<0x20: throw error("a control character stands in a string")
      default:
        text.append(byte)
        index += 1
      }
    }
    throw error("a string has no end")
  }

  private mutating func readEscape(into text: inout [UInt8]) throws(JSONSyntaxError) {
    guard index + 1 < bytes.count else { throw error("a string has no end") }
    let letter = bytes[index + 1]
    index += 2
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text.append(contentsOf: String(Character(try readScalar())).utf8)
    default: throw error("there is no escape \\\(Self.shown(letter))")
    }
  }

  private mutating func readScalar() throws(JSONSyntaxError) -> Unicode.Scalar {
    let high = try readHex()
    if let scalar = Unicode.Scalar(UInt32(high)) { return scalar }
    guard high < 0xDC00, index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"),
      bytes[index + 1] == UInt8(ascii: "u")
    else { throw error("half of a surrogate pair stands alone") }
    index += 2
    let low = try readHex()
    guard (0xDC00...0xDFFF).contains(low),
      let scalar = Unicode.Scalar(0x10000 + (UInt32(high) - 0xD800) << 10 + (UInt32(low) - 0xDC00))
    else { throw error("half of a surrogate pair stands alone") }
    return scalar
  }

  private mutating func readHex() throws(JSONSyntaxError) -> UInt16 {
    guard index + 4 <= bytes.count else { throw error("a \\u escape is cut off") }
    var value: UInt16 = 0
    for byte in bytes[index..<(index + 4)] {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt16(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt16(byte - UInt8(ascii: "a") + 10)
      case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt16(byte - UInt8(ascii: "A") + 10)
      default: throw error("a \\u escape needs four hexadecimal digits")
      }
    }
    index += 4
    return value
  }

  // MARK: Errors

  private func error(_ message: String) -> JSONSyntaxError {
    JSONSyntaxError(message: message, offset: index)
  }

  private static func shown(_ byte: UInt8) -> String {
    (0x21..<0x7F).contains(byte) ? String(Unicode.Scalar(byte)) : "byte \(byte)"
  }
}
