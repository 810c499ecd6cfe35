package import KubernetesCore
package import ScalingAPI
package import ScalingDecision
import WorkerEmbedding

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
  /// The pods without the sidecar, where the spec asks for it; nil: it doesn't, or nobody has looked.
  package var unembedded: Unembedded?
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

  /// The pods that should have the sidecar and have none.
  package struct Unembedded: Hashable, Sendable {
    /// Their names, in order.
    package var pods: [String]
    /// How many pods there are.
    package var total: Int

    /// Counts the pods of a fleet that asks for the sidecar.
    package init(_ pods: [Pod]) {
      let alive = pods.filter { pod in
        !pod.isTerminating && !pod.isFinished && pod.labels[EmbeddingNames.embed] != EmbeddingNames.disabled
      }
      total = alive.count
      self.pods = alive.filter { pod in !pod.containers.contains { $0.name == EmbeddingNames.sidecar } }
        .map(\.key.name).sorted()
    }

    /// What is missing and what to do, for the pods of `target`.
    package func message(of target: ScaleTarget?) -> String {
      guard let first = pods.first else { return "every pod carries the sidecar" }
      let restart = target.map { "kubectl rollout restart \($0.kind)/\($0.key.name)" } ?? "restart them"
      return
        "\(pods.count) of \(total) pods run without the sidecar (\(first) for one): no budget, no drain for them. They were made "
        + "before the fleet asked for it or while the webhook wasn't called (--webhook-listen), or can't carry it; make them anew: "
        + "\(restart), or see docs/embedding.md"
    }
  }

  /// Begins a pass.
  package init(autoscaler: SwarmAutoscaler, now: Timestamp) {
    self.autoscaler = autoscaler
    self.now = now
  }
}
