/// The outer safety loop: an unexpected 429 lowers the target or shortens the burst, time raises both again.
///
/// Which of the two is decided by `GroupBudget`; the constants of the target are those of AIMD on the target in
/// docs/rate-budget.md, those of the burst are chosen so that an eighth is reached by three episodes and left within an
/// hour.
struct TargetControl: Sendable {
  /// What one 429 leaves of the target, in parts per million.
  static let decrease: Int64 = 900_000
  /// The lowest target, in parts per million of the configured one.
  static let lowest: Int64 = 700_000
  /// What comes back a minute, in parts per million of the configured target.
  static let recovery: Int64 = 5_000
  /// 429s within this time of the first are of the same episode: they were in flight together.
  static let episode: Duration = .seconds(10)

  /// The least depth, in parts per million of the configured one.
  static let shortest: Int64 = 125_000
  /// What comes back of the depth a minute, in parts per million.
  static let burstRecovery: Int64 = 20_000

  private var burst = million
  private var burstSince = BudgetTime.zero
  private var lastShortening: BudgetTime?
  private var value = million
  private var since = BudgetTime.zero
  private var lastDecrease: BudgetTime?
  /// The target before the last decrease, for the case that it was a mistake.
  private var before: (value: Int64, since: BudgetTime)?

  /// The factor on the target at `now`, in parts per million.
  func factor(at now: BudgetTime) -> Int64 {
    let back = now.nanoseconds(since: since).scaled(by: Self.recovery, over: minuteNanoseconds)
    return min(million, value.addingSaturated(back))
  }

  /// The factor on the depth of the buckets at `now`, in parts per million.
  func burstFactor(at now: BudgetTime) -> Int64 {
    let back = now.nanoseconds(since: burstSince).scaled(by: Self.burstRecovery, over: minuteNanoseconds)
    return min(million, burst.addingSaturated(back))
  }

  /// Notes a 429 that came in a burst: the rate is right, but upstream's bucket is less deep than ours; whether the
  /// depth went down.
  mutating func shorten(now: BudgetTime) -> Bool {
    if let lastShortening, now - lastShortening < Self.episode { return false }
    burst = max(Self.shortest, burstFactor(at: now) / 2)
    burstSince = now
    lastShortening = now
    return true
  }

  /// Notes an unexpected 429; whether the target went down.
  mutating func penalise(now: BudgetTime) -> Bool {
    if let lastDecrease, now - lastDecrease < Self.episode { return false }
    before = (value, since)
    value = max(Self.lowest, factor(at: now).scaled(by: Self.decrease, over: million))
    since = now
    lastDecrease = now
    return true
  }

  /// Takes the last decrease back: what is known by now says that the rate was right.
  mutating func acquit() {
    guard let before else { return }
    (value, since) = before
    self.before = nil
  }
}

/// How fast the granted token rate may grow.
package struct RampPolicy: Hashable, Sendable {
  /// Percent a minute above the largest rate of the last ten minutes.
  package var slopePercentPerMinute: Int64
  /// Percent of the limit that is always allowed, after any idle time.
  package var basePercent: Int64

  /// Makes a policy; the thresholds upstream are unpublished, these are the design's.
  package init(slopePercentPerMinute: Int64 = 50, basePercent: Int64 = 50) {
    self.slopePercentPerMinute = slopePercentPerMinute.clamped(to: 1...1_000)
    self.basePercent = basePercent.clamped(to: 1...1_000)
  }
}

/// Holds the rate of one dimension to its ramp.
struct RampLimiter: Sendable {
  private static let steepest: Int64 = 16
  private static let patience: Duration = .seconds(600)
  /// The largest 60-second sums, one for each of the last ten minutes, in micro-units.
  private var peaks = [Int64](repeating: 0, count: 10)
  private var minute: Int64 = 0
  private var start: Int64 = 0
  private var divisor: Int64 = 1
  private var lastRefusal: BudgetTime?
  private var adopted: Int64 = 0
  /// The minute in which it was adopted, once `roll` has seen it: it counts as that minute's peak.
  private var adoptedMinute: Int64?
  /// The allowed rate, in micro-units a minute.
  private(set) var ceiling: Int64 = 0

