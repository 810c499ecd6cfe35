import ScalingDecision

/// A plan as the steps of the algorithm in their order, each with what it said: how a person reads a decision
/// (docs/decision.md has the same order).
struct DecisionSteps {
  /// A step of the algorithm.
  enum Key: String, CaseIterable {
    case bounds
    case demand
    case ceilings
    case limits
    case pace
    case drain
    case write

    /// Its heading.
    var title: String {
      switch self {
      case .bounds: "Bounds and pauses"
      case .demand: "Demand"
      case .ceilings: "Ceilings"
      case .limits: "Work in flight and limits"
      case .pace: "Stabilisation and rate"
      case .drain: "Drain"
      case .write: "Write"
      }
    }
  }

  /// A step with its words.
  struct Step {
    /// Which.
    var key: Key
    /// What it said, in order.
    var lines: [String]
    /// Whether it had the last word.
    var isBinding: Bool
  }

  /// The steps, in order; one that had nothing to say has no lines.
  let steps: [Step]

  /// Takes a plan apart.
  init(_ plan: Plan) {
    var lines: [Key: [String]] = [:]
    lines[.bounds] = ["from \(plan.bounds.lowerBound) to \(plan.bounds.upperBound) workers"]
    for index in plan.proposals.indices {
      let key: Key = plan.proposals[index].role == .demand ? .demand : .ceilings
      lines[key, default: []].append(plan.words(for: index))
    }
    for reason in plan.reasons { lines[Self.key(of: reason), default: []].append(Self.words(reason, plan)) }
    if !plan.victims.isEmpty {
      lines[.drain, default: []].append("to be removed: \(plan.victims.prefix(20).joined(separator: ", "))")
    }
    lines[.write, default: []].append(Self.outcome(plan))
    let binding = Self.key(of: plan.bindingStep)
    steps = Key.allCases.map { Step(key: $0, lines: lines[$0] ?? [], isBinding: $0 == binding) }
  }

  private static func outcome(_ plan: Plan) -> String {
    if let write = plan.write { return "\(plan.currentReplicas) → \(write) is written" }
    if let intended = plan.intendedWrite { return "\(plan.currentReplicas) → \(intended) would be written" }
    if plan.desiredReplicas != plan.currentReplicas {
      return "nothing yet; the goal is \(plan.desiredReplicas), the count \(plan.currentReplicas)"
    }
    return "nothing: \(plan.currentReplicas) stays"
  }

  /// One reason in words; a list of steps must also say what a line of the log leaves to its other parts.
  private static func words(_ reason: Reason, _ plan: Plan) -> String {
    let name = { (metric: Int) in
      plan.proposals.indices.contains(metric) ? plan.proposals[metric].name : "metric \(metric)"
    }
    return switch reason {
    case .demand(let metric, let replicas): "\(name(metric)) wins with \(replicas)"
    case .ceiling(let metric, let replicas): "\(name(metric)) holds it at \(replicas)"
    case .unknown(let metric):
      "\(name(metric)) is unknown and doesn't move the count"
    case .atMinimum(let minimum): "raised to minReplicas, \(minimum)"
    case .atMaximum(let maximum): "cut to maxReplicas, \(maximum)"
    default: plan.words(for: reason) ?? ""
    }
  }

  private static func key(of reason: Reason) -> Key {
    switch reason {
    case .olderRival, .scaledToZeroByHand, .paused, .pausedAt, .growthPaused, .shrinkPaused, .belowMinimum,
      .aboveMaximum:
      .bounds
    case .noMetrics, .unknown, .fallback, .collapseUnconfirmed, .waitingForAPI, .demand: .demand
    case .ceiling, .growthFrozen, .noGain, .missingCapacity: .ceilings
    case .workInFlight, .atMinimum, .atMaximum: .limits
    case .stabilized, .unsettled, .rateLimited: .pace
    case .draining, .shieldedByNotReady, .drainTimedOut, .rolloutInProgress, .deletionCostIgnored, .workExposed:
      .drain
    case .foreignChange, .contested, .dryRun: .write
    }
  }

  private static func key(of step: BindingStep) -> Key {
    switch step {
    case .disabled, .pause, .bounds: .bounds
    case .demand, .unknownMetric: .demand
    case .ceiling, .marginalGain, .capacity: .ceilings
    case .workInFlight, .minimum, .maximum: .limits
    case .stabilization, .settling, .ratePolicy: .pace
    case .drain: .drain
    case .contest: .write
    }
  }
}
