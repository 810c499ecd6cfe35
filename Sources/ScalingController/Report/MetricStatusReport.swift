import KubernetesCore
package import ScalingAPI
package import ScalingDecision

/// Renders proposals as `status.currentMetrics` and as the printer column `TARGETS`.
package enum MetricStatusReport {
  /// One entry for each metric, in the order of the spec.
  package static func statuses(
    of plan: Plan, _ resolved: ResolvedAutoscaler, _ collected: [CollectedMetric]
  ) -> [SwarmAutoscaler.MetricStatus] {
    zip(plan.proposals, resolved.metrics).enumerated().map { index, pair in
      let (proposal, metric) = pair
      var status = status(of: metric, current: value(of: proposal))
      if collected.indices.contains(index), case .schedule(let replicas, let until) = collected[index].reading {
        status.schedule = .init(active: replicas != nil, nextTransition: until)
      }
      status.proposal = proposal.replicas.map { Int32(clamping: $0) }
      if case .unknown = proposal.outcome { status.message = trouble(proposal, collected, index) }
      return status
    }
  }

  private static func status(
    of metric: ResolvedAutoscaler.Metric, current: SwarmAutoscaler.MetricValueStatus
  ) -> SwarmAutoscaler.MetricStatus {
    switch metric {
    case .resource(let name, nil, _):
      .init(type: .known(.resource), resource: .init(name: name, current: current))
    case .resource(let name, let container?, _):
      .init(
        type: .known(.containerResource),
        containerResource: .init(name: name, container: container, current: current))
    case .pods(let name, _):
      .init(type: .known(.pods), pods: .init(metric: .init(name: name.name, selector: name.selector), current: current))
    case .object(let object, let name, _):
      .init(
        type: .known(.object),
        object: .init(
          describedObject: object, metric: .init(name: name.name, selector: name.selector), current: current))
    case .external(let name, _):
      .init(
        type: .known(.external),
        external: .init(metric: .init(name: name.name, selector: name.selector), current: current))
    case .apiRate(let budget, _):
      .init(type: .known(.apiRate), apiRate: .init(budgetRef: .init(name: budget), current: current))
    case .backlog: .init(type: .known(.backlog), backlog: .init(current: current))
    case .prometheus: .init(type: .known(.prometheus), prometheus: .init(current: current))
    // Its hours come from the reading; the API server refuses a schedule that doesn't say whether it is active.
    case .schedule: .init(type: .known(.schedule))
    }
  }

  private static func value(of proposal: Proposal) -> SwarmAutoscaler.MetricValueStatus {
    switch proposal.observed {
    case .utilization(let usage, let requests):
      .init(averageUtilization: percent(usage, of: requests).map { Int32(clamping: $0) })
    case .perWorker(let total, let workers):
      .init(averageValue: Quantity(milliValue: workers > 0 ? total / Int64(workers) : total))
    case .value(let milli): .init(value: Quantity(milliValue: milli))
    case .budget(_, let load, let limit, _, _):
      .init(averageUtilization: percent(load, of: limit).map { Int32(clamping: $0) })
    case .replicas(let count): .init(value: Quantity(Int64(count)))
    case nil: .init()
    }
  }

  /// Whole percent, cut like the HPA's and the log line's; nil for a share of nothing.
  private static func percent(_ part: Int64, of whole: Int64) -> Int64? {
    guard whole > 0 else { return nil }
    return Int64(clamping: Int128(part) * 100 / Int128(whole))
  }

  /// `cpu: 62%/70-85%, memory: 40%/70-85%`.
  package static func summary(of plan: Plan) -> String {
    plan.proposals.compactMap { proposal in
      if case .silent = proposal.outcome { return nil }
      return "\(proposal.name): \(current(proposal))/\(target(proposal.target))"
    }.joined(separator: ", ")
  }

  private static func current(_ proposal: Proposal) -> String {
    let value = value(of: proposal)
    if let percent = value.averageUtilization { return "\(percent)%" }
    return (value.averageValue ?? value.value)?.description ?? "<unknown>"
  }

  private static func target(_ target: MetricTarget) -> String {
    func text(_ milli: Int64) -> String { Quantity(milliValue: milli).description }
    return switch target {
    case .utilization(let percent): "\(percent)%"
    case .utilizationBand(let lower, let upper): "\(lower)-\(upper)%"
    case .averageValue(let milli), .value(let milli): text(milli)
    case .averageValueBand(let lower, let upper), .valueBand(let lower, let upper): "\(text(lower))-\(text(upper))"
    case .replicas: "schedule"
    }
  }

  /// Why a metric is unknown: what the source said, else what the decision found.
  package static func trouble(_ proposal: Proposal, _ collected: [CollectedMetric], _ index: Int) -> String {
    if collected.indices.contains(index), let failure = collected[index].failure { return failure }
    guard case .unknown(let reason) = proposal.outcome else { return "unknown" }
    return switch reason {
    case .unavailable: "the source gave no usable value"
    case .negative: "the value is negative"
    case .stale: "the newest sample is too old; check the metrics pipeline"
    case .fromFuture: "the sample is from the future; check the clocks"
    case .unusableTarget: "the target can't be used with this metric"
    case .unfitReading: "the source gave another kind of value than this metric needs"
    case .noWorkers: "the selector matches no pod that counts"
    case .noUsableSamples: "no pod that counts has a sample yet"
    case .nothingToHold: "the source has no such series, and there is no earlier value to hold"
    case .missingRequest(let worker):
      "pod \(worker) has a container without a request for \(proposal.name); set resources.requests.\(proposal.name) on every container, or use an AverageValue target"
    }
  }
}
