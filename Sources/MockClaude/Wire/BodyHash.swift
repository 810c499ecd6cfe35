/// FNV-1a, 64 bits: names bodies and prefixes. Not for anything that an attacker chooses.
struct BodyHash {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ bytes: some Sequence<UInt8>) {
    var hash = value
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    value = hash
  }

  /// Adds a value without its cache markers: clients move these with each turn, and the prefix stays the same.
  mutating func add(_ json: JSONValue) {
    switch json {
    case .null: add([0])
    case .bool(let flag): add([1, flag ? 1 : 0])
    case .integer(let number): add("i\(number)".utf8)
    case .double(let number): add("d\(number)".utf8)
    case .string(let text):
      add([2])
      add(text.utf8)
    case .array(let elements):
      add([3])
      for element in elements { add(element) }
      add([4])
    case .object(let members):
      add([5])
      for member in members where member.key != "cache_control" {
        add(member.key.utf8)
        add(member.value)
      }
      add([6])
    }
  }
}
