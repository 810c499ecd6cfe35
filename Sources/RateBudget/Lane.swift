/// One dimension of a budget: its limit, its bucket and what is known of upstream. Amounts are micro-units.
struct Lane: Sendable {
  /// What it counts.
  let dimension: Dimension
  /// The limit a minute; nil: nothing limits this dimension.
  private(set) var limit: Int64?
  /// Where the limit is known from.
  private(set) var source = LimitSource.assumed
  /// What may be granted now.
  private(set) var bucket: TokenBucket
  /// What is left upstream by its latest headers: fed with the whole limit, charged with what was granted since. It is
  /// kept apart from the bucket, because it knows of requests that were larger than their estimates before they are
  /// settled: taken out of the bucket they would be charged twice.
  private var upstream: TokenBucket?
  /// The time of those headers.
  private var measured: BudgetTime?
  /// What was charged, when it was known.
  private(set) var log = ChargeLog()
  /// What was charged, at the time of the grants that it belongs to: what upstream has seen.
  private(set) var attributed = ChargeLog()
  /// What upstream reports.
  var gauge = UpstreamGauge()
  /// How fast use may grow.
  var ramp = RampLimiter()
  /// What was charged in the last 60 s, in micro-units; brought up to date once a second.
  var used: Int64 = 0

  /// Makes a lane with a full bucket, or an empty one.
  init(_ dimension: Dimension, limit: Int64?, source: LimitSource, burst: Duration, isFull: Bool, now: BudgetTime) {
    self.dimension = dimension
    self.limit = limit
    self.source = source
    let depth = (limit ?? 0).scaled(by: burst.wholeNanoseconds, over: minuteNanoseconds)
    bucket = TokenBucket(
      rate: limit ?? 0, depth: depth, window: limit ?? 0, level: isFull ? depth : 0, now: now)
  }

  /// Takes an amount that belongs to a grant out of the bucket and notes it; a negative one goes back.
  mutating func charge(_ amount: Int64, granted: BudgetTime, now: BudgetTime) {
    guard amount != 0 else { return }
    log.add(amount, at: now)
    attributed.add(amount, from: granted, now: now)
    guard limit != nil else { return }
    bucket.take(amount, now: now)
    if let measured, granted > measured { upstream?.take(amount, now: now) }
  }

  /// What is left: the smaller of what may be granted and of what there is upstream.
  func level(at now: BudgetTime) -> Int64 {
    min(bucket.level(at: now), upstream?.level(at: now) ?? .max)
  }

  /// When the level reaches `goal` (at most the depth) if nothing is taken; nil if it never does.
  func instant(of goal: Int64, now: BudgetTime) -> BudgetTime? {
    guard let own = bucket.instant(of: goal, now: now) else { return nil }
    guard let upstream else { return own }
    // A bucket upstream that is less deep than the goal is full.
    return max(own, upstream.instant(of: min(goal, upstream.depth), now: now) ?? own)
  }

  /// Notes an amount without taking it: use in the past.
  mutating func note(_ amount: Int64, now: BudgetTime) {
    log.add(amount, at: now)
    attributed.add(amount, from: now, now: now)
  }

  /// Follows a limit. The same value changes nothing; another one scales the balance.
  mutating func follow(limit newLimit: Int64?, source newSource: LimitSource, burst: Duration, now: BudgetTime) {
    defer { source = newSource }
    guard newLimit != limit else { return }
    if let old = limit, let new = newLimit, old > 0 {
      bucket.scale(by: new, over: old, now: now)
    } else {
      let new = newLimit ?? 0
      bucket = TokenBucket(
        rate: new, depth: new.scaled(by: burst.wholeNanoseconds, over: minuteNanoseconds), window: new, level: 0,
        now: now)
    }
    limit = newLimit
    gauge.reset()
    upstream = nil
    measured = nil
  }

  /// Sets inflow and depth.
  mutating func steer(rate: Int64, depth: Int64, now: BudgetTime) {
    bucket.setRate(rate, now: now)
    bucket.setDepth(depth, now: now)
  }

  /// Takes in what remained upstream at `time`: the level is never above that, less what was granted since.
  mutating func observe(_ reading: RateHeaders.Reading, untilFull: Duration?, at time: BudgetTime, now: BudgetTime) {
    guard let limit, limit > 0, let remaining = reading.remaining else { return }
    let level = Swift.min(Swift.max(remaining, 0), 1_000_000_000_000) * TokenBucket.unit
    let rounding = dimension.headerRounding * TokenBucket.unit
    gauge.observe(
      remaining: level, untilFull: untilFull, limit: limit, rounding: rounding, at: time, now: now, log: attributed)
    let since = attributed.total.subtractingSaturated(attributed.total(at: time))
    let inflow = limit.scaled(by: now.nanoseconds(since: time), over: minuteNanoseconds)
    upstream = TokenBucket(
      rate: limit, depth: gauge.depth ?? limit, window: limit,
      level: level.addingSaturated(rounding).addingSaturated(inflow).subtractingSaturated(since), now: now)
    measured = time
  }

  /// Forgives the debt beyond what flows in within `time`.
  mutating func forgiveDebt(beyond time: Duration, now: BudgetTime) {
    bucket.forgive(to: -bucket.rate.scaled(by: time.wholeNanoseconds, over: minuteNanoseconds), now: now)
  }

  /// Takes everything: upstream has said that nothing is left.
  mutating func drain(now: BudgetTime) {
    bucket.lower(to: 0, now: now)
  }
}
