import MockClaude
import MockClaudeServer
import NIOCore
import RateBudget
import SlowTests
import SwarmCoordination
import Testing

/// Rows of trouble with gateways, limiters and clients that concern the proxy; those of the budget's arithmetic alone are
/// in RateBudgetTests.
@Suite(.alone) struct ProxyCaseTests {
  // MARK: Retries

  @Test("P13 an upstream 429 with retry-after 2, then 200: the client sees only the 200")
  func retryAfter() async throws {
    try await Rig.withScript(script: { index, _ in
      index == 0 ? ScriptedUpstream.limited(["retry-after: 2"]) : ScriptedUpstream.success
    }) { rig, upstream in
      let answer = try await rig.send()
      #expect(answer.status == 200)
      let times = upstream.requests.map(\.at)
      #expect(times.count == 2 && times[1] - times[0] >= 2_000_000_000)
      #expect(rig.records.retries == [.rate])
    }
  }

  @Test("P14 twenty clients that receive the same retry-after come back spread out, none before it")
  func spread() async throws {
    let clients = 20
    try await Rig.withScript(script: { index, _ in
      index < clients ? ScriptedUpstream.limited(["retry-after: 20"]) : ScriptedUpstream.success
    }) { rig, upstream in
      let answers = try await withThrowingTaskGroup(of: Int?.self) { group in
        for _ in 0..<clients { group.addTask { try await rig.send().status } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      #expect(answers == Array(repeating: 200, count: clients))
      let times = upstream.requests.map(\.at)
      #expect(times.count == 2 * clients)
      let (first, second) = (times.prefix(clients), times.dropFirst(clients))
      let (earliest, latest) = (second.min() ?? 0, second.max() ?? 0)
      #expect(earliest - (first.min() ?? 0) >= 20_000_000_000)
      // Spread over a quarter of the wait: by chance alone all twenty hardly ever fall into its first fifth.
      #expect(latest - earliest > 1_000_000_000)
    }
  }

  @Test("P15 a retry-after of 62,291 is told to the client at once, with x-should-retry: false")
  func longPause() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.limited(["retry-after: 62291"]) }) { rig, upstream in
      for _ in 0..<3 {
        let answer = try await rig.send()
        #expect(answer.status == 429)
        #expect(answer.header("x-should-retry") == "false")
        #expect(answer.contains("pause of 62"))
        #expect(answer.contains("rate_limit_error"))
      }
      #expect(upstream.requests.count == 1)
    }
  }

  @Test("P22 a 529, then 200: it is retried, and the budget's use is unchanged by the 529")
  func overloaded() async throws {
    var configuration = Rig.fast()
    configuration.faults = [FaultRule(.overloaded(retryAfter: nil), count: 1)]
    try await Rig.withMock(configuration) { rig, mock in
      let answer = try await rig.send("<<out=5>>")
      #expect(answer.status == 200)
      #expect(rig.records.retries == [.upstream])
      #expect(rig.authority.totalCharged(.requests, of: Rig.key) == 1)
      let charges = mock.withAPI { $0.engine.charges(at: mock.clock.now) }
      #expect(rig.authority.totalCharged(.inputTokens, of: Rig.key) == Int64(charges.first?.usage.inputTokens ?? -1))
    }
  }

  @Test(
    "Failures before the first content are repeated, whatever they are",
    arguments: [
      "internal-error", "timeout", "bad-gateway", "unknown-gateway", "challenge", "reset-before-headers",
      "reset-after-headers", "stream-error-at-once",
    ])
  func failures(fault: String) async throws {
    var configuration = Rig.fast()
    configuration.faults = [FaultRule(try Fault(fault), count: 2)]
    try await Rig.withMock(configuration) { rig, _ in
      let answer = try await rig.send("<<out=5>>", stream: true)
      #expect(answer.status == 200)
      #expect(answer.count(of: "event: message_stop") == 1)
      #expect(answer.count(of: "event: message_start") == 1)
      #expect(rig.records.retries.count == 2)
    }
  }

  @Test("What says x-should-retry: false isn't repeated, and reaches the client as it is")
  func unavailable() async throws {
    var configuration = Rig.fast()
    configuration.faults = [FaultRule(.unavailable)]
    try await Rig.withMock(configuration) { rig, _ in
      let answer = try await rig.send()
      #expect(answer.status == 503 && answer.header("x-should-retry") == "false")
      #expect(rig.records.retries.isEmpty)
    }
  }

  @Test(
    "After a byte of content nothing is repeated: the client sees the stream break off",
    arguments: ["reset;after=20", "close;after=20"])
  func cut(fault: String) async throws {
    var configuration = Rig.fast()
    configuration.faults = [FaultRule(try Fault(fault))]
    try await Rig.withMock(configuration) { rig, mock in
      let answer = (try? await rig.send("<<out=40>>", stream: true)) ?? ""
      #expect(!answer.contains("message_stop") && !answer.hasSuffix("0\r\n\r\n"))
      #expect(rig.records.retries.isEmpty)
      #expect(mock.withAPI { $0.engine.charges(at: mock.clock.now).count } == 1)
      #expect(rig.records.settled.map(\.isComplete) == [false])
    }
  }

  @Test("A model that fails all the time is left alone for a minute, others aren't")
  func breaker() async throws {
    try await Rig.withScript(
      speed: 100,
      script: { _, request in
        String(decoding: request.body, as: UTF8.self).contains("opus")
          ? ScriptedUpstream.answer("529 Overloaded", ["content-type: application/json"], body: "{}")
          : ScriptedUpstream.success
      }
    ) { rig, upstream in
      let failing = Rig.request(body: Rig.message(model: "claude-opus-5"))
      async let lost = rig.exchange(failing)
      await rig.until { rig.records.events.contains { if case .opened = $0 { true } else { false } } }
      expectStatus(200, try await rig.send())
      expectStatus(529, try await lost)
      let times = upstream.requests.filter { String(decoding: $0.body, as: UTF8.self).contains("opus") }.map(\.at)
      try #require(times.count >= 6)
      // A tenth less at most, so that many pods don't probe at the same moment.
      #expect(times[5] - times[4] >= 54_000_000_000)
    }
  }

  // MARK: Headers and statuses

  @Test("P16 a response clock that is 120 s ahead or behind neither stalls nor hurries", arguments: [120, -120])
  func skew(seconds: Int) async throws {
    var configuration = Rig.fast()
    configuration.clock.dateSkewSeconds = seconds
    try await Rig.withMock(configuration, plan: BudgetPlan()) { rig, mock in
      for _ in 0..<30 { expectStatus(200, try await rig.send("<<out=5>>")) }
      let report = mock.withAPI { $0.engine.report(at: mock.clock.now) }
      #expect(report.pools.first?.admitted == 30)
      #expect(report.pools.first?.refused == [:])
      #expect(rig.authority.reports().first?.report.standing == nil)
    }
  }

  @Test(
    "P17 resets are read in every form that was seen",
    arguments: [
      "2026-05-18T11:43:16Z", "2026-05-18T11:43:16+00:00", "2026-05-18T11:43:16.250Z", "1779104596",
    ])
  func resets(text: String) async throws {
    let headers = [
      "content-type: application/json", "date: Mon, 18 May 2026 11:42:16 GMT",
      "anthropic-ratelimit-requests-limit: 50", "anthropic-ratelimit-requests-remaining: 49",
      "anthropic-ratelimit-requests-reset: \(text)",
    ]
    try await Rig.withScript(
      plan: BudgetPlan(),
      script: { _, _ in
        ScriptedUpstream.answer("200 OK", headers, body: #"{"usage":{"input_tokens":1,"output_tokens":1}}"#)
      }
    ) { rig, _ in
      let answer = try await rig.send()
      #expect(answer.status == 200)
      #expect(answer.header("anthropic-ratelimit-requests-reset") == text)
      let limits = rig.authority.reports().first?.report.dimensions
      #expect(limits?.first { $0.dimension == .requests }.map { $0.limit == 50 && $0.source == .headers } == true)
    }
  }

  @Test("P20 a limit that changes mid-run is followed within one response")
  func changedLimit() async throws {
    try await Rig.withMock(plan: BudgetPlan()) { rig, mock in
      func limit() -> Int64? {
        rig.authority.reports().first?.report.dimensions.first { $0.dimension == .inputTokens }?.limit
      }
      _ = try await rig.send("<<out=5>>")
      #expect(limit() == 10_000_000)
      mock.withAPI { api in
        var change = LimitChange()
        change.limits[.inputTokens] = 2_000_000
        api.engine.setLimits(change, at: mock.clock.now)
      }
      _ = try await rig.send("<<out=5>>")
      #expect(limit() == 2_000_000)
    }
  }

  @Test("P23 a streaming request that upstream answers 429 gets status 429, not 200")
  func streamRefused() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.limited(["retry-after: 62291"]) }) { rig, _ in
      let answer = try await rig.send(stream: true)
      #expect(answer.status == 429)
      #expect(answer.header("content-type") == "application/json")
    }
  }

  @Test("P24 a 429 that names a spend limit pauses the fleet and isn't retried")
  func spend() async throws {
    var configuration = Rig.fast()
    configuration.spend.organizationCap = 1
    configuration.spend.alreadySpent = 2
    try await Rig.withMock(configuration) { rig, mock in
      for _ in 0..<3 {
        let answer = try await rig.send(stream: true)
        #expect(answer.status == 429)
        #expect(answer.header("x-should-retry") == "false")
        #expect(answer.header("retry-after") == nil)
        #expect(answer.contains("enforced_spend_limit_reached"))
      }
      let report = mock.withAPI { $0.engine.report(at: mock.clock.now) }
      #expect(report.pools.first?.refused["enforced_spend_limit_reached"] == 1)
      #expect(rig.records.retries.isEmpty)
    }
  }

  @Test("A request that isn't admitted in time is answered 429 with a retry-after that clients honour")
  func deadline() async throws {
    let plan = BudgetPlan([
      .init(
        name: "wide",
        configuration: BudgetConfiguration(
          limits: PerDimension(requests: 1, inputTokens: nil, inputTokensTotal: nil, outputTokens: nil), ramp: nil))
    ])
    try await Rig.withScript(speed: 0, plan: plan, hold: .seconds(30), script: { _, _ in ScriptedUpstream.success }) {
      rig, upstream in
      expectStatus(200, try await rig.send())
      async let held = rig.send()
      await rig.until { rig.gateway.activity.waiting == 1 }
      // The budget has room again after a minute, but nobody holds a request that long here.
      (rig.clock as? MockDrivenClock)?.advance(by: .seconds(31))
      let answer = try await held
      expectStatus(429, answer)
      #expect(answer.header("retry-after").flatMap { Int($0) }.map { (1...55).contains($0) } == true)
      #expect(answer.contains(#""type":"rate_limit_error""#))
      #expect(!answer.contains("anthropic-ratelimit-unified"))
      #expect(upstream.requests.count == 1)
    }
  }

  // MARK: Several sidecars

  @Test("P02 three sidecars that each offer 0.9 of the limit stay within it together")
  func together() async throws {
    var configuration = Rig.fast()
    var limit = LimitChange()
    limit.limits[.requests] = 60
    limit.depthSeconds = 10
    configuration.limits = [limit]
    let plan = BudgetPlan([
      .init(
        name: "wide",
        configuration: BudgetConfiguration(
          limits: PerDimension(requests: 60, inputTokens: nil, inputTokensTotal: nil, outputTokens: nil),
          burst: .seconds(2), reservePercent: 0, ramp: nil))
    ])
    try await MockClaudeServer.withServer(configuration: configuration) { mock in
      let clock = MockDrivenClock(mock.clock)
      let authority = LocalAuthority(plan: plan, clock: clock)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await authority.run() }
        try await withThrowingTaskGroup(of: Void.self) { sidecars in
          for _ in 0..<3 {
            sidecars.addTask {
              try await Rig.with(upstream: mock.url, clock: clock, plan: plan, authority: authority) { rig in
                try await Self.offer(27, over: .seconds(30), to: rig)
              }
            }
          }
          try await sidecars.waitForAll()
        }
        group.cancelAll()
      }
      let report = mock.withAPI { $0.engine.report(at: mock.clock.now) }
      #expect(report.pools.first?.admitted == 81)
      #expect(report.pools.first?.refused == [:])
    }
  }

  /// Sends so many requests, evenly over a time, without waiting for answers; all must succeed.
  private static func offer(_ count: Int, over time: Duration, to rig: Rig) async throws {
    let start = rig.clock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<count {
        group.addTask {
          try await rig.clock.sleep(until: start + time * index / count)
          expectStatus(200, try await rig.send("<<out=1>>"))
        }
      }
      try await group.waitForAll()
    }
  }
}
