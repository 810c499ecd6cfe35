import KubernetesCore

extension Decision {
  /// Turns each reading into a proposal, in the order of the spec.
  mutating func readMetrics(_ spec: DecisionSpec, _ input: DecisionInput) {
    alignMemories(spec)
    var row = 0
    proposals.reserveCapacity(spec.metrics.count)
    reasons.reserveCapacity(4)
    for index in spec.metrics.indices {
      let metric = spec.metrics[index]
      var proposal = Proposal(
        name: metric.name, source: metric.source, outcome: .unknown(.unfitReading), observed: nil,
        target: metric.target)
      // Numbers of workers stand in the input's table: their samples aren't touched, which may be far from any cache.
      if index < input.readings.count, case .workers = input.readings[index] {
        switch metric.source {
        case .resource, .containerResource, .pods: readWorkers(spec, input, metric, index, row: row, &proposal)
        default: break
        }
        row += 1
      } else {
        let reading = index < input.readings.count ? input.readings[index] : .unavailable(.notYetRead)
        read(spec, metric, index, reading, &proposal)
      }
      proposals.append(proposal)
      if metric.role == .demand {
        countFailure(spec, metric, index)
      } else if case .unknown = proposal.outcome {
        reasons.append(.unknown(metric: index))
      }
    }
  }

  /// Gives each metric of the spec its memory, whatever the order or the spec was before.
  private mutating func alignMemories(_ spec: DecisionSpec) {
    let metrics = spec.metrics
    let isAligned =
      state.metrics.count == metrics.count && metrics.indices.allSatisfy { state.metrics[$0].key == metrics[$0].key }
    guard !isAligned else { return }
    var rest = state.metrics
    state.metrics = metrics.map { metric in
      guard let index = rest.firstIndex(where: { $0.key == metric.key }) else { return MetricMemory(key: metric.key) }
      return rest.remove(at: index)
    }
  }

  /// Reads what isn't a number of each worker; the proposal stays unknown where the reading doesn't fit the metric.
  private mutating func read(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ reading: MetricReading, _ proposal: inout Proposal
  ) {
    switch (metric.source, reading) {
    case (_, .unavailable(let reason)):
      readUnavailable(spec, metric, index, reason, &proposal)
    case (.schedule, .schedule(let replicas, let until)):
      note(deadline: until?.milliseconds)
      proposal.outcome = replicas.map { .wants(saneReplicas($0)) } ?? .silent
      proposal.observed = replicas.map { .replicas($0) }
    case (.apiRate, .budget(let report)):
      readBudget(spec, metric, index, report, &proposal)
    case (.apiRate, _), (.schedule, _):
      break
    case (.backlog, .backlog(let report)):
      readBacklog(spec, metric, index, report, &proposal)
    case (.object, .value(let milli, let at)), (.external, .value(let milli, let at)),
      (.prometheus, .value(let milli, let at)), (.backlog, .value(let milli, let at)):
      readValue(spec, metric, index, milli, at, &proposal)
    case (.object, .series(let values, let at)), (.external, .series(let values, let at)),
      (.prometheus, .series(let values, let at)), (.backlog, .series(let values, let at)):
      readSeries(spec, metric, index, values, at, &proposal)
    default:
      break
    }
  }

  private mutating func readUnavailable(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ reason: UnavailableReason, _ proposal: inout Proposal
  ) {
    guard reason == .absent else {
      proposal.outcome = .unknown(.unavailable(reason))
      return
    }
    switch metric.absent {
    case .fail:
      proposal.outcome = .unknown(.unavailable(.absent))
    case .ignore:
      proposal.outcome = .silent
    case .zero:
      readValue(spec, metric, index, 0, nil, &proposal)
    case .hold:
      guard let last = state.metrics[index].lastMilli else {
        proposal.outcome = .unknown(.nothingToHold)
        return
      }
      readValue(spec, metric, index, last, nil, &proposal)
    }
  }

  private mutating func readSeries(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ values: [Int64], _ at: Timestamp?,
    _ proposal: inout Proposal
  ) {
    guard !values.isEmpty else { return readUnavailable(spec, metric, index, .absent, &proposal) }
    var sum: Int64 = 0
    for value in values {
      guard value >= 0 else {
        proposal.outcome = .unknown(.negative)
        return
      }
      sum = sum.addingSaturated(value)
    }
    readValue(spec, metric, index, sum, at, &proposal)
  }

