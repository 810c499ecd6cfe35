/// Counts from one number: of another object, of a queue, of a query.
enum SingleValueCalculator {
  /// What the number is compared with, and from where.
  struct Context {
    /// The present count.
    var current: Int
    /// Workers that run and are ready; nil when no workers are known at all.
    var ready: Int?
    /// The tolerance.
    var tolerance: ToleranceInterval
  }

  /// The count for `value` thousandths; nil when the target is unusable.
  static func count(_ value: UInt128, _ target: MetricTarget, _ context: Context) -> Int? {
    switch target {
    case .averageValue(let milli):
      guard milli > 0 else { return nil }
      return averageCount(value, magnitude(milli), context)
    case .value(let milli):
      guard milli > 0 else { return nil }
      return valueCount(value, magnitude(milli), context)
    case .averageValueBand(let lower, let upper):
      guard lower >= 0, upper > 0, lower <= upper else { return nil }
      return averageBandCount(value, magnitude(lower), magnitude(upper), context)
    case .valueBand(let lower, let upper):
      guard lower >= 0, upper > 0, lower <= upper else { return nil }
      return valueBandCount(value, magnitude(lower), magnitude(upper), context)
    case .utilization, .utilizationBand, .replicas:
      return nil
    }
  }

  private static func averageCount(_ value: UInt128, _ target: UInt128, _ context: Context) -> Int {
    let count = Fraction(value, over: target).roundedUp
    guard context.current > 0 else { return count }
    let capacity = target.multipliedSaturated(by: UInt128(context.current))
    return context.tolerance.compare(value, to: capacity) == .hold ? context.current : count
  }

  private static func valueCount(_ value: UInt128, _ target: UInt128, _ context: Context) -> Int {
    let current = context.current
    guard current > 0 else { return Fraction(value, over: target).roundedUp }
    let ready = context.ready ?? current
    switch context.tolerance.compare(value, to: target) {
    case .hold: return current
    case .up:
      // The number was made by the ready workers; those that are starting already answer it in part.
      return max(current, Fraction(value, over: target).scaled(by: UInt128(ready)).roundedUp)
    case .down:
      // A moment in which few workers are ready must not look like little load.
      return min(current, Fraction(value, over: target).scaled(by: UInt128(max(ready, current))).roundedUp)
    }
  }

  private static func averageBandCount(
    _ value: UInt128, _ lower: UInt128, _ upper: UInt128, _ context: Context
  ) -> Int {
    let workers = UInt128(context.current)
    let isInside =
      context.current > 0 && value >= lower.multipliedSaturated(by: workers)
      && value <= upper.multipliedSaturated(by: workers)
    return isInside ? context.current : BandRule.count(load: Fraction(value), lower: lower, upper: upper)
  }

  private static func valueBandCount(
    _ value: UInt128, _ lower: UInt128, _ upper: UInt128, _ context: Context
  ) -> Int {
    let current = context.current
    let ready = context.ready ?? current
    if current == 0 { return BandRule.count(load: Fraction(value), lower: lower, upper: upper) }
    if value > upper {
      let load = Fraction(value.multipliedSaturated(by: UInt128(ready)))
      return max(current, BandRule.count(load: load, lower: lower, upper: upper))
    }
    if value < lower {
      let load = Fraction(value.multipliedSaturated(by: UInt128(max(ready, current))))
      return min(current, BandRule.count(load: load, lower: lower, upper: upper))
    }
    return current
  }
}
