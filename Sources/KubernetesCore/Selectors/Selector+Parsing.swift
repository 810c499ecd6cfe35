extension Selector {
  /// Reads a selector in kubectl's grammar: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`; empty matches everything.
  package init(_ text: some StringProtocol) throws(SelectorError) {
    var parser = SelectorParser(text: String(text))
    self.init(requirements: try parser.parse())
  }
}

private enum Token: Equatable {
  case word(String)
  case comma, open, close, bang, equals, notEquals, greater, less, end
}

private struct SelectorParser {
  private let text: String
  private var bytes: Substring.UTF8View
  private var next: Token = .end

  init(text: String) {
    self.text = text
    bytes = text[...].utf8
  }

  mutating func parse() throws(SelectorError) -> [Selector.Requirement] {
    try advance()
    var requirements: [Selector.Requirement] = []
    if next == .end { return [] }
    while true {
      requirements.append(try requirement())
      switch next {
      case .end: return requirements
      case .comma:
        try advance()
        // kubectl refuses a trailing comma, too.
        if next == .end { throw failure("a requirement is missing after the last ','") }
      default: throw failure("',' or the end was expected")
      }
    }
  }

  private mutating func requirement() throws(SelectorError) -> Selector.Requirement {
    if next == .bang {
      try advance()
      return try .init(key: try word("a key after '!'"), operator: .doesNotExist, values: [])
    }
    let key = try word("a key")
    switch next {
    case .end, .comma: return try .init(key: key, operator: .exists, values: [])
    case .equals: return try .init(key: key, operator: .equals, values: [try exactValue()])
    case .notEquals: return try .init(key: key, operator: .notEquals, values: [try exactValue()])
    case .greater: return try .init(key: key, operator: .greaterThan, values: [try exactValue()])
    case .less: return try .init(key: key, operator: .lessThan, values: [try exactValue()])
    case .word("in"): return try .init(key: key, operator: .in, values: try valueSet())
    case .word("notin"): return try .init(key: key, operator: .notIn, values: try valueSet())
    default: throw failure("an operator (=, ==, !=, in, notin, >, <) was expected after \"\(key)\"")
    }
  }

  /// The value after an operator; nothing before `,` or the end means the empty value.
  private mutating func exactValue() throws(SelectorError) -> String {
    try advance()
    if next == .end || next == .comma { return "" }
    return try word("a value")
  }

  /// `(a,b)`; a missing value between separators means the empty value.
  private mutating func valueSet() throws(SelectorError) -> [String] {
    try advance()
    guard next == .open else { throw failure("'(' was expected") }
    try advance()
    var values: [String] = []
    while true {
      if case .word = next { values.append(try word("a value")) } else { values.append("") }
      switch next {
      case .comma: try advance()
      case .close:
        try advance()
        return values
      default: throw failure("',' or ')' was expected")
      }
    }
  }

  private mutating func word(_ what: String) throws(SelectorError) -> String {
    guard case .word(let word) = next else { throw failure("\(what) was expected") }
    try advance()
    return word
  }

  private func failure(_ problem: String) -> SelectorError { SelectorError(text: text, problem: problem) }

  private mutating func advance() throws(SelectorError) {
    while let byte = bytes.first, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { bytes.removeFirst() }
    guard let byte = bytes.popFirst() else {
      next = .end
      return
    }
    switch byte {
    case UInt8(ascii: ","): next = .comma
    case UInt8(ascii: "("): next = .open
    case UInt8(ascii: ")"): next = .close
    case UInt8(ascii: ">"): next = .greater
    case UInt8(ascii: "<"): next = .less
    case UInt8(ascii: "="):
      if bytes.first == UInt8(ascii: "=") { bytes.removeFirst() }
      next = .equals
    case UInt8(ascii: "!"):
      if bytes.first == UInt8(ascii: "=") {
        bytes.removeFirst()
        next = .notEquals
      } else {
        next = .bang
      }
    default:
      var word = [byte]
      while let byte = bytes.first, !Self.isSpecial(byte) {
        word.append(byte)
        bytes.removeFirst()
      }
      next = .word(String(decoding: word, as: UTF8.self))
    }
  }

  private static func isSpecial(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ","), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "="),
      UInt8(ascii: "!"), UInt8(ascii: ">"), UInt8(ascii: "<"):
      true
    default: false
    }
  }
}
