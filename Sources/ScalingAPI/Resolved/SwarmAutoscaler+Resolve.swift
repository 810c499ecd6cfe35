import KubernetesCore

extension SwarmAutoscaler {
  /// This autoscaler with defaults filled in; throws when `validate()` finds an error.
  package func resolved(
    _ defaults: ResolvedAutoscaler.Defaults = .init()
  ) throws(InvalidSpecError) -> ResolvedAutoscaler {
    let issues = validate()
    guard issues.errors.isEmpty else { throw InvalidSpecError(issues: issues) }
    let bounds = spec.effectiveBounds
    let metrics = (spec.metrics ?? []).compactMap { $0.resolved() }
    return ResolvedAutoscaler(
      target: spec.scaleTargetRef.map {
        .init(apiVersion: $0.apiVersion.orIfEmpty("v1"), kind: $0.kind ?? "", name: $0.name ?? "")
      }
        ?? .init(apiVersion: "", kind: "", name: ""),
      minReplicas: bounds.min, maxReplicas: bounds.max,
      metrics: metrics.isEmpty ? ResolvedAutoscaler.defaultMetrics : metrics,
      usesDefaultMetrics: metrics.isEmpty,
      scaleUp: .init(spec.behavior?.scaleUp, .up, defaults),
      scaleDown: .init(spec.behavior?.scaleDown, .down, defaults),
      hasBehavior: spec.behavior != nil, drain: .init(spec.drain), fallback: spec.fallback.map { .init($0) },
      embedMode: spec.embed.map { $0.mode?.known ?? .sidecar } ?? .disabled,
      isDryRun: spec.dryRun ?? false,
      syncPeriod: spec.syncPeriodSeconds.map { .seconds(Int64($0)) } ?? defaults.syncPeriod,
      pause: ResolvedAutoscaler.Pause.reading(metadata.annotations).pause)
  }
}

extension SwarmAutoscaler.Spec {
  /// The bounds with defaults filled in: 5 and 100, except where the one that is given leaves no room for that.
  ///
  /// An HPA with `maxReplicas: 3` and no minimum must work unchanged, so the default gives way.
  package var effectiveBounds: (min: Int32, max: Int32) {
    let max = maxReplicas ?? Swift.max(100, minReplicas ?? 0)
    return (minReplicas ?? Swift.min(5, max), max)
  }
}

extension ResolvedAutoscaler {
  /// CPU and memory in the band 70–85, and four tasks per worker where the workers report a backlog.
  package static let defaultMetrics: [Metric] = [
    .resource(name: "cpu", container: nil, target: .utilizationBand(PercentBand(lower: 70, upper: 85))),
    .resource(name: "memory", container: nil, target: .utilizationBand(PercentBand(lower: 70, upper: 85))),
    .backlog(.workers, target: .averageValue(Quantity(4)), onlyWhereReported: true),
  ]
}

extension ResolvedAutoscaler.Rules {
  enum Direction { case up, down }

  /// The rules of one direction with the defaults of `autoscaling/v2`.
  init(_ rules: SwarmAutoscaler.Rules?, _ direction: Direction, _ defaults: ResolvedAutoscaler.Defaults) {
    let window: Duration = direction == .up ? .zero : defaults.downscaleStabilization
    stabilizationWindow = rules?.stabilizationWindowSeconds.map { .seconds(Int64($0)) } ?? window
    selectPolicy = rules?.selectPolicy?.known ?? .max
    policies =
      rules?.policies.map { policies in
        policies.map {
          Policy(type: $0.type?.known ?? .pods, value: $0.value ?? 0, period: .seconds(Int64($0.periodSeconds ?? 0)))
        }
      } ?? Self.defaultPolicies(direction)
    tolerance = rules?.tolerance ?? defaults.tolerance
  }

  private static func defaultPolicies(_ direction: Direction) -> [Policy] {
    let percent = Policy(type: .percent, value: 100, period: .seconds(15))
    return direction == .up ? [Policy(type: .pods, value: 4, period: .seconds(15)), percent] : [percent]
  }
}

extension ResolvedAutoscaler.Drain {
  /// Idle first with 30 minutes, unless the spec says otherwise; a timeout of zero means none.
  package init(_ drain: SwarmAutoscaler.Drain?) {
    strategy = drain?.strategy?.known ?? .idleFirst
    let parsed = (try? Duration(goText: drain?.timeout ?? "30m")) ?? .seconds(1800)
    timeout = parsed == .zero ? nil : parsed
  }
}

extension ResolvedAutoscaler.Fallback {
  init(_ fallback: SwarmAutoscaler.Fallback) {
    failureThreshold = fallback.failureThreshold ?? 3
    replicas = fallback.replicas ?? 0
    behavior = fallback.behavior?.known ?? .fixed
  }
}

