import BudgetSimulation
import RateBudget
import Testing

@Suite struct TokenBucketTests {
  private let unit = TokenBucket.unit

  @Test("P10: 1,000 charges of 0.4 are 400 exactly")
  func fractions() {
    var bucket = TokenBucket(rate: 0, depth: 1_000 * unit, window: 1_000 * unit, now: .zero)
    for _ in 0..<1_000 { bucket.take(unit * 4 / 10, now: .zero) }
    #expect(bucket.level(at: .zero) == 600 * unit)
  }

  @Test("P05: use decays by itself, and refills don't postpone it")
  func decay() {
    var bucket = TokenBucket(rate: 600 * unit, depth: 600 * unit, window: 600 * unit, now: .zero)
    for step in 0..<30 { bucket.take(50 * unit, now: at(Double(step) * 10)) }
    #expect(bucket.level(at: at(290)) == 550 * unit)
    #expect(bucket.level(at: at(295)) == 600 * unit)
  }

  @Test(
    "A million small refills bring exactly what one large refill brings", arguments: [1, 7, 999_999_937] as [Int64])
  func noDrift(rate: Int64) {
    var small = TokenBucket(rate: rate, depth: .max / 4, window: 0, level: 0, now: .zero)
    let large = small
    var now = BudgetTime.zero
    var generator = SeededGenerator(seed: 7)
    for _ in 0..<10_000 {
      now = BudgetTime(nanoseconds: now.nanoseconds + Int64.random(in: 1...50_000_000, using: &generator))
      small.refill(to: now)
    }
    #expect(small.level(at: now) == large.level(at: now))
    #expect(large.level(at: now) == Int64(Int128(rate) * Int128(now.nanoseconds) / 60_000_000_000))
  }

  @Test("The level is never above the depth nor below minus one window")
  func bounds() {
    var bucket = TokenBucket(rate: 60 * unit, depth: 5 * unit, window: 60 * unit, now: .zero)
    bucket.take(1_000 * unit, now: .zero)
    #expect(bucket.level(at: .zero) == -60 * unit)
    bucket.take(-1_000 * unit, now: .zero)
    #expect(bucket.level(at: .zero) == 5 * unit)
    #expect(bucket.level(at: at(1_000)) == 5 * unit)
  }

  @Test("The announced instant is the first nanosecond at which the level is there")
  func instant() throws {
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<200 {
      let rate = Int64.random(in: 1...10_000_000 * unit, using: &generator)
      var bucket = TokenBucket(rate: rate, depth: rate, window: rate, level: 0, now: .zero)
      bucket.take(Int64.random(in: 0...rate, using: &generator), now: at(0.37))
      let goal = Int64.random(in: 0...rate, using: &generator)
      let time = try #require(bucket.instant(of: goal, now: at(0.4)))
      #expect(bucket.level(at: time) >= goal)
      if time > at(0.4) {
        #expect(bucket.level(at: BudgetTime(nanoseconds: time.nanoseconds - 1)) < goal)
      }
    }
    let still = TokenBucket(rate: 0, depth: 10, window: 10, level: 0, now: .zero)
    #expect(still.instant(of: 1, now: .zero) == nil)
  }

  @Test("P20: a changed limit scales the balance, up and down, and debts as well")
  func scale() {
    var bucket = TokenBucket(
      rate: 10_000 * unit, depth: 10_000 * unit, window: 10_000 * unit, level: 4_000 * unit, now: .zero)
    bucket.scale(by: 2, over: 10, now: .zero)
    #expect(bucket.level(at: .zero) == 800 * unit)
    #expect(bucket.rate == 2_000 * unit)
    bucket.take(1_800 * unit, now: .zero)
    bucket.scale(by: 10, over: 2, now: .zero)
    #expect(bucket.level(at: .zero) == -5_000 * unit)
  }

  @Test("P21: no sequence of changed limits makes tokens")
  func noTokensFromChanges() {
    var bucket = TokenBucket(rate: 1_000, depth: 1_000, window: 1_000, level: 333, now: .zero)
    for _ in 0..<100 {
      bucket.scale(by: 3, over: 7, now: .zero)
      bucket.scale(by: 7, over: 3, now: .zero)
    }
    #expect(bucket.level(at: .zero) <= 333)
  }

  @Test("Forgiven debt never becomes more than nothing, and a better level stays")
  func forgive() {
    var bucket = TokenBucket(rate: 0, depth: 10 * unit, window: 100 * unit, level: -50 * unit, now: .zero)
    bucket.forgive(to: -20 * unit, now: .zero)
    #expect(bucket.level(at: .zero) == -20 * unit)
    bucket.forgive(to: 5 * unit, now: .zero)
    #expect(bucket.level(at: .zero) == 0)
    bucket.take(-7 * unit, now: .zero)
    bucket.forgive(to: 0, now: .zero)
    #expect(bucket.level(at: .zero) == 7 * unit)
  }

  @Test("Time that runs backwards changes nothing")
  func backwards() {
    var bucket = TokenBucket(rate: 60 * unit, depth: 60 * unit, window: 60 * unit, level: 0, now: at(10))
    bucket.take(0, now: at(20))
    bucket.take(0, now: at(5))
    #expect(bucket.level(at: at(20)) == 10 * unit)
  }
}
