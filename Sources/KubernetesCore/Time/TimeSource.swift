/// A reading of a clock that never steps, as the time since an origin that only its source knows.
package struct MonotonicTime: Hashable, Comparable, Sendable {
  /// The time since the source's origin.
  package var sinceOrigin: Duration

  /// Makes the reading that lies `sinceOrigin` after the source's origin.
  package init(sinceOrigin: Duration) {
    self.sinceOrigin = sinceOrigin
  }

  package static func < (lhs: MonotonicTime, rhs: MonotonicTime) -> Bool { lhs.sinceOrigin < rhs.sinceOrigin }

  /// The reading `duration` later.
  package static func + (lhs: MonotonicTime, duration: Duration) -> MonotonicTime {
    MonotonicTime(sinceOrigin: lhs.sinceOrigin + duration)
  }

  /// The time that passed from `rhs` to `lhs`.
  package static func - (lhs: MonotonicTime, rhs: MonotonicTime) -> Duration { lhs.sinceOrigin - rhs.sinceOrigin }
}

/// The two clocks of a driver, injected so that tests and simulations own the time.
///
/// State machines take readings as arguments and never see a source. Deadlines are monotonic: a stepped wall clock
/// must neither fire nor starve a timer.
package protocol TimeSource: Sendable {
  /// The civil time now; it may step.
  var wallNow: Timestamp { get }
  /// The monotonic time now.
  var monotonicNow: MonotonicTime { get }
  /// Suspends until `deadline` has come; throws `CancellationError` when the task is cancelled before.
  func sleep(until deadline: MonotonicTime) async throws
}

extension TimeSource {
  /// Suspends for `duration` from now; throws `CancellationError` when the task is cancelled before.
  package func sleep(for duration: Duration) async throws {
    try await sleep(until: monotonicNow + duration)
  }
}
