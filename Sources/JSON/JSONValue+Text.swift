extension JSONValue {
  /// Reads a document; of several equal members the last one wins, as in Go.
  package init(parsing bytes: [UInt8]) throws(JSONSyntaxError) {
    var reader = JSONReader(bytes)
    self = try JSONValue(reading: &reader)
    try reader.finish()
  }

  /// Reads the value that comes next.
  package init(reading reader: inout JSONReader) throws(JSONSyntaxError) {
    switch try reader.peek() {
    case .null:
      _ = try reader.readNull()
      self = .null
    case .bool: self = .bool(try reader.readBool())
    case .string: self = .string(try reader.readString())
    case .number:
      switch try reader.readNumber() {
      case .int(let value): self = .int(value)
      case .double(let value): self = .double(value)
      }
    case .array:
      try reader.beginArray()
      var elements: [JSONValue] = []
      var first = true
      while try reader.nextElement(first: &first) { elements.append(try JSONValue(reading: &reader)) }
      self = .array(elements)
    case .object:
      try reader.beginObject()
      var members: [String: JSONValue] = [:]
      var first = true
      while let key = try reader.nextKey(first: &first) { members[key] = try JSONValue(reading: &reader) }
      self = .object(members)
    }
  }

  /// The document as text: members sorted by name, no white space, so that equal values have equal texts.
  ///
  /// A number that JSON can't write (not finite) becomes null; encoders refuse it before it gets here.
  package var text: [UInt8] {
    var text: [UInt8] = []
    write(to: &text)
    return text
  }

  private func write(to text: inout [UInt8]) {
    switch self {
    case .null: text.append(contentsOf: "null".utf8)
    case .bool(let value): text.append(contentsOf: (value ? "true" : "false").utf8)
    case .int(let value): text.append(contentsOf: String(value).utf8)
    case .double(let value): Self.write(value, to: &text)
    case .string(let value): Self.write(value, to: &text)
    case .array(let elements):
      text.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        element.write(to: &text)
      }
      text.append(UInt8(ascii: "]"))
    case .object(let members):
      text.append(UInt8(ascii: "{"))
      var isFirst = true
      for (key, member) in members.sorted(by: { $0.key < $1.key }) {
        if !isFirst { text.append(UInt8(ascii: ",")) }
        isFirst = false
        Self.write(key, to: &text)
        text.append(UInt8(ascii: ":"))
        member.write(to: &text)
      }
      text.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ value: Double, to text: inout [UInt8]) {
    guard value.isFinite else { return text.append(contentsOf: "null".utf8) }
    var digits = value.description
    if digits.hasSuffix(".0") { digits.removeLast(2) }
    text.append(contentsOf: digits.utf8)
  }

  private static func write(_ value: String, to text: inout [UInt8]) {
    text.append(UInt8(ascii: "\""))
    for byte in value.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += [UInt8(ascii: "\\"), byte]
      case 0x08: text += [UInt8(ascii: "\\"), UInt8(ascii: "b")]
      case 0x0C: text += [UInt8(ascii: "\\"), UInt8(ascii: "f")]
      case 0x0A: text += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
      case 0x0D: text += [UInt8(ascii: "\\"), UInt8(ascii: "r")]
      case 0x09: text += [UInt8(ascii: "\\"), UInt8(ascii: "t")]
      case 0..<0x20:
        text += "\\u00".utf8
        text += [hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
      default: text.append(byte)
      }
    }
    text.append(UInt8(ascii: "\""))
  }

  private static let hexDigits = Array("0123456789abcdef".utf8)
}
