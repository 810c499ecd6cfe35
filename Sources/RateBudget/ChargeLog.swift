/// What was charged in the last minute, as a running total in bins of 250 ms.
///
/// 256 bins hold 64 s: sums over any window up to that cost two look-ups, and the total at the date of a response that
/// arrives late can still be found.
struct ChargeLog: Sendable {
  private static let bin: Int64 = 250_000_000
  private static let bins = 256
  /// The running total at the end of each bin.
  private var totals = [Int64](repeating: 0, count: bins)
  private var newest: Int64?
  /// Everything charged so far.
  private(set) var total: Int64 = 0

  private static func place(_ index: Int64) -> Int {
    Int(((index % Int64(bins)) + Int64(bins)) % Int64(bins))
  }

  /// Notes a charge; a negative one takes back.
  mutating func add(_ amount: Int64, at now: BudgetTime) {
    roll(to: now)
    total = total.addingSaturated(amount)
    if let newest { totals[Self.place(newest)] = total }
  }

  /// Notes what belongs to the past: it counts from `time` on, or from the oldest bin for times before that.
  mutating func add(_ amount: Int64, from time: BudgetTime, now: BudgetTime) {
    roll(to: now)
    guard let newest else { return }
    total = total.addingSaturated(amount)
    let first = (time.nanoseconds / Self.bin).clamped(to: (newest - Int64(Self.bins) + 1)...newest)
    for bin in first...newest { totals[Self.place(bin)] = totals[Self.place(bin)].addingSaturated(amount) }
  }

  private mutating func roll(to now: BudgetTime) {
    let index = now.nanoseconds / Self.bin
    guard let last = newest else {
      newest = index
      return
    }
    guard index > last else { return }
    let first = max(last + 1, index - Int64(Self.bins) + 1)
    for bin in first...index { totals[Self.place(bin)] = total }
    newest = index
  }

  /// The running total at `time`, interpolated inside its bin; the oldest known one for times before that.
  func total(at time: BudgetTime) -> Int64 {
    guard let newest else { return total }
    let index = time.nanoseconds / Self.bin
    guard index <= newest else { return total }
    let oldest = newest - Int64(Self.bins) + 1
    guard index > oldest else { return totals[Self.place(oldest)] }
    let before = totals[Self.place(index - 1)]
    let after = totals[Self.place(index)]
    // The newest bin isn't full yet: what it holds has been charged already.
    guard index < newest else { return after }
    let part = time.nanoseconds - index * Self.bin
    return before.addingSaturated(after.subtractingSaturated(before).scaled(by: part, over: Self.bin))
  }

  /// The level of a bucket at `end` that had `level` at `start`, fills up to `full`, gets `inflow` a minute, and is
  /// charged with what this log holds; bin by bin, because a full bucket forgets what flows in.
  func replay(level: Int64, full: Int64, inflow: Int64, from start: BudgetTime, to end: BudgetTime) -> Int64 {
    var level = level
    var time = start
    var before = total(at: start)
    while time < end {
      let next = min(end, BudgetTime(nanoseconds: (time.nanoseconds / Self.bin + 1) * Self.bin))
      let gain = inflow.scaled(by: next.nanoseconds(since: time), over: minuteNanoseconds)
      let after = total(at: next)
      level = min(full, level.addingSaturated(gain)).subtractingSaturated(after.subtractingSaturated(before))
      before = after
      time = next
    }
    return min(full, level)
  }

  /// What was charged in the last `window` (at most 63 s), never negative.
  func sum(over window: Duration = .seconds(60), now: BudgetTime) -> Int64 {
    let start = BudgetTime(nanoseconds: now.nanoseconds.subtractingSaturated(window.wholeNanoseconds))
    return max(0, total.subtractingSaturated(total(at: start)))
  }
}

/// How long requests waited, in buckets that each are a quarter wider than the one before.
///
/// Two halves of 30 s take turns, so that a quantile is about the last 30 to 60 s.
struct WaitHistogram: Sendable {
  private static let bounds: [Int64] = {
    var bounds: [Int64] = [1]
    while let last = bounds.last, last < 600_000 { bounds.append(last + max(1, last / 4)) }
    return bounds
  }()
  private var current = [Int64](repeating: 0, count: bounds.count + 1)
  private var previous = [Int64](repeating: 0, count: bounds.count + 1)
  private var turn: Int64 = 0

  private mutating func roll(to now: BudgetTime) {
    let index = now.nanoseconds / (30 * secondNanoseconds)
    guard index != turn else { return }
    previous = index == turn + 1 ? current : [Int64](repeating: 0, count: current.count)
    current = [Int64](repeating: 0, count: current.count)
    turn = index
  }

  /// Notes one wait.
  mutating func add(_ nanoseconds: Int64, now: BudgetTime) {
    roll(to: now)
    let milliseconds = nanoseconds / 1_000_000
    var low = 0
    var high = Self.bounds.count
    while low < high {
      let middle = (low + high) / 2
      if Self.bounds[middle] < milliseconds { low = middle + 1 } else { high = middle }
    }
    current[low] += 1
  }

  /// The bound below which `percent` of the waits lie, in milliseconds; nil without waits.
  mutating func quantile(percent: Int64, now: BudgetTime) -> Int64? {
    roll(to: now)
    let counts = zip(current, previous).map { $0 + $1 }
    let all = counts.reduce(0, +)
    guard all > 0 else { return nil }
    let needed = (all * percent + 99) / 100
    var seen: Int64 = 0
    for (index, count) in counts.enumerated() {
      seen += count
      if seen >= needed { return Self.bounds[min(index, Self.bounds.count - 1)] }
    }
    return Self.bounds.last
  }
}
