import KubernetesCore

extension SwarmAutoscaler.MetricSpec {
  /// The names of the members that are filled in, in alphabetical order.
  var presentSources: [String] {
    var names: [String] = []
    if apiRate != nil { names.append("apiRate") }
    if backlog != nil { names.append("backlog") }
    if containerResource != nil { names.append("containerResource") }
    if external != nil { names.append("external") }
    if object != nil { names.append("object") }
    if pods != nil { names.append("pods") }
    if prometheus != nil { names.append("prometheus") }
    if resource != nil { names.append("resource") }
    if schedule != nil { names.append("schedule") }
    return names
  }

  /// The target, for the sources that have a `MetricTarget`.
  var target: SwarmAutoscaler.MetricTarget? {
    resource?.target ?? containerResource?.target ?? pods?.target ?? object?.target ?? external?.target
      ?? prometheus?.target ?? backlog?.target
  }

  /// Whether `behavior.tolerance` has no effect on the metric.
  var isIndependentOfTolerance: Bool {
    switch type?.known {
    case .apiRate, .schedule, .backlog: true
    default: target?.band != nil
    }
  }

  /// Whether the number can be read while no worker runs.
  var isReadableAtZero: Bool {
    object != nil || external != nil || prometheus != nil || schedule != nil || backlog?.source != nil
  }
}

extension SwarmAutoscaler.MetricSourceType {
  /// The member that holds the source's fields: the name in lower camel case.
  var member: String { self == .apiRate ? "apiRate" : rawValue.prefix(1).lowercased() + rawValue.dropFirst() }
}

extension Validator {
  mutating func checkMetrics(_ spec: SwarmAutoscaler.Spec) {
    let metrics = spec.metrics ?? []
    for (index, metric) in metrics.enumerated() {
      checkMetric(metric, spec, at: "spec.metrics[\(index)]")
      if let first = metrics[..<index].firstIndex(of: metric) {
        advise(
          "spec.metrics[\(index)]", "it is the same as spec.metrics[\(first)] and changes nothing", fix: "remove it")
      }
    }
    if metrics.count > 64 {
      report(
        .invalid, "spec.metrics", value: "\(metrics.count) metrics", "at most 64 metrics are allowed",
        fix: "remove some, or join several in one Prometheus query")
    }
    if spec.minReplicas == 0, !metrics.contains(where: \.isReadableAtZero) {
      report(
        .forbidden, "spec.metrics",
        "with minReplicas 0 at least one metric must be readable without workers "
          + "(Object, External, Prometheus, Schedule, or Backlog with a source), or nothing would wake the fleet",
        fix: "write minReplicas: 1, or add such a metric")
    }
    if !metrics.isEmpty, metrics.allSatisfy({ $0.type?.known == .apiRate }) {
      advise(
        "spec.metrics", "there are only ceilings, so nothing ever asks for another count",
        fix: "add a metric that measures demand, such as Backlog or Resource")
    }
  }

  private mutating func checkMetric(
    _ metric: SwarmAutoscaler.MetricSpec, _ spec: SwarmAutoscaler.Spec, at path: String
  ) {
    guard let type = check(metric.type, at: "\(path).type", required: true) else { return }
    let present = metric.presentSources
    if !present.contains(type.member) {
      report(
        .required, "\(path).\(type.member)", "type \(type.rawValue) needs this member",
        fix: "write \(type.member): with the metric's fields below it")
    }
    for other in present where other != type.member {
      report(
        .forbidden, "\(path).\(other)", "a metric has one source, and this one's type is \(type.rawValue)",
        fix: "remove it, or make it a metric of its own")
    }
    checkSource(metric, type, spec, at: "\(path).\(type.member)")
  }

  private mutating func checkSource(
    _ metric: SwarmAutoscaler.MetricSpec, _ type: SwarmAutoscaler.MetricSourceType, _ spec: SwarmAutoscaler.Spec,
    at path: String
  ) {
    let target = "\(path).target"
    switch type {
    case .resource:
      guard let source = metric.resource else { return }
      checkResourceName(source.name, at: "\(path).name")
      checkResourceTarget(source.target, spec, at: target)
    case .containerResource:
      guard let source = metric.containerResource else { return }
      checkResourceName(source.name, at: "\(path).name")
      checkName(source.container, at: "\(path).container", "the name of the container", example: "worker")
      checkResourceTarget(source.target, spec, at: target)
    case .pods:
      guard let source = metric.pods else { return }
      checkIdentifier(source.metric, at: "\(path).metric")
      checkPodsTarget(source.target, at: target)
    case .object:
      guard let source = metric.object else { return }
      checkReference(source.describedObject, at: "\(path).describedObject")
      checkIdentifier(source.metric, at: "\(path).metric")
      checkNumberTarget(source.target, mayHaveBoth: true, at: target)
    case .external:
      guard let source = metric.external else { return }
      checkIdentifier(source.metric, at: "\(path).metric")
      checkNumberTarget(source.target, mayHaveBoth: false, at: target)
    case .prometheus:
      guard let source = metric.prometheus else { return }
      checkQuery(source.asQuery, at: path)
      checkNumberTarget(source.target, mayHaveBoth: false, at: target)
    case .backlog:
      if let source = metric.backlog { checkBacklog(source, at: path) }
    case .apiRate:
      if let source = metric.apiRate { checkAPIRate(source, at: path) }
    case .schedule:
      if let source = metric.schedule { checkSchedule(source, spec, at: path) }
    }
  }

