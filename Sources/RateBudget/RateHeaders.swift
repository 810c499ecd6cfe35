/// What the rate-limit headers of one response say.
package struct RateHeaders: Hashable, Sendable {
  /// One dimension's three headers.
  package struct Reading: Hashable, Sendable {
    /// The limit a minute.
    package var limit: Int64?
    /// What is left; tokens are rounded to the nearest 1,000.
    package var remaining: Int64?
    /// When the bucket will be full again.
    package var reset: WallTime?

    /// Makes a reading.
    package init(limit: Int64? = nil, remaining: Int64? = nil, reset: WallTime? = nil) {
      self.limit = limit
      self.remaining = remaining
      self.reset = reset
    }

    /// Whether nothing was said.
    package var isEmpty: Bool { limit == nil && remaining == nil && reset == nil }
  }

  /// The readings; those of `inputTokensTotal` are always empty, since no header tells that limit apart.
  package var readings: PerDimension<Reading>
  /// The response's own date: the clock that its resets are of.
  package var date: WallTime?

  /// Makes a set of headers.
  package init(readings: PerDimension<Reading> = PerDimension(repeating: Reading()), date: WallTime? = nil) {
    self.readings = readings
    self.date = date
  }

  /// Reads the headers of a response; `value` looks a lower-case name up.
  ///
  /// `anthropic-ratelimit-tokens-*` isn't read: it switches silently between limits. With `isFast` the token headers of
  /// the fast pair are read.
  package init(isFast: Bool = false, value: (String) -> String?) {
    func reading(_ prefix: String) -> Reading {
      Reading(
        limit: value("\(prefix)-limit").flatMap(HeaderValue.integer),
        remaining: value("\(prefix)-remaining").flatMap(HeaderValue.integer),
        reset: value("\(prefix)-reset").flatMap(HeaderValue.instant))
    }
    let tokens = isFast ? "anthropic-fast" : "anthropic-ratelimit"
    self.init(
      readings: PerDimension(
        requests: reading("anthropic-ratelimit-requests"), inputTokens: reading("\(tokens)-input-tokens"),
        inputTokensTotal: Reading(), outputTokens: reading("\(tokens)-output-tokens")),
      date: value("date").flatMap(HeaderValue.instant))
  }

  /// Whether no limit header was there.
  package var isEmpty: Bool {
    Dimension.allCases.allSatisfy { readings[$0].isEmpty }
  }

  /// The first dimension that has nothing left, which is what a 429 was about.
  package var exhausted: Dimension? {
    Dimension.allCases.first { readings[$0].remaining == 0 }
  }
}

/// What an error answer of upstream means for the budget.
package enum UpstreamVerdict: Hashable, Sendable {
  /// Not an error, or one that says nothing about rates: settle it.
  case settled
  /// 429: too fast. Nil: no retry-after.
  case rateLimited(retryAfter: Duration?)
  /// 429: growing too fast.
  case rampLimited(retryAfter: Duration?)
  /// Money has run out; with a retry-after it comes back then.
  case spendLimited(code: String, retryAfter: Duration?)
  /// 5xx: upstream's own trouble; the budget isn't touched.
  case overloaded

  /// Tells an answer's meaning from its status, `error.type`, `error.details.error_code`, `error.message` and
  /// retry-after.
  ///
  /// The self-set spend limit is a plain 400 that only its text tells apart; a changed wording makes it an ordinary 400.
  package init(
    status: Int, errorType: String? = nil, errorCode: String? = nil, message: String? = nil, retryAfter: Duration? = nil
  ) {
    switch status {
    case 429:
      if errorCode == "ramp_limit_exceeded" {
        self = .rampLimited(retryAfter: retryAfter)
      } else if let code = errorCode, code.hasSuffix("spend_limit_reached") {
        self = .spendLimited(code: code, retryAfter: retryAfter)
      } else {
        self = .rateLimited(retryAfter: retryAfter)
      }
    case 402:
      self = .spendLimited(code: errorType ?? "billing_error", retryAfter: nil)
    case 400 where message?.hasPrefix("You have reached your specified") == true:
      self = .spendLimited(code: "specified_usage_limit", retryAfter: nil)
    case 408, 500...599:
      self = .overloaded
    default:
      self = .settled
    }
  }
}
