/// The truth about what was charged: what tests hold a sidecar against.
package struct OracleReport: Hashable, Codable, Sendable {
  /// The mock's time, in seconds since the epoch.
  package var now: Double
  /// Pools that were used, by organisation and name.
  package var pools: [PoolReport]
  /// Requests sent again within ten minutes.
  package var retryCount: Int
  /// Those that came before their `retry-after`.
  package var attemptsBeforeRetryAfter: Int
  /// The last repetitions.
  package var retries: [RetryRecord]
}

/// The truth about one pool.
package struct PoolReport: Hashable, Codable, Sendable {
  /// The organisation.
  package var organization: String
  /// Name of the pool.
  package var group: String
  /// State of each bucket.
  package var buckets: [BucketReport]
  /// Requests since the start: admitted, and refused by kind.
  package var admitted: Int
  /// Refusals by kind: a dimension, `ramp_limit_exceeded`, `enforced_spend_limit_reached`, or a status of a fault.
  package var refused: [String: Int]
  /// Tokens since the start.
  package var inputTokens, outputTokens: Int
  /// Streams that are open, and the most that ever were.
  package var (running, peakRunning): (Int, Int)
  /// The largest sums over 1, 5 and 60 seconds, within the history that is kept.
  package var peaks: [Peak]
  /// First second of the series, in seconds since the epoch.
  package var firstSecond: Int64
  /// Charges of each second.
  package var requestsPerSecond, inputTokensPerSecond, outputTokensPerSecond: [Int]

  /// The largest sums over a window.
  package struct Peak: Hashable, Codable, Sendable {
    /// Length of the window.
    package var seconds: Int
    /// Largest sums.
    package var requests, inputTokens, outputTokens: Int
  }

  private enum CodingKeys: String, CodingKey {
    case organization, group, buckets, admitted, refused, inputTokens, outputTokens, running, peakRunning, peaks
    case firstSecond, requestsPerSecond, inputTokensPerSecond, outputTokensPerSecond
  }
}

/// The state of a bucket.
package struct BucketReport: Hashable, Codable, Sendable {
  /// What it counts.
  package var dimension: Dimension
  /// The workspace whose limit it is; nil for the organisation's.
  package var workspace: String?
  /// Limit a minute.
  package var limit: Int64
  /// Level in whole tokens or requests; may be negative.
  package var level: Int64
}

/// What one request was charged.
package struct ChargeRecord: Hashable, Codable, Sendable {
  /// How a generation ended.
  package enum Outcome: String, Codable, Sendable {
    case running, completed, disconnected, cut, faulted
  }

  /// Number of the generation; ascending.
  package var number: Int
  /// Sent as `request-id`.
  package var requestID: String
  /// The client's session.
  package var session: String?
  /// Organisation, workspace, model and pool.
  package var organization, workspace, model, group: String
  /// Seconds since the epoch.
  package var admittedAt: Double
  /// Input debited at admission.
  package var inputEstimate: Int
  /// Tokens charged; output so far.
  package var usage: TokenUsage
  /// How it ended.
  package var outcome: Outcome
}
