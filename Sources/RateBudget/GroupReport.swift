/// What a budget looks like now: for status, metrics and the ceilings of autoscalers. Amounts are whole units a minute.
package struct GroupReport: Hashable, Sendable {
  /// One dimension.
  package struct DimensionReport: Hashable, Sendable {
    /// Which.
    package var dimension: Dimension
    /// The limit.
    package var limit: Int64
    /// Where it is known from.
    package var source: LimitSource
    /// What may be granted of it now, in percent: the target, less what recent 429s have taken off it.
    package var targetPercent: Int64
    /// What was charged in the last minute.
    package var admitted: Int64
    /// What the waiting requests ask for.
    package var waiting: Int64
    /// What others use.
    package var foreign: Int64
    /// Whether the refill doesn't fit the limit: a workspace limit or a shorter window is in force.
    package var isMismatched: Bool

    /// Admitted and foreign use, in parts per million of the limit.
    package var utilizationPPM: Int64 { Self.ppm(admitted.addingSaturated(foreign), of: limit) }
    /// Admitted and waiting: the offered load.
    package var offered: Int64 { admitted.addingSaturated(waiting) }
    /// Offered load and foreign use, in parts per million of the limit; above a million requests wait.
    package var pressurePPM: Int64 { Self.ppm(offered.addingSaturated(foreign), of: limit) }

    private static func ppm(_ part: Int64, of whole: Int64) -> Int64 {
      part.scaled(by: million, over: max(whole, 1))
    }
  }

  /// One fleet's load on one dimension.
  package struct FleetLoad: Hashable, Sendable {
    /// Which dimension.
    package var dimension: Dimension
    /// What the fleet may use: its part by weight, or what the others leave, whichever is more.
    package var limit: Int64
    /// What it was granted in the last minute.
    package var admitted: Int64
    /// What its waiting requests ask for.
    package var waiting: Int64
    /// The part of the offered load that has lasted for half a minute.
    package var sustained: Int64
    /// The upper end of the band, in percent.
    package var targetPercent: Int64

    /// Admitted and waiting.
    package var offered: Int64 { admitted.addingSaturated(waiting) }
  }

  /// One fleet.
  package struct FleetReport: Hashable, Sendable {
    /// Its name.
    package var name: String
    /// Its weight.
    package var weight: Int64
    /// Its loads, in the order of the dimensions.
    package var loads: [FleetLoad]
  }

  /// The limited dimensions, in order.
  package var dimensions: [DimensionReport]
  /// The dimension nearest to its target.
  package var limiting: Dimension
  /// The fleets, by name.
  package var fleets: [FleetReport]
  /// 95 % of the grants waited less, in milliseconds; nil: no grants.
  package var queueWaitP95Milliseconds: Int64?
  /// How many requests wait.
  package var waiting: Int
  /// How many grants aren't settled.
  package var outstanding: Int
  /// Grants of the last minute.
  package var grants: Int64
  /// Rejections of the last minute by `RejectionKind.rawValue`.
  package var rejections: [Int64]
  /// 429s of the last minute (rate and ramp) in parts per million of all answers.
  package var throttledPPM: Int64
  /// Whether upstream has refused the speed of growth in the last minute.
  package var isRampLimited: Bool
  /// Whether the limits are still being learned.
  package var isLearning: Bool
  /// Spent in the last hour, in micro-dollars.
  package var spentLastHour: Int64
  /// Spent since midnight UTC, in micro-dollars.
  package var spentToday: Int64
  /// The ceilings of money.
  package var spendLimits: SpendLimits
  /// The clients that draw from the budget.
  package var clients: Int
  /// What everybody is refused with now, if anything.
  package var standing: Refusal?

  /// The fullest dimension's pressure, in parts per million.
  package var pressurePPM: Int64 { dimensions.map(\.pressurePPM).max() ?? 0 }
}

extension GroupBudget {
  static let samples = 6
  static let sampleSpacing: Duration = .seconds(5)

