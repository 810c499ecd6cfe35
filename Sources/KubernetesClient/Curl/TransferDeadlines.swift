import KubernetesCore

/// When a transfer has taken too long; pure, the caller says what time it is.
struct TransferDeadlines {
  /// What took too long.
  enum Expiry: Hashable, Sendable {
    /// The whole response wasn't there within the request's time limit.
    case whole(Duration)
    /// A stream's head wasn't there within the request's time limit.
    case head(Duration)
    /// A stream's body was silent for too long: the connection is probably half-open.
    case idle(Duration)
  }

  private let isStream: Bool
  private let timeout: Duration
  private let idleTimeout: Duration?
  private let startedAt: MonotonicTime
  private var lastActivity: MonotonicTime
  private var hasHead = false
  private var isPaused = false

  /// Starts the clocks at `now`.
  init(mode: TransferMode, timeout: Duration, idleTimeout: Duration?, now: MonotonicTime) {
    if case .stream = mode { isStream = true } else { isStream = false }
    self.timeout = timeout
    self.idleTimeout = idleTimeout
    startedAt = now
    lastActivity = now
  }

  /// The head is there.
  mutating func receivedHead(now: MonotonicTime) {
    hasHead = true
    lastActivity = now
  }

  /// Part of the body is there.
  mutating func receivedBytes(now: MonotonicTime) {
    lastActivity = now
  }

  /// The consumer is slow: silence is no longer the server's fault.
  mutating func paused() {
    isPaused = true
  }

  /// The consumer wants more: silence counts again from `now`.
  mutating func resumed(now: MonotonicTime) {
    isPaused = false
    lastActivity = now
  }

  /// The next deadline; nil while nothing limits the transfer.
  var next: MonotonicTime? {
    if !isStream || !hasHead { return startedAt + timeout }
    guard let idleTimeout, !isPaused else { return nil }
    return lastActivity + idleTimeout
  }

  /// What has taken too long by `now`, if anything.
  func expiry(now: MonotonicTime) -> Expiry? {
    guard let next, next <= now else { return nil }
    if !isStream { return .whole(timeout) }
    if !hasHead { return .head(timeout) }
    return .idle(idleTimeout ?? timeout)
  }
}
