/// One continuously refilled bucket: the limiter of the Claude API, for one dimension of one group.
///
/// The level is counted in 1/60,000,000,000 of a token, in which a limit of n per minute refills exactly n units each
/// nanosecond: no rounding ever gains or loses a token. Running streams and foreign load are slopes beside the refill, so
/// that ten thousand streams cost nothing between their starts and ends.
package struct TokenBucket: Sendable {
  /// Units of the level in one token.
  package static let unit: Int128 = 60_000_000_000

  /// Tokens (or requests) a minute; 0 admits nothing.
  package private(set) var limit: Int64
  /// How much refill the bucket holds at most, as a time; 1 s to 60 s are plausible for the real API.
  package private(set) var depth: Duration
  /// Tokens a minute that running streams take out.
  package private(set) var streaming: Int64 = 0
  /// Tokens a minute that others take out.
  package private(set) var foreign: Int64 = 0
  private var foreignPercent: Int64 = 0
  private var level: Int128
  private var updated: MockTime

  /// A full bucket.
  package init(limit: Int64, depth: Duration, now: MockTime) {
    self.limit = Self.clamped(limit)
    self.depth = Self.clamped(depth)
    updated = now
    level = 0
    level = capacity
  }

  /// Keeps the product of two levels inside 128 bits: ten times the largest published limit, and a minute.
  private static func clamped(_ limit: Int64) -> Int64 { min(max(limit, 0), 100_000_000) }
  private static func clamped(_ depth: Duration) -> Duration { min(max(depth, .milliseconds(1)), .seconds(60)) }

  private var capacity: Int128 { Int128(limit) * Int128(depth.wholeNanoseconds) }

  /// Whole tokens in the bucket; negative after corrections or streams.
  package var tokens: Int64 {
    Int64(level >= 0 ? level / Self.unit : (level - Self.unit + 1) / Self.unit)
  }

  /// Whether the level is above zero, which is all that output tokens need for a new request.
  package var isPositive: Bool { level > 0 }

  /// Brings the level up to `now`; earlier times change nothing.
  package mutating func advance(to now: MockTime) {
    guard now > updated else { return }
    let slope = Int128(limit) - Int128(streaming) - Int128(foreign)
    level = min(capacity, level + slope * Int128(now.nanoseconds - updated.nanoseconds))
    updated = now
  }

  /// Whether a request for `tokens` passes now. One that is larger than the bucket passes when the bucket is full:
  /// otherwise it could never pass.
  package func admits(_ tokens: Int64) -> Bool {
    limit > 0 && level >= needed(tokens)
  }

  private func needed(_ tokens: Int64) -> Int128 {
    min(Int128(tokens) * Self.unit, capacity)
  }

  /// Time until a request for `tokens` passes if nothing else happens, running streams left out (they end at an unknown
  /// time); nil if it never does.
  package func wait(for tokens: Int64) -> Duration? {
    wait(forLevel: needed(tokens))
  }

  /// Time until the level is above zero, running streams left out; nil if it never is.
  package var waitUntilPositive: Duration? { isPositive ? .zero : wait(forLevel: 1) }

  /// Time until the bucket is full: what `*-reset` tells.
  package var waitUntilFull: Duration? { wait(forLevel: capacity) }

  private func wait(forLevel wanted: Int128) -> Duration? {
    guard level < wanted else { return limit > 0 ? .zero : nil }
    let slope = Int128(limit) - Int128(foreign)
    guard slope > 0 else { return nil }
    let nanoseconds = (wanted - level + slope - 1) / slope
    return .nanoseconds(Int64(min(nanoseconds, Int128(Int64.max / 4))))
  }

  /// Takes tokens out, or puts them back if negative. The level may go below zero, never above the capacity.
  package mutating func debit(_ tokens: Int64) {
    debit(units: Int128(tokens) * Self.unit)
  }

  /// Takes units out, or puts them back if negative.
  package mutating func debit(units: Int128) {
    level = min(capacity, level - units)
  }

  /// Changes what running streams take out from now on.
  package mutating func changeStreaming(by tokensPerMinute: Int64, at now: MockTime) {
    advance(to: now)
    streaming += tokensPerMinute
  }

  /// Sets what others take out from now on, in percent of the limit.
  package mutating func setForeign(percent: Int64, at now: MockTime) {
    advance(to: now)
    foreignPercent = min(max(percent, 0), 100)
    foreign = limit * foreignPercent / 100
  }

  /// Changes limit and depth while running: the level keeps its share of the capacity, so that a change neither fills nor
  /// empties the bucket.
  package mutating func reconfigure(limit newLimit: Int64, depth newDepth: Duration, at now: MockTime) {
    advance(to: now)
    let old = capacity
    limit = Self.clamped(newLimit)
    depth = Self.clamped(newDepth)
    level = old > 0 ? min(capacity, max(level, -2 * old) * capacity / old) : capacity
    foreign = limit * foreignPercent / 100
  }
}
