/// What is kept of a fleet, as lines of words: small, to be read by people, and without a dependency. Unknown lines are for later versions.
struct FleetText {
  private var lines: [[Substring]] = []

  init() {}

  /// Reads lines; nil when the first isn't `kind` in a version that is known.
  init?(_ bytes: [UInt8], kind: String) {
    let text = String(decoding: bytes, as: UTF8.self)
    lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    guard lines.first == [kind[...], "1"] else { return nil }
  }

  /// Begins a text of a kind.
  init(kind: String) { add(kind, "1") }

  mutating func add(_ name: String, _ words: [String]) { lines.append([name[...]] + words.map { $0[...] }) }
  mutating func add(_ name: String, _ word: String) { add(name, [word]) }
  mutating func add(_ name: String, _ number: some BinaryInteger) { add(name, ["\(number)"]) }

  var bytes: [UInt8] { Array(lines.map { $0.joined(separator: " ") }.joined(separator: "\n").utf8) }

  /// The words of the first line of a name; empty when there is none.
  func words(_ name: String) -> ArraySlice<Substring> { lines.first { $0.first == name[...] }?.dropFirst() ?? [] }
  /// The words of all lines of a name.
  func all(_ name: String) -> [ArraySlice<Substring>] { lines.filter { $0.first == name[...] }.map { $0.dropFirst() } }
  func word(_ name: String) -> String? { words(name).first.map(String.init) }
  func number<Number: FixedWidthInteger>(_ name: String) -> Number? { words(name).first.flatMap { Number($0) } }
}

/// The keys of a fleet in the store.
package enum FleetKeys {
  /// Who leads.
  package static let leader = "fleet.leader"
  /// Below it what all pods follow.
  package static let orders = "fleet.orders."
  /// The plan.
  package static let plan = "fleet.orders.plan"
  /// What moves from second to second.
  package static let flow = "fleet.orders.flow"
  /// Below it a key for each pod, with its heartbeat.
  package static let pods = "fleet.pods."
  /// Below it a key for each cell, with its summary.
  package static let cells = "fleet.cells."
  /// Below it a key for each fleet of a federation, in the store that they share.
  package static let federation = "federation.cells."

  /// A name as a token of keys and a word of plans: what isn't a letter, a digit, `-` or `_` becomes `=` and two hexadecimal digits.
  package static func token(_ name: String) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var bytes: [UInt8] = []
    for byte in name.utf8 {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: bytes.append(byte)
      default: bytes += [0x3D, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return bytes.isEmpty ? "=" : String(decoding: bytes, as: UTF8.self)
  }
}
