package import CoordinationProtocol
package import KubernetesCore
import RateBudget
package import ScalingAPI

extension ResolvedBudget {
  /// The name of a budget's model group at the coordinator: namespace/name, so that only its namespace draws from it.
  package static func modelGroup(of key: ObjectKey) -> String { "\(key.namespace)/\(key.name)" }

  /// How the coordinator runs the budget called `key`; fleets are named namespace/autoscaler there.
  package func coordinated(as key: ObjectKey) -> GroupConfiguration {
    var fleets: [String: BudgetConfiguration.FleetShare] = [:]
    for share in shares {
      fleets["\(key.namespace)/\(share.autoscaler)"] = .init(
        weight: Int64(share.weight), priority: RateBudget.Priority(share.priority))
    }
    let upper = Int64(target.upper)
    let budget = BudgetConfiguration(
      limits: PerDimension(
        requests: requestsPerMinute?.value, inputTokens: inputTokensPerMinute?.value, inputTokensTotal: nil,
        outputTokens: outputTokensPerMinute?.value),
      targetPercent: upper, outputTargetPercent: min(upper, 90), burst: burst,
      reservePercent: Int64(reservePercent), fleets: fleets, prices: .published,
      spend: SpendLimits(perHour: hourlyUSD?.microDollars, perDay: dailyUSD?.microDollars))
    return GroupConfiguration(modelGroup: Self.modelGroup(of: key), models: models, budget: budget)
  }
}

extension RateBudget.Priority {
  fileprivate init(_ priority: APIBudget.Priority) {
    self =
      switch priority {
      case .interactive: .interactive
      case .normal: .normal
      case .bulk: .low
      }
  }
}

extension Quantity {
  /// An amount of dollars in micro-dollars, rounded up.
  fileprivate var microDollars: Int64 {
    let (quotient, rest) = nanoUnits.quotientAndRemainder(dividingBy: 1_000)
    return Int64(clamping: rest > 0 ? quotient + 1 : quotient)
  }

  /// The dollars of so many micro-dollars.
  init(microDollars: Int64) { self.init(nanoUnits: Int128(microDollars) * 1_000) }
}
