import KubernetesCore
package import ScalingAPI
package import ScalingDecision

extension DecisionSpec {
  /// Compiles a resolved autoscaler; `limits` are the controller's own constants.
  package init(_ resolved: ResolvedAutoscaler, limits: DecisionLimits) {
    self.init(
      minReplicas: Int(resolved.minReplicas), maxReplicas: Int(resolved.maxReplicas),
      metrics: resolved.metrics.enumerated().map { MetricSpec($0.element, index: $0.offset) },
      behavior: ScalingBehavior(
        scaleUp: ScalingRules(resolved.scaleUp), scaleDown: ScalingRules(resolved.scaleDown)),
      fallback: resolved.fallback.map(FallbackSpec.init),
      drain: DrainSpec(
        strategy: resolved.drain.strategy == .idleFirst ? .idleFirst : .immediate, timeout: resolved.drain.timeout),
      pause: PauseSpec(
        all: resolved.pause.isPaused, scaleUp: resolved.pause.isScaleUpPaused,
        scaleDown: resolved.pause.isScaleDownPaused, replicas: resolved.pause.replicas.map(Int.init)),
      isDryRun: resolved.isDryRun, limits: limits)
  }
}

extension ScalingRules {
  fileprivate init(_ rules: ResolvedAutoscaler.Rules) {
    self.init(
      stabilizationWindow: rules.stabilizationWindow,
      selectPolicy: SelectPolicy(rawValue: rules.selectPolicy.rawValue) ?? .max,
      policies: rules.policies.map { policy in
        Policy(policy.type == .percent ? .percent : .pods, Int64(policy.value), per: policy.period)
      },
      tolerance: Tolerance(billionths: rules.tolerance.nanoValue))
  }
}

extension FallbackSpec {
  fileprivate init(_ fallback: ResolvedAutoscaler.Fallback) {
    self.init(
      failureThreshold: Int(fallback.failureThreshold), replicas: Int(fallback.replicas),
      behavior: Behavior(rawValue: fallback.behavior.rawValue) ?? .static)
  }
}

extension MetricSpec {
  fileprivate init(_ metric: ResolvedAutoscaler.Metric, index: Int) {
    switch metric {
    case .resource(let name, nil, let target):
      self.init(name: name, source: .resource(name == "memory" ? .memory : .cpu), target: MetricTarget(target))
    case .resource(let name, let container?, let target):
      self.init(
        name: "\(name) of \(container)",
        source: .containerResource(name == "memory" ? .memory : .cpu, container: container),
        target: MetricTarget(target))
    case .pods(let name, let target):
      self.init(name: name.name, source: .pods, target: MetricTarget(target), key: "pods/\(name.name)/\(index)")
    case .object(_, let name, let target):
      self.init(name: name.name, source: .object, target: MetricTarget(target), key: "object/\(name.name)/\(index)")
    case .external(let name, let target):
      self.init(name: name.name, source: .external, target: MetricTarget(target), key: "external/\(name.name)/\(index)")
    case .apiRate(let budget, let target):
      self.init(
        name: "API", source: .apiRate,
        target: .utilizationBand(lower: Int64(target?.lower ?? 85), upper: Int64(target?.upper ?? 95)),
        key: "apiRate/\(budget)")
    case .backlog(_, let target, _):
      self.init(name: "backlog", source: .backlog, target: MetricTarget(target), key: "backlog/\(index)")
    case .prometheus(let query, let target):
      self.init(
        name: "prometheus", source: .prometheus, target: MetricTarget(target), key: "prometheus/\(index)",
        absent: AbsentPolicy(rawValue: query.absent.rawValue.lowercased()) ?? .fail)
    case .schedule:
      self.init(name: "schedule", source: .schedule, target: .replicas, key: "schedule/\(index)")
    }
  }
}

extension MetricTarget {
  fileprivate init(_ target: ResolvedAutoscaler.Target) {
    self =
      switch target {
      case .utilization(let percent): .utilization(percent: Int64(percent))
      case .averageValue(let quantity): .averageValue(milli: quantity.milliValue)
      case .value(let quantity): .value(milli: quantity.milliValue)
      case .utilizationBand(let band): .utilizationBand(lower: Int64(band.lower), upper: Int64(band.upper))
      case .averageValueBand(let band):
        .averageValueBand(lowerMilli: band.lower.milliValue, upperMilli: band.upper.milliValue)
      }
  }
}
