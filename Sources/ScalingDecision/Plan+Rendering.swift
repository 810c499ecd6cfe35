import KubernetesCore

// Words for people. Nothing here runs while deciding: reasons are data, and texts are made of them on demand.

extension Plan {
  /// The decision in one line, such as `scaled reviewers 20→24: backlog wants 27 (108/4), cpu wants 22 (91 % of
  /// 70–85), API allows 24 (output tokens 83 % of 95), limited by API budget`.
  package func logLine(name: String) -> String {
    let head: String
    if let write {
      head = "scaled \(name) \(currentReplicas)→\(write)"
    } else if let intendedWrite {
      head = "would scale \(name) \(currentReplicas)→\(intendedWrite)"
    } else if desiredReplicas != currentReplicas {
      head = "moving \(name) \(currentReplicas)→\(desiredReplicas)"
    } else {
      head = "holding \(name) at \(currentReplicas)"
    }
    let details = explanation
    return details.isEmpty ? head : "\(head): \(details)"
  }

  /// Why, without the counts: proposals, what happened, and what limits.
  package var explanation: String {
    var parts: [String] = []
    for index in proposals.indices where proposals[index].outcome != .silent { parts.append(words(for: index)) }
    for reason in reasons { if let text = words(for: reason) { parts.append(text) } }
    if let limit = limitWords { parts.append("limited by \(limit)") }
    return parts.joined(separator: ", ")
  }

  /// What the event of a change says after `New size: N; reason: `.
  package var eventMessage: String { explanation }

  /// What holds the count away from what demand asks for, in a few words; nil: nothing does.
  package var limitWords: String? {
    switch bindingStep {
    case .demand, .bounds, .disabled: nil
    case .pause: "an annotation"
    case .unknownMetric: "an unknown metric"
    case .ceiling: "\(bindingCeiling.map { name(of: $0) } ?? "API") budget"
    case .marginalGain: "work that doesn't grow with the fleet"
    case .capacity: "missing capacity"
    case .workInFlight: "work in flight"
    case .minimum: "minReplicas"
    case .maximum: "maxReplicas"
    case .stabilization: "the stabilization window"
    case .settling: "samples from before the last change"
    case .ratePolicy: "a rate policy"
    case .drain: "workers that must drain"
    case .contest: "another writer"
    }
  }

  /// The metric of the ceiling that binds.
  var bindingCeiling: Int? {
    for case .ceiling(let metric, _) in reasons.reversed() { return metric }
    return nil
  }

  func name(of metric: Int) -> String {
    proposals.indices.contains(metric) ? proposals[metric].name : "metric \(metric)"
  }

  /// One proposal, such as `cpu wants 22 (91 % of 70–85)`.
  package func words(for metric: Int) -> String {
    guard proposals.indices.contains(metric) else { return "" }
    let proposal = proposals[metric]
    let value = proposal.observed.map { observed in
      let target = proposal.target.words(for: observed)
      return " (\(observed.words)\(target.isEmpty ? "" : observed.separator + target))"
    }
    switch proposal.outcome {
    case .wants(let count): return "\(proposal.name) wants \(count)\(value ?? "")"
    case .allows(let count): return "\(proposal.name) allows \(count)\(value ?? "")"
    case .unbounded: return "\(proposal.name) doesn't bind"
    case .silent: return "\(proposal.name) asks for nothing"
    case .unknown(let reason): return "\(proposal.name) is unknown (\(reason.words))"
    }
  }

  /// One reason in words; nil where a proposal's words or the limit's already say it.
  package func words(for reason: Reason) -> String? {
    switch reason {
    case .demand, .ceiling, .unknown, .atMinimum, .atMaximum: nil
    case .olderRival(let name): "the older autoscaler \(name) scales the same target"
    case .scaledToZeroByHand: "scaling is switched off since the count was set to zero by hand"
    case .paused: "paused by annotation"
    case .pausedAt(let replicas): "paused at \(replicas) by annotation"
    case .growthPaused(let wanted): "growth to \(wanted) is paused by annotation"
    case .shrinkPaused(let wanted): "a shrink to \(wanted) is paused by annotation"
    case .belowMinimum(let minimum): "below the minimum of \(minimum)"
    case .aboveMaximum(let maximum): "above the maximum of \(maximum)"
    case .noMetrics: "no metric asks for anything"
    case .fallback(let metric, let failures, let replicas):
      "fallback to \(replicas) since \(name(of: metric)) failed \(failures) times in a row"
    case .collapseUnconfirmed(let metric, let last, let now, let missing):
      "\(name(of: metric)) fell from \(milliText(last)) to \(milliText(now)), which \(missing) more "
        + (missing == 1 ? "sample must confirm" : "samples must confirm")
    case .waitingForAPI(let workers): "rate limited: \(workers) workers wait for the API"
    case .growthFrozen(let metric, let cause): "\(name(of: metric)) freezes growth (\(cause.words))"
    case .noGain(let replicas, let until):
      "more than \(replicas) workers brought no more work done, next try at \(until.rfc3339)"
    case .missingCapacity(let unplaced): "missing capacity: the cluster has no room for \(unplaced) workers"
    case .workInFlight(let workers): "work in flight needs \(workers)"
    case .stabilized(let proposed, let held, let until):
      "\(proposed) must stand for the window, \(held) held\(until.map { " until \($0.rfc3339)" } ?? "")"
    case .unsettled(let proposed, let held, let until):
      "\(proposed) must be confirmed by samples from after the last change, \(held) held until then, at most until "
        + until.rfc3339
    case .rateLimited(let proposed, let limit, let until):
      "a policy limits \(proposed) to \(limit)\(until.map { " until \($0.rfc3339)" } ?? "")"
    case .draining, .shieldedByNotReady, .drainTimedOut, .rolloutInProgress, .deletionCostIgnored, .workExposed:
      drainWords(for: reason)
    case .foreignChange(let from, let to): "another writer\(writerName) changed \(from) to \(to)"
    case .contested(let changes, let until):
      "\(changes) changes by another writer\(writerName)\(until.map { ", next write at \($0.rfc3339)" } ?? "")"
    case .dryRun: "dry run"
    }
  }

