extension PriceList {
  /// List prices in US dollars per million tokens as published in August 2026, for the ceilings of money. A model that
  /// isn't here counts as free.
  package static var published: PriceList {
    func entry(_ pattern: String, _ input: Int64, _ output: Int64) -> Entry {
      Entry(pattern: pattern, prices: ModelPrices(input: input, output: output))
    }
    return PriceList([
      entry("claude-opus-*", 5_000_000, 25_000_000), entry("claude-sonnet-*", 3_000_000, 15_000_000),
      entry("claude-fable-*", 3_000_000, 15_000_000), entry("claude-3-5-haiku*", 800_000, 4_000_000),
      entry("claude-haiku-*", 1_000_000, 5_000_000),
    ])
  }
}
