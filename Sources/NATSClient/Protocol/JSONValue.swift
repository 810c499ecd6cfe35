package import NIOCore

/// JSON as it stands in the API's answers: members in their order, numbers as their text, so that sequences of 64 bits and fields that this
/// client doesn't know pass through unharmed.
package enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  /// The digits as they were written.
  case number(String)
  case string(String)
  case array([JSONValue])
  case object([Member])

  /// One member of an object.
  package struct Member: Sendable, Hashable {
    package var key: String
    package var value: JSONValue
  }

  /// A number.
  package static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

  /// Nanoseconds, as the API writes durations.
  package static func duration(_ value: Duration) -> JSONValue { .integer(value.nanoseconds) }

  /// An array of strings.
  package static func strings(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }

  /// A member by its name; setting nil removes it. Nil on anything that isn't an object.
  package subscript(key: String) -> JSONValue? {
    get {
      guard case .object(let members) = self else { return nil }
      return members.first { $0.key == key }?.value
    }
    set {
      guard case .object(var members) = self else { return }
      if let at = members.firstIndex(where: { $0.key == key }) {
        if let newValue { members[at].value = newValue } else { members.remove(at: at) }
      } else if let newValue {
        members.append(Member(key: key, value: newValue))
      }
      self = .object(members)
    }
  }

  /// The text of a string.
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  /// A whole number within 64 bits.
  package var int: Int? { if case .number(let text) = self { Int(text) } else { nil } }
  /// A whole number that isn't negative.
  package var uint64: UInt64? { if case .number(let text) = self { UInt64(text) } else { nil } }
  /// A truth value.
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The elements of an array.
  package var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
  /// The members of an object.
  package var members: [Member]? { if case .object(let members) = self { members } else { nil } }
  /// Nanoseconds as a duration.
  package var duration: Duration? { int.map { .nanoseconds($0) } }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(integerLiteral value: Int) { self = .number(String(value)) }
  package init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(elements.map { Member(key: $0.0, value: $0.1) })
  }
  package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
}

extension JSONValue {
  /// The value as text, without blanks.
  package var text: String {
    var output: [UInt8] = []
    write(into: &output)
    return String(decoding: output, as: UTF8.self)
  }

  /// The value as bytes.
  package var buffer: ByteBuffer {
    var output: [UInt8] = []
    write(into: &output)
    return ByteBuffer(bytes: output)
  }

  private func write(into output: inout [UInt8]) {
    switch self {
    case .null: output += "null".utf8
    case .bool(let value): output += (value ? "true" : "false").utf8
    case .number(let text): output += text.utf8
    case .string(let text): Self.write(text, into: &output)
    case .array(let values):
      output.append(0x5B)
      for (index, value) in values.enumerated() {
        if index > 0 { output.append(0x2C) }
        value.write(into: &output)
      }
      output.append(0x5D)
    case .object(let members):
      output.append(0x7B)
      for (index, member) in members.enumerated() {
        if index > 0 { output.append(0x2C) }
        Self.write(member.key, into: &output)
        output.append(0x3A)
        member.value.write(into: &output)
      }
      output.append(0x7D)
    }
  }

  private static func write(_ text: String, into output: inout [UInt8]) {
    output.append(0x22)
    for byte in text.utf8 {
      switch byte {
      case 0x22: output += [0x5C, 0x22]
      case 0x5C: output += [0x5C, 0x5C]
      case 0x0A: output += [0x5C, 0x6E]
      case 0x0D: output += [0x5C, 0x72]
      case 0x09: output += [0x5C, 0x74]
      case 0..<0x20:
        output += "\\u00".utf8
        output += [hexDigit(byte >> 4), hexDigit(byte & 15)]
      default: output.append(byte)
      }
    }
    output.append(0x22)
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }
}

/// Text that isn't JSON, or is nested deeper than `JSONValue.maximumDepth`.
package struct JSONError: Error, Sendable, Hashable {
  /// Where reading stopped, in bytes.
  package var offset: Int
}

extension JSONValue {
  /// The API nests five deep; a reader that recurses needs some bound, or a hostile answer exhausts the stack.
  package static let maximumDepth = 64

  /// Reads one value and nothing after it.
  package init(parsing buffer: ByteBuffer) throws(JSONError) {
    self = try buffer.withUnsafeReadableBytes { bytes throws(JSONError) in
      var reader = JSONReader(bytes: bytes)
      return try reader.document()
    }
  }
}

private struct JSONReader {
  let bytes: UnsafeRawBufferPointer
  var at = 0

  init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  private var failure: JSONError { JSONError(offset: at) }

  mutating func document() throws(JSONError) -> JSONValue {
    let result = try value(depth: 0)
    skipBlanks()
    guard at == bytes.count else { throw failure }
    return result
  }

