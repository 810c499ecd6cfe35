import BudgetSimulation
import RateBudget
import Testing

@Suite struct ReportTests {
  @Test("The report names the limiting dimension, use, pressure and what each fleet may have")
  func report() {
    let configuration = BudgetConfiguration.plain(
      requests: 6_000, input: 600_000, burst: .seconds(10),
      fleets: ["a": .init(weight: 3), "b": .init(weight: 1)])
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for number in 0..<2_000 {
      _ = budget.submit(request(UInt64(number), client: "a", fleet: "a", input: 1_000), now: .zero)
      if number < 10 { _ = budget.submit(request(UInt64(number), client: "b", fleet: "b", input: 1_000), now: .zero) }
    }
    _ = budget.run(from: .zero, to: at(60))
    let report = budget.report(now: at(60))
    #expect(report.limiting == .inputTokens)
    let input = report.dimensions[1]
    #expect(input.limit == 600_000)
    #expect(input.utilizationPPM >= 1_000_000)
    #expect(report.pressurePPM > 3_000_000)
    #expect(report.waiting > 1_200)
    #expect((report.queueWaitP95Milliseconds ?? 0) > 40_000)
    let a = report.fleets[0]
    #expect(a.name == "a")
    #expect(a.loads[1].offered >= 1_900_000)
    #expect(a.loads[1].sustained >= 1_900_000)
    #expect(a.loads[1].limit >= 590_000, "what b leaves")
    #expect(report.fleets[1].loads[1].limit == 150_000, "a quarter by weight, though a wants all")
    #expect(report.fleets.map(\.name) == ["a", "b"])
  }

  @Test("A load that has just come isn't sustained")
  func burst() {
    var budget = GroupBudget(configuration: .plain(input: 60_000, burst: .seconds(1)), now: .zero)
    for second in 0..<60 { _ = budget.advance(now: at(Double(second))) }
    for number in 0..<500 { _ = budget.submit(request(UInt64(number), input: 1_000), now: at(60)) }
    for second in 60..<75 { _ = budget.advance(now: at(Double(second))) }
    let load = budget.report(now: at(75)).fleets[0].loads[0]
    #expect(load.offered >= 490_000)
    #expect(load.sustained == 0)
    for second in 75..<100 { _ = budget.advance(now: at(Double(second))) }
    #expect(budget.report(now: at(100)).fleets[0].loads[0].sustained >= 490_000)
  }

  @Test("Budgets of a process are served in the order of their keys")
  func registry() {
    var budgets = RateBudgets()
    let keys = ["c", "a", "b"].map { GroupKey(organization: "org", modelGroup: $0) }
    for key in keys { budgets.set(GroupBudget(configuration: .plain(requests: 60), now: .zero), for: key) }
    for key in keys { _ = budgets.with(key) { $0.submit(request(1, client: key.modelGroup), now: .zero) } }
    #expect(budgets.nextDeadline(now: .zero) == .zero)
    #expect(budgets.advance(now: .zero).map(\.key.modelGroup) == ["a", "b", "c"])
    #expect(budgets.with(GroupKey(organization: "org", modelGroup: "d")) { $0.waitingCount } == nil)
    budgets.remove(keys[0])
    #expect(budgets.keys.map(\.description) == ["org//a", "org//b"])
  }
}
