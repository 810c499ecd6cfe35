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
      reservePercent: Int64(reservePercent), fleets: fleets, prices: priceList,
      spend: SpendLimits(perHour: hourlyUSD?.microDollars, perDay: dailyUSD?.microDollars))
    return GroupConfiguration(modelGroup: Self.modelGroup(of: key), models: models, budget: budget)
  }
}

extension ResolvedBudget {
  /// The spec's prices, then the list prices.
  private var priceList: PriceList {
    let own = prices.map { price in
      PriceList.Entry(
        pattern: price.model,
        prices: ModelPrices(
          input: price.inputUSD.microDollars, output: price.outputUSD.microDollars,
          cacheWrite: price.cacheWriteUSD?.microDollars, cacheWriteHour: price.cacheWriteHourUSD?.microDollars,
          cacheRead: price.cacheReadUSD?.microDollars))
    }
    return PriceList(own + PriceList.published.entries)
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
}