  private mutating func skipBlanks() {
    while at < bytes.count, bytes[at] == 0x20 || (bytes[at] >= 0x09 && bytes[at] <= 0x0D) { at += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard at < bytes.count, bytes[at] == byte else { return false }
    at += 1
    return true
  }

  private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    skipBlanks()
    guard depth < JSONValue.maximumDepth, at < bytes.count else { throw failure }
    switch bytes[at] {
    case 0x7B: return try object(depth: depth)
    case 0x5B: return try array(depth: depth)
    case 0x22: return .string(try string())
    case 0x74: return try literal("true", .bool(true))
    case 0x66: return try literal("false", .bool(false))
    case 0x6E: return try literal("null", .null)
    default: return try number()
    }
  }

  private mutating func literal(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    let count = word.utf8CodeUnitCount
    guard bytes.count - at >= count else { throw failure }
    for offset in 0..<count where bytes[at + offset] != word.utf8Start[offset] { throw failure }
    at += count
    return value
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = at
    var digits = 0
    while at < bytes.count {
      switch bytes[at] {
      case 0x30...0x39: digits += 1
      case 0x2B, 0x2D, 0x2E, 0x45, 0x65: break
      default:
        guard digits > 0 else { throw failure }
        return .number(String(decoding: bytes[start..<at], as: UTF8.self))
      }
      at += 1
    }
    guard digits > 0 else { throw failure }
    return .number(String(decoding: bytes[start..<at], as: UTF8.self))
  }

  private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
    at += 1
    var values: [JSONValue] = []
    skipBlanks()
    if take(0x5D) { return .array(values) }
    while true {
      values.append(try value(depth: depth + 1))
      skipBlanks()
      if take(0x5D) { return .array(values) }
      guard take(0x2C) else { throw failure }
    }
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
    at += 1
    var members: [JSONValue.Member] = []
    skipBlanks()
    if take(0x7D) { return .object(members) }
    while true {
      skipBlanks()
      guard at < bytes.count, bytes[at] == 0x22 else { throw failure }
      let key = try string()
      skipBlanks()
      guard take(0x3A) else { throw failure }
      members.append(.init(key: key, value: try value(depth: depth + 1)))
      skipBlanks()
      if take(0x7D) { return .object(members) }
      guard take(0x2C) else { throw failure }
    }
  }

  private mutating func string() throws(JSONError) -> String {
    at += 1
    let start = at
    while at < bytes.count, bytes[at] != 0x22, bytes[at] != 0x5C { at += 1 }
    guard at < bytes.count else { throw failure }
    if bytes[at] == 0x22 {
      defer { at += 1 }
      return String(decoding: bytes[start..<at], as: UTF8.self)
    }
    var output = Array(bytes[start..<at])
    while at < bytes.count {
      let byte = bytes[at]
      at += 1
      if byte == 0x22 { return String(decoding: output, as: UTF8.self) }
      if byte == 0x5C { try escape(into: &output) } else { output.append(byte) }
    }
    throw failure
  }

  private mutating func escape(into output: inout [UInt8]) throws(JSONError) {
    guard at < bytes.count else { throw failure }
    let byte = bytes[at]
    at += 1
    switch byte {
    case 0x22, 0x5C, 0x2F: output.append(byte)
    case 0x62: output.append(0x08)
    case 0x66: output.append(0x0C)
    case 0x6E: output.append(0x0A)
    case 0x72: output.append(0x0D)
    case 0x74: output.append(0x09)
    case 0x75:
      var scalar = try hex()
      if scalar >= 0xD800, scalar < 0xDC00, at + 1 < bytes.count, bytes[at] == 0x5C, bytes[at + 1] == 0x75 {
        at += 2
        let low = try hex()
        guard low >= 0xDC00, low < 0xE000 else { throw failure }
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
      }
      // A lone surrogate is no character.
      output += String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8
    default: throw failure
    }
  }

  private mutating func hex() throws(JSONError) -> UInt32 {
    guard at + 4 <= bytes.count else { throw failure }
    var value: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[at]
      switch byte {
      case 0x30...0x39: value = value << 4 + UInt32(byte - 0x30)
      case 0x41...0x46: value = value << 4 + UInt32(byte - 0x37)
      case 0x61...0x66: value = value << 4 + UInt32(byte - 0x57)
      default: throw failure
      }
      at += 1
    }
    return value
  }
}

extension Duration {
  /// Whole nanoseconds, clamped to 64 bits.
  package var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds < 0 ? .min : .max }
    let (sum, overflowed) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
    return overflowed ? (seconds < 0 ? .min : .max) : sum
  }
}
