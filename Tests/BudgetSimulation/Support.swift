package import RateBudget

/// A seeded generator (SplitMix64): the same seed, the same test.
package struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// The instant so many seconds after the origin.
package func at(_ seconds: Double) -> BudgetTime {
  BudgetTime(nanoseconds: Int64(seconds * 1_000_000_000))
}

extension PerDimension where Value == Int64? {
  /// Limits a minute.
  package static func limits(requests: Int64? = nil, input: Int64? = nil, total: Int64? = nil, output: Int64? = nil)
    -> Self
  {
    PerDimension(requests: requests, inputTokens: input, inputTokensTotal: total, outputTokens: output)
  }
}

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
package func jain(_ values: [Double]) -> Double {
  let sum = values.reduce(0, +)
  let squares = values.reduce(0) { $0 + $1 * $1 }
  return squares == 0 ? 1 : sum * sum / (Double(values.count) * squares)
}
