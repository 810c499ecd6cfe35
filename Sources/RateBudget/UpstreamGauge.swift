/// What headers tell about one dimension upstream: use by others, and the true shape of the bucket.
///
/// Two measurements of what remained, and what this budget charged between them, leave what others used. Everything is
/// in micro-units.
struct UpstreamGauge: Sendable {
  /// Measurements closer together than this aren't compared: what is in flight would be more than what is measured.
  private static let spacing: Duration = .seconds(5)
  /// How long foreign use is smoothed.
  private static let smoothing: Duration = .seconds(60)
  /// Foreign use below this part of the limit (parts per million) counts as noise: rounding, and requests in flight
  /// whose estimates are wrong. It is less than what the target of 95 % leaves free, so that ignoring it overruns nothing.
  private static let noise: Int64 = 40_000
  /// How many readings in a row must disagree with the limit before the bucket is believed to have another shape.
  private static let mismatches = 5

  private var base: (level: Int64, at: BudgetTime)?
  private var smoothed: Int64 = 0
  private var deviations = 0
  private var least: Int64 = 0
  private var previousLeast: Int64 = 0
  private var leastSince: BudgetTime?
  /// The depth that resets imply, while it differs from a minute's worth of the limit.
  private(set) var depth: Int64?

  /// Whether the refill doesn't fit the limit: a workspace limit or a shorter window is in force.
  var isMismatched: Bool { depth != nil }

  /// What others use a minute.
  func foreign(limit: Int64) -> Int64 {
    smoothed > limit.scaled(by: Self.noise, over: million) ? min(smoothed, limit) : 0
  }

  /// Takes in what remained at `time`.
  mutating func observe(
    remaining: Int64, untilFull: Duration?, limit: Int64, rounding: Int64, at time: BudgetTime, log: ChargeLog
  ) {
    if let untilFull {
      learnDepth(remaining: remaining, untilFull: untilFull, limit: limit, rounding: rounding, at: time)
    }
    let full = depth ?? limit
    guard let last = base else {
      base = (remaining, time)
      return
    }
    let elapsed = time.nanoseconds(since: last.at)
    guard elapsed >= Self.spacing.wholeNanoseconds else { return }
    defer { base = (remaining, time) }
    // The charge log reaches back a minute; older bases say nothing.
    guard elapsed <= minuteNanoseconds else { return }
    let predicted = log.replay(level: last.level, full: full, limit: limit, from: last.at, to: time)
    var difference = predicted.subtractingSaturated(remaining)
    // A full bucket hides what was used before it filled up; an empty one hides its debt.
    // A depth that resets imply is known to a tenth only.
    let margin = depth.map { $0 / 10 } ?? 0
    if remaining >= full - rounding - margin { difference = min(difference, 0) }
    if remaining == 0, difference < 0 { difference = 0 }
    let sample = difference.scaled(by: minuteNanoseconds, over: elapsed)
    let change = sample.subtractingSaturated(smoothed)
    smoothed = smoothed.addingSaturated(
      change.scaled(by: elapsed, over: elapsed.addingSaturated(Self.smoothing.wholeNanoseconds)))
  }

  /// `reset` is the time of full replenishment: what remains now plus what flows in until then is the depth. Date and
  /// reset are whole seconds, so that a reading is up to two seconds' worth of the limit too large: the least one of a
  /// minute counts, and a second's worth is no difference.
  private mutating func learnDepth(
    remaining: Int64, untilFull: Duration, limit: Int64, rounding: Int64, at time: BudgetTime
  ) {
    let wait = untilFull.wholeNanoseconds.clamped(to: 0...(10 * minuteNanoseconds))
    let implied = remaining.addingSaturated(limit.scaled(by: wait, over: minuteNanoseconds))
    let slack = limit / 10 + limit / 60 + rounding
    guard implied < limit - slack || implied > limit + slack else {
      deviations = 0
      depth = nil
      return
    }
    deviations += 1
    guard deviations >= Self.mismatches else { return }
    if let window = leastSince, time - window < .seconds(60) {
      least = min(least, implied)
    } else {
      previousLeast = leastSince == nil ? implied : least
      least = implied
      leastSince = time
    }
    depth = max(limit / 60, min(least, previousLeast, limit))
  }

  /// Follows a changed limit: measurements of the old one say nothing about the new one.
  mutating func reset() {
    base = nil
    deviations = 0
    depth = nil
    leastSince = nil
  }
}
