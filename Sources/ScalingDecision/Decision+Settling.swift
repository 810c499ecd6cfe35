package import KubernetesCore

extension Decision {
  /// How long after an own write a shrink waits for fresh samples, at most: a frozen source must not hold it for ever.
  static let longestSettling: Milliseconds = 60_000

  /// No shrink on samples that were still being measured when we last changed the count.
  ///
  /// Such a sample shows a worker's share of the load among the workers of before. After a growth and after a shrink
  /// alike it is at most the share of today, so that the sum is a lower bound of the load: good enough to grow by, not to
  /// shrink by. Acting on it would take a second step down before the first one shows. It stands behind the windows so that
  /// the hold is no proposal: a shrink by policy goes on at its pace. Tests: `SettlingTests`.
  mutating func awaitFreshSamples(_ spec: DecisionSpec, _ input: DecisionInput) {
    guard goal < current, step != .marginalGain, let wrote = state.lastWriteAt else { return }
    let until = wrote.addingSaturated(Self.longestSettling)
    guard wrote <= now, now < until, hasSamples(spec, input, begunBefore: wrote) else { return }
    var ceiling = current
    for proposal in proposals where proposal.role == .ceiling {
      ceiling = min(ceiling, proposal.replicas ?? ceiling)
    }
    let held = max(goal, ceiling)
    guard held > goal else { return }
    reasons.append(.unsettled(proposed: goal, held: held, until: Timestamp(milliseconds: until)))
    goal = held
    step = .settling
  }

  private func hasSamples(_ spec: DecisionSpec, _ input: DecisionInput, begunBefore moment: Milliseconds) -> Bool {
    for index in spec.metrics.indices where index < input.readings.count {
      guard case .workers(let samples) = input.readings[index], case .wants = proposals[index].outcome else { continue }
      for sample in samples.samples where sample.begin.milliseconds < moment { return true }
    }
    return false
  }
}

extension WorkerSample {
  /// The longest window that is believed: one that claims to be longer would never be settled.
  package static let longestWindow = Duration.seconds(60)

  /// When the measurement began.
  package var begin: Timestamp { at - min(max(window, .zero), Self.longestWindow) }
}
