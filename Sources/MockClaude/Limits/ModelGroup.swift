/// The tiers into which organisations are placed.
package enum Tier: String, CaseIterable, Codable, Sendable {
  case start, build, scale
}

/// A set of models that share one pool of limits.
package struct ModelGroup: Hashable, Sendable {
  /// Name of the pool in the admin endpoints and the oracle, such as `claude-sonnet-4`.
  package var name: String
  /// Name for people.
  package var displayName: String
  /// Models of the pool, without date suffix.
  package var models: [String]
  /// Limits a minute by dimension; an absent dimension is unlimited, except for fast mode, where it is zero.
  package var limits: [Dimension: Int64]
  /// Whether cache reads count as input (the models marked † in the documents).
  package var countsCacheReads = false
  /// Price of input and output in nano-dollars a token; cache writes cost 1.25 (5 minutes) or 2 times the input, reads 0.1.
  package var price = Price(input: 3000, output: 15_000)

  /// Nano-dollars a token: 1,000 are one dollar per million tokens.
  package struct Price: Hashable, Codable, Sendable {
    package var input: Int64
    package var output: Int64
  }

  /// Makes a pool.
  package init(
    name: String, displayName: String, models: [String], limits: [Dimension: Int64], countsCacheReads: Bool = false,
    price: Price = Price(input: 3000, output: 15_000)
  ) {
    self.name = name
    self.displayName = displayName
    self.models = models
    self.limits = limits
    self.countsCacheReads = countsCacheReads
    self.price = price
  }

  /// Whether a model name belongs to the pool: one of its models, by itself or followed by a date or by `-latest`.
  package func contains(_ model: String) -> Bool {
    models.contains { known in
      guard model.hasPrefix(known) else { return false }
      let suffix = model.utf8.dropFirst(known.utf8.count)
      if suffix.isEmpty || suffix.elementsEqual("-latest".utf8) { return true }
      return suffix.count == 9 && suffix.first == UInt8(ascii: "-")
        && suffix.dropFirst().allSatisfy { $0 >= 48 && $0 <= 57 }
    }
  }
}

extension ModelGroup {
  /// The pools as published for a tier in August 2026; the 5.5 models, which the table doesn't have yet, with the values of
  /// their predecessors.
  package static func published(for tier: Tier) -> [ModelGroup] {
    func limits(_ start: [Int64], _ build: [Int64], _ scale: [Int64]) -> [Dimension: Int64] {
      let row = tier == .start ? start : tier == .build ? build : scale
      return [.requests: row[0], .inputTokens: row[1], .outputTokens: row[2]]
    }
    let usual = limits(
      [1000, 2_000_000, 400_000], [5000, 5_000_000, 1_000_000], [10_000, 10_000_000, 2_000_000])
    let fable = limits(
      [1000, 500_000, 100_000], [2000, 1_500_000, 300_000], [4000, 4_000_000, 800_000])
    let old = limits([1000, 100_000, 20_000], [2000, 200_000, 40_000], [4000, 400_000, 80_000])
    let (opus, haiku) = (Price(input: 5000, output: 25_000), Price(input: 1000, output: 5000))
    return [
      ModelGroup(name: "claude-fable-5", displayName: "Claude Fable 5", models: ["claude-fable-5"], limits: fable),
      ModelGroup(
        name: "claude-opus-5", displayName: "Claude Opus 5", models: ["claude-opus-5"], limits: usual, price: opus),
      ModelGroup(
        name: "claude-opus-5-5", displayName: "Claude Opus 5.5", models: ["claude-opus-5-5"], limits: usual, price: opus
      ),
      ModelGroup(
        name: "claude-opus-4", displayName: "Claude Opus 4.x",
        models: ["claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5"], limits: usual, price: opus
      ),
      ModelGroup(name: "claude-sonnet-5", displayName: "Claude Sonnet 5", models: ["claude-sonnet-5"], limits: usual),
      ModelGroup(
        name: "claude-sonnet-5-5", displayName: "Claude Sonnet 5.5", models: ["claude-sonnet-5-5"], limits: usual),
      ModelGroup(
        name: "claude-sonnet-4", displayName: "Claude Sonnet 4.x", models: ["claude-sonnet-4-6", "claude-sonnet-4-5"],
        limits: usual),
      ModelGroup(
        name: "claude-haiku-4-5", displayName: "Claude Haiku 4.5", models: ["claude-haiku-4-5"], limits: usual,
        price: haiku),
      ModelGroup(
        name: "claude-haiku-5-5", displayName: "Claude Haiku 5.5", models: ["claude-haiku-5-5"], limits: usual,
        price: haiku),
      ModelGroup(
        name: "claude-haiku-3-5", displayName: "Claude Haiku 3.5", models: ["claude-3-5-haiku"], limits: old,
        countsCacheReads: true, price: Price(input: 800, output: 4000)),
    ]
  }
}
