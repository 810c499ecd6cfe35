/// Seeded numbers.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

  /// JSON-like text that packs.
  mutating func text(_ count: Int) -> [UInt8] {
    var text: [UInt8] = []
    let words = ["\"role\":\"user\"", "\"content\":", "func ", "return ", "state", "let value = ", "{", "}", "\n    "]
    while text.count < count { text += Array("\(words[below(words.count)])\(below(1_000)) ".utf8) }
    return Array(text.prefix(count))
  }
}
