package import RateBudget

/// What the gateway does, for metrics and logs. Never a key, a prompt or a completion.
package enum GatewayEvent: Hashable, Sendable {
  /// A request was admitted after a wait.
  case admitted(group: String, waited: Duration)
  /// Upstream answered an attempt.
  case answered(group: String, status: Int)
  /// An attempt is repeated.
  case retried(group: String, cause: RetryCause)
  /// The gateway itself answered.
  case refused(group: String, cause: String)
  /// A request is over: what it used.
  case settled(group: String, usage: Usage, isComplete: Bool)
  /// The breaker of a model opened.
  case opened(model: String)
}

/// Why an attempt is repeated.
package enum RetryCause: String, Hashable, Sendable, CaseIterable {
  /// 429: too fast.
  case rate
  /// 429: growing too fast.
  case ramp
  /// 529, 5xx, 408, or a page of the network in front of the API.
  case upstream
  /// The connection broke, or couldn't be made.
  case connection
  /// A stream that ended with an error before its first event.
  case stream
}
