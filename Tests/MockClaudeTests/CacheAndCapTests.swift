import MockClaude
import Testing

@Suite struct CacheAndCapTests {
  private let prefix = CachePlan(prefix: 42, tokens: 8000)

  @Test("Others see a cache entry only after the first answer of its writer has begun")
  func visibility() throws {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    let first = try #require(engine.admit(request(input: 10_000, cache: prefix), at: start).generation)
    let cold = try #require(
      engine.admit(request(input: 10_000, cache: prefix), at: start + .milliseconds(999)).generation)
    let warm = try #require(engine.admit(request(input: 10_000, cache: prefix), at: start + .seconds(1)).generation)
    for generation in [first, cold] {
      #expect(generation.usage.cacheCreationTokens == 8000)
      #expect(generation.usage.inputTokens == 2000)
    }
    #expect(warm.usage.cacheReadTokens == 8000)
    #expect(warm.usage.cacheCreationTokens == 0)
    #expect(warm.inputEstimate == 2000)
  }

  @Test("An entry lives five minutes or an hour after its last use")
  func lifetime() throws {
    func reads(_ plan: CachePlan, _ seconds: [Int]) -> [Int] {
      var engine = MockClaudeEngine(configuration: exact(), start: start)
      return seconds.map { second in
        engine.admit(request(input: 10_000, cache: plan), at: start + .seconds(second)).generation?.usage
          .cacheReadTokens ?? -1
      }
    }
    #expect(reads(prefix, [0, 299, 595, 900]) == [0, 8000, 8000, 0])
    #expect(reads(CachePlan(prefix: 1, tokens: 8000, lifetime: .oneHour), [0, 3000, 6500]) == [0, 8000, 8000])
  }

  @Test("An entry belongs to a workspace and a model, and short prefixes are not cached")
  func cacheKeys() throws {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    _ = engine.admit(request(input: 10_000, cache: prefix), at: start)
    var other = request(input: 10_000, cache: prefix)
    other.account.workspace = "wrkspc_b"
    #expect(engine.admit(other, at: start + .seconds(2)).generation?.usage.cacheReadTokens == 0)
    other = request(input: 10_000, cache: prefix)
    other.model = "claude-sonnet-4-6"
    #expect(engine.admit(other, at: start + .seconds(2)).generation?.usage.cacheReadTokens == 0)
    let short = CachePlan(prefix: 3, tokens: 1000)
    #expect(engine.admit(request(input: 2000, cache: short), at: start).generation?.usage.cacheCreationTokens == 0)
  }

  @Test("Cache reads are free, except on the models that count them")
  func cacheReadsCount() throws {
    for (model, charged) in [(sonnet, 2000), ("claude-3-5-haiku-20241022", 10_000)] {
      var engine = MockClaudeEngine(configuration: exact(), start: start)
      var message = request(input: 10_000, cache: prefix)
      message.model = model
      _ = engine.admit(message, at: start)
      _ = engine.admit(message, at: start + .seconds(2))
      #expect(engine.report(at: start + .seconds(2)).pools[0].inputTokens == 10_000 + charged)
    }
  }

  @Test("Growth above the ramp is refused with its own code and a retry-after")
  func ramp() {
    var engine = MockClaudeEngine(
      configuration: exact {
        $0.ramp = RampLimit()
        $0.ramp?.allowance = 100_000
      }, start: start)
    #expect(engine.admit(request(input: 90_000), at: start).generation != nil)
    let error = engine.admit(request(input: 20_000), at: start + .seconds(1)).error
    #expect(error?.code == "ramp_limit_exceeded")
    #expect(error?.retryAfter == 15)
    // Two minutes later the first minute is the base: 1.5 × 90,100 + 100,000.
    #expect(engine.admit(request(input: 200_000), at: start + .seconds(130)).generation != nil)
    #expect(engine.report(at: start + .seconds(130)).pools[0].refused == ["ramp_limit_exceeded": 1])
  }

  @Test("At the organisation's spend cap the error has a code and no retry-after, until the month ends")
  func spendCap() throws {
    var engine = MockClaudeEngine(
      configuration: exact {
        $0.spend.organizationCap = 500
        $0.spend.alreadySpent = 499.99
      }, start: start)
    _ = engine.admit(request(input: 100_000), at: start)
    let error = try #require(engine.admit(request(), at: start + .seconds(10)).error)
    #expect((error.status, error.type) == (429, "rate_limit_error"))
    #expect(error.code == "enforced_spend_limit_reached")
    #expect(error.retryAfter == nil)
    #expect(error.message.contains("You will regain access on 2026-10-01 at 00:00 UTC."))
    #expect(engine.admit(request(), at: MockTime(year: 2026, month: 10, day: 1)).generation != nil)
  }

  @Test("A limit that the user set is 400, a Claude Code workspace's is 429 with retry-after")
  func ownLimits() throws {
    var engine = MockClaudeEngine(configuration: exact { $0.spend.ownLimit = 0 }, start: start)
    let own = try #require(engine.admit(request(), at: start).error)
    #expect((own.status, own.type) == (400, "invalid_request_error"))
    #expect(own.message.hasPrefix("You have reached your specified API usage limits"))
    engine = MockClaudeEngine(configuration: exact { $0.spend.workspaceLimit = 0 }, start: start)
    var message = request()
    message.account.kind = .claudeCode
    let workspace = try #require(engine.admit(message, at: start).error)
    #expect(workspace.status == 429)
    #expect((workspace.retryAfter ?? 0) > 3600)
  }

  @Test("Faults follow schedule, count and probability, and cost nothing")
  func faultPlan() {
    var engine = MockClaudeEngine(
      configuration: exact {
        $0.faults = [
          FaultRule(.internalError, skip: 1, count: 2), FaultRule(.overloaded(retryAfter: 5), from: 10, until: 20),
        ]
      }, start: start)
    let statuses = [0, 1, 2, 3, 10, 19, 20].map { second in
      engine.admit(request(), at: start + .seconds(second)).error?.status ?? 200
    }
    #expect(statuses == [200, 500, 500, 200, 529, 529, 200])
    let report = engine.report(at: start + .seconds(20)).pools[0]
    #expect(report.admitted == 3)
    #expect(report.refused == ["500": 2, "529": 2])
  }

  @Test("A fault inside an answer ends its charges there", arguments: [0, 40, 1000])
  func inStreamFault(tokens: Int) throws {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    var message = request(output: 100)
    message.fault = .inStream(.reset, afterTokens: tokens)
    let generation = try #require(engine.admit(message, at: start).generation)
    #expect(generation.usage.outputTokens == min(tokens, 100))
    #expect(engine.charges(at: start + .seconds(60)).map(\.usage.outputTokens) == [min(tokens, 100)])
    #expect(engine.charges(at: start + .seconds(60)).map(\.outcome) == [.faulted])
  }

  @Test("Every fault is written as it is read")
  func faultText() throws {
    for text in [
      "overloaded", "overloaded;retry-after=5", "internal-error", "unavailable", "timeout", "bad-gateway",
      "unknown-gateway", "challenge", "reset-before-headers", "stall-before-headers", "slow-read;bytes-per-second=10",
      "stream-error-at-once;type=rate_limit_error", "stream-error;after=20;type=overloaded_error",
      "reset-after-headers",
      "reset;after=3", "stall;after=3", "close;after=3", "end-without-stop;after=3",
    ] {
      #expect(try Fault(text).description == text)
    }
    #expect(throws: UnknownFault.self) { try Fault("explode") }
    #expect(throws: UnknownFault.self) { try Fault("reset;after=-1") }
  }
}
