import KubernetesCore

/// Writes JSON as it goes along, member by member: a snapshot of a thousand fleets needs no tree of values in memory.
struct JSONText {
  /// The text so far.
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  /// Makes an empty text.
  init() {}

  /// Writes an object; `body` writes its members.
  mutating func object(_ body: (inout JSONText) -> Void) { nest("{", "}", body) }

  /// Writes an array; `body` writes its elements.
  mutating func array(_ body: (inout JSONText) -> Void) { nest("[", "]", body) }

  /// Writes a member's name; its value comes next.
  mutating func name(_ name: String) {
    separate()
    write(name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  /// Writes a string.
  mutating func string(_ value: String) {
    separate()
    write(value)
  }

  /// Writes a whole number.
  mutating func number(_ value: some BinaryInteger) {
    separate()
    bytes.append(contentsOf: String(value).utf8)
  }

  /// Writes a truth value.
  mutating func bool(_ value: Bool) {
    separate()
    bytes.append(contentsOf: (value ? "true" : "false").utf8)
  }

  /// Writes null.
  mutating func null() {
    separate()
    bytes.append(contentsOf: "null".utf8)
  }

  /// Writes a value that is JSON already.
  mutating func raw(_ json: some Sequence<UInt8>) {
    separate()
    bytes.append(contentsOf: json)
  }

  // MARK: Members

  /// A member with a string.
  mutating func member(_ name: String, _ value: String) {
    self.name(name)
    string(value)
  }

  /// A member with a number.
  mutating func member(_ name: String, _ value: some BinaryInteger) {
    self.name(name)
    number(value)
  }

  /// A member with a truth value.
  mutating func member(_ name: String, _ value: Bool) {
    self.name(name)
    bool(value)
  }

  /// A member with a number; null when there is none.
  mutating func member(_ name: String, _ value: (some BinaryInteger)?) {
    self.name(name)
    if let value { number(value) } else { null() }
  }

  /// A member with a string; null when there is none.
  mutating func member(_ name: String, _ value: String?) {
    self.name(name)
    if let value { string(value) } else { null() }
  }

  /// A member with an array.
  mutating func member(_ name: String, array body: (inout JSONText) -> Void) {
    self.name(name)
    array(body)
  }

  /// A member with an object.
  mutating func member(_ name: String, object body: (inout JSONText) -> Void) {
    self.name(name)
    object(body)
  }

  // MARK: Text

  private mutating func nest(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONText) -> Void) {
    separate()
    bytes.append(UInt8(ascii: open))
    needsComma = false
    body(&self)
    bytes.append(UInt8(ascii: close))
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  private mutating func write(_ value: String) {
    bytes.append(contentsOf: JSONValue.string(value).text)
  }
}
