import KubernetesCore

/// One condition that a plan implies; the caller keeps `lastTransitionTime` where the status didn't flip.
package struct PlanCondition: Hashable, Sendable {
  /// What a condition is about; the first three are the HPA's.
  package enum Kind: String, Hashable, Sendable, CaseIterable {
    case ableToScale = "AbleToScale"
    case scalingActive = "ScalingActive"
    case scalingLimited = "ScalingLimited"
    case apiBudgetLimited = "APIBudgetLimited"
    case capacityLimited = "CapacityLimited"
    case contestedReplicas = "ContestedReplicas"
    case draining = "Draining"
    case workExposed = "WorkExposed"
    case fallback = "Fallback"
  }

  /// What it is about.
  package var kind: Kind
  /// Whether it holds.
  package var isTrue: Bool
  /// The machine-readable reason; the HPA's where it has one.
  package var reason: String
  /// The reason for people.
  package var message: String
}

extension Plan {
  /// All conditions, in the order of `PlanCondition.Kind`.
  package var conditions: [PlanCondition] {
    [
      ableToScale, scalingActive, scalingLimited, apiBudgetLimited, capacityLimited, contestedReplicas, draining,
      workExposed, fallback,
    ]
  }

  private func condition(_ kind: PlanCondition.Kind, _ isTrue: Bool, _ reason: String, _ message: String)
    -> PlanCondition
  {
    PlanCondition(kind: kind, isTrue: isTrue, reason: reason, message: message)
  }

  private var ableToScale: PlanCondition {
    for reason in reasons {
      switch reason {
      case .olderRival:
        return condition(.ableToScale, false, "AmbiguousTarget", words(for: reason) ?? "")
      case .paused, .pausedAt:
        return condition(.ableToScale, false, "Paused", words(for: reason) ?? "")
      case .stabilized(let proposed, let held, _):
        return condition(
          .ableToScale, true, held > proposed ? "ScaleDownStabilized" : "ScaleUpStabilized", words(for: reason) ?? "")
      case .unsettled:
        return condition(.ableToScale, true, "AwaitingFreshSamples", words(for: reason) ?? "")
      default: continue
      }
    }
    return intendedWrite == nil
      ? condition(.ableToScale, true, "ReadyForNewScale", "the count can be changed")
      : condition(.ableToScale, true, "SucceededRescale", "the count was set to \(intendedWrite ?? currentReplicas)")
  }

  private var scalingActive: PlanCondition {
    if let off = reasons.first(where: { $0 == .scaledToZeroByHand || $0 == .paused }) {
      return condition(.scalingActive, false, "ScalingDisabled", words(for: off) ?? "")
    }
    guard !proposals.isEmpty else {
      return condition(.scalingActive, true, "BoundsEnforced", "no metric had to be looked at")
    }
    let isKnown = proposals.contains { $0.role == .demand && $0.isKnown }
    let unknown = reasons.lazy.compactMap { if case .unknown(let metric) = $0 { metric } else { nil } }
    if let first = unknown.first(where: { proposals[$0].role == .demand }), !isKnown {
      return condition(.scalingActive, false, proposals[first].failureReason, words(for: first))
    }
    if let first = unknown.first {
      return condition(.scalingActive, true, "ValidMetricFound", "\(words(for: first)); the others suffice")
    }
    return condition(.scalingActive, true, "ValidMetricFound", "a count could be computed from the metrics")
  }

  private var scalingLimited: PlanCondition {
    for reason in reasons.reversed() {
      switch reason {
      case .atMinimum(let minimum), .belowMinimum(let minimum):
        return condition(.scalingLimited, true, "TooFewReplicas", "the demand is below the minimum of \(minimum)")
      case .atMaximum(let maximum), .aboveMaximum(let maximum):
        return condition(.scalingLimited, true, "TooManyReplicas", "the demand is above the maximum of \(maximum)")
      case .rateLimited(let proposed, _, _):
        return condition(
          .scalingLimited, true, proposed > currentReplicas ? "ScaleUpLimit" : "ScaleDownLimit",
          words(for: reason) ?? "")
      default: continue
      }
    }
    if let limit = limitWords, bindingStep != .stabilization, bindingStep != .settling {
      // Which dimension of the budget it is decides what the user can do.
      let details = bindingStep == .ceiling ? bindingCeiling.map { ": \(words(for: $0))" } : nil
      return condition(
        .scalingLimited, true, bindingStep.conditionReason, "the count is limited by \(limit)\(details ?? "")")
    }
    return condition(.scalingLimited, false, "DesiredWithinRange", "the desired count is within the acceptable range")
  }

