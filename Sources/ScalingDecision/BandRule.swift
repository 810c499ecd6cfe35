/// Counts for a load that is spread evenly over the workers: the load is conserved when their number changes.
package enum BandRule {
  /// The count at which `load` per worker is inside `lower...upper` and nearest its middle.
  ///
  /// Where no count is inside, the smallest one that stays at or below `upper`. Of two counts equally near the middle
  /// the larger one is taken. `load` and the edges are in the same unit; `upper` must be above zero.
  static func count(load: Fraction, lower: UInt128, upper: UInt128) -> Int {
    let least = load.scaled(by: 1, over: upper).roundedUp
    guard lower > 0 else { return least }
    let most = load.scaled(by: 1, over: lower).roundedDown
    guard least < most else { return least }
    let sum = lower.addingSaturated(upper)
    let below = min(max(load.scaled(by: 2, over: sum).roundedDown, least), most)
    let above = min(below + 1, most)
    guard above > below else { return below }
    guard below > 0 else { return above }
    // With load L and middle M: L/below − M < M − L/above, that is L·(below + above) < 2M·below·above.
    let product = sum.multipliedSaturated(by: UInt128(below)).multipliedSaturated(by: UInt128(above))
    let isBelowNearer = productIsLess(
      load.numerator, UInt128(below + above), than: product, load.denominator)
    return isBelowNearer ? below : above
  }

  /// The count for a load of `numerator / denominator` in a band, all in the same unit; nil for an unusable band.
  package static func count(load numerator: Int64, over denominator: Int64 = 1, lower: Int64, upper: Int64) -> Int? {
    guard numerator >= 0, denominator > 0, lower >= 0, upper > 0, lower <= upper else { return nil }
    return count(
      load: Fraction(magnitude(numerator), over: magnitude(denominator)), lower: magnitude(lower),
      upper: magnitude(upper))
  }
}

/// Whether a ratio is near enough to 1, exactly.
struct ToleranceInterval {
  private static let one: UInt128 = 1_000_000_000
  /// The ends of the inclusive interval in billionths.
  let lower: UInt128
  let upper: UInt128

  init(up: Tolerance, down: Tolerance) {
    let down = magnitude(down.billionths)
    lower = down >= Self.one ? 0 : Self.one - down
    upper = Self.one + magnitude(up.billionths)
  }

  /// The place of `number / target` relative to the interval.
  func compare(_ number: UInt128, to target: UInt128) -> Direction {
    if productIsLess(number, Self.one, than: target, lower) { return .down }
    if productIsLess(target, upper, than: number, Self.one) { return .up }
    return .hold
  }
}

/// Which way a number asks to go.
enum Direction {
  case up
  case down
  case hold
}
