/// Recognises requests that are sent again, and those that come before their `retry-after`.
struct AttemptTracker: Sendable {
  /// One request, however often it's sent.
  struct Key: Hashable, Sendable {
    var organization: String
    var session: String?
    var identity: UInt64
  }

  private struct Record {
    var last: MockTime
    var attempts: Int
    var refusedUntil: MockTime?
    var error: APIError?
  }

  private static let memory = Duration.seconds(600)
  private static let kept = 10_000

  private var records: [Key: Record] = [:]
  private var pruneAt = 20_000
  /// Repetitions, oldest first; the last 10,000.
  private(set) var retries: [RetryRecord] = []
  /// How many repetitions there were.
  private(set) var retryCount = 0
  /// How many came before their `retry-after`.
  private(set) var earlyCount = 0

  /// Notes an attempt. Returns the error that still holds if it comes too early.
  mutating func arrive(_ key: Key, now: MockTime) -> APIError? {
    prune(now)
    guard var record = records[key], record.last + Self.memory > now else {
      records[key] = Record(last: now, attempts: 1)
      return nil
    }
    record.attempts += 1
    let spacing = now - record.last
    record.last = now
    let isEarly = record.refusedUntil.map { $0 > now } ?? false
    var early: APIError?
    // Only limits hold until then; a server that was overloaded may have recovered sooner than it said.
    if let until = record.refusedUntil, until > now, var error = record.error, error.status == 429 {
      error.retryAfter = Int(((until - now).wholeNanoseconds + 999_999_999) / 1_000_000_000)
      early = error
    }
    records[key] = record
    retryCount += 1
    if isEarly { earlyCount += 1 }
    if retries.count >= Self.kept { retries.removeFirst(Self.kept / 2) }
    retries.append(
      RetryRecord(
        identity: String(key.identity, radix: 16), session: key.session, attempt: record.attempts,
        spacingSeconds: Double(spacing.wholeNanoseconds) / 1e9, beforeRetryAfter: isEarly))
    return early
  }

  /// Notes that a request was refused until its `retry-after` has passed, or for no known time.
  mutating func refuse(_ key: Key, _ error: APIError, now: MockTime) {
    guard let seconds = error.retryAfter else { return }
    records[key]?.refusedUntil = now + .seconds(seconds)
    records[key]?.error = error
  }

  /// Notes that a request was admitted.
  mutating func admit(_ key: Key) {
    records[key]?.refusedUntil = nil
    records[key]?.error = nil
  }

  private mutating func prune(_ now: MockTime) {
    guard records.count > pruneAt else { return }
    records = records.filter { $0.value.last + Self.memory > now }
    pruneAt = max(20_000, records.count * 2)
  }
}

/// A request that was sent again.
package struct RetryRecord: Hashable, Codable, Sendable {
  /// Hash of the body, hexadecimal.
  package var identity: String
  /// The client's session.
  package var session: String?
  /// 2 for the first repetition.
  package var attempt: Int
  /// Seconds since the attempt before.
  package var spacingSeconds: Double
  /// Whether the earlier answer asked for a longer wait.
  package var beforeRetryAfter: Bool
}