  /// Every five seconds: what each fleet offers.
  mutating func sample(now: BudgetTime) {
    if let lastSample {
      let gap = now - lastSample
      guard gap >= Self.sampleSpacing else { return }
      if gap > Self.sampleSpacing * 3 {
        for index in fleetBooks.indices { fleetBooks[index].offered = [] }
      }
    }
    lastSample = now
    for index in fleetBooks.indices where index < queue.fleets.count {
      if fleetBooks[index].offered.count >= Self.samples { fleetBooks[index].offered.removeFirst() }
      fleetBooks[index].offered.append(offered(by: index, now: now))
    }
  }

  private func offered(by fleet: Int, now: BudgetTime) -> PerDimension<Int64> {
    var sum = queue.fleets[fleet].demand
    for dimension in Dimension.allCases {
      sum[dimension] += fleetBooks[fleet].logs[dimension.rawValue].sum(now: now) / TokenBucket.unit
    }
    return sum
  }

  /// What the budget looks like at `now`.
  package mutating func report(now: BudgetTime) -> GroupReport {
    roll(to: now)
    let wall = wall(at: now)
    let demand = queue.fleets.reduce(PerDimension<Int64>.zero) { $0 + $1.demand }
    let dimensions = lanes.compactMap { lane -> GroupReport.DimensionReport? in
      guard let limit = lane.limit else { return nil }
      let percent = configuration.target(of: lane.dimension).scaled(by: target.factor(at: now), over: million) / 10_000
      return GroupReport.DimensionReport(
        dimension: lane.dimension, limit: limit / TokenBucket.unit, source: lane.source, targetPercent: percent,
        admitted: lane.log.sum(now: now) / TokenBucket.unit, waiting: demand[lane.dimension],
        foreign: lane.gauge.foreign(limit: limit) / TokenBucket.unit, isMismatched: lane.gauge.isMismatched)
    }
    let rejected = rejections.map { $0.sum(now: now) }
    let granted = grants.sum(now: now)
    let throttled = rejected[RejectionKind.rate.rawValue] + rejected[RejectionKind.ramp.rawValue]
    return GroupReport(
      dimensions: dimensions, limiting: binding, fleets: fleetReports(dimensions, now: now),
      queueWaitP95Milliseconds: waits.quantile(percent: 95, now: now), waiting: queue.count,
      outstanding: leases.count, grants: granted, rejections: rejected,
      throttledPPM: throttled.scaled(by: million, over: max(granted, throttled, 1)),
      isRampLimited: lanes.contains { $0.ramp.isRefused(at: now) }, isLearning: isLearning(at: now),
      spentLastHour: spend.spent(in: .hour, wall: wall), spentToday: spend.spent(in: .day, wall: wall),
      spendLimits: configuration.spend, clients: queue.clientCount, standing: standingRefusal(now: now))
  }

  private func fleetReports(_ dimensions: [GroupReport.DimensionReport], now: BudgetTime) -> [GroupReport.FleetReport] {
    let offers = queue.fleets.indices.map { offered(by: $0, now: now) }
    let active = queue.fleets.indices.filter { index in
      Dimension.allCases.contains { offers[index][$0] > 0 }
    }
    let weights = active.reduce(Int64(0)) { $0 + queue.fleets[$1].weight }
    let reports = queue.fleets.indices.map { index -> GroupReport.FleetReport in
      let fleet = queue.fleets[index]
      let own = active.contains(index) ? weights : weights + fleet.weight
      let loads = dimensions.map { report -> GroupReport.FleetLoad in
        let available = max(0, report.limit - report.foreign)
        let others = offers.indices.reduce(Int64(0)) {
          $1 == index ? $0 : $0.addingSaturated(offers[$1][report.dimension])
        }
        let samples = fleetBooks[index].offered.map { $0[report.dimension] }
        let waiting = fleet.demand[report.dimension]
        return GroupReport.FleetLoad(
          dimension: report.dimension,
          limit: max(available.scaled(by: fleet.weight, over: max(own, 1)), available - others),
          admitted: offers[index][report.dimension] - waiting, waiting: waiting,
          sustained: samples.count < Self.samples ? 0 : samples.min() ?? 0, targetPercent: report.targetPercent)
      }
      return GroupReport.FleetReport(name: fleet.name, weight: fleet.weight, loads: loads)
    }
    return reports.sorted { $0.name < $1.name }
  }
}