  private mutating func readBacklog(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ report: BacklogReport, _ proposal: inout Proposal
  ) {
    guard report.queued >= 0, report.inFlight >= 0 else {
      proposal.outcome = .unknown(.negative)
      return
    }
    let work = report.queued.addingSaturated(report.inFlight)
    readValue(spec, metric, index, work.multipliedSaturated(by: 1000), report.at, &proposal)
    if case .unknown = proposal.outcome { return }
    let workers = Fraction(magnitude(report.inFlight), over: magnitude(max(report.slotsPerWorker, 1))).roundedUp
    backlogWorkers = max(backlogWorkers, workers)
  }

  private func ageProblem(_ spec: DecisionSpec, _ metric: MetricSpec, _ at: Timestamp?) -> UnknownReason? {
    guard let at else { return nil }
    let limit = (metric.freshness ?? spec.limits.freshness).milliseconds
    let age = now.subtractingSaturated(at.milliseconds)
    return age > limit ? .stale : age < 0 - limit ? .fromFuture : nil
  }

  private func tolerance(_ spec: DecisionSpec, _ metric: MetricSpec) -> ToleranceInterval {
    metric.isTolerant
      ? ToleranceInterval(up: spec.behavior.scaleUp.tolerance, down: spec.behavior.scaleDown.tolerance)
      : ToleranceInterval(up: .none, down: .none)
  }

  private mutating func readValue(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ milli: Int64, _ at: Timestamp?,
    _ proposal: inout Proposal
  ) {
    guard milli >= 0 else {
      proposal.outcome = .unknown(.negative)
      return
    }
    if let problem = ageProblem(spec, metric, at) {
      proposal.outcome = .unknown(problem)
      return
    }
    let context = SingleValueCalculator.Context(
      current: current, ready: census.ready, tolerance: tolerance(spec, metric))
    guard let count = SingleValueCalculator.count(magnitude(milli), metric.target, context) else {
      proposal.outcome = .unknown(.unusableTarget)
      return
    }
    proposal.observed = .value(milli: milli)
    propose(spec, count, index, milli, at: at?.milliseconds ?? now, &proposal)
  }

  private mutating func readWorkers(
    _ spec: DecisionSpec, _ input: DecisionInput, _ metric: MetricSpec, _ index: Int, row: Int,
    _ proposal: inout Proposal
  ) {
    var question = UtilizationCalculator.Question(
      needsRequests: false, freshness: max((metric.freshness ?? spec.limits.freshness).nanoseconds, 0))
    switch metric.source {
    case .resource(let resource): question.resource = resource
    case .containerResource(let resource, let container):
      question.resource = resource
      question.container = container
    default: break
    }
    var isShare = false
    switch metric.target {
    case .utilization, .utilizationBand: isShare = question.resource != nil
    default: break
    }
    question.needsRequests = isShare
    let groups = UtilizationCalculator(now: input.now, limits: spec.limits).groups(input, row: row, question)
    if let problem = problem(groups, isShare) {
      let isIgnored = metric.absent == .ignore && groups.withoutRequest != nil
      proposal.outcome = isIgnored ? .silent : .unknown(problem)
      return
    }
    proposal.observed =
      isShare
      ? .utilization(usageMilli: Int64(clamping: groups.usage), requestsMilli: Int64(clamping: groups.requests))
      : .perWorker(totalMilli: Int64(clamping: groups.usage), workers: groups.ready)
    guard let count = count(spec, groups, metric, isShare) else {
      proposal.outcome = .unknown(.unusableTarget)
      return
    }
    propose(spec, count, index, Int64(clamping: groups.usage), at: groups.newestAt, &proposal)
  }

  private func problem(_ groups: UtilizationCalculator.Groups, _ isShare: Bool) -> UnknownReason? {
    if let worker = groups.withoutRequest { return .missingRequest(worker: worker) }
    if groups.ready + groups.missing + groups.unready == 0 { return .noWorkers }
    if groups.ready == 0 { return groups.sawNegative ? .negative : groups.sawStale ? .stale : .noUsableSamples }
    return isShare && groups.requests == 0 ? .noUsableSamples : nil
  }

  private func count(
    _ spec: DecisionSpec, _ groups: UtilizationCalculator.Groups, _ metric: MetricSpec, _ isShare: Bool
  ) -> Int? {
    switch metric.target {
    case .utilization(let percent) where isShare && percent > 0:
      return UtilizationCalculator.count(
        groups, target: magnitude(min(percent, Int64(Int32.max))), isShare: true, current: current,
        tolerance: tolerance(spec, metric))
    case .averageValue(let milli) where milli > 0:
      return UtilizationCalculator.count(
        groups, target: magnitude(milli), isShare: false, current: current, tolerance: tolerance(spec, metric))
    case .utilizationBand(let lower, let upper) where isShare && lower >= 0 && upper > 0 && lower <= upper:
      let cap = Int64(Int32.max)
      return UtilizationCalculator.count(
        groups, lower: magnitude(min(lower, cap)), upper: magnitude(min(upper, cap)), isShare: true,
        current: current)
    case .averageValueBand(let lower, let upper) where lower >= 0 && upper > 0 && lower <= upper:
      return UtilizationCalculator.count(
        groups, lower: magnitude(lower), upper: magnitude(upper), isShare: false, current: current)
    default:
      return nil
    }
  }

