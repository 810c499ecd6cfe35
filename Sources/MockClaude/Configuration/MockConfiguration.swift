/// Everything that can be chosen of a mock: who may call, the limits, the pace, the form of answers, the faults.
///
/// Every key may be left out; the defaults stand at the properties. Unknown keys are refused.
package struct MockConfiguration: Hashable, Sendable {
  /// Seed of all draws: lengths of answers, errors of estimates, faults, identifiers.
  package var seed: UInt64 = 1
  /// Tier of the organisations; gives the limits of the published table.
  package var tier = Tier.scale
  /// How many seconds of refill a bucket holds: 1…60. The real depth is not published.
  package var depthSeconds = 60.0
  /// Known keys. The key `*` stands for any other key.
  package var keys = [KeyConfiguration()]
  /// Limits that differ from the tier's, by organisation or workspace and pool.
  package var limits: [LimitChange] = []
  /// Largest error of the input estimate at admission, in percent of it; the error is fixed for each body.
  package var inputEstimateErrorPercent = 20
  /// Characters in one token, in hundredths: how the mock counts.
  package var bytesPerTokenHundredths = 350
  /// Shorter prefixes are not cached.
  package var minimumCacheableTokens = 1024
  /// Timing and length of answers.
  package var pace = Pace()
  /// Form of answers.
  package var stream = StreamStyle()
  /// Form of the rate headers.
  package var headers = HeaderSwitches()
  /// Acceleration limit; none by default, since its thresholds are not published.
  package var ramp: RampLimit?
  /// Monthly caps.
  package var spend = SpendLimits()
  /// Whether running streams are cut with an in-stream `rate_limit_error` when the output bucket is empty.
  package var cutsStreamsWhenEmpty = false
  /// Faults, in order: the first that hits wins.
  package var faults: [FaultRule] = []
  /// What others use of the limits.
  package var foreign: [ForeignLoad] = []
  /// Seconds of history that the oracle keeps.
  package var oracleSeconds = 3600
  /// Real time, a faster one, and skewed headers.
  package var clock = ClockSettings()

  /// The defaults: Scale tier, any key, no faults.
  package init() {}

  /// Depth of the buckets.
  package var depth: Duration { .milliseconds(Int64(min(max(depthSeconds, 0.001), 60) * 1000)) }
}

/// Whom a key belongs to.
package struct KeyConfiguration: Hashable, Sendable {
  /// What an account may do.
  package enum Kind: String, Codable, Sendable {
    /// An ordinary API key.
    case standard
    /// A key of the Admin API.
    case admin
    /// A key of a Claude Code workspace, whose spend limit answers 429 with `retry-after`.
    case claudeCode
  }

  /// The key itself, or `*`.
  package var key = "*"
  /// Sent as `anthropic-organization-id`.
  package var organization = "00000000-0000-4000-8000-000000000001"
  /// Sent as `anthropic-workspace-id`.
  package var workspace = "wrkspc_01MockDefault"
  /// What the key may do. Keys that begin with `sk-ant-admin` are Admin keys whatever stands here.
  package var kind = Kind.standard

  /// A key that any client may use, of the one default organisation.
  package init() {}
}

/// Timing and length of answers.
package struct Pace: Hashable, Sendable {
  /// Seconds until the answer begins.
  package var timeToFirstToken = 1.5
  /// Largest difference from it, in percent, drawn for each request.
  package var jitterPercent = 0
  /// Output tokens a second.
  package var tokensPerSecond = 70
  /// Median of the output length, log-normally distributed.
  package var outputMedian = 600.0
  /// σ of its logarithm; 0 makes every answer as long as the median.
  package var outputSigma = 0.9
  /// Output tokens in one delta event.
  package var tokensPerDelta = 5

  /// The documented defaults.
  package init() {}
}

