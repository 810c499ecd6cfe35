/// The acceleration limit of one pool.
struct RampTracker: Sendable {
  private var computedFor = Int64.min
  private var earlierMaximum: Int64 = 0
  private var lastMinute: Int64 = 0

  /// The refusal of more tokens now, if growth is too fast.
  mutating func refusal(adding tokens: Int, series: ChargeSeries, limit: RampLimit, now: MockTime) -> APIError? {
    // Bins change with each admission, the earlier maximum only once a second.
    lastMinute = series.tokens(inSecondsEndingWith: now.second, count: 60)
    if computedFor != now.second {
      computedFor = now.second
      earlierMaximum = Self.maximum(series, now.second)
    }
    let allowed = earlierMaximum * Int64(limit.growthPercent) / 100 + limit.allowance
    guard lastMinute + Int64(tokens) > allowed else { return nil }
    return APIError(
      429, "rate_limit_error",
      "This request would exceed your organization's acceleration limit: increase your usage gradually. For details, refer "
        + "to: https://docs.claude.com/en/api/rate-limits.",
      code: "ramp_limit_exceeded", retryAfter: limit.retryAfterSeconds)
  }

  /// The largest 60 s that ended between ten minutes and one minute ago.
  private static func maximum(_ series: ChargeSeries, _ second: Int64) -> Int64 {
    var sum = series.tokens(inSecondsEndingWith: second - 600, count: 60)
    var largest = sum
    for last in (second - 599)...(second - 60) {
      let (added, dropped) = (series.bin(last), series.bin(last - 60))
      sum += Int64(added.inputTokens + added.outputTokens - dropped.inputTokens - dropped.outputTokens)
      largest = max(largest, sum)
    }
    return largest
  }
}
