package import KubernetesCore
package import ScalingAPI
package import ScalingDecision

/// What one pass over one autoscaler found, decided and did: everything that is reported is rendered from this value.
package struct Pass: Sendable {
  /// The object as it was when the pass began.
  package var autoscaler: SwarmAutoscaler
  /// When the observation was made.
  package var now: Timestamp
  /// The spec, when it could be compiled.
  package var compiled: CompiledAutoscaler?
  /// The target, when it could be read.
  package var target: ScaleTarget?
  /// What was read for each metric, in the order of the spec; empty when none was needed.
  package var collected: [CollectedMetric] = []
  /// What went into the decision.
  package var input: DecisionInput?
  /// What was decided.
  package var plan: Plan?
  /// Every decision of the pass with what it was made from: one, and one more after each conflicting write.
  package var decisions: [Decision] = []
  /// Whether the plan's write was made.
  package var hasWritten = false
  /// Whether the plan's orders were given to workers and pods.
  package var hasOrdered = false
  /// Work that was hit since this process leads, as far as it was seen.
  package var losses = DrainWatch.Totals()
  /// What ended the pass early, or kept the write from being made.
  package var trouble: Trouble?

  /// One decision and what it was made from.
  package struct Decision: Sendable {
    /// What was remembered before.
    package var stateBefore: DecisionState
    /// What was observed.
    package var input: DecisionInput
    /// What was decided.
    package var plan: Plan
  }

  /// Begins a pass.
  package init(autoscaler: SwarmAutoscaler, now: Timestamp) {
    self.autoscaler = autoscaler
    self.now = now
  }
}