  private mutating func readBudget(
    _ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int, _ report: BudgetReport, _ proposal: inout Proposal
  ) {
    if let problem = ageProblem(spec, metric, report.at) {
      proposal.outcome = .unknown(problem)
      return
    }
    guard case .utilizationBand(let lower, let upper) = metric.target, lower >= 0, upper > 0, lower <= upper else {
      proposal.outcome = .unknown(.unusableTarget)
      return
    }
    let cutoff = now.subtractingSaturated(60_000)
    let minuteAgo = saneReplicas(current.subtractingSaturated(state.events.change(since: cutoff)))
    let allowance = Ceilings.allowance(
      report, lower: lower, upper: upper, current: current, minuteAgo: minuteAgo, limits: spec.limits)
    proposal.observed = allowance.observed
    proposal.outcome = allowance.replicas.map { .allows($0) } ?? .unbounded
    if let freeze = allowance.freeze, freeze != .inBand {
      reasons.append(.growthFrozen(metric: index, cause: freeze))
    }
  }

  /// Takes `count` for the metric's proposal, unless the number collapsed and nothing has confirmed it yet: what the number from
  /// before the fall asked for stands until then. That may be less than there is, and then isn't taken for new demand: a queue that
  /// goes to and fro between two tasks and none would otherwise hold its fleet for ever.
  private mutating func propose(
    _ spec: DecisionSpec, _ count: Int, _ index: Int, _ milli: Int64, at: Milliseconds, _ proposal: inout Proposal
  ) {
    guard let last = state.metrics[index].lastMilli, milli < last.subtractingSaturated(milli) else {
      believe(milli, count, index)
      if state.metrics[index].collapses != 0 { forgetCollapse(index) }
      proposal.outcome = .wants(count)
      return
    }
    // No sample comes from beyond this moment: one that was remembered is from before the clock stepped back.
    let horizon = now.addingSaturated((spec.metrics[index].freshness ?? spec.limits.freshness).milliseconds)
    if state.metrics[index].collapseAt.map({ at > $0 || $0 > horizon }) ?? true {
      state.metrics[index].collapses = min(max(state.metrics[index].collapses, 0), 1_000_000) + 1
      state.metrics[index].collapseAt = at
    }
    let needed = max(spec.limits.collapseConfirmations, 0).addingSaturated(1)
    let missing = needed - state.metrics[index].collapses
    if missing > 0 {
      let held = max(count, min(current, state.metrics[index].lastWanted ?? current))
      proposal.outcome = .wants(held)
      if count < held {
        reasons.append(.collapseUnconfirmed(metric: index, lastMilli: last, nowMilli: milli, missing: missing))
      }
      return
    }
    believe(milli, count, index)
    forgetCollapse(index)
    proposal.outcome = .wants(count)
  }

  private mutating func believe(_ milli: Int64, _ count: Int, _ index: Int) {
    if state.metrics[index].lastMilli != milli { state.metrics[index].lastMilli = milli }
    if state.metrics[index].lastWanted != count { state.metrics[index].lastWanted = count }
  }

  private mutating func forgetCollapse(_ index: Int) {
    state.metrics[index].collapses = 0
    state.metrics[index].collapseAt = nil
  }

  /// Counts failures of a demand, and lets the fallback stand in after enough of them.
  private mutating func countFailure(_ spec: DecisionSpec, _ metric: MetricSpec, _ index: Int) {
    guard case .unknown = proposals[index].outcome else {
      if state.metrics[index].failures != 0 { state.metrics[index].failures = 0 }
      return
    }
    let failures = min(state.metrics[index].failures.addingSaturated(1), 1_000_000)
    state.metrics[index].failures = failures
    reasons.append(.unknown(metric: index))
    guard let fallback = spec.fallback, failures >= fallback.failureThreshold else { return }
    let replicas = saneReplicas(fallback.replicas)
    let count =
      switch fallback.behavior {
      case .static: replicas
      case .currentReplicas: current
      case .currentReplicasIfHigher: max(current, replicas)
      case .currentReplicasIfLower: min(current, replicas)
      }
    proposals[index].outcome = .wants(count)
    reasons.append(.fallback(metric: index, failures: failures, replicas: count))
  }
}
