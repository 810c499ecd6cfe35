import KubernetesCore
package import ScalingAPI

extension DecisionSpec {
  /// Compiles a resolved autoscaler.
  ///
  /// `expectsReports` says that the controller runs a coordinator to which every worker of this autoscaler reports.
  package init(
    _ resolved: ResolvedAutoscaler, limits: DecisionLimits = DecisionLimits(), expectsReports: Bool = false
  ) {
    var metrics: [MetricSpec] = []
    for metric in resolved.metrics {
      var compiled = MetricSpec(metric, isDefault: resolved.usesDefaultMetrics)
      compiled.key = String(compiled.key.prefix(MetricMemory.longestKey))
      // Two metrics of one kind and name keep memories of their own.
      let namesakes = metrics.count { $0.key == compiled.key || $0.key.hasPrefix("\(compiled.key)#") }
      if namesakes > 0 { compiled.key += "#\(namesakes + 1)" }
      metrics.append(compiled)
    }
    self.init(
      minReplicas: Int(resolved.minReplicas), maxReplicas: Int(resolved.maxReplicas), metrics: metrics,
      behavior: ScalingBehavior(
        scaleUp: ScalingRules(resolved.scaleUp), scaleDown: ScalingRules(resolved.scaleDown)),
      fallback: resolved.fallback.map { FallbackSpec($0) },
      drain: DrainSpec(
        strategy: resolved.drain.strategy == .immediate ? .immediate : .idleFirst, timeout: resolved.drain.timeout,
        expectsReports: expectsReports),
      pause: PauseSpec(
        all: resolved.pause.isPaused, scaleUp: resolved.pause.isScaleUpPaused,
        scaleDown: resolved.pause.isScaleDownPaused, replicas: resolved.pause.replicas.map { Int($0) }),
      isDryRun: resolved.isDryRun, limits: limits)
  }
}

extension MetricSpec {
  fileprivate init(_ metric: ResolvedAutoscaler.Metric, isDefault: Bool) {
    let absent: AbsentPolicy = isDefault ? .ignore : .fail
    switch metric {
    case .resource(let name, nil, let target):
      self.init(
        name: name, source: .resource(name == "memory" ? .memory : .cpu), target: MetricTarget(target),
        key: "Resource/\(name)", absent: absent)
    case .resource(let name, let container?, let target):
      self.init(
        name: "\(container) \(name)",
        source: .containerResource(name == "memory" ? .memory : .cpu, container: container),
        target: MetricTarget(target), key: "ContainerResource/\(container)/\(name)", absent: absent)
    case .pods(let metric, let target):
      self.init(name: metric.name, source: .pods, target: MetricTarget(target), key: "Pods/\(metric.name)")
    case .object(let object, let metric, let target):
      self.init(
        name: metric.name, source: .object, target: MetricTarget(target),
        key: "Object/\(object.kind ?? "")/\(object.name ?? "")/\(metric.name)")
    case .external(let metric, let target):
      self.init(name: metric.name, source: .external, target: MetricTarget(target), key: "External/\(metric.name)")
    case .apiRate(let budget, let target):
      self.init(
        name: "API", source: .apiRate,
        target: .utilizationBand(lower: Int64(target?.lower ?? 85), upper: Int64(target?.upper ?? 95)),
        key: "APIRate/\(budget)")
    case .backlog(let source, let target, let onlyWhereReported):
      var absent: AbsentPolicy = onlyWhereReported ? .ignore : .fail
      if case .prometheus(let query) = source { absent = AbsentPolicy(query.absent) }
      self.init(name: "backlog", source: .backlog, target: MetricTarget(target), key: "Backlog", absent: absent)
    case .prometheus(let query, let target):
      self.init(
        name: "query", source: .prometheus, target: MetricTarget(target), key: "Prometheus/\(query.query)",
        absent: AbsentPolicy(query.absent))
    case .schedule(_, let start, let end, _):
      self.init(name: "schedule", source: .schedule, target: .replicas, key: "Schedule/\(start)/\(end)")
    }
  }
}

extension MetricSpec.AbsentPolicy {
  fileprivate init(_ behavior: SwarmAutoscaler.AbsentBehavior) {
    switch behavior {
    case .hold: self = .hold
    case .zero: self = .zero
    case .fail: self = .fail
    }
  }
}

extension MetricTarget {
  fileprivate init(_ target: ResolvedAutoscaler.Target) {
    switch target {
    case .utilization(let percent): self = .utilization(percent: Int64(percent))
    case .averageValue(let quantity): self = .averageValue(milli: quantity.milliValue)
    case .value(let quantity): self = .value(milli: quantity.milliValue)
    case .utilizationBand(let band): self = .utilizationBand(lower: Int64(band.lower), upper: Int64(band.upper))
    case .averageValueBand(let band):
      self = .averageValueBand(lowerMilli: band.lower.milliValue, upperMilli: band.upper.milliValue)
    }
  }
}

extension ScalingRules {
  fileprivate init(_ rules: ResolvedAutoscaler.Rules) {
    let selectPolicy: SelectPolicy =
      switch rules.selectPolicy {
      case .max: .max
      case .min: .min
      case .disabled: .disabled
      }
    self.init(
      stabilizationWindow: rules.stabilizationWindow, selectPolicy: selectPolicy,
      policies: rules.policies.map { Policy($0.type == .pods ? .pods : .percent, Int64($0.value), per: $0.period) },
      tolerance: Tolerance(billionths: rules.tolerance.nanoValue))
  }
}

extension FallbackSpec {
  fileprivate init(_ fallback: ResolvedAutoscaler.Fallback) {
    let behavior: Behavior =
      switch fallback.behavior {
      case .fixed: .static
      case .currentReplicas: .currentReplicas
      case .currentReplicasIfHigher: .currentReplicasIfHigher
      case .currentReplicasIfLower: .currentReplicasIfLower
      }
    self.init(
      failureThreshold: Int(fallback.failureThreshold), replicas: Int(fallback.replicas), behavior: behavior)
  }
}
