import ScalingDecision

// What only this controller can tell a user about a plan: the words of its sources, and the way out.
extension Pass {
  /// Why the metric at `index` has no value although it should, and what to do about it; nil when there is nothing to
  /// tell: it has a value, nobody needs it, or the pods' first values are still to come.
  func metricTrouble(at index: Int) -> String? {
    guard let plan, plan.proposals.indices.contains(index),
      case .unknown(let reason) = plan.proposals[index].outcome
    else { return nil }
    if collected.indices.contains(index), let failure = collected[index].failure { return failure }
    switch reason {
    case .missingRequest(let worker):
      let name = plan.proposals[index].name
      return "\(worker) has no request for \(name), which the target is a share of; "
        + "set resources.requests.\(name) for every container in the target's pod template"
    case .unusableTarget, .unfitReading, .negative, .stale, .fromFuture: return reason.words
    case .noWorkers, .noUsableSamples, .nothingToHold, .unavailable: return nil
    }
  }

  /// The message of a condition that the plan implies, with the way out where there is one.
  func message(of condition: PlanCondition) -> String {
    switch condition.kind {
    case .ableToScale where condition.reason == Self.ambiguousTarget:
      return condition.message + "; delete one of the two, or point it to another target"
    case .scalingActive:
      guard let plan else { return condition.message }
      let troubles = plan.proposals.indices.compactMap { index in
        metricTrouble(at: index).map { "\(plan.proposals[index].name): \($0)" }
      }
      return ([condition.message] + troubles).joined(separator: "; ")
    default: return condition.message
    }
  }

  /// The condition to warn about in an event, although no request failed: another autoscaler scales the target.
  var ambiguity: PlanCondition? {
    plan?.conditions.first { $0.kind == .ableToScale && !$0.isTrue && $0.reason == Self.ambiguousTarget }
  }

  private static let ambiguousTarget = "AmbiguousTarget"
}
