/// A continuously refilled bucket (GCRA): a level and the time it was true at; no windows, so nothing resets at once.
///
/// Amounts are micro-units (a millionth of a token or a request), so that 1,000 charges of 0.4 are 400 exactly. What a
/// refill leaves over below one micro-unit is carried, so that no number of refills drifts. The level never rises above
/// the depth and never falls below minus one window (a minute's worth of the limit): a larger debt would only mean that
/// an estimate was wrong.
package struct TokenBucket: Hashable, Sendable {
  /// Micro-units in one unit.
  package static let unit: Int64 = 1_000_000

  /// Micro-units a minute that flow in.
  package private(set) var rate: Int64
  /// The largest level, in micro-units.
  package private(set) var depth: Int64
  /// The largest debt, in micro-units.
  package private(set) var window: Int64
  /// The level at `updated`.
  private var balance: Int64
  /// What has flowed in beyond `balance`, in sixty-billionths of a micro-unit.
  private var fraction: UInt64 = 0
  /// When `balance` was true.
  private var updated: BudgetTime

  /// Makes a bucket; without `level` it is full.
  package init(rate: Int64, depth: Int64, window: Int64, level: Int64? = nil, now: BudgetTime) {
    self.rate = max(rate, 0)
    self.depth = max(depth, 0)
    self.window = max(window, 0)
    balance = min(level ?? max(depth, 0), max(depth, 0))
    updated = now
  }

  /// The level at `now`, without changing anything.
  package func level(at now: BudgetTime) -> Int64 {
    refilled(to: now).balance
  }

  /// Lets in what has flowed since the last call. Time that runs backwards changes nothing.
  package mutating func refill(to now: BudgetTime) {
    guard now > updated else { return }
    (balance, fraction) = refilled(to: now)
    updated = now
  }

  private func refilled(to now: BudgetTime) -> (balance: Int64, fraction: UInt64) {
    let elapsed = now.nanoseconds(since: updated)
    guard elapsed > 0, rate > 0 else { return (balance, fraction) }
    guard balance < depth else { return (depth, 0) }
    var (high, low) = UInt64(rate).multipliedFullWidth(by: UInt64(elapsed))
    let (sum, carry) = low.addingReportingOverflow(fraction)
    low = sum
    if carry { high += 1 }
    let minute = UInt64(minuteNanoseconds)
    guard high < minute else { return (depth, 0) }
    let (quotient, remainder) = minute.dividingFullWidth((high, low))
    guard quotient < UInt64(depth.subtractingSaturated(balance)) else { return (depth, 0) }
    return (balance + Int64(quotient), remainder)
  }

  /// Takes `amount` at `now`, whatever the level; a negative amount gives back.
  package mutating func take(_ amount: Int64, now: BudgetTime) {
    refill(to: now)
    balance = balance.subtractingSaturated(amount).clamped(to: -window...max(depth, -window))
    if balance >= depth { fraction = 0 }
  }

  /// Lowers the level to at most `ceiling`; a higher level stays lost.
  package mutating func lower(to ceiling: Int64, now: BudgetTime) {
    refill(to: now)
    guard ceiling < balance else { return }
    balance = max(ceiling, -window)
    fraction = 0
  }

  /// Forgives debt: raises the level to at least `floor`, which is never above zero.
  package mutating func forgive(to floor: Int64, now: BudgetTime) {
    refill(to: now)
    balance = max(balance, min(floor, 0, depth))
  }

  /// When the level reaches `goal` if nothing is taken: `now` if it has; nil if it never does.
  package func instant(of goal: Int64, now: BudgetTime) -> BudgetTime? {
    let (level, fraction) = refilled(to: now)
    guard level < goal else { return now }
    guard goal <= depth, rate > 0 else { return nil }
    let missing = UInt128(goal.subtractingSaturated(level)) * UInt128(minuteNanoseconds) - UInt128(fraction)
    let wait = (missing + UInt128(rate) - 1) / UInt128(rate)
    return BudgetTime(nanoseconds: max(now, updated).nanoseconds.addingSaturated(Int64(clamping: wait)))
  }

  /// Changes the inflow from `now` on; the level stays.
  package mutating func setRate(_ newRate: Int64, now: BudgetTime) {
    guard newRate != rate else { return }
    refill(to: now)
    rate = max(newRate, 0)
  }

  /// Changes the depth from `now` on; the level stays, or falls to the new depth.
  package mutating func setDepth(_ newDepth: Int64, now: BudgetTime) {
    guard newDepth != depth else { return }
    refill(to: now)
    depth = max(newDepth, 0)
    balance = min(balance, depth)
    if balance >= depth { fraction = 0 }
  }

  /// Follows a changed limit: level, rate, depth and window grow or shrink by `numerator / denominator`.
  ///
  /// Scaled, not reset: whoever had used half of the old limit has used half of the new one. Rounding is down, so that
  /// no sequence of changes makes tokens.
  package mutating func scale(by numerator: Int64, over denominator: Int64, now: BudgetTime) {
    guard numerator != denominator, numerator >= 0, denominator > 0 else { return }
    refill(to: now)
    balance = balance.scaled(by: numerator, over: denominator)
    rate = rate.scaled(by: numerator, over: denominator)
    depth = depth.scaled(by: numerator, over: denominator)
    window = window.scaled(by: numerator, over: denominator)
    balance = balance.clamped(to: -window...max(depth, -window))
    fraction = 0
  }
}
