/// An admitted request: what will be answered, and when.
///
/// Everything is known at admission, so a simulation may schedule the whole answer at once. What can still change it is
/// `disconnect`, or a cut by the limiter where that is switched on.
package struct Generation: Sendable {
  /// Number by which the engine knows it.
  package let number: Int
  /// Sent as `request-id`.
  package let requestID: String
  /// Identifier of the message.
  package let messageID: String
  /// What was asked.
  package let request: MessageRequest
  /// Name of the pool.
  package let group: String
  /// Final usage; where a fault cuts the answer, the output until then.
  package let usage: TokenUsage
  /// Length of the answer without the fault.
  package let plannedOutput: Int
  /// Tokens of its thinking block.
  package let thinkingTokens: Int
  /// `end_turn`, `max_tokens` or `tool_use`.
  package let stopReason: String
  /// The input debited at admission.
  package let inputEstimate: Int
  /// Moment of admission.
  package let admittedAt: MockTime
  /// `message_start`: here the estimate becomes the true input, and cache entries become visible.
  package let startsAt: MockTime
  /// From here tokens are produced.
  package let firstTokenAt: MockTime
  /// The last token; where a fault cuts the answer, that moment.
  package let endsAt: MockTime
  /// Output tokens a minute.
  package let tokensPerMinute: Int64
  /// The fault of the answer.
  package let fault: Fault?
  /// What the rate headers show.
  package let snapshot: RateSnapshot

  /// Tokens produced by `now`.
  package func outputTokens(at now: MockTime) -> Int {
    guard now < endsAt else { return usage.outputTokens }
    guard now > firstTokenAt else { return 0 }
    let units = Int128(tokensPerMinute) * Int128(now.nanoseconds - firstTokenAt.nanoseconds)
    return min(usage.outputTokens, Int(units / TokenBucket.unit))
  }

  /// When the token with this number (1…) is complete.
  package func time(ofToken token: Int) -> MockTime {
    firstTokenAt + Self.time(forTokens: token, tokensPerMinute: tokensPerMinute)
  }

  /// How long so many tokens take, rounded up to a nanosecond.
  static func time(forTokens tokens: Int, tokensPerMinute: Int64) -> Duration {
    guard tokensPerMinute > 0 else { return .zero }
    let rate = Int128(tokensPerMinute)
    return .nanoseconds(Int64((Int128(tokens) * TokenBucket.unit + rate - 1) / rate))
  }
}

/// The answer of the engine to a request.
package enum Admission: Sendable {
  /// 200: the message is being produced.
  case admitted(Generation)
  /// An error of the API: a limit, a spend cap, an unknown model, or a fault with a status.
  case rejected(Rejection)
  /// A fault that the server has to carry out at the connection; nothing is charged.
  case faulted(Fault)
}

/// A refusal.
package struct Rejection: Sendable {
  /// Sent as `request-id`.
  package var requestID: String
  /// Status, type, message, `retry-after`.
  package var error: APIError
  /// What the rate headers show; nil where none are sent.
  package var snapshot: RateSnapshot?
}

/// What the rate headers show: the state at admission.
package struct RateSnapshot: Hashable, Sendable {
  /// One triple of headers.
  package struct Reading: Hashable, Sendable {
    /// Tokens or requests a minute.
    package var limit: Int64
    /// What is left, never negative, not yet rounded.
    package var remaining: Int64
    /// When the bucket will be full.
    package var reset: MockTime
  }

  /// Moment of the reading.
  package var time: MockTime
  /// The families; nil where there is no such limit.
  package var requests, inputTokens, outputTokens, tokens, fastInputTokens, fastOutputTokens: Reading?
}
