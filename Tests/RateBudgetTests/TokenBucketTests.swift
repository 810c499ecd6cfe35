import RateBudget
import Testing

@Suite struct TokenBucketTests {
  @Test("P10: 1,000 charges of 0.4 are 400 exactly")
  func fractions() {
    var bucket = TokenBucket(rate: 0, depth: 1_000_000_000, window: 1_000_000_000, now: .zero)
    for _ in 0..<1_000 { bucket.take(400_000, now: .zero) }
    #expect(bucket.level(at: .zero) == 600_000_000)
  }
}