  /// Whether upstream has refused the growth in the last `window`.
  func isRefused(at now: BudgetTime, within window: Duration = .seconds(60)) -> Bool {
    lastRefusal.map { now - $0 < window } ?? false
  }

  /// Brings the ceiling up to date: once a second.
  mutating func roll(used: Int64, limit: Int64, policy: RampPolicy, now: BudgetTime) {
    let index = now.nanoseconds / minuteNanoseconds
    if index != minute {
      for step in max(minute + 1, index - 9)...max(index, minute + 1) { peaks[Int(step % 10)] = 0 }
      minute = index
      start = ceiling
      if let lastRefusal, now - lastRefusal > Self.patience, divisor > 1 {
        divisor /= 2
        self.lastRefusal = now
      }
    }
    peaks[Int(index % 10)] = max(peaks[Int(index % 10)], used)
    if adopted > 0, adoptedMinute == nil { adoptedMinute = index }
    var peak = peaks.max() ?? 0
    if let adoptedMinute, index - adoptedMinute < 10 { peak = max(peak, min(adopted, limit)) }
    let slope = policy.slopePercentPerMinute * 10_000 / divisor
    let base = limit.scaled(by: policy.basePercent, over: 100)
    let part = (now.nanoseconds % minuteNanoseconds).scaled(by: slope, over: minuteNanoseconds)
    let grown = start.scaled(by: million + part, over: million)
    let reach = peak.scaled(by: million + slope, over: million).addingSaturated(base)
    ceiling = max(min(grown, reach), max(base, peak))
    start = max(start, min(base, ceiling))
  }

  /// Notes that a client that was at work before this process's time was held to `rate`: what all of them had together
  /// was reached, so that growth goes on from there. The limit bounds it when it is used, not now: a new process
  /// learns the limit from headers, after its clients have come back.
  mutating func adopt(_ rate: Int64) {
    adopted = adopted.addingSaturated(max(rate, 0))
    adoptedMinute = nil
  }

  /// Halves the slope: upstream has refused the growth. A grace of ten minutes without refusals doubles it again.
  mutating func refuse(now: BudgetTime) {
    lastRefusal = now
    divisor = min(divisor * 2, Self.steepest)
    start = min(start, peaks.max() ?? start)
  }
}

/// Learns how the clock of responses stands to the monotonic clock.
///
/// Each response says: its date was at most now. The least difference seen is the truth up to the least latency, so the
/// clocks themselves are never compared. Two windows of ten minutes take turns, so that drift is followed; a clock that
/// was set back shows as twenty late responses in a row.
struct ClockOffset: Sendable {
  private static let window: Duration = .seconds(600)
  private static let lateness: Int64 = 5 * secondNanoseconds
  private var current: Int64?
  private var previous: Int64?
  private var windowStart = BudgetTime.zero
  private var lateInARow = 0

  private var offset: Int64? {
    switch (current, previous) {
    case (let current?, let previous?): min(current, previous)
    case (let current, let previous): current ?? previous
    }
  }

  /// Takes in a response that arrived at `now` with `date`; returns when it was written: between its date and the end
  /// of that second, and not after `now`.
  mutating func observe(_ date: WallTime, now: BudgetTime) -> BudgetTime {
    let sent = Int64(clamping: Int128(date.milliseconds) * 1_000_000)
    let sample = now.nanoseconds.subtractingSaturated(sent)
    if now - windowStart > Self.window {
      previous = current
      current = nil
      windowStart = now
    }
    if let offset, sample > offset.addingSaturated(Self.lateness) {
      lateInARow += 1
      if lateInARow >= 20 {
        previous = nil
        current = sample
        lateInARow = 0
      }
    } else {
      lateInARow = 0
      current = min(current ?? sample, sample)
    }
    let known = offset ?? sample
    let latest = sent.addingSaturated(known).addingSaturated(secondNanoseconds)
    return min(now, BudgetTime(nanoseconds: latest))
  }
}