  private var apiBudgetLimited: PlanCondition {
    for reason in reasons {
      if case .ceiling(let metric, _) = reason {
        return condition(.apiBudgetLimited, true, "CeilingReached", words(for: metric))
      }
      if case .growthFrozen = reason {
        return condition(.apiBudgetLimited, true, "GrowthFrozen", words(for: reason) ?? "")
      }
      if case .waitingForAPI = reason {
        return condition(.apiBudgetLimited, true, "RateLimited", words(for: reason) ?? "")
      }
    }
    return condition(.apiBudgetLimited, false, "WithinBudget", "no API budget limits the count")
  }

  private var capacityLimited: PlanCondition {
    for case .missingCapacity(let unplaced) in reasons {
      return condition(
        .capacityLimited, true, "MissingCapacity", words(for: .missingCapacity(unplaced: unplaced)) ?? "")
    }
    return condition(.capacityLimited, false, "CapacityAvailable", "no worker waits long for a node")
  }

  private var contestedReplicas: PlanCondition {
    let contest = state.contest
    for reason in reasons {
      if case .contested = reason {
        return condition(.contestedReplicas, true, "OtherWriter", words(for: reason) ?? "")
      }
    }
    guard contest.changes >= contestThreshold else {
      return condition(.contestedReplicas, false, "SoleWriter", "nobody else changes the count again and again")
    }
    return condition(
      .contestedReplicas, true, "OtherWriter", words(for: .contested(changes: contest.changes, until: nil)) ?? "")
  }

  private var draining: PlanCondition {
    for reason in reasons {
      switch reason {
      case .rolloutInProgress(.advances):
        return condition(.draining, true, "RolloutInProgress", words(for: reason) ?? "")
      case .rolloutInProgress(.stands):
        return condition(.draining, true, "RolloutStands", words(for: reason) ?? "")
      case .deletionCostIgnored:
        return condition(.draining, true, "DeletionCostIgnored", words(for: reason) ?? "")
      case .draining:
        return condition(.draining, true, "WorkersDrain", words(for: reason) ?? "")
      default: continue
      }
    }
    return condition(.draining, false, "NoneDrains", "no worker is being drained")
  }

  private var workExposed: PlanCondition {
    for reason in reasons {
      guard case .workExposed(let exposure) = reason else { continue }
      return condition(
        .workExposed, true, exposure == .noReports ? "NoReports" : "RemovalOrderUnknown", words(for: reason) ?? "")
    }
    return condition(.workExposed, false, "WorkProtected", "no shrink hits work")
  }

  private var fallback: PlanCondition {
    for reason in reasons {
      if case .fallback = reason {
        return condition(.fallback, true, "FallbackActive", words(for: reason) ?? "")
      }
    }
    return condition(.fallback, false, "NoFallback", "no metric is replaced by the fallback")
  }
}

extension Proposal {
  /// Whether the outcome rests on a number.
  fileprivate var isKnown: Bool {
    if case .unknown = outcome { return false }
    return observed != nil || outcome == .silent
  }

  /// The HPA's reason for a failure of this kind of metric.
  package var failureReason: String {
    switch source {
    case .resource: "FailedGetResourceMetric"
    case .containerResource: "FailedGetContainerResourceMetric"
    case .pods: "FailedGetPodsMetric"
    case .object: "FailedGetObjectMetric"
    case .external: "FailedGetExternalMetric"
    case .prometheus: "FailedGetPrometheusMetric"
    case .backlog: "FailedGetBacklogMetric"
    case .schedule: "FailedGetSchedule"
    case .apiRate: "FailedGetAPIBudget"
    }
  }
}

extension BindingStep {
  /// The reason of `ScalingLimited` where the HPA has none.
  fileprivate var conditionReason: String {
    switch self {
    case .ceiling: "APIBudget"
    case .unknownMetric: "UnknownMetric"
    case .marginalGain: "NoGain"
    case .capacity: "MissingCapacity"
    case .workInFlight: "WorkInFlight"
    case .drain: "Draining"
    case .contest: "ContestedReplicas"
    case .pause: "Paused"
    case .minimum: "TooFewReplicas"
    case .maximum: "TooManyReplicas"
    case .ratePolicy, .stabilization, .settling, .demand, .bounds, .disabled: "DesiredWithinRange"
    }
  }
}
