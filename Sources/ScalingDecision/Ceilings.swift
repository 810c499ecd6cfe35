/// Counts that a shared budget allows.
package enum Ceilings {
  /// What a budget allows.
  package struct Allowance: Hashable, Sendable {
    /// The count; nil: the budget doesn't bind.
    package var replicas: Int?
    /// The load that binds most; nil when none binds.
    package var observed: ObservedValue?
    /// Why growth is frozen at the present count, if it is.
    package var freeze: FreezeCause?
  }

  /// The count that `report` allows for a fleet of `current` workers, each offering the same part of the load.
  ///
  /// In band: no growth. Above it, and lasting: the largest count whose load is predicted at most at the upper edge.
  /// Below: as much growth as is predicted to stay at most at the upper edge, and claims at most
  /// `rampPercentPerMinute` percent of the limit more than the fleet of a minute ago (`minuteAgo` workers).
  package static func allowance(
    _ report: BudgetReport, lower: Int64, upper: Int64, current: Int, minuteAgo: Int, limits: DecisionLimits
  ) -> Allowance {
    var result = Allowance()
    for load in report.loads {
      let band = load.band ?? BudgetReport.Load.Band(lower: lower, upper: upper)
      let single = allowance(load, band, current, minuteAgo, limits.rampPercentPerMinute)
      guard let replicas = single.replicas else { continue }
      if result.replicas.map({ replicas < $0 }) ?? true { result = single }
    }
    let freeze: FreezeCause? =
      report.throttledPPM > limits.throttledFreezePPM
      ? .throttled : report.isRampLimited ? .ramp : report.isLearning ? .learning : nil
    if let freeze, result.replicas.map({ $0 >= current }) ?? true {
      result.replicas = current
      result.freeze = freeze
    }
    return result
  }

  private static func allowance(
    _ load: BudgetReport.Load, _ band: BudgetReport.Load.Band, _ current: Int, _ minuteAgo: Int, _ ramp: Int64
  ) -> Allowance {
    let lower = min(max(band.lower, 0), Int64(Int32.max))
    let upper = min(max(band.upper, 0), Int64(Int32.max))
    let limit = magnitude(load.limit)
    let offered = magnitude(max(load.offered, 0))
    let sustained = min(magnitude(load.sustained), offered)
    func observed(_ value: Int64) -> ObservedValue {
      .budget(dimension: load.dimension, load: max(value, 0), limit: max(load.limit, 0), lower: lower, upper: upper)
    }
    guard limit > 0 else { return Allowance(replicas: 0, observed: observed(load.offered)) }
    let workers = UInt128(current)
    let capacity = magnitude(upper).multipliedSaturated(by: limit)
    if sustained * 100 > capacity {
      let count = Fraction(workers * capacity, over: sustained * 100).roundedDown
      return Allowance(replicas: count, observed: observed(min(load.sustained, load.offered)))
    }
    if offered * 100 > capacity {
      return Allowance(replicas: current, observed: observed(load.offered), freeze: .burst)
    }
    if offered * 100 >= magnitude(lower) * limit, current > 0 {
      return Allowance(replicas: current, observed: observed(load.offered), freeze: .inBand)
    }
    guard offered > 0, current > 0 else { return Allowance() }
    let predicted = Fraction(workers * capacity, over: offered * 100).roundedDown
    let rampRoom = Fraction(magnitude(min(ramp, Int64(Int32.max))) * limit * workers, over: offered * 100).roundedDown
    let ramped = saneReplicas(minuteAgo.addingSaturated(rampRoom))
    return Allowance(replicas: max(current, min(predicted, ramped)), observed: observed(load.offered))
  }
}
