import BudgetSimulation
import RateBudget
import Testing

@Suite struct LearningTests {
  private func headers(
    date: Double, limit: Int64? = nil, remaining: Int64? = nil, reset: Double? = nil, requests: Int64? = nil
  ) -> RateHeaders {
    func wall(_ seconds: Double) -> WallTime { WallTime(milliseconds: Int64((1_790_000_000 + seconds) * 1000)) }
    var headers = RateHeaders(date: wall(date))
    headers.readings.inputTokens = .init(limit: limit, remaining: remaining, reset: reset.map(wall))
    headers.readings.requests = .init(limit: requests)
    return headers
  }

  @Test("P13: after a 429 with retry-after 2 the request is granted again, after that time and at the head")
  func retryAfter() throws {
    var generator = SeededGenerator(seed: 3)
    var budget = GroupBudget(configuration: .plain(requests: 6_000), now: .zero)
    _ = budget.submit(request(1), now: .zero)
    _ = budget.advance(now: .zero)
    let decision = budget.reject(
      GrantID(client: "pod", number: 1), verdict: UpstreamVerdict(status: 429, retryAfter: .seconds(2)), now: at(1),
      using: &generator)
    guard case .requeued(let notBefore) = decision else {
      Issue.record("\(decision)")
      return
    }
    #expect(notBefore > at(3) && notBefore <= at(4))
    for number in 2...4 { _ = budget.submit(request(UInt64(number), client: "other", fleet: "other"), now: at(1)) }
    let outcomes = budget.run(from: at(1), to: at(10))
    #expect(outcomes.allSatisfy { $0.time >= at(3) })
    let again = try #require(outcomes.first { $0.outcome.id.number == 1 })
    guard case .granted(let grant) = again.outcome else { return }
    #expect(grant.attempt == 1)
    #expect(again.time == notBefore)
  }

  @Test(
    "P14: twenty clients told the same retry-after come back spread out, none before it",
    arguments: 1...20 as ClosedRange<UInt64>)
  func jitter(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var budget = GroupBudget(configuration: .plain(requests: 6_000), now: .zero)
    for pod in 0..<20 { _ = budget.submit(request(1, client: "pod\(pod)"), now: .zero) }
    #expect(budget.advance(now: .zero).count == 20)
    for pod in 0..<20 {
      _ = budget.reject(
        GrantID(client: "pod\(pod)", number: 1), verdict: UpstreamVerdict(status: 429, retryAfter: .seconds(8)),
        now: at(0.1), using: &generator)
    }
    let times = budget.run(from: at(0.1), to: at(60)).map(\.time)
    #expect(times.count == 20)
    #expect(times.allSatisfy { $0 > at(8.1) && $0 <= at(10.2) })
    #expect(Set(times).count == 20)
    #expect(times[19] - times[0] > .seconds(1))
    #expect(budget.report(now: at(11)).dimensions[0].targetPercent == 90, "one episode, one decrease")
  }

