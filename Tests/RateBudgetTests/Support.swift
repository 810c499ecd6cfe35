import BudgetSimulation
import RateBudget

extension BudgetConfiguration {
  /// A configuration whose numbers are easy to follow: 100 % of the limit, no reserve, no ramp; what isn't named isn't
  /// limited.
  static func plain(
    requests: Int64? = nil, input: Int64? = nil, total: Int64? = nil, output: Int64? = nil,
    burst: Duration = .seconds(60), fleets: [String: FleetShare] = [:]
  ) -> BudgetConfiguration {
    var configuration = BudgetConfiguration(
      limits: .limits(requests: requests, input: input, total: total, output: output), targetPercent: 100,
      outputTargetPercent: 100, burst: burst, reservePercent: 0, fleets: fleets, ramp: nil)
    configuration.assumedLimits = .limits()
    return configuration
  }
}

/// A request of a client.
func request(
  _ number: UInt64, client: String = "pod", fleet: String = "fleet", priority: Priority? = nil, input: Int64 = 0,
  total: Int64? = nil, output: Int64 = 0, deadline: BudgetTime = at(100_000), model: String = "claude-sonnet-5"
) -> GrantRequest {
  GrantRequest(
    id: GrantID(client: client, number: number), fleet: fleet, priority: priority,
    estimate: Estimate(input: input, inputTotal: total, expectedOutput: output), deadline: deadline, model: model)
}

/// The granted ids, in order.
func granted(_ outcomes: [Outcome]) -> [GrantID] {
  outcomes.compactMap { if case .granted(let grant) = $0 { grant.id } else { nil } }
}

extension GroupBudget {
  /// The level of a dimension in whole units.
  func units(_ dimension: Dimension, at now: BudgetTime) -> Int64 {
    (level(of: dimension, at: now) ?? 0) / TokenBucket.unit
  }

  /// Advances whenever the budget asks for it, up to `end`; what was granted, and when.
  mutating func run(from start: BudgetTime, to end: BudgetTime) -> [(time: BudgetTime, outcome: Outcome)] {
    var found: [(time: BudgetTime, outcome: Outcome)] = []
    var now = start
    while now <= end {
      found += advance(now: now).map { (now, $0) }
      guard let next = nextDeadline(now: now) else { break }
      now = max(next, now + .nanoseconds(1))
    }
    return found
  }
}
