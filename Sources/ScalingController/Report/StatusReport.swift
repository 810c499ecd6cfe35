import KubernetesCore
package import ScalingAPI
package import ScalingDecision

/// Renders a pass as the object's status.
package enum StatusReport {
  /// How often a history that changed by itself is written, when nothing else in the status changes.
  ///
  /// Windows move with every pass. Writing them each time would cost a write per object and pass; a restart that finds
  /// a history up to this old only holds still longer, since the first decision records the present count.
  package static let historyPeriod = Duration.seconds(120)

  /// The version of the history's form.
  private static let historyVersion: Int32 = 1

  /// The status that `pass` leads to; what it says nothing about stays as it was.
  package static func status(
    of pass: Pass, previous: SwarmAutoscaler.Status?, state: DecisionState
  ) -> SwarmAutoscaler.Status {
    var status = previous ?? SwarmAutoscaler.Status()
    status.observedGeneration = pass.autoscaler.metadata.generation
    if let compiled = pass.compiled {
      status.minReplicas = compiled.resolved.minReplicas
      status.maxReplicas = compiled.resolved.maxReplicas
    }
    if let target = pass.target {
      status.currentReplicas = target.scale.replicas
      status.selector = target.scale.selector
    }
    if let plan = pass.plan {
      status.desiredReplicas = Int32(clamping: plan.desiredReplicas)
      status.bindingStep = plan.bindingStep.rawValue
      status.limitedBy = plan.isLimited ? plan.bindingStep.rawValue : nil
      status.reason = plan.logLine(name: pass.autoscaler.metadata.name)
      if let compiled = pass.compiled, !plan.proposals.isEmpty {
        status.currentMetrics = MetricStatusReport.statuses(of: plan, compiled.resolved, pass.collected)
        status.targets = MetricStatusReport.summary(of: plan)
      }
      if pass.hasWritten { status.lastScaleTime = Timestamp(secondsSinceEpoch: pass.now.secondsSinceEpoch) }
      status.history = history(state)
    }
    if let trouble = pass.trouble { status.reason = trouble.message }
    status.conditions = ConditionReport.conditions(of: pass, previous: previous?.conditions ?? [])
    return status
  }

  private static func history(_ state: DecisionState) -> SwarmAutoscaler.DecisionHistory? {
    do {
      return SwarmAutoscaler.DecisionHistory(
        version: historyVersion, state: PackedJSON(try KubernetesJSON.value(of: state)))
    } catch {
      return nil
    }
  }

  /// A text that is equal for plans that a person would call the same: the numbers of metrics may differ, the steps,
  /// the counts and the kinds of reasons, also of why a metric is unknown, may not.
  package static func signature(of plan: Plan) -> String {
    let kind = { (value: Any) in String(describing: value).prefix { $0 != "(" } }
    let reasons = plan.reasons.map(kind)
    let unknown = plan.proposals.compactMap { proposal -> String? in
      guard case .unknown(let reason) = proposal.outcome else { return nil }
      return "\(proposal.name)=\(kind(reason))"
    }
    return "\(plan.bindingStep.rawValue) \(reasons.joined(separator: " ")) \(unknown.joined(separator: ","))"
  }
}

extension SwarmAutoscaler.Status {
  /// Whether this status says something that `old` doesn't.
  package func differs(from old: SwarmAutoscaler.Status?, comparingHistory: Bool) -> Bool {
    guard var old else { return true }
    if !comparingHistory { old.history = history }
    return old != self
  }
}
