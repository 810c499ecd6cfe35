import KubernetesCore

/// Counts from a number of each worker: CPU, memory, and numbers of the workers' own.
///
/// The HPA's algorithm in exact arithmetic, with its faults mended (see docs/decision.md): workers are sorted into
/// ready, missing, unready and ignored; where some are missing, or unready while the rest is over its target, fillers
/// stand in for them, each on the side that causes no change.
package struct UtilizationCalculator {
  /// Workers sorted by what their numbers are worth.
  struct Groups {
    /// Workers whose number counts.
    var ready = 0
    /// The sum of their numbers.
    var usage: UInt128 = 0
    /// The sum of their requests; zero where no requests are needed.
    var requests: UInt128 = 0
    /// Workers without a usable number.
    var missing = 0
    /// The sum of their requests.
    var missingRequests: UInt128 = 0
    /// Workers that are only starting.
    var unready = 0
    /// The sum of their requests.
    var unreadyRequests: UInt128 = 0
    /// When the newest number that counts was measured.
    var newestAt: Milliseconds = .min
    /// A number was passed over since it is too old.
    var sawStale = false
    /// A number was passed over since it is negative.
    var sawNegative = false
    /// A worker that counts and has no request.
    var withoutRequest: String?
  }

  /// Which numbers are read, and how.
  struct Question {
    /// The resource, for readiness rules and requests; nil for numbers of the workers' own.
    var resource: ComputeResource?
    /// The container, where only one counts.
    var container: String?
    /// Whether the target is a percentage of requests.
    var needsRequests: Bool
    /// The age at which a number no longer counts, in nanoseconds.
    var freshness: Int64
  }

  /// The observation's moment.
  let now: Timestamp
  /// The controller's constants.
  let limits: DecisionLimits

  /// Sorts the workers of `input` by the samples of its per-worker reading number `row`.
  func groups(_ input: DecisionInput, row: Int, _ question: Question) -> Groups {
    var groups = Groups()
    var newest = Int64.min
    let workers = input.table.workers
    let samples = input.table.samples
    let offset = row * workers.count
    let youngSince = Timestamp(
      nanosecondsSinceEpoch: now.nanosecondsSinceEpoch.subtractingSaturated(
        max(limits.cpuInitializationPeriod.nanoseconds, -.max)))
    for index in workers.indices where workers[index].isAlive {
      let worker = workers[index]
      var request: UInt128 = 0
      if let resource = question.resource, question.needsRequests {
        let value = self.request(input, index, of: resource, container: question.container)
        guard value >= 0 else {
          groups.withoutRequest = groups.withoutRequest ?? input.workers[index].name
          continue
        }
        request = magnitude(value)
      }
      if worker.isPending {
        groups.unready += 1
        groups.unreadyRequests += request
        continue
      }
      let sample = samples[offset + index]
      guard sample.isPresent, isUsable(sample, question.freshness, &groups) else {
        groups.missing += 1
        groups.missingRequests += request
        continue
      }
      if question.resource == .cpu, isStarting(worker, sample, youngSince: youngSince) {
        groups.unready += 1
        groups.unreadyRequests += request
        continue
      }
      groups.ready += 1
      groups.usage += magnitude(sample.milli)
      groups.requests += request
      newest = max(newest, sample.at.nanosecondsSinceEpoch)
    }
    groups.newestAt = Timestamp(nanosecondsSinceEpoch: newest).milliseconds
    return groups
  }

  /// What the worker at `index` requests; negative: nothing.
  private func request(
    _ input: DecisionInput, _ index: Int, of resource: ComputeResource, container: String?
  ) -> Int64 {
    if let container { return input.workers[index].requests.request(of: resource, container: container) ?? -1 }
    return resource == .cpu ? input.table.workers[index].cpu : input.table.workers[index].memory
  }

  private func isUsable(_ sample: WorkerTable.Sample, _ freshness: Int64, _ groups: inout Groups) -> Bool {
    if sample.milli < 0 {
      groups.sawNegative = true
      return false
    }
    let age = now.nanosecondsSinceEpoch.subtractingSaturated(sample.at.nanosecondsSinceEpoch)
    if age > freshness || age < 0 - freshness {
      groups.sawStale = true
      return false
    }
    return true
  }

  /// Whether the CPU that a worker burns still belongs to its start (the HPA's rule).
  private func isStarting(
    _ worker: WorkerTable.Worker, _ sample: WorkerTable.Sample, youngSince: Timestamp
  ) -> Bool {
    guard worker.hasReadiness, worker.hasStarted else { return true }
    if worker.startedAt > youngSince {
      let settled = worker.readySince.nanosecondsSinceEpoch.addingSaturated(sample.window)
      return worker.isUnready || sample.at.nanosecondsSinceEpoch < settled
    }
    return worker.isUnready && worker.readySince < worker.startedAt + limits.initialReadinessDelay
  }

  /// The load of the workers that count, with fillers, as `mean · workers`.
  struct Load {
    /// The mean's numerator.
    var sum: UInt128
    /// The mean's denominator.
    var weight: UInt128
    /// How many workers it is the mean of.
    var workers: Int

    /// The load of all workers together.
    var total: Fraction {
      Fraction(sum.multipliedSaturated(by: UInt128(workers)), over: weight)
    }
  }

  /// The load with fillers against growth: missing and starting workers count as idle.
  static func lowLoad(_ groups: Groups, isShare: Bool) -> Load {
    if isShare {
      return Load(
        sum: groups.usage.multipliedSaturated(by: 100),
        weight: groups.requests + groups.missingRequests + groups.unreadyRequests,
        workers: groups.ready + groups.missing + groups.unready)
    }
    let workers = groups.ready + groups.missing + groups.unready
    return Load(sum: groups.usage, weight: UInt128(workers), workers: workers)
  }

  /// The load with fillers against a shrink: missing workers count as fully used, starting ones not at all.
  static func highLoad(_ groups: Groups, isShare: Bool, full: UInt128) -> Load {
    let workers = groups.ready + groups.missing
    if isShare {
      let filler = max(full, 100).multipliedSaturated(by: groups.missingRequests)
      return Load(
        sum: groups.usage.multipliedSaturated(by: 100).addingSaturated(filler),
        weight: groups.requests + groups.missingRequests, workers: workers)
    }
    return Load(
      sum: groups.usage.addingSaturated(full.multipliedSaturated(by: UInt128(groups.missing))),
      weight: UInt128(workers), workers: workers)
  }

  /// The count for a single target (`utilization` or `averageValue`), as the HPA would have it.
  static func count(
    _ groups: Groups, target: UInt128, isShare: Bool, current: Int, tolerance: ToleranceInterval
  ) -> Int {
    let measured = Load(
      sum: isShare ? groups.usage.multipliedSaturated(by: 100) : groups.usage,
      weight: isShare ? groups.requests : UInt128(groups.ready), workers: groups.ready)
    let scaledTarget = measured.weight.multipliedSaturated(by: target)
    guard measured.sum != scaledTarget else { return current }
    let isOver = measured.sum > scaledTarget
    var load = measured
    if isOver, groups.missing + groups.unready > 0 {
      load = lowLoad(groups, isShare: isShare)
    } else if !isOver, groups.missing > 0 {
      load = highLoad(groups, isShare: isShare, full: target)
    }
    switch (tolerance.compare(load.sum, to: load.weight.multipliedSaturated(by: target)), isOver) {
    case (.up, true): return max(current, load.total.scaled(by: 1, over: target).roundedUp)
    case (.down, false): return min(current, load.total.scaled(by: 1, over: target).roundedUp)
    default: return current
    }
  }

  /// The count for a band. Starting capacity is capacity: it speaks against growth, and not for a shrink.
  static func count(_ groups: Groups, lower: UInt128, upper: UInt128, isShare: Bool, current: Int) -> Int {
    let high = highLoad(groups, isShare: isShare, full: upper)
    if isLess(high, lower, spreadOver: min(max(high.workers, 1), current)) {
      return min(current, BandRule.count(load: high.total, lower: lower, upper: upper))
    }
    let low = lowLoad(groups, isShare: isShare)
    let spread = UInt128(max(low.workers, current))
    // The load spread over all workers that are there or asked for is above the band.
    if Fraction(upper).isLess(than: low.total.scaled(by: 1, over: spread)) {
      return max(current, BandRule.count(load: low.total, lower: lower, upper: upper))
    }
    return current
  }

  private static func isLess(_ load: Load, _ edge: UInt128, spreadOver workers: Int) -> Bool {
    load.total.scaled(by: 1, over: UInt128(max(workers, 1))).isLess(than: Fraction(edge))
  }
}
