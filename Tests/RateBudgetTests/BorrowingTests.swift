import BudgetSimulation
import RateBudget
import Testing

@Suite struct BorrowingTests {
  /// 100 requests a second for two fleets that want 150 each while they are awake.
  private struct Scene {
    var budget: GroupBudget
    var number: UInt64 = 0

    init() {
      var configuration = BudgetConfiguration.plain(
        requests: 6_000, burst: .seconds(1), fleets: ["major": .init(weight: 60), "minor": .init(weight: 40)])
      configuration.queueLimit = 100_000
      budget = GroupBudget(configuration: configuration, now: .zero)
      for fleet in ["major", "minor"] { budget.connect(client: fleet, fleet: fleet, now: .zero) }
    }

    /// How many requests each fleet is granted in whole seconds from `start` to `end` while those in `awake` want more.
    mutating func grants(from start: Int, to end: Int, awake: [String]) -> [String: Int] {
      var counts: [String: Int] = [:]
      for tenth in start * 10..<end * 10 {
        let now = at(Double(tenth) / 10)
        for fleet in awake {
          for _ in 0..<15 {
            number += 1
            _ = budget.submit(request(number, client: fleet, fleet: fleet), now: now)
          }
        }
        for id in granted(budget.advance(now: now)) { counts[id.client, default: 0] += 1 }
      }
      return counts
    }
  }

  @Test(
    "D46: while one of two fleets that share 60/40 is idle the other has all, and gives back within one lease",
    arguments: [("major", "minor", 40), ("minor", "major", 60)])
  func borrowing(awake: String, sleeping: String, percent: Int) {
    var scene = Scene()
    let lease = Int(scene.budget.configuration.shareLease.components.seconds)
    // A minute in which only one is awake: it has the bucket and all that flows in.
    let alone = scene.grants(from: 0, to: 60, awake: [awake])
    #expect((6_000...6_100).contains(alone[awake] ?? 0), "\(alone)")
    #expect(alone[sleeping] == nil)
    // The lender wakes while thousands of the borrower's requests wait: in the first lease it has its part already.
    let first = scene.grants(from: 60, to: 60 + lease, awake: [awake, sleeping])
    #expect(abs((first[sleeping] ?? 0) - percent * lease) <= lease, "\(first)")
    #expect(abs((first[awake] ?? 0) - (100 - percent) * lease) <= lease, "\(first)")
    // And when it sleeps again, what it left in the queue is served, and then the other borrows anew.
    let left = scene.grants(from: 60 + lease, to: 120, awake: [awake])
    #expect(left.values.reduce(0, +) >= 100 * (120 - 60 - lease) - 2)
    let again = scene.grants(from: 120, to: 130, awake: [awake])
    #expect(again[sleeping] == nil && abs((again[awake] ?? 0) - 1_000) <= 10, "\(again)")
  }
}