extension SwarmAutoscaler.MetricSpec {
  /// The metric with defaults filled in; nil only for one that doesn't pass validation.
  func resolved() -> ResolvedAutoscaler.Metric? {
    switch type?.known {
    case .resource:
      guard let resource, let target = resource.target?.resolvedForResource else { return nil }
      return .resource(name: resource.name ?? "", container: nil, target: target)
    case .containerResource:
      guard let containerResource, let target = containerResource.target?.resolvedForResource else { return nil }
      return .resource(
        name: containerResource.name ?? "", container: containerResource.container ?? "", target: target)
    case .pods:
      guard let pods, let target = pods.target?.resolvedForPods, let metric = pods.metric else { return nil }
      return .pods(.init(metric), target: target)
    case .object:
      guard let object, let target = object.target?.resolvedForNumber, let metric = object.metric,
        let reference = object.describedObject
      else { return nil }
      return .object(reference, .init(metric), target: target)
    case .external:
      guard let external, let target = external.target?.resolvedForNumber, let metric = external.metric else {
        return nil
      }
      return .external(.init(metric), target: target)
    case .apiRate:
      guard let apiRate else { return nil }
      return .apiRate(budget: apiRate.budgetRef?.name ?? "", target: apiRate.target.map { .init($0) })
    case .backlog:
      guard let backlog, let target = backlog.target?.resolvedForPods else { return nil }
      return .backlog(backlog.source.map { $0.resolved() } ?? .workers, target: target, onlyWhereReported: false)
    case .prometheus:
      guard let prometheus, let target = prometheus.target?.resolvedForNumber else { return nil }
      return .prometheus(.init(prometheus.asQuery), target: target)
    case .schedule:
      guard let schedule else { return nil }
      return .schedule(
        timeZone: schedule.timeZone.orIfEmpty("UTC"), start: schedule.start ?? "", end: schedule.end ?? "",
        replicas: schedule.replicas ?? 0)
    case nil: return nil
    }
  }
}

// As in the HPA, the field that is set decides, not `type`; validation warns where the two differ.
extension SwarmAutoscaler.MetricTarget {
  /// The target of CPU or memory.
  var resolvedForResource: ResolvedAutoscaler.Target? {
    if let averageValue { return .averageValue(averageValue) }
    if let averageUtilization { return .utilization(percent: averageUtilization) }
    guard let band else { return nil }
    return .utilizationBand(
      .init(lower: Int32(clamping: band.lower.value), upper: Int32(clamping: band.upper.value)))
  }

  /// The target of a number that is a mean per worker.
  var resolvedForPods: ResolvedAutoscaler.Target? {
    averageValue.map { .averageValue($0) } ?? band.map { .averageValueBand($0) }
  }

  /// The target of a single number.
  var resolvedForNumber: ResolvedAutoscaler.Target? {
    if type?.known == .value, let value { return .value(value) }
    if let target = resolvedForPods { return target }
    return value.map { .value($0) }
  }

  /// The band, when both ends are there.
  var band: ResolvedAutoscaler.Band? {
    guard let lower, let upper else { return nil }
    return .init(lower: lower, upper: upper)
  }
}

extension ResolvedAutoscaler.PercentBand {
  /// A band with the defaults of budgets, 85–95.
  init(_ band: SwarmAutoscaler.PercentBand) {
    self.init(lower: band.lower ?? 85, upper: band.upper ?? 95)
  }
}

extension ResolvedAutoscaler.MetricName {
  init(_ identifier: SwarmAutoscaler.MetricIdentifier) {
    self.init(name: identifier.name ?? "", selector: identifier.selector)
  }
}

extension SwarmAutoscaler.PrometheusMetric {
  /// The metric without its target.
  var asQuery: SwarmAutoscaler.PrometheusQuery {
    .init(serverAddress: serverAddress, query: query, absent: absent, authentication: authentication, tls: tls)
  }
}

extension ResolvedAutoscaler.Query {
  init(_ query: SwarmAutoscaler.PrometheusQuery) {
    serverAddress = query.serverAddress ?? ""
    self.query = query.query ?? ""
    absent = query.absent?.known ?? .hold
    tls = query.tls
    authentication = query.authentication.flatMap { authentication in
      let reference = authentication.secretRef ?? .init()
      return switch authentication.type?.known {
      case .bearer: .bearer(secret: reference.name ?? "", key: reference.tokenKey.orIfEmpty("token"))
      case .basic:
        .basic(
          secret: reference.name ?? "", usernameKey: reference.usernameKey.orIfEmpty("username"),
          passwordKey: reference.passwordKey.orIfEmpty("password"))
      case nil: nil
      }
    }
  }
}

extension SwarmAutoscaler.BacklogSource {
  func resolved() -> ResolvedAutoscaler.BacklogSource {
    if let prometheus { return .prometheus(.init(prometheus)) }
    if let object, let reference = object.describedObject, let metric = object.metric {
      return .object(reference, .init(metric))
    }
    if let metric = external?.metric { return .external(.init(metric)) }
    return .workers
  }
}

extension String? {
  /// The text, or `other` when it is absent or empty, which Kubernetes treats alike.
  func orIfEmpty(_ other: String) -> String {
    if let self, !self.isEmpty { self } else { other }
  }
}
