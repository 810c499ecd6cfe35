import BudgetSimulation
import RateBudget
import Testing

@Suite struct EstimatorTests {
  @Test("P04: a body that can't be read is admitted on a learned mean, and others aren't blocked")
  func unreadable() {
    var estimator = InputEstimator()
    #expect(estimator.estimate(.init(), inFlight: 20).input == 6_000)
    for _ in 0..<50 {
      estimator.learn(
        .init(model: "claude-sonnet-5", kind: "reviewer", session: "s", bodyBytes: 40_000),
        usage: Usage(input: 2_000, cacheRead: 9_000, output: 300))
    }
    let guess = estimator.estimate(.init(), inFlight: 20)
    #expect(guess.input == 2_200)
    #expect(guess.expectedOutput == 300)
    var budget = GroupBudget(configuration: .plain(input: 60_000), now: .zero)
    var blind = request(1, client: "blind")
    blind.estimate = guess
    _ = budget.submit(blind, now: .zero)
    _ = budget.submit(request(1, client: "other", input: 100), now: .zero)
    #expect(budget.advance(now: .zero).count == 2)
  }

  @Test("The first request of a session goes by its size, later ones by what was charged")
  func sessions() {
    var estimator = InputEstimator()
    let first = InputEstimator.Features(
      model: "claude-sonnet-4-5", kind: "k", session: "s", bodyBytes: 35_000, maxTokens: 200)
    let cold = estimator.estimate(first, inFlight: 1)
    #expect(cold.input == 10_000)
    #expect(cold.expectedOutput == 200, "capped by max_tokens")
    estimator.learn(first, usage: Usage(input: 10_000, output: 50))
    for _ in 0..<20 { estimator.learn(first, usage: Usage(input: 400, cacheRead: 9_600, output: 50)) }
    let warm = estimator.estimate(first, inFlight: 20)
    #expect((400...1_300).contains(warm.input), "\(warm.input)")
    #expect((9_900...10_100).contains(warm.inputTotal))
  }

  @Test("With few in flight the guess is higher than with many when charges vary")
  func percentile() {
    var estimator = InputEstimator()
    let features = InputEstimator.Features(model: "m", kind: "k", session: "s")
    var generator = SeededGenerator(seed: 2)
    var charges: [Int64] = []
    for _ in 0..<200 {
      charges.append(Int64.random(in: 1_000...9_000, using: &generator))
      estimator.learn(features, usage: Usage(input: charges.last, output: 1))
    }
    let few = estimator.estimate(features, inFlight: 1).input
    let many = estimator.estimate(features, inFlight: 50).input
    #expect(few > many)
    #expect((3_500...8_500).contains(many))
    #expect((6_500...12_000).contains(few))
  }

  @Test(
    "Newer models start with more tokens for the same bytes",
    arguments: [
      ("claude-opus-4-7", 1_000), ("claude-sonnet-5", 1_000), ("claude-opus-5-5-20260901", 1_000),
      ("claude-sonnet-4-5-20250929", 771), ("claude-3-5-haiku-20241022", 771), ("", 771),
    ] as [(String, Int64)])
  func tokenizers(model: String, tokens: Int64) {
    let estimator = InputEstimator()
    #expect(estimator.estimate(.init(model: model, bodyBytes: 2_700), inFlight: 1).input == tokens)
  }

  @Test("Bytes in a token are learned for each model")
  func bytesPerToken() {
    var estimator = InputEstimator()
    let features = InputEstimator.Features(model: "claude-sonnet-5", session: "", bodyBytes: 50_000)
    for _ in 0..<60 { estimator.learn(features, usage: Usage(input: 10_000, output: 1)) }
    let guess = estimator.estimate(.init(model: "claude-sonnet-5", bodyBytes: 100_000), inFlight: 1).input
    #expect((19_900...20_400).contains(guess), "\(guess)")
  }
}