  private func drainWords(for reason: Reason) -> String? {
    switch reason {
    case .draining(let busy, let pending):
      "\(busy) busy workers drain" + (pending > 0 ? ", \(pending) idle ones have yet to confirm" : "")
    case .shieldedByNotReady(let worker):
      "\(worker) is busy and not ready, and Kubernetes would remove it before any ready worker"
    case .drainTimedOut(let worker): "\(worker) ran out of time to drain"
    case .rolloutInProgress(.advances): "a rollout is under way, and removes whom it likes: waiting for its end"
    case .rolloutInProgress(.stands):
      "a rollout has made no pod for \(VictimSelection.rolloutDeadline.components.seconds / 60) minutes: old and new workers go in "
        + "proportion, as soon as enough of both have drained; finish it or take it back to be free of that"
    case .deletionCostIgnored(let workers):
      "\(workers) drained but still ready: this Kubernetes (before 1.22) removes unready pods first and can't tell ready ones "
        + "apart; give the sidecar's container a readiness probe on /readyz"
    case .workExposed(.noReports): "no worker reports its work: those that use least CPU go first"
    case .workExposed(.orderUnknown):
      "whom this kind of target removes isn't known: drained workers may stay, and busy ones go"
    default: nil
    }
  }

  private var writerName: String { state.contest.manager.map { " (\($0))" } ?? "" }
}

extension FreezeCause {
  /// The cause in a few words.
  var words: String {
    switch self {
    case .throttled: "calls are answered 429"
    case .ramp: "the provider refuses the speed of growth"
    case .learning: "the limits are being learned"
    case .burst: "a burst above the budget"
    case .inBand: "in band"
    }
  }
}

extension UnknownReason {
  /// The reason in a few words.
  package var words: String {
    switch self {
    case .unavailable(.sourceFailed): "its source failed"
    case .unavailable(.absent): "its source has no such series"
    case .unavailable(.notANumber): "its source gave no number"
    case .unavailable(.misconfigured): "it is misconfigured"
    case .unavailable(.notYetRead): "it hasn't been read"
    case .negative: "a negative number"
    case .stale: "the number is too old"
    case .fromFuture: "the number is from the future"
    case .unusableTarget: "its target can't be used"
    case .unfitReading: "its source gave another kind of number"
    case .noWorkers: "there are no workers"
    case .noUsableSamples: "no worker has a usable number"
    case .missingRequest(let worker): "\(worker) has no request for it"
    case .nothingToHold: "an empty reply, and no earlier value"
    }
  }
}

extension BudgetDimension {
  /// The dimension in words.
  package var words: String {
    switch self {
    case .requests: "requests"
    case .inputTokens: "input tokens"
    case .outputTokens: "output tokens"
    case .hourlySpend: "hourly spend"
    case .dailySpend: "daily spend"
    }
  }
}

extension ObservedValue {
  /// The number in words.
  package var words: String {
    switch self {
    case .utilization(let usage, let requests): "\(percentText(usage, of: requests)) %"
    case .perWorker(let total, let workers): milliText(workers > 0 ? total / Int64(workers) : total)
    case .value(let milli): milliText(milli)
    case .budget(let dimension, let load, let limit, _, _): "\(dimension.words) \(percentText(load, of: limit)) %"
    case .replicas(let count): "\(count)"
    }
  }

  /// What stands between the number and its target.
  fileprivate var separator: String {
    if case .value = self { return "/" }
    return " of "
  }
}

extension MetricTarget {
  /// The target in words, as it is compared with `observed`.
  package func words(for observed: ObservedValue) -> String {
    if case .budget(_, let load, let limit, let lower, let upper) = observed {
      // Below its band a ceiling's distance to the upper edge is what counts.
      let isBelow = UInt128(load.magnitude) * 100 < UInt128(limit.magnitude) * UInt128(lower.magnitude)
      return isBelow ? "\(upper)" : "\(lower)–\(upper)"
    }
    switch self {
    case .utilization(let percent): return "\(percent)"
    case .averageValue(let milli), .value(let milli): return milliText(milli)
    case .utilizationBand(let lower, let upper): return "\(lower)–\(upper)"
    case .averageValueBand(let lower, let upper), .valueBand(let lower, let upper):
      return "\(milliText(lower))–\(milliText(upper))"
    case .replicas: return ""
    }
  }
}

/// `milli` thousandths without needless zeros: 1500 is `1.5`.
package func milliText(_ milli: Int64) -> String {
  let whole = milli.magnitude / 1000
  let rest = milli.magnitude % 1000
  let sign = milli < 0 ? "-" : ""
  guard rest != 0 else { return "\(sign)\(whole)" }
  var digits = String(rest + 1000).dropFirst()
  while digits.hasSuffix("0") { digits = digits.dropLast() }
  return "\(sign)\(whole).\(digits)"
}

/// The percentage rounded down to whole percent, with one decimal where that is all there is.
func percentText(_ part: Int64, of whole: Int64) -> String {
  guard whole > 0, part >= 0 else { return part > 0 ? "∞" : "0" }
  let tenths = Int128(part) * 1000 / Int128(whole)
  return tenths >= 100 || tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
}
