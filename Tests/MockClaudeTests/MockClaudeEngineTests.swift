import MockClaude
import Testing

let start = MockTime(seconds: 1_790_000_000)
let account = Account(organization: "org", workspace: "wrkspc_a")
let sonnet = "claude-sonnet-4-5"

/// A configuration without chance: exact estimates, answers of 100 tokens at 100 a second after one second.
func exact(_ change: (inout MockConfiguration) -> Void = { _ in }) -> MockConfiguration {
  var configuration = MockConfiguration()
  configuration.inputEstimateErrorPercent = 0
  configuration.pace.timeToFirstToken = 1
  configuration.pace.tokensPerSecond = 100
  configuration.pace.outputMedian = 100
  configuration.pace.outputSigma = 0
  change(&configuration)
  return configuration
}

/// A configuration whose Sonnet 4 pool has these limits.
func limited(
  requests: Int64 = 10_000, input: Int64 = 10_000_000, output: Int64 = 2_000_000, depth: Double = 60,
  _ change: (inout MockConfiguration) -> Void = { _ in }
) -> MockConfiguration {
  exact {
    $0.depthSeconds = depth
    $0.limits = [LimitChange(limits: [.requests: requests, .inputTokens: input, .outputTokens: output])]
    change(&$0)
  }
}

func request(
  input: Int = 1000, output: Int? = nil, maxTokens: Int = 128_000, cache: CachePlan = CachePlan(),
  identity: UInt64? = nil
) -> MessageRequest {
  MessageRequest(
    account: account, model: sonnet, inputTokens: input, outputTokens: output, maxTokens: maxTokens, cache: cache,
    identity: identity)
}

extension Admission {
  var generation: Generation? {
    guard case .admitted(let generation) = self else { return nil }
    return generation
  }

  var error: APIError? {
    guard case .rejected(let rejection) = self else { return nil }
    return rejection.error
  }
}

extension MockClaudeEngine {
  /// Level of a bucket of the Sonnet 4 pool.
  mutating func level(_ dimension: Dimension, at now: MockTime, workspace: String? = nil) -> Int64? {
    report(organization: "org", group: "claude-sonnet-4", at: now)?.buckets
      .first { $0.dimension == dimension && $0.workspace == workspace }?.level
  }
}

@Suite struct MockClaudeEngineTests {
  @Test(
    "Models of a pool share it, and dates in names don't matter",
    arguments: [
      ("claude-opus-4-8", "claude-opus-4"), ("claude-opus-4-5-20251101", "claude-opus-4"),
      ("claude-sonnet-4-6", "claude-sonnet-4"), ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
      ("claude-3-5-haiku-latest", "claude-haiku-3-5"), ("claude-opus-5-5", "claude-opus-5-5"),
      ("claude-opus-5", "claude-opus-5"),
    ])
  func groups(model: String, group: String) {
    let engine = MockClaudeEngine(configuration: exact(), start: start)
    #expect(engine.group(of: model)?.name == group)
  }

  @Test("An unknown model is not found")
  func unknownModel() {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    let error = engine.admit(MessageRequest(account: account, model: "gpt-9", inputTokens: 1), at: start).error
    #expect(error?.status == 404)
    #expect(error?.message == "model: gpt-9")
  }

