import RateBudget

/// A seeded generator (SplitMix64): the same seed, the same test.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// The instant so many seconds after the origin.
func at(_ seconds: Double) -> BudgetTime {
  BudgetTime(nanoseconds: Int64(seconds * 1_000_000_000))
}

extension PerDimension where Value == Int64? {
  /// Limits a minute.
  static func limits(requests: Int64? = nil, input: Int64? = nil, total: Int64? = nil, output: Int64? = nil) -> Self {
    PerDimension(requests: requests, inputTokens: input, inputTokensTotal: total, outputTokens: output)
  }
}

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

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
func jain(_ values: [Double]) -> Double {
  let sum = values.reduce(0, +)
  let squares = values.reduce(0) { $0 + $1 * $1 }
  return squares == 0 ? 1 : sum * sum / (Double(values.count) * squares)
}
