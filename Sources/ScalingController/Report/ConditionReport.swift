import KubernetesCore
package import ScalingAPI
import ScalingDecision

/// Renders a pass as conditions: `Valid`, and those that the plan implies; a trouble overrides the one it is about.
package enum ConditionReport {
  private struct Draft {
    var type: String
    var isTrue: Bool
    var reason: String
    var message: String
  }

  /// The HPA's conditions are always shown, the others from the first time on that they are true.
  private static let alwaysShown: Set<PlanCondition.Kind> = [.ableToScale, .scalingActive, .scalingLimited]

  /// The conditions after `pass`; `lastTransitionTime` moves only when a status flips.
  package static func conditions(
    of pass: Pass, previous: [SwarmAutoscaler.Condition]
  ) -> [SwarmAutoscaler.Condition] {
    let drafts = [valid(pass)] + fromPlan(pass, previous) + embedding(pass, previous) + fromTrouble(pass)
    var result: [String: SwarmAutoscaler.Condition] = [:]
    for condition in previous { result[condition.type ?? ""] = condition }
    for draft in drafts {
      let old = previous.first { $0.type == draft.type }
      let text = draft.isTrue ? "True" : "False"
      let since = old?.status?.text == text ? old?.lastTransitionTime : nil
      result[draft.type] = SwarmAutoscaler.Condition(
        type: draft.type, status: .init(text), reason: draft.reason, message: draft.message,
        lastTransitionTime: since ?? Timestamp(secondsSinceEpoch: pass.now.secondsSinceEpoch),
        observedGeneration: pass.autoscaler.metadata.generation)
    }
    return result.values.sorted { ($0.type ?? "") < ($1.type ?? "") }
  }

  private static func valid(_ pass: Pass) -> Draft {
    let type = ScalingGroup.ConditionType.valid
    if let trouble = pass.trouble, trouble.condition == .valid {
      return Draft(type: type, isTrue: false, reason: trouble.reason, message: trouble.message)
    }
    let warnings = pass.compiled?.warnings ?? []
    return Draft(
      type: type, isTrue: true, reason: warnings.isEmpty ? "SpecAccepted" : "SpecHasWarnings",
      message: warnings.isEmpty ? "the spec can be used" : warnings.joined(separator: " "))
  }

  /// What the plan implies. A plan whose write failed says nothing: the trouble does.
  private static func fromPlan(_ pass: Pass, _ previous: [SwarmAutoscaler.Condition]) -> [Draft] {
    guard let plan = pass.plan else { return [] }
    return plan.conditions.compactMap { condition in
      let type = condition.kind.rawValue
      guard condition.isTrue || alwaysShown.contains(condition.kind) || previous.contains(where: { $0.type == type })
      else { return nil }
      if condition.kind == .scalingActive, plan.proposals.isEmpty, condition.isTrue,
        previous.contains(where: { $0.type == type })
      {
        // No metric was looked at: what was known of them stands.
        return nil
      }
      return Draft(
        type: type, isTrue: condition.isTrue, reason: condition.reason, message: pass.message(of: condition))
    }
  }

  /// Whether pods lack the sidecar; from the first time on that some do.
  private static func embedding(_ pass: Pass, _ previous: [SwarmAutoscaler.Condition]) -> [Draft] {
    let type = ScalingGroup.ConditionType.embedMissing
    let isShown = previous.contains { $0.type == type }
    guard let unembedded = pass.unembedded else {
      guard isShown, pass.compiled != nil, pass.target != nil else { return [] }
      return [Draft(type: type, isTrue: false, reason: "NotAsked", message: "the spec asks for no sidecar")]
    }
    guard !unembedded.pods.isEmpty || isShown else { return [] }
    return [
      Draft(
        type: type, isTrue: !unembedded.pods.isEmpty,
        reason: unembedded.pods.isEmpty ? "AllEmbedded" : "PodsWithoutSidecar",
        message: unembedded.message(of: pass.target))
    ]
  }

  private static func fromTrouble(_ pass: Pass) -> [Draft] {
    guard let trouble = pass.trouble else { return [] }
    let type =
      trouble.condition == .ableToScale
      ? ScalingGroup.ConditionType.ableToScale : ScalingGroup.ConditionType.scalingActive
    return [Draft(type: type, isTrue: false, reason: trouble.reason, message: trouble.message)]
  }
}
