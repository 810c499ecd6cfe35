/// A header field.
package typealias HeaderField = (name: String, value: String)

/// Renders headers in the forms that the configuration asks for.
struct ResponseHeaders {
  let configuration: MockConfiguration

  /// What every response of the API carries.
  func common(requestID: String, account: Account?, now: MockTime) -> [HeaderField] {
    var fields = edge(now: now)
    fields.append(("request-id", requestID))
    if let account {
      fields.append(("anthropic-organization-id", account.organization))
      // Admin keys belong to no workspace.
      if account.kind != .admin { fields.append(("anthropic-workspace-id", account.workspace)) }
    }
    return fields
  }

  /// What the network in front of the API adds, and all that its own pages carry.
  func edge(now: MockTime) -> [HeaderField] {
    let shown = now + .seconds(configuration.clock.dateSkewSeconds)
    return [
      ("date", shown.httpDate), ("server", "cloudflare"), ("cf-ray", "0000000000000000-MCK"), ("via", "1.1 mock"),
    ]
  }

  /// The rate headers.
  func rates(_ snapshot: RateSnapshot, isFast: Bool, isRejected: Bool) -> [HeaderField] {
    let switches = configuration.headers
    guard !switches.omitAll else { return [] }
    if switches.unified { return unified(snapshot, isRejected: isRejected) }
    var fields: [HeaderField] = []
    func add(_ name: String, _ reading: RateSnapshot.Reading?, rounded: Bool) {
      guard let reading else { return }
      let remaining = rounded ? (reading.remaining + 500) / 1000 * 1000 : reading.remaining
      let prefix = "anthropic-\(name)-"
      fields.append((prefix + "limit", String(reading.limit)))
      fields.append((prefix + "remaining", String(min(remaining, reading.limit))))
      fields.append((prefix + "reset", reset(reading).rfc3339))
    }
    func isSent(_ family: HeaderSwitches.Family) -> Bool { !switches.omit.contains(family) }
    if isSent(.requests) { add("ratelimit-requests", snapshot.requests, rounded: false) }
    if isSent(.tokens) { add("ratelimit-tokens", snapshot.tokens, rounded: true) }
    if isSent(.inputTokens) { add("ratelimit-input-tokens", snapshot.inputTokens, rounded: true) }
    if isSent(.outputTokens) { add("ratelimit-output-tokens", snapshot.outputTokens, rounded: true) }
    if isFast {
      let none = RateSnapshot.Reading(limit: 0, remaining: 0, reset: snapshot.time)
      add("fast-input-tokens", snapshot.fastInputTokens ?? none, rounded: true)
      add("fast-output-tokens", snapshot.fastOutputTokens ?? none, rounded: true)
    }
    return fields
  }

  /// The moment of a full bucket at the next whole second, as the skewed clock of the headers shows it.
  private func reset(_ reading: RateSnapshot.Reading) -> MockTime {
    let skewed = reading.reset + .seconds(configuration.clock.resetSkewSeconds)
    return MockTime(seconds: (skewed - .nanoseconds(1)).second + 1)
  }

  private func unified(_ snapshot: RateSnapshot, isRejected: Bool) -> [HeaderField] {
    let readings = [snapshot.requests, snapshot.inputTokens, snapshot.outputTokens].compactMap { $0 }
    let used = readings.map { 1 - Double($0.remaining) / Double(max(1, $0.limit)) }.max() ?? 0
    let hundredths = Int((min(max(used, 0), 1) * 100).rounded())
    let utilization = "\(hundredths / 100).\(hundredths % 100 < 10 ? "0" : "")\(hundredths % 100)"
    let end = readings.map { reset($0).second }.max() ?? snapshot.time.second
    let status = isRejected ? "rejected" : hundredths >= 80 ? "allowed_warning" : "allowed"
    let prefix = "anthropic-ratelimit-unified-"
    return [
      (prefix + "status", status), (prefix + "reset", String(end)), (prefix + "representative-claim", "five_hour"),
      (prefix + "5h-status", status), (prefix + "5h-utilization", utilization), (prefix + "5h-reset", String(end)),
    ]
  }

  /// `retry-after` and `x-should-retry` of an error.
  func retry(_ error: APIError, now: MockTime) -> [HeaderField] {
    var fields: [HeaderField] = []
    if let seconds = error.retryAfter.map({ configuration.headers.retryAfterOverride ?? $0 }) {
      switch configuration.headers.retryAfterForm {
      case .seconds: fields.append(("retry-after", String(seconds)))
      case .float: fields.append(("retry-after", "\(seconds).0"))
      case .httpDate:
        let shown = now + .seconds(configuration.clock.dateSkewSeconds + seconds)
        fields.append(("retry-after", shown.httpDate))
      case .omitted: break
      }
    }
    if let flag = error.shouldRetry { fields.append(("x-should-retry", String(flag))) }
    return fields
  }
}