/// Form of streams.
package struct StreamStyle: Hashable, Sendable {
  /// Where the input side of `usage` stands.
  package enum InputUsage: String, Codable, Sendable {
    /// In `message_start`, repeated in the last `message_delta`.
    case start
    /// Only in `message_delta`; zero in `message_start`.
    case delta
    /// In both, and `message_start` shows all input as uncached: the delta's values are the right ones.
    case corrected
    /// Only in `message_start`.
    case startOnly
  }

  /// Where the input side of `usage` stands.
  package var inputUsage = InputUsage.start
  /// Number of `message_delta` events.
  package var messageDeltas = 1
  /// Tokens of a thinking block before the text.
  package var thinkingTokens = 0
  /// Seconds of silence between `message_start` and the first token.
  package var silence = 0.0
  /// Seconds between pings in a silence; 0 sends none.
  package var pingInterval = 30.0
  /// Whether an event of an unknown type is sent.
  package var unknownEvents = false
  /// Whether comment lines are sent.
  package var comments = false
  /// Whether lines end with CRLF.
  package var carriageReturns = false
  /// Cuts events into writes of so many bytes; 0 writes whole events.
  package var splitBytes = 0
  /// Number of events that are written at once.
  package var eventsPerWrite = 1
  /// Whether `usage.iterations` is sent.
  package var iterations = false

  /// The form of the real API as far as it is known.
  package init() {}
}

/// Form of the rate headers and of `retry-after`.
package struct HeaderSwitches: Hashable, Sendable {
  /// How `retry-after` is written.
  package enum RetryAfterForm: String, Codable, Sendable {
    case seconds, float, httpDate, omitted
  }

  /// A family of rate headers.
  package enum Family: String, CaseIterable, Codable, Sendable {
    case requests, inputTokens, outputTokens, tokens
  }

  /// Sends no rate headers at all.
  package var omitAll = false
  /// Families that are not sent.
  package var omit: [Family] = []
  /// Sends the `unified` family of subscriptions instead.
  package var unified = false
  /// Shows the state of so many seconds ago.
  package var staleSeconds = 0
  /// How `retry-after` is written.
  package var retryAfterForm = RetryAfterForm.seconds
  /// The value of `retry-after`, whatever the truth is.
  package var retryAfterOverride: Int?

  /// The documented form.
  package init() {}
}

/// The acceleration limit: tokens admitted in the last 60 s may not exceed `growthPercent` of the largest 60 s of the ten
/// minutes before, plus `allowance`.
package struct RampLimit: Hashable, Sendable {
  /// Percent of the earlier maximum.
  package var growthPercent = 150
  /// Tokens a minute that are always allowed.
  package var allowance: Int64 = 1_000_000
  /// Seconds of `retry-after`.
  package var retryAfterSeconds = 15

  /// The defaults.
  package init() {}
}

/// Monthly caps in dollars; none by default.
package struct SpendLimits: Hashable, Sendable {
  /// The organisation's cap: 429 `enforced_spend_limit_reached` without `retry-after`.
  package var organizationCap: Double?
  /// A limit that the organisation set for itself: 400.
  package var ownLimit: Double?
  /// A limit of each workspace: 400, or 429 with `retry-after` for a Claude Code workspace.
  package var workspaceLimit: Double?
  /// Spent before the start.
  package var alreadySpent = 0.0

  /// No caps.
  package init() {}
}

/// A limit that differs from the tier's.
package struct LimitChange: Hashable, Sendable {
  /// The organisation; absent: every known one.
  package var organization: String?
  /// The workspace whose own limit this is; absent: the organisation's limit.
  package var workspace: String?
  /// The pool; absent: all pools.
  package var group: String?
  /// New values a minute; what is absent stays. A workspace gets a limit only where one is named.
  package var limits: [Dimension: Int64] = [:]
  /// New depth of the buckets; absent: stays.
  package var depthSeconds: Double?

  /// A change of the named limits.
  package init(
    organization: String? = nil, workspace: String? = nil, group: String? = nil, limits: [Dimension: Int64] = [:],
    depthSeconds: Double? = nil
  ) {
    self.organization = organization
    self.workspace = workspace
    self.group = group
    self.limits = limits
    self.depthSeconds = depthSeconds
  }
}

/// What others use of an organisation's limits, past the clients of this mock.
package struct ForeignLoad: Hashable, Sendable {
  /// The organisation; absent: every known one.
  package var organization: String?
  /// The pool; absent: all pools.
  package var group: String?
  /// Percent of each limit, 0…100.
  package var percent = 0

  /// A load of so many percent.
  package init(organization: String? = nil, group: String? = nil, percent: Int) {
    self.organization = organization
    self.group = group
    self.percent = percent
  }
}

/// The server's clock and what its headers show of it.
package struct ClockSettings: Hashable, Sendable {
  /// Seconds of the mock's time in one real second.
  package var speed = 1.0
  /// Seconds that the `date` header is ahead.
  package var dateSkewSeconds = 0
  /// Seconds that the `*-reset` headers are ahead.
  package var resetSkewSeconds = 0

  /// The true time.
  package init() {}
}
