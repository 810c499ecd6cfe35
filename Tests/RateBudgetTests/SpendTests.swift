import BudgetSimulation
import RateBudget
import Testing

@Suite struct SpendTests {
  private let prices = PriceList([
    .init(pattern: "claude-opus-*", prices: ModelPrices(input: 5_000_000, output: 25_000_000)),
    .init(pattern: "*-haiku-*", prices: ModelPrices(input: 1_000_000, output: 5_000_000)),
  ])

  @Test("Models find their prices by pattern; unknown ones are free")
  func patterns() {
    #expect(prices.prices(of: "claude-opus-5")?.output == 25_000_000)
    #expect(prices.prices(of: "claude-haiku-4-5")?.cacheRead == 100_000)
    #expect(prices.prices(of: "gpt") == nil)
    #expect(PriceList([.init(pattern: "*", prices: ModelPrices(input: 1, output: 1))]).prices(of: "any") != nil)
  }

  @Test("Every kind of token has its price, to the micro-dollar")
  func costs() {
    var configuration = BudgetConfiguration.plain(requests: 600)
    configuration.prices = prices
    var budget = GroupBudget(configuration: configuration, now: .zero)
    _ = budget.submit(request(1, model: "claude-opus-5"), now: .zero)
    _ = budget.advance(now: .zero)
    budget.settle(
      GrantID(client: "pod", number: 1),
      usage: Usage(input: 1_000, cacheCreation: 1_000, cacheCreationHour: 1_000, cacheRead: 1_000, output: 1_000),
      isFinal: true, now: .zero)
    #expect(budget.report(now: .zero).spentToday == 5_000 + 6_250 + 10_000 + 500 + 25_000)
  }

  @Test("The daily ceiling refuses by the estimate, in flight included, until midnight UTC")
  func daily() {
    var configuration = BudgetConfiguration.plain(requests: 6_000)
    configuration.prices = prices
    configuration.spend = SpendLimits(perDay: 100_000)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    budget.setWallClock(WallTime(milliseconds: 1_790_000_000_000), now: .zero)
    for number in 1...5 {
      _ = budget.submit(request(UInt64(number), output: 1_000, model: "claude-opus-5"), now: .zero)
    }
    let outcomes = budget.advance(now: .zero)
    #expect(granted(outcomes).count == 4)
    // 1,790,000,000 is 14:13:20 UTC: 35,200 s before midnight.
    #expect(
      outcomes.last == .refused(GrantID(client: "pod", number: 5), .spendCeiling(.day, resumesIn: .seconds(35_200))))
    for number in 1...4 {
      budget.settle(
        GrantID(client: "pod", number: UInt64(number)), usage: Usage(input: 0, output: 500), isFinal: true, now: .zero)
    }
    #expect(budget.submit(request(6, output: 1_000, model: "claude-opus-5"), now: .zero) == .queued)
    #expect(budget.submit(request(7, output: 9_000, model: "claude-opus-5"), now: .zero) != .queued)
    #expect(budget.submit(request(8, output: 1_000, model: "other"), now: .zero) == .queued)
    #expect(budget.submit(request(9, output: 3_000, model: "claude-opus-5"), now: at(35_200)) == .queued)
  }

  @Test("The hourly ceiling frees up as minutes leave the hour")
  func hourly() {
    var configuration = BudgetConfiguration.plain(requests: 6_000)
    configuration.prices = prices
    configuration.spend = SpendLimits(perHour: 50_000)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for (number, minute) in [(1, 0), (2, 30)] as [(UInt64, Double)] {
      _ = budget.submit(request(number, output: 1_000, model: "claude-opus-5"), now: at(minute * 60))
      _ = budget.advance(now: at(minute * 60))
      budget.settle(
        GrantID(client: "pod", number: number), usage: Usage(input: 0, output: 1_000), isFinal: true,
        now: at(minute * 60))
    }
    #expect(budget.report(now: at(1_800)).spentLastHour == 50_000)
    let wish = request(3, output: 1_000, model: "claude-opus-5")
    #expect(budget.submit(wish, now: at(1_810)) == .refused(.spendCeiling(.hour, resumesIn: .seconds(1_790))))
    #expect(budget.submit(wish, now: at(3_600)) == .queued)
  }

  @Test("A lost grant is paid at its estimate")
  func lost() {
    var configuration = BudgetConfiguration.plain(requests: 600)
    configuration.prices = prices
    var budget = GroupBudget(configuration: configuration, now: .zero)
    _ = budget.submit(request(1, input: 1_000, output: 1_000, model: "claude-opus-5"), now: .zero)
    _ = budget.advance(now: .zero)
    _ = budget.advance(now: at(700))
    #expect(budget.report(now: at(700)).spentToday == 30_000)
  }
}