  @Test("P15: a retry-after of 62,291 is told at once, to everybody, and one request looks whether it is over")
  func absurdRetryAfter() {
    var generator = SeededGenerator(seed: 5)
    var budget = GroupBudget(configuration: .plain(requests: 6_000), now: .zero)
    _ = budget.submit(request(1), now: .zero)
    _ = budget.advance(now: .zero)
    _ = budget.submit(request(2), now: .zero)
    let wait = HeaderValue.retryAfter("62291", date: nil)
    let decision = budget.reject(
      GrantID(client: "pod", number: 1), verdict: UpstreamVerdict(status: 429, retryAfter: wait), now: .zero,
      using: &generator)
    #expect(decision == .tellClient(.upstreamPause(retryAfter: .seconds(62_291))))
    #expect(!Refusal.upstreamPause(retryAfter: .seconds(62_291)).isWorthRetrying)
    #expect(
      budget.advance(now: .zero)
        == [.refused(GrantID(client: "pod", number: 2), .upstreamPause(retryAfter: .seconds(62_291)))])
    #expect(budget.submit(request(3), now: at(60_000)) == .refused(.upstreamPause(retryAfter: .seconds(2_291))))
    for number in 4...6 { _ = budget.submit(request(UInt64(number)), now: at(62_291)) }
    #expect(granted(budget.advance(now: at(62_291))).count == 1)
    #expect(granted(budget.advance(now: at(62_292))).isEmpty)
    budget.settle(GrantID(client: "pod", number: 4), usage: Usage(input: 1, output: 1), isFinal: true, now: at(62_293))
    _ = budget.submit(request(7), now: at(62_293))
    #expect(granted(budget.advance(now: at(62_293))).count == 1)
  }

  @Test("P16: a response clock that is ahead or behind changes nothing", arguments: [-120.0, 0, 120])
  func clockSkew(skew: Double) {
    var budget = GroupBudget(configuration: .plain(requests: 60_000, input: 600_000), now: .zero)
    var served = 0
    for second in 0..<120 {
      let now = at(Double(second))
      _ = budget.submit(request(UInt64(second), input: 1_000), now: now)
      served += budget.advance(now: now).count
      budget.observe(
        headers(date: Double(second) + skew, limit: 600_000, remaining: 599_000, reset: Double(second) + skew + 1),
        now: now)
    }
    #expect(served == 120)
    let report = budget.report(now: at(120))
    #expect(report.dimensions[1].foreign == 0)
    #expect(!report.dimensions[1].isMismatched)
  }

  @Test(
    "P17: instants as RFC 3339 with Z, an offset and fractions, as epoch seconds and as HTTP dates are read",
    arguments: [
      ("2026-05-18T11:42:16Z", 1_779_104_536_000), ("2026-05-18T11:42:16+00:00", 1_779_104_536_000),
      ("2026-05-18T13:42:16.250+02:00", 1_779_104_536_250), ("2026-05-18T11:42:16.123456789Z", 1_779_104_536_123),
      ("1779104536", 1_779_104_536_000), ("1779104536.5", 1_779_104_536_500),
      ("1779104536000", 1_779_104_536_000), (" Mon, 18 May 2026 11:42:16 GMT ", 1_779_104_536_000),
      ("1994-11-06T08:49:37-08:00", 784_140_577_000),
    ] as [(String, Int64)])
  func instants(text: String, milliseconds: Int64) {
    #expect(HeaderValue.instant(text) == WallTime(milliseconds: milliseconds))
  }

  @Test(
    "What isn't an instant isn't read",
    arguments: [
      "", "soon", "2026-05-18", "2026-13-18T11:42:16Z", "2026-05-18T11:42:16", "2026-05-18T11:42:16.Z", "-5", "0",
      "1e9",
    ])
  func noInstants(text: String) {
    #expect(HeaderValue.instant(text) == nil)
  }

  @Test(
    "A retry-after is seconds, whole or not, or a date that is compared with the response's own",
    arguments: [
      ("2", .seconds(2)), ("1.5", .milliseconds(1_500)), ("0", .zero), ("-3", nil), ("62291", .seconds(62_291)),
      ("Mon, 18 May 2026 11:43:16 GMT", .seconds(60)), ("Mon, 18 May 2026 11:40:16 GMT", .zero), ("later", nil),
      ("", nil),
    ] as [(String, Duration?)])
  func retryAfterValues(text: String, wait: Duration?) {
    #expect(HeaderValue.retryAfter(text, date: HeaderValue.instant("2026-05-18T11:42:16Z")) == wait)
  }

  @Test("Headers are read by name; the fast pair on request; the ambiguous tokens family never")
  func headerNames() {
    let values = [
      "date": "Mon, 18 May 2026 11:42:16 GMT", "anthropic-ratelimit-requests-limit": "4000",
      "anthropic-ratelimit-input-tokens-remaining": "1999000", "anthropic-fast-output-tokens-limit": "80000",
      "anthropic-ratelimit-output-tokens-reset": "2026-05-18T11:42:17Z", "anthropic-ratelimit-tokens-limit": "7",
    ]
    let plain = RateHeaders { values[$0] }
    #expect(plain.readings.requests.limit == 4_000)
    #expect(plain.readings.inputTokens.remaining == 1_999_000)
    #expect(plain.readings.outputTokens.reset == HeaderValue.instant("2026-05-18T11:42:17Z"))
    #expect(plain.readings.outputTokens.limit == nil)
    #expect(plain.readings.inputTokensTotal.isEmpty)
    #expect(RateHeaders(isFast: true) { values[$0] }.readings.outputTokens.limit == 80_000)
    #expect(RateHeaders { _ in nil }.isEmpty)
  }

  @Test("P20: the limit of a header counts at once, up and down, and scales the balance")
  func limitChanges() {
    var budget = GroupBudget(configuration: .plain(input: 10_000_000), now: .zero)
    _ = budget.submit(request(1, input: 4_000_000), now: .zero)
    _ = budget.advance(now: .zero)
    budget.observe(headers(date: 0, limit: 2_000_000), now: .zero)
    #expect(budget.units(.inputTokens, at: .zero) == 1_200_000)
    #expect(budget.units(.inputTokens, at: at(6)) == 1_400_000)
    budget.observe(headers(date: 6, limit: 10_000_000), now: at(6))
    #expect(budget.units(.inputTokens, at: at(6)) == 7_000_000)
    budget.observe(headers(date: 3, limit: 2_000_000), now: at(6))
    #expect(budget.report(now: at(6)).dimensions[0].limit == 10_000_000, "older than the newest: ignored")
    #expect(budget.report(now: at(6)).dimensions[0].source == .headers)
  }

  @Test("P21: a configuration set again and again admits nothing in addition")
  func reload() {
    let plain = BudgetConfiguration.plain(requests: 600, burst: .seconds(1))
    var other = plain
    other.limits = .limits(requests: 300)
    var budget = GroupBudget(configuration: plain, now: .zero)
    for number in 0..<500 { _ = budget.submit(request(UInt64(number)), now: .zero) }
    var count = 0
    for step in 0..<100 {
      budget.configure(plain, now: at(Double(step) / 10))
      count += budget.advance(now: at(Double(step) / 10)).count
    }
    #expect(count == 10 + 99)
    for _ in 0..<100 {
      budget.configure(other, now: at(9.9))
      budget.configure(plain, now: at(9.9))
    }
    #expect(budget.advance(now: at(9.9)).isEmpty)
  }

  @Test("P24: a 429 whose code names a spend limit stops everybody until somebody resumes")
  func spendLimit() {
    let verdict = UpstreamVerdict(status: 429, errorType: "rate_limit_error", errorCode: "enforced_spend_limit_reached")
    #expect(verdict == .spendLimited(code: "enforced_spend_limit_reached", retryAfter: nil))
    var generator = SeededGenerator(seed: 5)
    var budget = GroupBudget(configuration: .plain(requests: 6_000), now: .zero)
    _ = budget.submit(request(1), now: .zero)
    _ = budget.advance(now: .zero)
    let decision = budget.reject(GrantID(client: "pod", number: 1), verdict: verdict, now: .zero, using: &generator)
    let refusal = Refusal.upstreamSpendLimit(code: "enforced_spend_limit_reached")
    #expect(decision == .tellClient(refusal))
    #expect(!refusal.isWorthRetrying)
    #expect(budget.submit(request(2), now: at(1)) == .refused(refusal))
    #expect(budget.report(now: at(1)).standing == refusal)
    budget.resume(now: at(2))
    #expect(budget.submit(request(2), now: at(2)) == .queued)
    #expect(budget.advance(now: at(2)).count == 1)
  }

  @Test("Answers are told apart by status and code")
  func verdicts() {
    #expect(
      UpstreamVerdict(status: 429, errorCode: "ramp_limit_exceeded", retryAfter: .seconds(4))
        == .rampLimited(retryAfter: .seconds(4)))
    #expect(UpstreamVerdict(status: 429) == .rateLimited(retryAfter: nil))
    #expect(UpstreamVerdict(status: 529) == .overloaded)
    #expect(UpstreamVerdict(status: 400) == .settled)
    #expect(
      UpstreamVerdict(status: 400, message: "You have reached your specified API usage limits.")
        == .spendLimited(code: "specified_usage_limit", retryAfter: nil))
    #expect(
      UpstreamVerdict(status: 402, errorType: "billing_error") == .spendLimited(code: "billing_error", retryAfter: nil))
  }

  @Test("Use by others shows as the difference of measurements, is subtracted, and goes away again")
  func foreignUse() {
    var budget = GroupBudget(configuration: .plain(input: 600_000), now: .zero)
    var upstream = 600_000.0
    var number: UInt64 = 0
    for second in 1...400 {
      let now = at(Double(second))
      upstream = min(600_000, upstream + 10_000)
      // Own use of 5,000 a second, foreign use of 3,000 a second in the first half.
      number += 1
      _ = budget.submit(request(number, input: 5_000), now: now)
      for id in granted(budget.advance(now: now)) {
        upstream -= 5_000
        budget.settle(id, usage: Usage(input: 5_000, output: 1), isFinal: true, now: now)
      }
      upstream -= second <= 200 ? 7_000 : 0
      upstream = max(upstream, 0)
      budget.observe(
        headers(date: Double(second), limit: 600_000, remaining: Int64((upstream / 1000).rounded()) * 1000), now: now)
      if second == 195 {
        let foreign = budget.report(now: now).dimensions[0].foreign
        #expect((330_000...450_000).contains(foreign), "of 420,000 a minute: \(foreign)")
      }
    }
    #expect(budget.report(now: at(400)).dimensions[0].foreign < 60_000)
  }

  @Test("Resets that don't fit the limit show a smaller bucket, which is then not overfilled")
  func refillMismatch() {
    var budget = GroupBudget(configuration: .plain(input: 600_000, burst: .seconds(10)), now: .zero)
    #expect(budget.units(.inputTokens, at: .zero) == 100_000)
    for second in 0..<10 {
      // Full at 20,000, two seconds' worth.
      budget.observe(
        headers(date: Double(second), limit: 600_000, remaining: 20_000, reset: Double(second)), now: at(Double(second))
      )
    }
    let report = budget.report(now: at(10)).dimensions[0]
    #expect(report.isMismatched)
    #expect(report.foreign == 0)
    #expect(budget.units(.inputTokens, at: at(100)) <= 20_000)
  }

  @Test("A 429 takes a tenth off the target, at most down to 70 %, and half a percent comes back each minute")
  func targetControl() {
    var generator = SeededGenerator(seed: 5)
    var budget = GroupBudget(configuration: .plain(requests: 6_000), now: .zero)
    for episode in 0..<10 {
      _ = budget.reject(
        GrantID(client: "gone", number: 1), verdict: .rateLimited(retryAfter: .seconds(1)),
        now: at(Double(episode) * 10),
        using: &generator)
      if episode == 0 { #expect(budget.report(now: .zero).dimensions[0].targetPercent == 90) }
    }
    #expect(budget.report(now: at(90)).dimensions[0].targetPercent == 70)
    #expect(budget.report(now: at(90 + 600)).dimensions[0].targetPercent == 75)
    #expect(budget.report(now: at(90 + 7_200)).dimensions[0].targetPercent == 100)
  }

  @Test("A 429 that our own burst explains shortens the burst and leaves the rate as it is")
  func burstControl() {
    var generator = SeededGenerator(seed: 6)
    var budget = GroupBudget(configuration: .plain(requests: 6_000, burst: .seconds(10)), now: .zero)
    for number in 0..<1_000 { _ = budget.submit(request(UInt64(number)), now: .zero) }
    #expect(granted(budget.advance(now: .zero)).count == 1_000)
    for depth in [500, 500] as [Int64] {
      // The second one is of the same episode: the requests were in flight together.
      _ = budget.reject(
        GrantID(client: "gone", number: 1), verdict: .rateLimited(retryAfter: .seconds(1)), now: at(1),
        using: &generator)
      #expect(budget.units(.requests, at: at(60)) == depth)
    }
    #expect(budget.report(now: at(1)).dimensions[0].targetPercent == 100)
    _ = budget.advance(now: at(1_800))
    #expect(budget.units(.requests, at: at(1_900)) == 1_000, "2 % of the depth come back a minute")
  }

  @Test("A 429 that requests larger than their estimates explain is taken back once they have told their size")
  func acquittal() {
    var generator = SeededGenerator(seed: 6)
    var budget = GroupBudget(configuration: .plain(input: 600_000, burst: .seconds(5)), now: .zero)
    for number in 1...10 as ClosedRange<UInt64> { _ = budget.submit(request(number, input: 1_000), now: at(20)) }
    #expect(granted(budget.advance(now: at(20))).count == 10)
    // 10,000 of 50,000 are charged here, 60,000 upstream.
    _ = budget.reject(
      GrantID(client: "pod", number: 10), verdict: .rateLimited(retryAfter: .seconds(1)),
      headers: headers(date: 20, limit: 600_000, remaining: 0), now: at(20), using: &generator)
    #expect(budget.report(now: at(20)).dimensions[0].targetPercent == 90)
    for number in 1...9 as ClosedRange<UInt64> {
      budget.settle(
        GrantID(client: "pod", number: number), usage: Usage(input: 6_000, output: 1), isFinal: true, now: at(22))
    }
    _ = budget.advance(now: at(31))
    #expect(budget.report(now: at(31)).dimensions[0].targetPercent == 100)
  }

  @Test("A request that is refused although more remains than it asked for asks for twice that, and isn't sent before")
  func enlarged() {
    var generator = SeededGenerator(seed: 7)
    var budget = GroupBudget(configuration: .plain(input: 600_000, burst: .seconds(10)), now: .zero)
    _ = budget.submit(request(1, input: 1_000), now: .zero)
    #expect(granted(budget.advance(now: .zero)).count == 1)
    _ = budget.reject(
      GrantID(client: "pod", number: 1), verdict: .rateLimited(retryAfter: .seconds(1)),
      headers: headers(date: 0, limit: 600_000, remaining: 20_000), now: .zero, using: &generator)
    #expect(budget.report(now: .zero).dimensions[0].targetPercent == 100, "the rate wasn't the cause")
    let again = budget.run(from: at(0.1), to: at(60)).first { !granted([$0.outcome]).isEmpty }
    // 20,500 (remaining is rounded) and 10,000 a second: 40,000 after 1.95 s.
    #expect(again.map { at(1.9) <= $0.time && $0.time <= at(2.5) } == true, "\(String(describing: again?.time))")
    #expect(budget.totalCharged(.inputTokens) == 40_000)
  }

  @Test("A large request that upstream's headers have shown already is charged once, not twice")
  func chargedOnce() {
    var budget = GroupBudget(configuration: .plain(input: 600_000), now: .zero)
    _ = budget.submit(request(1, input: 1_000), now: .zero)
    #expect(granted(budget.advance(now: .zero)).count == 1)
    budget.observe(headers(date: 0, limit: 600_000, remaining: 500_000), now: .zero)
    #expect(budget.units(.inputTokens, at: .zero) == 500_500)
    budget.settle(GrantID(client: "pod", number: 1), usage: Usage(input: 100_000, output: 1), isFinal: true, now: at(1))
    // Full when it is settled, less the 99,000 that come in addition; not 500,500 + 10,000 - 99,000.
    #expect(budget.units(.inputTokens, at: at(1)) == 501_000)
  }

  @Test("After idle time use grows by half a minute's use a minute at most; a ramp 429 halves the slope")
  func ramp() {
    var configuration = BudgetConfiguration.plain(input: 6_000_000, burst: .seconds(1))
    configuration.ramp = RampPolicy(slopePercentPerMinute: 50, basePercent: 10)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    var minutes = [Int64](repeating: 0, count: 8)
    var number: UInt64 = 0
    var now = BudgetTime.zero
    while now < at(480) {
      while budget.waitingCount < 50 {
        number += 1
        _ = budget.submit(request(number, input: 5_000), now: now)
      }
      for id in granted(budget.advance(now: now)) {
        minutes[Int(now.nanoseconds / 60_000_000_000)] += 5_000
        budget.settle(id, usage: Usage(input: 5_000, output: 1), isFinal: true, now: now)
      }
      now = max(budget.nextDeadline(now: now) ?? now, now + .milliseconds(20))
    }
    #expect(minutes[0] <= 1_000_000, "a tenth of the limit, and growth on it")
    for (before, after) in zip(minutes, minutes.dropFirst()) {
      #expect(Double(after) <= Double(before) * 1.55 + 100_000, "\(minutes)")
    }
    #expect(minutes[7] > 5_000_000, "\(minutes)")
  }
}