  private mutating func checkResourceName(_ name: String?, at path: String) {
    guard let name, !name.isEmpty else {
      report(.required, path, "the name of the resource is missing", fix: "write cpu or memory")
      return
    }
    // The HPA takes any name, and then never gets a number: nodes report these two only.
    if name != "cpu", name != "memory" {
      report(
        .notSupported, path, value: name, "metrics.k8s.io serves cpu and memory only, so it could never be read",
        fix: "write cpu or memory, or use type Pods or Prometheus for a number of the workers' own")
    }
  }

  mutating func checkIdentifier(_ identifier: SwarmAutoscaler.MetricIdentifier?, at path: String) {
    checkName(identifier?.name, at: "\(path).name", "the name of the metric", example: "queue_depth")
  }

  mutating func checkReference(_ reference: SwarmAutoscaler.ObjectReference?, at path: String) {
    checkName(reference?.kind, at: "\(path).kind", "the kind of the object", example: "Ingress")
    checkName(reference?.name, at: "\(path).name", "the name of the object", example: "main-route")
  }

  private mutating func checkAPIRate(_ source: SwarmAutoscaler.APIRateMetric, at path: String) {
    checkName(source.budgetRef?.name, at: "\(path).budgetRef.name", "the name of the APIBudget", example: "claude")
    if let band = source.target { checkPercentBand(band, at: "\(path).target") }
  }

  /// A band of a budget, in percent of its limit.
  mutating func checkPercentBand(_ band: SwarmAutoscaler.PercentBand, at path: String) {
    check(band.lower, in: 1...99, at: "\(path).lower", unit: "percent")
    check(band.upper, in: 2...100, at: "\(path).upper", unit: "percent")
    let lower = band.lower ?? 85
    let upper = band.upper ?? 95
    guard (1...99).contains(lower), (2...100).contains(upper), lower >= upper else { return }
    let end = band.upper == nil ? "the default upper end" : "upper"
    report(
      .invalid, "\(path).lower", value: "\(lower)", "it must be below \(end), which is \(upper)",
      fix: "write lower: \(max(1, upper - 10))")
  }

  private mutating func checkBacklog(_ source: SwarmAutoscaler.BacklogMetric, at path: String) {
    if let numeric = source.source {
      let present = [numeric.external != nil, numeric.object != nil, numeric.prometheus != nil]
      if present.count(where: { $0 }) != 1 {
        report(
          present.contains(true) ? .forbidden : .required, "\(path).source",
          "exactly one of external, object and prometheus is needed",
          fix: "keep one, or remove source to count what the workers report")
      }
      if let external = numeric.external {
        checkIdentifier(external.metric, at: "\(path).source.external.metric")
      }
      if let object = numeric.object {
        checkReference(object.describedObject, at: "\(path).source.object.describedObject")
        checkIdentifier(object.metric, at: "\(path).source.object.metric")
      }
      if let prometheus = numeric.prometheus { checkQuery(prometheus, at: "\(path).source.prometheus") }
    }
    guard let target = source.target else {
      report(.required, "\(path).target", "the target is missing", fix: "write target: {averageValue: \"4\"}")
      return
    }
    checkPodsTarget(target, typeRequired: false, at: "\(path).target")
  }

  private mutating func checkSchedule(
    _ schedule: SwarmAutoscaler.ScheduleMetric, _ spec: SwarmAutoscaler.Spec, at path: String
  ) {
    checkCron(schedule.start, at: "\(path).start", example: "\"0 8 * * 1-5\"")
    checkCron(schedule.end, at: "\(path).end", example: "\"0 18 * * 1-5\"")
    if let start = schedule.start, start == schedule.end, !start.isEmpty {
      report(
        .duplicate, "\(path).end", value: start, "it is the same as start, so the schedule would never hold",
        fix: "write when the count ends to hold")
    }
    if let zone = schedule.timeZone, !zone.isEmpty, !Self.isPlausibleTimeZone(zone) {
      report(
        .invalid, "\(path).timeZone", value: zone, "a time zone is an IANA name",
        fix: "write a name such as Europe/Berlin, America/New_York or UTC")
    }
    require(schedule.replicas, at: "\(path).replicas", "the count", fix: "write replicas: 20")
    check(schedule.replicas, in: 0...(.max), at: "\(path).replicas")
    adviseBounds(schedule.replicas, spec, at: "\(path).replicas")
  }

  private mutating func checkCron(_ text: String?, at path: String, example: String) {
    guard let text, !text.isEmpty else {
      report(.required, path, "a cron expression is missing", fix: "write it in quotes, such as \(example)")
      return
    }
    do throws(CronError) {
      _ = try CronSchedule(text)
    } catch {
      report(.invalid, path, value: text, error.problem, fix: "write it in quotes, such as \(example)")
    }
  }

  /// Whether a text looks like an IANA name; whether the zone exists is known only where the zones are installed.
  static func isPlausibleTimeZone(_ text: String) -> Bool {
    if text == "Local" || text.utf8.count > 64 { return false }
    return text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
      guard let first = part.utf8.first, isLetter(first) else { return false }
      return part.utf8.allSatisfy { isLetter($0) || (48...57).contains($0) || "_+-".utf8.contains($0) }
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte) || (97...122).contains(byte) }
}
