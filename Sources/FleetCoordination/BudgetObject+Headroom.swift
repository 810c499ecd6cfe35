import CoordinationProtocol
package import Coordinator
package import KubernetesCore
package import MetricBridges
import RateBudget
import ScalingAPI

extension BudgetObject {
  /// What each budget still admits, for other autoscalers; nil readings: not known, for the reason beside them.
  package static func headroom(
    of budgets: [BudgetObject], _ report: CoordinatorReport
  ) -> [ObjectKey: (readings: [HeadroomReading]?, why: String)] {
    var groups: [String: GroupReport] = [:]
    for group in report.groups where group.key.speed.isEmpty { groups[group.key.modelGroup] = group.report }
    var result: [ObjectKey: (readings: [HeadroomReading]?, why: String)] = [:]
    for budget in budgets {
      result[budget.key] = budget.headroom(
        groups[ResolvedBudget.modelGroup(of: budget.key)], isLearning: report.isLearning)
    }
    return result
  }

  private func headroom(_ group: GroupReport?, isLearning: Bool) -> (readings: [HeadroomReading]?, why: String) {
    guard let resolved else { return (nil, "its spec can't be used: \(issues)") }
    if isLearning || group?.isLearning == true { return (nil, "its limits and its use are still being learned") }
    guard let group else { return idleHeadroom(resolved) }
    return (
      // An assumed limit is no knowledge.
      group.dimensions.filter { $0.source != .assumed }.map { dimension in
        if group.standing != nil { return HeadroomReading(exhausted: "\(dimension.dimension)") }
        return HeadroomReading(
          dimension: "\(dimension.dimension)", limit: dimension.limit, targetPercent: dimension.targetPercent,
          offered: dimension.offered, foreign: dimension.foreign)
      }, ""
    )
  }

  /// The headroom of a budget that nobody has drawn from: what its spec says, as far as it says it.
  private func idleHeadroom(_ budget: ResolvedBudget) -> (readings: [HeadroomReading]?, why: String) {
    let configuration = budget.coordinated(as: key).budget
    let readings = Dimension.allCases.compactMap { dimension in
      configuration.limits[dimension].map { limit in
        let percent =
          dimension == .outputTokens
          ? min(configuration.outputTargetPercent, configuration.targetPercent) : configuration.targetPercent
        return HeadroomReading(
          dimension: "\(dimension)", limit: limit, targetPercent: percent, offered: 0, foreign: 0)
      }
    }
    return readings.isEmpty ? (nil, "no worker has drawn from it yet, and its spec names no limits") : (readings, "")
  }
}
