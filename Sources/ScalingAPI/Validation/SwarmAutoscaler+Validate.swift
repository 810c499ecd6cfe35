import KubernetesCore

extension SwarmAutoscaler {
  /// Everything that is wrong with this autoscaler or deserves a thought; without errors it can be resolved.
  ///
  /// For the fields of `autoscaling/v2` the rules are those of its own validation in Kubernetes 1.36, with the
  /// differences listed in docs/reference-swarmautoscaler.md.
  package func validate() -> [FieldIssue] {
    var validator = Validator()
    validator.add(decodingIssues)
    validator.checkTarget(spec.scaleTargetRef, at: "spec.scaleTargetRef")
    validator.checkBounds(spec)
    validator.checkMetrics(spec)
    validator.checkRules(spec.behavior?.scaleUp, at: "spec.behavior.scaleUp")
    validator.checkRules(spec.behavior?.scaleDown, at: "spec.behavior.scaleDown")
    validator.checkBehaviorAdvice(spec)
    validator.checkDrain(spec.drain)
    validator.checkFallback(spec)
    if let embed = spec.embed { _ = validator.check(embed.mode, at: "spec.embed.mode") }
    validator.check(spec.syncPeriodSeconds, in: 3...3600, at: "spec.syncPeriodSeconds", unit: "seconds")
    validator.add(ResolvedAutoscaler.Pause.reading(metadata.annotations).issues)
    return validator.issues.withoutEchoes(of: decodingIssues)
  }
}

extension Validator {
  mutating func checkTarget(_ reference: SwarmAutoscaler.ScaleTargetReference?, at path: String) {
    guard let reference else {
      report(
        .required, path, "what to scale is missing",
        fix: "write {apiVersion: apps/v1, kind: Deployment, name: the Deployment's name}")
      return
    }
    checkName(reference.kind, at: "\(path).kind", "the kind of the target", example: "Deployment")
    checkName(reference.name, at: "\(path).name", "the name of the target", example: "reviewers")
    let version = reference.apiVersion ?? ""
    let parts = version.split(separator: "/", omittingEmptySubsequences: false)
    if parts.count > 2 || (!version.isEmpty && parts.contains("")) {
      report(
        .invalid, "\(path).apiVersion", value: version, "it must be group/version, or v1 for the core group",
        fix: "write apps/v1 for a Deployment or StatefulSet")
    } else if parts.count < 2, let kind = reference.kind, !kind.isEmpty, kind != "ReplicationController" {
      report(
        .invalid, "\(path).apiVersion", value: version,
        "the core group has nothing to scale but ReplicationControllers, so a \(kind) needs its API group",
        fix: "write the group and version, such as apps/v1")
    }
  }

  mutating func checkBounds(_ spec: SwarmAutoscaler.Spec) {
    check(spec.minReplicas, in: 0...(.max), at: "spec.minReplicas")
    check(spec.maxReplicas, in: 1...(.max), at: "spec.maxReplicas")
    if let min = spec.minReplicas, let max = spec.maxReplicas, max < min {
      report(
        .invalid, "spec.maxReplicas", value: "\(max)", "it must be at least minReplicas, which is \(min)",
        fix: "write maxReplicas: \(min) or more, or minReplicas: \(max) or less")
    }
  }

