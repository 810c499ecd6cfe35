/// What headers tell about one dimension upstream: use by others, and the true shape of the bucket.
///
/// Two measurements of what remained, and what this budget charged between them, leave what others used. Everything is
/// in micro-units.
struct UpstreamGauge: Sendable {
  /// Measurements closer together than this aren't compared: what is in flight would be more than what is measured.
  private static let spacing: Duration = .seconds(5)
  /// How long foreign use is smoothed.
  private static let smoothing: Duration = .seconds(60)
  /// How long foreign use is believed while a full bucket hides it.
  private static let fading: Duration = .seconds(120)
  /// The same where there is room for both, so that nobody is harmed by forgetting.
  private static let idleFading: Duration = .seconds(30)
  /// Foreign use below this part of the limit (parts per million) counts as noise: rounding, and requests in flight
  /// whose estimates are wrong. It is less than what the target of 95 % leaves free, so that ignoring it overruns nothing.
  private static let noise: Int64 = 40_000
  /// How old a measurement is when it is compared: by then the requests before it have told their true input.
  private static let ripening: Duration = .seconds(10)
  /// How many readings in a row must disagree with the limit before the bucket is believed to have another shape.
  private static let mismatches = 5

  private struct Mark: Sendable {
    var level: Int64
    var at: BudgetTime
  }

  /// Measurements that wait for their comparison, the oldest first; few, since they are `spacing` apart.
  private var marks: [Mark] = []
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
    remaining: Int64, untilFull: Duration?, limit: Int64, rounding: Int64, at time: BudgetTime, now: BudgetTime,
    log: ChargeLog
  ) {
    if let untilFull {
      learnDepth(remaining: remaining, untilFull: untilFull, limit: limit, rounding: rounding, at: time)
    }
    let isDue = marks.last.map { time.nanoseconds(since: $0.at) >= Self.spacing.wholeNanoseconds } ?? true
    if isDue { marks.append(Mark(level: remaining, at: time)) }
    while marks.count > 1, now - marks[1].at >= Self.ripening {
      // The charge log reaches back a minute; older measurements say nothing.
      if now.nanoseconds(since: marks[0].at) <= minuteNanoseconds {
        compare(marks[0], marks[1], limit: limit, rounding: rounding, log: log, now: now)
      }
      marks.removeFirst()
    }
  }

  /// Two measurements, and what this budget charged between them, leave what others used.
  ///
  /// What is believed so far is replayed, and corrected by what it leaves unexplained: a full bucket hides what is used
  /// while it is full, so that a plain difference would be too small.
  private mutating func compare(
    _ first: Mark, _ second: Mark, limit: Int64, rounding: Int64, log: ChargeLog, now: BudgetTime
  ) {
    let full = depth ?? limit
    let elapsed = second.at.nanoseconds(since: first.at)
    let predicted = log.replay(
      level: first.level, full: full, inflow: limit - smoothed, from: first.at, to: second.at)
    var difference = predicted.subtractingSaturated(second.level)
    // A bucket that is full at the end hides what was used before it filled up; an empty one hides its debt.
    // A depth that resets imply is known to a tenth only: what is missing to a bucket that should be full isn't others' use.
    let margin = depth.map { $0 / 10 } ?? 0
    if predicted >= full - margin, difference > 0 { difference = max(0, difference - margin) }
    let isFull = second.level >= full - rounding - margin
    if isFull { difference = min(difference, 0) }
    // Nor does it tell whether they have stopped: what is believed fades, so that it is tried out. One that is all but
    // full tells little, too; to forget then does no harm while there is room.
    let isIdle = log.sum(now: now).addingSaturated(smoothed) < limit / 10 * 9
    if isFull || (isIdle && second.level >= full - limit / 60) {
      let time = isIdle ? Self.idleFading : Self.fading
      smoothed -= smoothed.scaled(by: elapsed, over: elapsed.addingSaturated(time.wholeNanoseconds))
    }
    if second.level == 0 { difference = max(difference, 0) }
    smoothed = smoothed.addingSaturated(
      difference.scaled(
        by: minuteNanoseconds, over: elapsed.addingSaturated(Self.smoothing.wholeNanoseconds))
    ).clamped(to: -limit...limit)
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
    marks = []
    deviations = 0
    depth = nil
    leastSince = nil
  }
}
