package import RateBudget

/// When a request whose attempt failed upstream is sent again. Rate limits aren't its business: the budget says when.
package struct RetryPolicy: Hashable, Sendable {
  /// The most attempts that may fail.
  package var attempts: Int
  /// The pause after the first failure; it doubles.
  package var firstPause: Duration
  /// The longest pause.
  package var longestPause: Duration

  /// Makes a policy: 0.5 s, doubling up to 8 s, ten attempts.
  package init(
    attempts: Int = 10, firstPause: Duration = .milliseconds(500), longestPause: Duration = .seconds(8)
  ) {
    self.attempts = max(1, attempts)
    self.firstPause = firstPause
    self.longestPause = longestPause
  }

  /// The pause after `failures` failures, up to a quarter longer; nil: tell the client. Never shorter than what upstream
  /// asked for, never beyond the deadline.
  package func pause(
    failures: Int, retryAfter: Duration?, now: BudgetTime, deadline: BudgetTime,
    using generator: inout some RandomNumberGenerator
  ) -> Duration? {
    guard failures < attempts else { return nil }
    let base = min(firstPause * (1 << min(max(failures - 1, 0), 16)), longestPause)
    let wanted = max(base, retryAfter ?? .zero)
    let spread = max(1, wanted.wholeNanoseconds / 4)
    let pause = wanted + .nanoseconds(Int64.random(in: 0..<spread, using: &generator))
    return now + pause < deadline ? pause : nil
  }
}
