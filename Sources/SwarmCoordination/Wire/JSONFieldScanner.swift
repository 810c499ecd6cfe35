/// Finds the values of a few fields in a JSON text that comes in pieces.
///
/// Everything else is skipped, whatever it is: unknown fields, odd spacing, any order of keys, any depth. Nothing is
/// kept but the values asked for (at most 256 bytes each). A text that is no JSON breaks it: `isBroken`; values found
/// before that stay. Of a key that comes twice the last value counts, as with most parsers.
package struct JSONFieldScanner: Sendable {
  /// A field: the keys from the outermost object on.
  package struct Field: Hashable, Sendable {
    /// The keys, as UTF-8.
    var path: [[UInt8]]
    /// Whether only the length of a text is wanted, not the text.
    var isLengthOnly: Bool

    /// Makes a field; `path` is written with dots.
    package init(_ path: String, isLengthOnly: Bool = false) {
      self.path = path.split(separator: ".").map { Array($0.utf8) }
      self.isLengthOnly = isLengthOnly
    }
  }

  /// What a field holds.
  package enum Value: Hashable, Sendable {
    /// A text; of one that is too long nothing is kept.
    case text(String)
    /// The length of a text in characters (code points).
    case length(Int)
    /// A number, cut to whole ones.
    case number(Int64)
    /// True or false.
    case boolean(Bool)
    /// Nothing.
    case null
    /// An object or a list.
    case container
  }

  private enum Phase: Sendable {
    case value, literal
    case key, colon, firstKey, nextKey
    case string(isKey: Bool)
    case afterValue
    case skipping, skippedString
    case done, broken
  }

  private static let longest = 256

  private let fields: [Field]
  /// What was found, by the places of the fields.
  package private(set) var values: [Value?]
  private var phase = Phase.value
  /// The fields whose path leads through each open object.
  private var open: [[Int]] = []
  /// The fields whose path leads through the value that comes.
  private var candidates: [Int]
  private var token: [UInt8] = []
  private var tokenLength = 0
  private var isTooLong = false
  private var isEscaped = false
  private var escapeDigits = 0
  private var skipDepth = 0

  /// Makes a scanner for some fields.
  package init(_ fields: [Field]) {
    self.fields = fields
    values = Array(repeating: nil, count: fields.count)
    candidates = Array(fields.indices)
  }

  /// Whether the text so far is no JSON.
  package var isBroken: Bool { if case .broken = phase { true } else { false } }
  /// Whether the text is complete.
  package var isComplete: Bool { if case .done = phase { true } else { false } }

  /// Begins anew, for another text.
  package mutating func reset() {
    for index in values.indices { values[index] = nil }
    phase = .value
    open.removeAll(keepingCapacity: true)
    candidates = Array(fields.indices)
    token.removeAll(keepingCapacity: true)
    isEscaped = false
    escapeDigits = 0
  }

  /// Takes in the next piece.
  package mutating func scan(_ bytes: UnsafeRawBufferPointer) {
    var index = 0
    while index < bytes.count {
      switch phase {
      case .done, .broken: return
      case .skipping: index = skip(bytes, from: index)
      case .skippedString: index = skipString(bytes, from: index)
      case .string(let isKey):
        string(bytes[index], isKey: isKey)
        index += 1
      case .literal:
        if literal(bytes[index]) { index += 1 }
      default:
        structure(bytes[index])
        index += 1
      }
    }
  }

  // MARK: Structure

  private mutating func structure(_ byte: UInt8) {
    if Self.isSpace(byte) { return }
    switch (phase, byte) {
    case (.value, UInt8(ascii: "{")): openObject()
    case (.value, UInt8(ascii: "[")): openSkipped()
    case (.value, UInt8(ascii: "\"")): beginString()
    case (.value, UInt8(ascii: "-")), (.value, 48...57), (.value, 97...122):
      begin()
      token.append(byte)
      phase = .literal
    case (.firstKey, UInt8(ascii: "\"")), (.nextKey, UInt8(ascii: "\"")):
      begin()
      phase = .string(isKey: true)
    case (.firstKey, UInt8(ascii: "}")): close()
    case (.colon, UInt8(ascii: ":")): phase = .value
    case (.afterValue, UInt8(ascii: ",")): phase = .nextKey
    case (.afterValue, UInt8(ascii: "}")): close()
    default: phase = .broken
    }
  }

  private mutating func begin() {
    token.removeAll(keepingCapacity: true)
    tokenLength = 0
    isTooLong = false
    isEscaped = false
    escapeDigits = 0
  }

  /// The field that ends at the value that comes.
  private var wanted: Int? {
    candidates.first { fields[$0].path.count == open.count }
  }

  private mutating func openObject() {
    if let wanted { values[wanted] = .container }
    let deeper = candidates.filter { fields[$0].path.count > open.count }
    guard !deeper.isEmpty else {
      skipDepth = 1
      phase = .skipping
      return
    }
    open.append(deeper)
    phase = .firstKey
  }

  private mutating func openSkipped() {
    if let wanted { values[wanted] = .container }
    skipDepth = 1
    phase = .skipping
  }

  private mutating func beginString() {
    begin()
    if wanted == nil {
      skipDepth = 0
      phase = .skippedString
    } else {
      phase = .string(isKey: false)
    }
  }

  private mutating func close() {
    open.removeLast()
    endValue()
  }

  private mutating func endValue() {
    phase = open.isEmpty ? .done : .afterValue
  }

  private mutating func endKey() {
    let level = open.count - 1
    candidates = (open.last ?? []).filter { !isTooLong && fields[$0].path[level] == token }
    phase = .colon
  }

  // MARK: Values

  /// Takes in a byte of a text or a key.
  private mutating func string(_ byte: UInt8, isKey: Bool) {
    if escapeDigits > 0 {
      escapeDigits -= 1
      return
    }
    if isEscaped {
      isEscaped = false
      // A character beyond ASCII stands in no key, model or code that matters: it only counts.
      if byte == UInt8(ascii: "u") { escapeDigits = 4 }
      keep(byte == UInt8(ascii: "u") ? UInt8(ascii: "?") : Self.unescaped(byte))
      return
    }
    switch byte {
    case UInt8(ascii: "\\"): isEscaped = true
    case UInt8(ascii: "\""): if isKey { endKey() } else { endText() }
    default: keep(byte)
    }
  }

  private mutating func keep(_ byte: UInt8) {
    if byte & 0xC0 != 0x80 { tokenLength += 1 }
    if token.count < Self.longest { token.append(byte) } else { isTooLong = true }
  }

  private mutating func endText() {
    if let wanted {
      if fields[wanted].isLengthOnly {
        values[wanted] = .length(tokenLength)
      } else if !isTooLong {
        values[wanted] = .text(String(decoding: token, as: UTF8.self))
      }
    }
    endValue()
  }

  /// Takes in a byte of a number or a word; false when it doesn't belong to it.
  private mutating func literal(_ byte: UInt8) -> Bool {
    let isEnd = Self.isSpace(byte) || [UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]")].contains(byte)
    guard isEnd else {
      keep(byte)
      return true
    }
    if let wanted { values[wanted] = Self.value(of: token) }
    endValue()
    return false
  }

  private static func value(of token: [UInt8]) -> Value? {
    switch String(decoding: token, as: UTF8.self) {
    case "true": .boolean(true)
    case "false": .boolean(false)
    case "null": .null
    case let text:
      Int64(text).map { .number($0) }
        ?? Double(text).flatMap { Int64(exactly: $0.rounded(.towardZero)) }.map { .number($0) }
    }
  }

  // MARK: What isn't wanted

  /// Skips inside lists and objects that hold nothing wanted.
  private mutating func skip(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var index = start
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""):
        isEscaped = false
        phase = .skippedString
        return index
      case UInt8(ascii: "{"), UInt8(ascii: "["): skipDepth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        skipDepth -= 1
        if skipDepth == 0 {
          endValue()
          return index
        }
      default: break
      }
    }
    return index
  }

  private mutating func skipString(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var index = start
    if isEscaped, index < bytes.count {
      isEscaped = false
      index += 1
    }
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      if byte == UInt8(ascii: "\"") {
        if skipDepth > 0 { phase = .skipping } else { endValue() }
        return index
      }
      if byte == UInt8(ascii: "\\") {
        guard index < bytes.count else {
          isEscaped = true
          return index
        }
        index += 1
      }
    }
    return index
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
  }

  private static func unescaped(_ byte: UInt8) -> UInt8 {
    switch byte {
    case UInt8(ascii: "n"): 0x0A
    case UInt8(ascii: "t"): 0x09
    case UInt8(ascii: "r"): 0x0D
    case UInt8(ascii: "b"): 0x08
    case UInt8(ascii: "f"): 0x0C
    default: byte
    }
  }
}

extension JSONFieldScanner.Value {
  /// The number, if it is one.
  package var number: Int64? { if case .number(let value) = self { value } else { nil } }
  /// The text, if it is one.
  package var text: String? { if case .text(let value) = self { value } else { nil } }
  /// The truth value, if it is one.
  package var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
  /// The length of a text.
  package var length: Int? { if case .length(let value) = self { value } else { nil } }
}
