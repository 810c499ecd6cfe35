import KubernetesCore
package import ScalingAPI
import ScalingDecision

/// Renders a pass as conditions: the HPA's three with its reasons, `Valid`, and this project's own once they apply.
package enum ConditionReport {
  private typealias Condition = SwarmAutoscaler.Condition

  private struct Draft {
    var type: String
    var isTrue: Bool
    var reason: String
    var message: String
  }

  /// The conditions after `pass`; `lastTransitionTime` moves only when a status flips.
  package static func conditions(
    of pass: Pass, previous: [SwarmAutoscaler.Condition]
  ) -> [SwarmAutoscaler.Condition] {
    var drafts = [valid(pass)]
    drafts += [ableToScale(pass), scalingActive(pass), scalingLimited(pass)].compactMap { $0 }
    drafts += optional(pass, previous)
    var result: [SwarmAutoscaler.Condition] = previous.filter { old in !drafts.contains { $0.type == old.type } }
    for draft in drafts {
      let old = previous.first { $0.type == draft.type }
      let text = draft.isTrue ? "True" : "False"
      let since = old?.status?.text == text ? old?.lastTransitionTime : nil
      result.append(
        SwarmAutoscaler.Condition(
          type: draft.type, status: .init(text), reason: draft.reason, message: draft.message,
          lastTransitionTime: since ?? Timestamp(secondsSinceEpoch: pass.now.secondsSinceEpoch),
          observedGeneration: pass.autoscaler.metadata.generation))
    }
    return result.sorted { ($0.type ?? "") < ($1.type ?? "") }
  }

  private static func valid(_ pass: Pass) -> Draft {
    if let trouble = pass.trouble, trouble.condition == .valid {
      return Draft(
        type: ScalingGroup.ConditionType.valid, isTrue: false, reason: trouble.reason, message: trouble.message)
    }
    let warnings = pass.autoscaler.validate().warnings.map(\.description)
    return Draft(
      type: ScalingGroup.ConditionType.valid, isTrue: true, reason: warnings.isEmpty ? "SpecAccepted" : "SpecHasWarnings",
      message: warnings.isEmpty ? "the spec can be used" : warnings.joined(separator: " "))
  }

  private static func ableToScale(_ pass: Pass) -> Draft? {
    let type = ScalingGroup.ConditionType.ableToScale
    if let trouble = pass.trouble {
      guard trouble.condition == .ableToScale else { return nil }
      return Draft(type: type, isTrue: false, reason: trouble.reason, message: trouble.message)
    }
    guard let plan = pass.plan else { return nil }
    if pass.hasWritten, let written = plan.write {
      return Draft(
        type: type, isTrue: true, reason: "SucceededRescale", message: "the target's scale was set to \(written)")
    }
    for reason in plan.reasons {
      if case .stabilized(let proposed, let held, _) = reason {
        return Draft(
          type: type, isTrue: true, reason: proposed < held ? "ScaleDownStabilized" : "ScaleUpStabilized",
          message: "recent proposals hold the count at \(held) rather than \(proposed)")
      }
    }
    return Draft(
      type: type, isTrue: true, reason: "ReadyForNewScale", message: "the scale can be read and written")
  }

  private static func scalingActive(_ pass: Pass) -> Draft? {
    let type = ScalingGroup.ConditionType.scalingActive
    if let trouble = pass.trouble, trouble.condition != .ableToScale {
      return Draft(type: type, isTrue: false, reason: trouble.reason, message: trouble.message)
    }
    guard let plan = pass.plan else { return nil }
    for reason in plan.reasons {
      switch reason {
      case .olderRival(let name):
        return Draft(
          type: type, isTrue: false, reason: "AmbiguousTarget",
          message: "the older autoscaler \(name) names the same target and keeps it; delete one of the two")
      case .scaledToZeroByHand:
        return Draft(
          type: type, isTrue: false, reason: "ScalingDisabled",
          message: "scaling is disabled since the replica count of the target is zero")
      case .paused, .pausedAt:
        return Draft(
          type: type, isTrue: false, reason: "Paused", message: "an annotation swarmscale.dev/paused… holds the count")
      default: continue
      }
    }
    let demands = plan.proposals.indices.filter { !plan.proposals[$0].isCeiling }
    let unknown = demands.filter { if case .unknown = plan.proposals[$0].outcome { true } else { false } }
    guard let first = unknown.first else {
      guard !demands.isEmpty else { return nil }
      return Draft(
        type: type, isTrue: true, reason: "ValidMetricFound", message: "the count was computed from every metric")
    }
    let words = unknown.map { "\(plan.proposals[$0].name): \(MetricStatusReport.trouble(plan.proposals[$0], pass.collected, $0))" }
    guard unknown.count == demands.count else {
      return Draft(
        type: type, isTrue: true, reason: "ValidMetricFound",
        message: "some metrics are unknown, so the count isn't lowered: \(words.joined(separator: "; "))")
    }
    return Draft(
      type: type, isTrue: false, reason: StatusReport.failureReason(pass, metric: first),
      message: "no metric has a usable value: \(words.joined(separator: "; "))")
  }

  private static func scalingLimited(_ pass: Pass) -> Draft? {
    guard let plan = pass.plan else { return nil }
    let isGrowth = plan.desiredReplicas >= plan.currentReplicas
    let (isTrue, reason): (Bool, String) =
      switch plan.bindingStep {
      case .minimum: (true, "TooFewReplicas")
      case .maximum: (true, "TooManyReplicas")
      case .bounds: (true, isGrowth ? "TooFewReplicas" : "TooManyReplicas")
      case .ratePolicy: (true, isGrowth ? "ScaleUpLimit" : "ScaleDownLimit")
      case .ceiling: (true, "Ceiling")
      case .marginalGain: (true, "NoGain")
      case .capacity: (true, "MissingCapacity")
      case .workInFlight: (true, "WorkInFlight")
      case .drain: (true, "Draining")
      case .contest: (true, "ContestedReplicas")
      case .unknownMetric: (true, "UnknownMetric")
      case .disabled, .pause, .demand, .stabilization: (false, "DesiredWithinRange")
      }
    return Draft(
      type: ScalingGroup.ConditionType.scalingLimited, isTrue: isTrue, reason: reason,
      message: plan.eventMessage)
  }

  /// Conditions that are only shown from the first time on that they are true.
  private static func optional(_ pass: Pass, _ previous: [SwarmAutoscaler.Condition]) -> [Draft] {
    guard let plan = pass.plan else { return [] }
    var drafts: [Draft] = []
    func add(_ type: String, _ isTrue: Bool, _ reason: String, _ message: String, otherwise: (String, String)) {
      if isTrue {
        drafts.append(Draft(type: type, isTrue: true, reason: reason, message: message))
      } else if previous.contains(where: { $0.type == type }) {
        drafts.append(Draft(type: type, isTrue: false, reason: otherwise.0, message: otherwise.1))
      }
    }
    let manager = pass.input?.foreignWriter?.manager ?? plan.state.contest.manager ?? "somebody"
    var isContested = false
    var fallback: (failures: Int, replicas: Int)?
    for reason in plan.reasons {
      if case .contested = reason { isContested = true }
      if case .fallback(_, let failures, let replicas) = reason { fallback = (failures, replicas) }
    }
    add(
      ScalingGroup.ConditionType.contestedReplicas, isContested, "ForeignWriter",
      "\(manager) keeps changing the replica count of the target; stop it, or remove replicas from what it manages",
      otherwise: ("NotContested", "nobody else has changed the replica count lately"))
    add(
      ScalingGroup.ConditionType.fallback, fallback != nil, "MetricFailing",
      "a metric failed \(fallback?.failures ?? 0) times in a row; the fallback proposes \(fallback?.replicas ?? 0)",
      otherwise: ("MetricsAvailable", "the metrics can be read"))
    add(
      ScalingGroup.ConditionType.draining, plan.bindingStep == .drain, "WorkersDraining",
      "workers finish their work before they go",
      otherwise: ("NotDraining", "no worker is draining"))
    return drafts
  }
}
