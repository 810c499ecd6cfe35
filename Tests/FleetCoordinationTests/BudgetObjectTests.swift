import CoordinationProtocol
import Coordinator
import KubernetesCore
import RateBudget
import ScalingAPI
import Testing

@testable import FleetCoordination

@Suite struct BudgetObjectTests {
  @Test("Everything that a spec says reaches the coordinator")
  func configuration() throws {
    let object = try budget(
      #"""
      {"models":["claude-sonnet-*"],"limits":{"requestsPerMinute":4000,"inputTokensPerMinute":"2M","outputTokensPerMinute":"400k"},
       "target":{"lower":70,"upper":80},"burst":{"seconds":7},"reserve":9,
       "shares":[{"autoscaler":"reviewers","weight":3,"priority":"Interactive"},{"autoscaler":"sweepers","priority":"Bulk"}],
       "spend":{"hourlyUSD":"12.50","dailyUSD":100,"prices":[{"model":"claude-sonnet-*","inputUSD":"2.50","outputUSD":10,"cacheReadUSD":0}]}}
      """#)
    let group = try #require(BudgetObject.groups(of: [object]).first)
    #expect(group.modelGroup == "team/claude" && group.models == ["claude-sonnet-*"])
    let budget = group.budget
    #expect(budget.limits.requests == 4_000)
    #expect(budget.limits.inputTokens == 2_000_000)
    #expect(budget.limits.inputTokensTotal == nil)
    #expect(budget.limits.outputTokens == 400_000)
    #expect(budget.targetPercent == 80 && budget.outputTargetPercent == 80)
    #expect(budget.burst == .seconds(7) && budget.reservePercent == 9)
    #expect(
      budget.fleets == [
        "team/reviewers": .init(weight: 3, priority: .interactive), "team/sweepers": .init(weight: 1, priority: .low),
      ])
    #expect(budget.spend == SpendLimits(perHour: 12_500_000, perDay: 100_000_000))
    // What stands in the spec goes before the list price; what it leaves out follows from the input's.
    let price = ModelPrices(input: 2_500_000, output: 10_000_000, cacheRead: 0)
    #expect(budget.prices.prices(of: "claude-sonnet-5") == price && price.cacheWrite == 3_125_000)
    #expect(budget.prices.prices(of: "claude-opus-5") == PriceList.published.prices(of: "claude-opus-5"))
  }

  @Test("Budgets that name models stand before those for all, and those that can't be used are left out")
  func order() throws {
    let budgets = [
      try budget("{}", "all"), try budget(#"{"models":["claude-opus-*"]}"#, "opus"),
      try budget(#"{"reserve":-1}"#, "bad"),
      try budget("{}", "all", namespace: "another"),
    ]
    #expect(BudgetObject.groups(of: budgets).map(\.modelGroup) == ["team/opus", "another/all", "team/all"])
    #expect(budgets[2].issues.contains("spec.reserve"))
  }

  @Test("The status says limit, use and what stands in the way")
  func status() throws {
    let object = try budget(#"{"limits":{"requestsPerMinute":60,"inputTokensPerMinute":"10M"}}"#)
    var fleet = TestFleet([object])
    fleet.join(worker("a"))
    for _ in 0..<60 {
      fleet.ask(worker("a"), 2, output: 10)
      fleet.run(.seconds(1), output: 10)
    }
    let report = try #require(fleet.state.report(now: fleet.now).groups.first?.report)
    let status = BudgetStatusReport.status(of: object, report: report, now: start)
    #expect(
      [0, 9_999, 10_000, 9_338_601, 100_000_000].map(BudgetStatusReport.dollars) == [
        "0.00", "0.00", "0.01", "9.33", "100.00",
      ])
    #expect(status.observedGeneration == 3 && status.clients == 1)
    let requests = try #require(status.dimensions?.first { $0.name?.known == .requests })
    #expect(requests.limit == Quantity(60) && requests.source?.known == .spec)
    #expect((requests.utilizationPercent ?? 0) >= 90)
    #expect((status.pressurePercent ?? 0) > 150)
    #expect(status.summary?.hasPrefix("requests 9") == true)
    let conditions = Dictionary(
      uniqueKeysWithValues: (status.conditions ?? []).map { ($0.type ?? "", $0) })
    #expect(conditions["Valid"]?.status?.known == .true)
    #expect(conditions["Admitting"]?.status?.known == .true)
    #expect(conditions["Saturated"]?.status?.known == .true)
    #expect(conditions["Saturated"]?.message?.contains("the limit of 60 a minute (from the spec)") == true)
    // A condition that stays keeps its time, one that flips gets a new one.
    var next = object
    next.object.status = status
    let later = BudgetStatusReport.status(of: next, report: nil, now: start + .seconds(30))
    let valid = later.conditions?.first { $0.type == "Valid" }
    #expect(valid?.lastTransitionTime == conditions["Valid"]?.lastTransitionTime)
  }

  @Test("A spec that can't be used is told field by field")
  func invalid() throws {
    let object = try budget(#"{"target":{"lower":95,"upper":90}}"#)
    let status = BudgetStatusReport.status(of: object, report: nil, now: start)
    let valid = try #require(status.conditions?.first)
    #expect(valid.type == "Valid" && valid.status?.known == .false && valid.reason == "InvalidSpec")
    #expect(valid.message?.contains("spec.target") == true)
    #expect(status.conditions?.count == 1)
  }
}
