/// Exponential back-off with "equal jitter": half of the delay is fixed, the other half is drawn.
///
/// A pure value: the random number is an argument. Equal jitter keeps a lower bound, so that a server in trouble gets
/// real relief, while clients that failed together don't come back together.
package struct Backoff: Hashable, Sendable {
  /// The full delay after the first failure.
  package var base: Duration
  /// The largest full delay.
  package var cap: Duration

  /// Makes a back-off that doubles from `base` up to `cap`.
  package init(base: Duration, cap: Duration) {
    self.base = base
    self.cap = cap
  }

  /// The delay after `failures` failures in a row (1 for the first), between half and all of the full delay.
  package func delay(failures: Int, random: UInt64) -> Duration {
    let full = fullDelay(failures: failures)
    return full / 2 + full / 2 * Int(random % 1025) / 1024
  }

  /// The delay before jitter after `failures` failures in a row.
  package func fullDelay(failures: Int) -> Duration {
    guard failures > 0 else { return .zero }
    var delay = min(base, cap)
    for _ in 1..<max(1, min(failures, 64)) where delay < cap { delay = min(delay * 2, cap) }
    return delay
  }
}
