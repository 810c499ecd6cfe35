extension MockClaudeEngine {
  /// Decides on a request.
  ///
  /// Order: model, fault, a running `retry-after` of the same request, spend caps, acceleration, requests, input, output.
  /// All checks come before any debit: a refused request costs nothing.
  package mutating func admit(_ request: MessageRequest, at time: MockTime) -> Admission {
    advance(to: time)
    let requestID = newRequestID()
    guard let groupIndex = groupIndex(of: request.model) else {
      return .rejected(Rejection(requestID: requestID, error: .notFound("model: \(request.model)")))
    }
    let pool = pool(organization: request.account.organization, group: groupIndex)
    let key = request.identity.map {
      AttemptTracker.Key(organization: request.account.organization, session: request.session, identity: $0)
    }
    let early = key.flatMap { attempts.arrive($0, now: now) }
    let fault =
      request.fault ?? faults.choose(group: groups[groupIndex].name, now: now, random: &faultDraws)
    if let fault, fault.inStream == nil {
      if case .slowRead = fault {
        // The body has been read by now; the server was slow.
      } else if let error = APIError(fault) {
        count(error, pool)
        if let key { attempts.refuse(key, error, now: now) }
        return .rejected(Rejection(requestID: requestID, error: error))
      } else {
        return .faulted(fault)
      }
    }
    advanceBuckets(of: pool)
    let usage = cache.usage(of: request, minimum: configuration.minimumCacheableTokens, now: now)
    let demand = demand(of: request, usage: usage, groupIndex: groupIndex, pool: pool)
    if let error = early ?? refusal(request, demand, pool) {
      count(error, pool)
      if let key, early == nil { attempts.refuse(key, error, now: now) }
      let showsRates = error.code == nil && error.dimension != nil
      return .rejected(
        Rejection(
          requestID: requestID, error: error, snapshot: showsRates ? snapshot(pool, request.account) : nil))
    }
    if let key { attempts.admit(key) }
    return .admitted(start(request, usage, demand, pool, fault, requestID))
  }

  private mutating func count(_ error: APIError, _ pool: Int) {
    pools[pool].refused[error.kind, default: 0] += 1
  }

  // MARK: What a request needs

  struct Need: Sendable {
    var dimension: Dimension
    var workspace: String?
    var bucket: Int
    /// Debited at admission; for output only a positive level is needed.
    var tokens: Int
    /// What is true of it at `message_start`.
    var actual: Int
  }

  /// What a request needs of each bucket, in the order of the checks.
  private func demand(of request: MessageRequest, usage: TokenUsage, groupIndex: Int, pool: Int) -> [Need] {
    let cacheReadsCount = groups[groupIndex].countsCacheReads
    let whole = estimate(request)
    let estimate = cacheReadsCount ? whole : max(0, whole - usage.cacheReadTokens)
    let actual = cacheReadsCount ? usage.totalInput : usage.uncachedInput
    let order: [(Dimension, Int, Int)] =
      request.isFast
      ? [(.requests, 1, 1), (.fastInputTokens, estimate, actual), (.fastOutputTokens, 0, 0)]
      : [
        (.requests, 1, 1), (.inputTokens, estimate, actual), (.inputTokensTotal, whole, usage.totalInput),
        (.outputTokens, 0, 0),
      ]
    var needs: [Need] = []
    for (dimension, tokens, actual) in order {
      if let bucket = pools[pool].buckets[dimension] {
        needs.append(Need(dimension: dimension, workspace: nil, bucket: bucket, tokens: tokens, actual: actual))
      }
      for own in pools[pool].workspaceBuckets
      where own.dimension == dimension && own.workspace == request.account.workspace {
        needs.append(
          Need(dimension: dimension, workspace: own.workspace, bucket: own.bucket, tokens: tokens, actual: actual))
      }
    }
    return needs
  }

  /// A quarter of the body's bytes, with an error that belongs to the body: the same request is estimated alike each time.
  private func estimate(_ request: MessageRequest) -> Int {
    let quarter = (request.bodyBytes + 3) / 4
    let range = configuration.inputEstimateErrorPercent
    guard range > 0 else { return quarter }
    let identity = request.identity ?? UInt64(truncatingIfNeeded: request.bodyBytes)
    let draw = Int(SeededGenerator.mix(configuration.seed ^ identity) % UInt64(2 * range + 1)) - range
    return max(1, quarter * (100 + draw) / 100)
  }

  // MARK: Refusals

  private mutating func refusal(_ request: MessageRequest, _ needs: [Need], _ pool: Int) -> APIError? {
    spend.advance(to: now)
    if let error = spend.refusal(for: request.account, limits: configuration.spend, now: now) { return error }
    if let ramp = configuration.ramp {
      let tokens = needs.first { $0.dimension == .inputTokens || $0.dimension == .fastInputTokens }?.tokens ?? 0
      pools[pool].series.advance(to: now)
      if let error = pools[pool].ramp.refusal(adding: tokens, series: pools[pool].series, limit: ramp, now: now) {
        return error
      }
    }
    if request.isFast, pools[pool].buckets[.fastInputTokens] == nil {
      return rateError(.fastInputTokens, limit: 0, workspace: nil, request, wait: nil)
    }
    guard let failed = needs.first(where: { !passes($0) }) else { return nil }
    let waits = needs.map { need -> Duration? in
      isOutput(need.dimension)
        ? buckets[need.bucket].waitUntilPositive : buckets[need.bucket].wait(for: Int64(need.tokens))
    }
    let wait = waits.contains(nil) ? nil : waits.compactMap { $0 }.max()
    return rateError(
      failed.dimension, limit: buckets[failed.bucket].limit, workspace: failed.workspace, request, wait: wait)
  }

  private func isOutput(_ dimension: Dimension) -> Bool {
    dimension == .outputTokens || dimension == .fastOutputTokens
  }

  private func passes(_ need: Need) -> Bool {
    isOutput(need.dimension)
      ? buckets[need.bucket].isPositive : buckets[need.bucket].admits(Int64(need.tokens))
  }

  private func rateError(
    _ dimension: Dimension, limit: Int64, workspace: String?, _ request: MessageRequest, wait: Duration?
  ) -> APIError {
    let seconds = wait.map { ($0.wholeNanoseconds + 999_999_999) / 1_000_000_000 } ?? 60
    let owner = workspace == nil ? "organization" : "workspace"
    return APIError(
      429, "rate_limit_error",
      "This request would exceed your \(owner)'s rate limit of \(limit.grouped) \(dimension.phrase) (org: "
        + "\(request.account.organization), model: \(request.model)). For details, refer to: "
        + "https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce "
        + "the prompt length or the maximum tokens requested, or try again later.",
      retryAfter: max(1, Int(seconds)), shouldRetry: true, dimension: dimension)
  }

  // MARK: Admission

  private mutating func start(
    _ request: MessageRequest, _ planned: TokenUsage, _ needs: [Need], _ pool: Int, _ fault: Fault?,
    _ requestID: String
  ) -> Generation {
    for need in needs where !isOutput(need.dimension) { buckets[need.bucket].debit(Int64(need.tokens)) }
    cache.touch(request, readTokens: planned.cacheReadTokens, now: now)
    let generation = plan(request, planned, needs, pool, fault, requestID)
    pools[pool].series.add(inputTokens: chargedInput(needs), at: now)
    pools[pool].running += 1
    pools[pool].peakRunning = max(pools[pool].peakRunning, pools[pool].running)
    running[generation.number] = Running(
      generation: generation, pool: pool,
      inputDebits: needs.filter { !isOutput($0.dimension) && $0.dimension != .requests }
        .map { ($0.bucket, $0.tokens, $0.actual) },
      outputBuckets: needs.filter { isOutput($0.dimension) }.map(\.bucket))
    queue.schedule(.begin, generation: generation.number, at: generation.startsAt)
    if generation.usage.outputTokens > 0 {
      queue.schedule(.emit, generation: generation.number, at: generation.firstTokenAt)
    }
    queue.schedule(.end, generation: generation.number, at: generation.endsAt)
    record(generation)
    return generation
  }

  /// The input that the organisation's cache-aware limit counts.
  private func chargedInput(_ needs: [Need]) -> Int {
    needs.first { $0.workspace == nil && ($0.dimension == .inputTokens || $0.dimension == .fastInputTokens) }?.actual
      ?? 0
  }

  private mutating func plan(
    _ request: MessageRequest, _ planned: TokenUsage, _ needs: [Need], _ pool: Int, _ fault: Fault?,
    _ requestID: String
  ) -> Generation {
    let pace = configuration.pace
    let wanted =
      request.outputTokens
      ?? max(1, Int(lengths.logNormal(median: max(1, pace.outputMedian), sigma: max(0, pace.outputSigma))))
    let full = max(0, min(wanted, request.maxTokens))
    var usage = planned
    usage.outputTokens = fault?.inStream.map { min(full, $0.afterTokens) } ?? full
    let jitter = pace.jitterPercent == 0 ? 0 : lengths.fraction() * 2 - 1
    let toFirst = pace.timeToFirstToken * (1 + jitter * Double(pace.jitterPercent) / 100)
    let startsAt = now + .milliseconds(Int64(max(0, toFirst) * 1000))
    let silence = request.silence ?? .milliseconds(Int64(configuration.stream.silence * 1000))
    let firstTokenAt = full > 0 ? startsAt + silence : startsAt
    let rate = Int64(max(1, pace.tokensPerSecond)) * 60
    let number = nextNumber
    nextNumber += 1
    let input = needs.first { $0.dimension == .inputTokens || $0.dimension == .fastInputTokens }
    return Generation(
      number: number, requestID: requestID, messageID: "msg_" + identifiers.base62(24), request: request,
      group: groups[pools[pool].key.group].name, usage: usage, plannedOutput: full,
      thinkingTokens: min(full, request.thinkingTokens ?? configuration.stream.thinkingTokens),
      stopReason: full < wanted || request.maxTokens == 0
        ? "max_tokens" : request.toolCall == nil ? "end_turn" : "tool_use",
      inputEstimate: input?.tokens ?? 0, admittedAt: now, startsAt: startsAt, firstTokenAt: firstTokenAt,
      endsAt: firstTokenAt + Generation.time(forTokens: usage.outputTokens, tokensPerMinute: rate),
      tokensPerMinute: rate, fault: fault, snapshot: snapshot(pool, request.account))
  }

  private mutating func record(_ generation: Generation) {
    let request = generation.request
    var usage = generation.usage
    usage.outputTokens = 0
    charges[generation.number] = ChargeRecord(
      number: generation.number, requestID: generation.requestID, session: request.session,
      organization: request.account.organization, workspace: request.account.workspace, model: request.model,
      group: generation.group, admittedAt: Double(generation.admittedAt.nanoseconds) / 1e9,
      inputEstimate: generation.inputEstimate, usage: usage, outcome: .running)
    charges[generation.number - Self.keptCharges] = nil
  }
}

extension Int64 {
  /// Decimal with commas between thousands, as in the API's messages.
  var grouped: String {
    let digits = Array(String(self))
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0, digits[index - 1] != "-" { text.append(",") }
      text.append(digit)
    }
    return text
  }
}