  @Test("The bucket starts full and refills continuously", arguments: [1.0, 5, 60])
  func continuousRefill(depth: Double) {
    var engine = MockClaudeEngine(configuration: limited(requests: 600, depth: depth), start: start)
    let burst = Int(10 * depth)
    for _ in 0..<burst { #expect(engine.admit(request(), at: start).generation != nil) }
    #expect(engine.admit(request(), at: start).error?.dimension == .requests)
    // 600 a minute are one each 100 ms.
    #expect(engine.admit(request(), at: start + .milliseconds(99)).generation == nil)
    #expect(engine.admit(request(), at: start + .milliseconds(100)).generation != nil)
    #expect(engine.admit(request(), at: start + .milliseconds(150)).generation == nil)
  }

  @Test("A refused request debits nothing")
  func refusalIsFree() {
    var engine = MockClaudeEngine(configuration: limited(requests: 60_000, input: 60_000, depth: 1), start: start)
    #expect(engine.admit(request(input: 1000), at: start).generation != nil)
    for _ in 0..<1000 { #expect(engine.admit(request(input: 900), at: start).error?.dimension == .inputTokens) }
    #expect(engine.level(.inputTokens, at: start) == 0)
    #expect(engine.level(.requests, at: start) == 999)
    #expect(engine.admit(request(input: 100), at: start + .milliseconds(100)).generation != nil)
  }

  @Test("retry-after is the time until the request would pass, in whole seconds, and the request passes then")
  func retryAfter() {
    var engine = MockClaudeEngine(configuration: limited(input: 60_000), start: start)
    #expect(engine.admit(request(input: 58_500), at: start).generation != nil)
    let error = engine.admit(request(input: 4000), at: start).error
    #expect(error?.retryAfter == 3)
    #expect(error?.shouldRetry == true)
    #expect(error?.message.contains("60,000 input tokens per minute") == true)
    #expect(engine.admit(request(input: 4000), at: start + .seconds(2)).generation == nil)
    #expect(engine.admit(request(input: 4000), at: start + .seconds(3)).generation != nil)
  }

  @Test("retry-after is at least one second")
  func retryAfterMinimum() {
    var engine = MockClaudeEngine(configuration: limited(requests: 600, depth: 1), start: start)
    for _ in 0..<10 { _ = engine.admit(request(), at: start) }
    #expect(engine.admit(request(), at: start).error?.retryAfter == 1)
  }

  @Test("The same request is refused again before its retry-after, and the oracle counts it")
  func earlyRetry() {
    var engine = MockClaudeEngine(configuration: limited(requests: 600, depth: 1), start: start)
    for _ in 0..<10 { _ = engine.admit(request(), at: start) }
    #expect(engine.admit(request(identity: 7), at: start).error?.retryAfter == 1)
    // Other requests pass by now; this one was told to wait.
    #expect(engine.admit(request(identity: 7), at: start + .milliseconds(500)).error?.retryAfter == 1)
    #expect(engine.admit(request(identity: 8), at: start + .milliseconds(500)).generation != nil)
    #expect(engine.admit(request(identity: 7), at: start + .milliseconds(1000)).generation != nil)
    let report = engine.report(at: start + .seconds(1))
    #expect(report.attemptsBeforeRetryAfter == 1)
    #expect(report.retryCount == 2)
    #expect(report.retries.map(\.spacingSeconds) == [0.5, 0.5])
  }

  @Test("Repetitions are recognised for ten minutes")
  func repetitionMemory() {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    _ = engine.admit(request(identity: 1), at: start)
    _ = engine.admit(request(identity: 1), at: start + .seconds(599))
    _ = engine.admit(request(identity: 1), at: start + .seconds(1300))
    #expect(engine.report(at: start + .seconds(1300)).retries.map(\.attempt) == [2])
  }

  @Test("A request larger than the bucket passes when the bucket is full")
  func largerThanBucket() {
    var engine = MockClaudeEngine(configuration: limited(input: 60_000, depth: 1), start: start)
    #expect(engine.admit(request(input: 30_000), at: start).generation != nil)
    #expect(engine.level(.inputTokens, at: start) == -29_000)
    #expect(engine.admit(request(input: 30_000), at: start).error?.retryAfter == 30)
  }

  @Test("The input estimate is a quarter of the bytes, replaced by the truth at message_start")
  func estimateIsCorrected() throws {
    var engine = MockClaudeEngine(configuration: limited(input: 100_000), start: start)
    var message = request(input: 60_000)
    message.bodyBytes = 120_000
    let generation = try #require(engine.admit(message, at: start).generation)
    #expect(generation.inputEstimate == 30_000)
    #expect(generation.snapshot.inputTokens?.remaining == 70_000)
    #expect(engine.level(.inputTokens, at: start) == 70_000)
    // One second of refill, then the other 30,000.
    #expect(engine.level(.inputTokens, at: start + .seconds(1)) == 41_666)
  }

  @Test("The error of the estimate stays within its bounds and belongs to the body")
  func estimateError() throws {
    var engine = MockClaudeEngine(configuration: exact { $0.inputEstimateErrorPercent = 20 }, start: start)
    var seen: Set<Int> = []
    for identity in UInt64(0)..<200 {
      let first = try #require(engine.admit(request(identity: identity), at: start).generation)
      let second = try #require(engine.admit(request(identity: identity), at: start).generation)
      #expect(first.inputEstimate == second.inputEstimate)
      #expect((800...1200).contains(first.inputEstimate))
      seen.insert(first.inputEstimate)
    }
    #expect(seen.count > 20)
  }

  @Test("Output is debited as it is produced, token by token")
  func outputAsProduced() throws {
    var engine = MockClaudeEngine(configuration: limited(output: 6000), start: start)
    let generation = try #require(engine.admit(request(output: 2000), at: start).generation)
    #expect(generation.startsAt == start + .seconds(1))
    #expect(generation.endsAt == start + .seconds(21))
    #expect(engine.level(.outputTokens, at: start + .seconds(1)) == 6000)
    // 100 a second go out, 100 come in.
    #expect(engine.level(.outputTokens, at: start + .seconds(11)) == 6000)
    #expect(engine.progress(of: generation.number, at: start + .seconds(11)) == .running(outputTokens: 1000))
    #expect(engine.progress(of: generation.number, at: start + .seconds(21)) == .ended)
    let report = engine.report(organization: "org", group: "claude-sonnet-4", at: start + .seconds(30))
    #expect(report?.outputTokens == 2000)
    #expect(report?.outputTokensPerSecond.reduce(0, +) == 2000)
    #expect(report?.outputTokensPerSecond[5] == 100)
    #expect(report?.peaks.map(\.outputTokens) == [100, 500, 2000])
  }

  @Test("At an empty output bucket new requests are refused and running streams go on")
  func outputExhausted() throws {
    var engine = MockClaudeEngine(configuration: limited(output: 600, depth: 1), start: start)
    let generation = try #require(engine.admit(request(output: 500), at: start).generation)
    let error = engine.admit(request(), at: start + .seconds(2)).error
    #expect(error?.dimension == .outputTokens)
    #expect(engine.progress(of: generation.number, at: start + .seconds(2)) == .running(outputTokens: 100))
    #expect(engine.progress(of: generation.number, at: start + .seconds(6)) == .ended)
    // 500 of output against 10 + 5 s of refill: empty for 44 s more.
    #expect(engine.admit(request(), at: start + .seconds(6)).error?.retryAfter == 45)
  }

  @Test("Where it is switched on, an empty output bucket cuts the stream")
  func outputCuts() throws {
    var engine = MockClaudeEngine(
      configuration: limited(output: 600, depth: 1) { $0.cutsStreamsWhenEmpty = true }, start: start)
    let generation = try #require(engine.admit(request(output: 500), at: start).generation)
    #expect(engine.progress(of: generation.number, at: start + .milliseconds(1050)) == .running(outputTokens: 5))
    #expect(engine.progress(of: generation.number, at: start + .seconds(2)) == .cut)
    #expect(engine.charges(at: start + .seconds(9)).map(\.usage.outputTokens) == [100])
    #expect(engine.charges(at: start + .seconds(9)).map(\.outcome) == [.cut])
  }

  @Test("max_tokens never influences a limit, and bounds the answer", arguments: [0, 1, 50, 128_000])
  func maxTokens(maximum: Int) throws {
    var engine = MockClaudeEngine(configuration: limited(output: 1000), start: start)
    let generation = try #require(engine.admit(request(output: 100, maxTokens: maximum), at: start).generation)
    #expect(generation.snapshot.outputTokens?.remaining == 1000)
    #expect(generation.usage.outputTokens == min(maximum, 100))
    #expect(generation.stopReason == (maximum < 100 ? "max_tokens" : "end_turn"))
  }

  @Test("On disconnect production stops and what was produced stays charged")
  func disconnect() throws {
    var engine = MockClaudeEngine(configuration: limited(output: 6000), start: start)
    let generation = try #require(engine.admit(request(output: 2000), at: start).generation)
    engine.disconnect(generation.number, at: start + .milliseconds(3005))
    engine.disconnect(generation.number, at: start + .seconds(4))
    let charge = engine.charges(at: start + .seconds(60)).first
    #expect(charge?.usage.outputTokens == 200)
    #expect(charge?.outcome == .disconnected)
    #expect(engine.report(at: start + .seconds(60)).pools[0].outputTokens == 200)
    #expect(engine.report(at: start + .seconds(60)).pools[0].running == 0)
  }

  @Test("A disconnect before the answer begins charges the input and no output")
  func disconnectEarly() throws {
    var engine = MockClaudeEngine(configuration: limited(input: 100_000), start: start)
    var message = request(input: 8000)
    message.bodyBytes = 40_000
    let generation = try #require(engine.admit(message, at: start).generation)
    engine.disconnect(generation.number, at: start)
    #expect(engine.level(.inputTokens, at: start) == 92_000)
    #expect(engine.charges(at: start).map(\.usage.outputTokens) == [0])
  }

  @Test("Levels scale with a limit that changes: no refill, no loss", arguments: [200_000, 1_000_000, 4_000_000])
  func limitChange(limit: Int64) {
    var engine = MockClaudeEngine(configuration: limited(input: 1_000_000), start: start)
    _ = engine.admit(request(input: 250_000), at: start)
    #expect(engine.level(.inputTokens, at: start) == 750_000)
    engine.setLimits(LimitChange(limits: [.inputTokens: limit]), at: start)
    #expect(engine.level(.inputTokens, at: start) == limit * 3 / 4)
    for _ in 0..<100 { engine.setLimits(LimitChange(limits: [.inputTokens: limit]), at: start) }
    #expect(engine.level(.inputTokens, at: start) == limit * 3 / 4)
  }

  @Test("A change of tier moves all pools")
  func tierChange() {
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    _ = engine.admit(request(), at: start)
    engine.setTier(.start, at: start)
    let limits = engine.report(at: start).pools[0].buckets.map(\.limit)
    #expect(limits == [1000, 2_000_000, 400_000])
  }

  @Test("Foreign load takes its share of the refill")
  func foreignLoad() {
    var engine = MockClaudeEngine(configuration: limited(requests: 600, depth: 1), start: start)
    for _ in 0..<10 { _ = engine.admit(request(), at: start) }
    engine.setForeignLoad(ForeignLoad(percent: 50), at: start)
    var admitted = 0
    for step in 1...600 where engine.admit(request(), at: start + .milliseconds(step * 100)).generation != nil {
      admitted += 1
    }
    #expect(admitted == 300)
  }

  @Test("A workspace limit of the total kind counts cache reads while the organisation has room")
  func workspaceTotal() throws {
    var engine = MockClaudeEngine(configuration: exact { $0.minimumCacheableTokens = 100 }, start: start)
    engine.setLimits(LimitChange(limits: [:]), at: start)
    _ = engine.admit(request(input: 10_000, cache: CachePlan(prefix: 1, tokens: 10_000)), at: start)
    engine.setLimits(LimitChange(workspace: "wrkspc_a", limits: [.inputTokensTotal: 12_000]), at: start + .seconds(2))
    let cached = request(input: 10_000, cache: CachePlan(prefix: 1, tokens: 10_000))
    let first = try #require(engine.admit(cached, at: start + .seconds(2)).generation)
    #expect(first.usage.cacheReadTokens == 10_000)
    #expect(first.usage.uncachedInput == 0)
    let error = engine.admit(cached, at: start + .seconds(2)).error
    #expect(error?.dimension == .inputTokensTotal)
    #expect(error?.message.contains("workspace's rate limit of 12,000") == true)
    #expect(first.snapshot.tokens?.limit == 2_012_000)
  }

  @Test("Two organisations and two pools don't touch each other")
  func independence() {
    var engine = MockClaudeEngine(configuration: limited(requests: 60, depth: 1), start: start)
    #expect(engine.admit(request(), at: start).generation != nil)
    #expect(engine.admit(request(), at: start).generation == nil)
    let other = Account(organization: "other", workspace: "w")
    #expect(engine.admit(MessageRequest(account: other, model: sonnet, inputTokens: 1), at: start).generation != nil)
    let opus = MessageRequest(account: account, model: "claude-opus-4-6", inputTokens: 1)
    #expect(engine.admit(opus, at: start).generation != nil)
  }

  @Test("Fast mode has its own buckets, and none unless it is enabled")
  func fastMode() throws {
    var fast = request()
    fast.isFast = true
    var engine = MockClaudeEngine(configuration: exact(), start: start)
    #expect(engine.admit(fast, at: start).error?.dimension == .fastInputTokens)
    engine.setLimits(LimitChange(limits: [.fastInputTokens: 50_000, .fastOutputTokens: 9000]), at: start)
    let generation = try #require(engine.admit(fast, at: start).generation)
    #expect(generation.snapshot.fastInputTokens?.remaining == 49_000)
    #expect(generation.snapshot.inputTokens?.remaining == 10_000_000)
  }

  @Test("The same seed gives the same run")
  func determinism() {
    func run() -> [ChargeRecord] {
      var configuration = MockConfiguration()
      configuration.faults = [FaultRule(.overloaded(retryAfter: nil), probability: 0.3)]
      var engine = MockClaudeEngine(configuration: configuration, start: start)
      for step in 0..<500 { _ = engine.admit(request(identity: UInt64(step)), at: start + .milliseconds(step * 37)) }
      return engine.charges(at: start + .seconds(1000))
    }
    let first = run()
    #expect(first == run())
    #expect((300..<400).contains(first.count))
  }

  @Test("At full demand over ten minutes exactly the limit and one bucket are admitted")
  func conservation() {
    var engine = MockClaudeEngine(configuration: limited(input: 6_000_000, depth: 5), start: start)
    for step in 0..<60_000 { _ = engine.admit(request(input: 4000), at: start + .milliseconds(step * 10)) }
    let tokens = engine.report(at: start + .seconds(600)).pools[0].inputTokens
    #expect((60_490_000...60_500_000).contains(tokens))
  }
}