  mutating func checkRules(_ rules: SwarmAutoscaler.Rules?, at path: String) {
    guard let rules else { return }
    check(
      rules.stabilizationWindowSeconds, in: 0...3600, at: "\(path).stabilizationWindowSeconds", unit: "seconds")
    _ = check(rules.selectPolicy, at: "\(path).selectPolicy")
    if let tolerance = rules.tolerance, tolerance < .zero {
      report(
        .invalid, "\(path).tolerance", value: "\(tolerance)", "it must be at least 0",
        fix: "write a ratio such as \"0.1\" for 10 %")
    }
    guard let policies = rules.policies else { return }
    if policies.isEmpty {
      report(
        .required, "\(path).policies", "an empty list has no policy to follow",
        fix: "remove the field for the defaults, or write selectPolicy: Disabled to freeze this direction")
    }
    for (index, policy) in policies.enumerated() {
      let path = "\(path).policies[\(index)]"
      _ = check(policy.type, at: "\(path).type", required: true)
      require(policy.value, at: "\(path).value", "the most change within the period", fix: "write value: 4")
      check(policy.value, in: 1...(.max), at: "\(path).value")
      require(
        policy.periodSeconds, at: "\(path).periodSeconds", "the length of the period", fix: "write periodSeconds: 60")
      check(policy.periodSeconds, in: 1...1800, at: "\(path).periodSeconds", unit: "seconds")
    }
  }

  mutating func checkBehaviorAdvice(_ spec: SwarmAutoscaler.Spec) {
    guard let behavior = spec.behavior else { return }
    if behavior.scaleUp?.selectPolicy?.known == .disabled, behavior.scaleDown?.selectPolicy?.known == .disabled {
      advise(
        "spec.behavior", "both directions are Disabled, so the count never changes inside its bounds",
        fix: "leave selectPolicy out on one side, or use the annotation \(ScalingGroup.Annotation.paused)")
    }
    let isBandOnly = (spec.metrics ?? []).allSatisfy(\.isIndependentOfTolerance)
    for (name, rules) in [("scaleUp", behavior.scaleUp), ("scaleDown", behavior.scaleDown)] {
      guard let tolerance = rules?.tolerance, isBandOnly else { continue }
      advise(
        "spec.behavior.\(name).tolerance", value: "\(tolerance)",
        "a tolerance has no effect, since every metric here has a band instead",
        fix: "widen the bands, or remove the tolerance")
    }
  }

  mutating func checkDrain(_ drain: SwarmAutoscaler.Drain?) {
    guard let drain else { return }
    _ = check(drain.strategy, at: "spec.drain.strategy")
    guard let timeout = drain.timeout else { return }
    if (try? Duration(goText: timeout)) == nil {
      report(
        .invalid, "spec.drain.timeout", value: timeout,
        "a duration is numbers with the units h, m, s or ms, at most 24000h",
        fix: "write it like 30m, 1h30m or 45s; 0s lets workers take as long as they need")
    } else if drain.strategy?.known == .immediate {
      advise(
        "spec.drain.timeout", value: timeout, "it has no effect with the strategy Immediate",
        fix: "remove it, or write strategy: IdleFirst")
    }
  }

  mutating func checkFallback(_ spec: SwarmAutoscaler.Spec) {
    guard let fallback = spec.fallback else { return }
    check(fallback.failureThreshold, in: 1...1000, at: "spec.fallback.failureThreshold", unit: "failures")
    require(fallback.replicas, at: "spec.fallback.replicas", "the fallback's count", fix: "write replicas: 10")
    check(fallback.replicas, in: 0...(.max), at: "spec.fallback.replicas")
    _ = check(fallback.behavior, at: "spec.fallback.behavior")
    adviseBounds(fallback.replicas, spec, at: "spec.fallback.replicas")
  }

  /// A warning for a count that the bounds will change.
  mutating func adviseBounds(_ replicas: Int32?, _ spec: SwarmAutoscaler.Spec, at path: String) {
    let bounds = spec.effectiveBounds
    guard let replicas, replicas >= 0 else { return }
    if replicas > bounds.max {
      advise(
        path, value: "\(replicas)", "it is above maxReplicas, so it counts as \(bounds.max)",
        fix: "write \(bounds.max) or less, or raise maxReplicas")
    } else if replicas < bounds.min {
      advise(
        path, value: "\(replicas)", "it is below minReplicas, so it counts as \(bounds.min)",
        fix: "write \(bounds.min) or more, or lower minReplicas")
    }
  }
}
