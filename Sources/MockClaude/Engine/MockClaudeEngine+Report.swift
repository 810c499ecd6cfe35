extension MockClaudeEngine {
  /// The truth now, with at most so many seconds of series.
  package mutating func report(at time: MockTime, seconds: Int = .max) -> OracleReport {
    advance(to: time)
    let order = pools.indices.sorted { left, right in
      let (one, other) = (pools[left].key, pools[right].key)
      return (one.organization, groups[one.group].name) < (other.organization, groups[other.group].name)
    }
    return OracleReport(
      now: Double(now.nanoseconds) / 1e9, pools: order.map { report(pool: $0, seconds) },
      retryCount: attempts.retryCount, attemptsBeforeRetryAfter: attempts.earlyCount, retries: attempts.retries)
  }

  /// The truth about the pool of a model; nil where it was never used.
  package mutating func report(organization: String, group: String, at time: MockTime) -> PoolReport? {
    advance(to: time)
    let index = pools.indices.first {
      pools[$0].key.organization == organization && groups[pools[$0].key.group].name == group
    }
    return index.map { report(pool: $0, .max) }
  }

  private mutating func report(pool: Int, _ seconds: Int) -> PoolReport {
    advanceBuckets(of: pool)
    pools[pool].series.advance(to: now)
    let series = pools[pool].series
    let first = series.firstRemembered(at: now)
    let bins = (first...max(first, now.second)).map { series.bin($0) }
    let shown = bins.suffix(max(1, seconds))
    return PoolReport(
      organization: pools[pool].key.organization, group: groups[pools[pool].key.group].name,
      buckets: bucketReports(pool), admitted: series.requests, refused: pools[pool].refused,
      inputTokens: series.inputTokens, outputTokens: series.outputTokens, running: pools[pool].running,
      peakRunning: pools[pool].peakRunning, peaks: [1, 5, 60].map { Self.peak(bins, $0) },
      firstSecond: now.second - Int64(shown.count) + 1, requestsPerSecond: shown.map(\.requests),
      inputTokensPerSecond: shown.map(\.inputTokens), outputTokensPerSecond: shown.map(\.outputTokens))
  }

  private func bucketReports(_ pool: Int) -> [BucketReport] {
    func report(_ dimension: Dimension, _ workspace: String?, _ bucket: Int) -> BucketReport {
      BucketReport(
        dimension: dimension, workspace: workspace, limit: buckets[bucket].limit, level: buckets[bucket].tokens)
    }
    return Dimension.allCases.compactMap { dimension in
      pools[pool].buckets[dimension].map { report(dimension, nil, $0) }
    } + pools[pool].workspaceBuckets.map { report($0.dimension, $0.workspace, $0.bucket) }
  }

  private static func peak(_ bins: [ChargeSeries.Bin], _ window: Int) -> PoolReport.Peak {
    var peak = PoolReport.Peak(seconds: window, requests: 0, inputTokens: 0, outputTokens: 0)
    var sums = (0, 0, 0)
    for (index, bin) in bins.enumerated() {
      sums = (sums.0 + bin.requests, sums.1 + bin.inputTokens, sums.2 + bin.outputTokens)
      if index >= window {
        let gone = bins[index - window]
        sums = (sums.0 - gone.requests, sums.1 - gone.inputTokens, sums.2 - gone.outputTokens)
      }
      peak.requests = max(peak.requests, sums.0)
      peak.inputTokens = max(peak.inputTokens, sums.1)
      peak.outputTokens = max(peak.outputTokens, sums.2)
    }
    return peak
  }

  /// What requests were charged, in order of admission, beginning after generation `number`; output of running ones so far.
  package mutating func charges(after number: Int = 0, limit: Int = 1000, at time: MockTime) -> [ChargeRecord] {
    advance(to: time)
    let first = max(number + 1, nextNumber - Self.keptCharges)
    guard first < nextNumber else { return [] }
    return (first..<min(nextNumber, first + max(0, limit))).compactMap { number in
      guard var record = charges[number] else { return nil }
      if let state = running[number] { record.usage.outputTokens = state.generation.outputTokens(at: now) }
      return record
    }
  }

  // MARK: Endpoints with limits of their own

  /// Takes one request from the limit of another endpoint (`token_count`, `batch`). Returns the error if it's exhausted.
  package mutating func admit(
    endpoint: String, requestsPerMinute: Int64, account: Account, at time: MockTime
  ) -> APIError? {
    advance(to: time)
    let key = account.organization + "/" + endpoint
    let bucket: Int
    if let known = endpointBuckets[key] {
      bucket = known
    } else {
      bucket = newBucket(requestsPerMinute)
      endpointBuckets[key] = bucket
    }
    buckets[bucket].reconfigure(limit: requestsPerMinute, depth: configuration.depth, at: now)
    guard buckets[bucket].admits(1) else {
      let wait = buckets[bucket].wait(for: 1).map { ($0.wholeNanoseconds + 999_999_999) / 1_000_000_000 } ?? 60
      return APIError(
        429, "rate_limit_error",
        "This request would exceed your organization's rate limit of \(requestsPerMinute.grouped) requests per minute. For "
          + "details, refer to: https://docs.claude.com/en/api/rate-limits.",
        retryAfter: max(1, Int(wait)), shouldRetry: true, dimension: .requests)
    }
    buckets[bucket].debit(1)
    return nil
  }
}
