/// A small, fast, seeded generator (SplitMix64): the same seed gives the same run on every machine.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// A generator that starts from `seed`.
  package init(seed: UInt64) {
    state = seed
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    return Self.mix(state)
  }

  /// Spreads the bits of a number: a generator of one draw.
  package static func mix(_ value: UInt64) -> UInt64 {
    var bits = value
    bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
    bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
    return bits ^ (bits >> 31)
  }

  /// A number in 0..<1.
  package mutating func fraction() -> Double {
    Double(next() >> 11) * 0x1p-53
  }

  /// A draw of the log-normal distribution with this median and this σ of the logarithm.
  ///
  /// The normal draw is the sum of twelve uniform ones (σ 1, tails cut at ±6), and the exponential is a series: both are
  /// plain IEEE arithmetic, so that a seed means the same on every C library.
  package mutating func logNormal(median: Double, sigma: Double) -> Double {
    let normal = (0..<12).reduce(-6.0) { sum, _ in sum + fraction() }
    return median * Self.exponential(normal * sigma)
  }

  private static func exponential(_ x: Double) -> Double {
    let small = x / 64
    var (term, sum) = (1.0, 1.0)
    for power in 1...12 {
      term *= small / Double(power)
      sum += term
    }
    return (0..<6).reduce(sum) { value, _ in value * value }
  }

  /// `count` characters of 0–9, A–Z, a–z.
  package mutating func base62(_ count: Int) -> String {
    let alphabet = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    for _ in 0..<count { bytes.append(alphabet[Int(next() % 62)]) }
    return String(decoding: bytes, as: UTF8.self)
  }
}
