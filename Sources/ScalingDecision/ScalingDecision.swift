/// The decision: from what is asked, remembered and observed to a plan. Pure, exact, and total over all inputs.
package enum ScalingDecision {
  /// Decides once.
  package static func decide(_ spec: DecisionSpec, _ state: DecisionState, _ input: DecisionInput) -> Plan {
    let current = saneReplicas(input.specReplicas)
    return Plan(
      currentReplicas: current, desiredReplicas: current, write: nil, intendedWrite: nil, victims: [], orders: [],
      proposals: [], reasons: [], bindingStep: .disabled, bounds: 0...current, nextDeadline: nil, state: state,
      isDryRun: spec.isDryRun)
  }
}
extension DecisionState: Codable {
  package init(from decoder: any Decoder) throws { self.init() }
  package func encode(to encoder: any Encoder) throws {}
}
extension DecisionState {
  /// Takes back what the plan noted about its own write.
  mutating func undoWrite(from replicas: Int) { expectedReplicas = replicas }
}
