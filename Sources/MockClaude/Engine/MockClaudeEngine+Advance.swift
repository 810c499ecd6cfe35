extension MockClaudeEngine {
  /// How far a generation has come.
  package enum Progress: Hashable, Sendable {
    /// So many tokens have been produced.
    case running(outputTokens: Int)
    /// It has ended: all tokens were produced, or it was disconnected.
    case ended
    /// The limiter has cut it: the stream ends with an in-stream `rate_limit_error`.
    case cut
  }

  /// Carries out everything that is due until `time`. Earlier times change nothing.
  package mutating func advance(to time: MockTime) {
    let time = max(now, time)
    while let event = queue.pop(dueAt: time) {
      now = max(now, event.time)
      handle(event)
    }
    now = time
  }

  /// When something is due next; for simulations that sleep until then.
  package var nextEvent: MockTime? { queue.next }

  /// How far a generation has come. A server asks before it writes the next event.
  package mutating func progress(of number: Int, at time: MockTime) -> Progress {
    advance(to: time)
    guard let state = running[number] else {
      return charges[number]?.outcome == .cut ? .cut : .ended
    }
    if configuration.cutsStreamsWhenEmpty, state.isEmitting {
      for bucket in state.outputBuckets { buckets[bucket].advance(to: now) }
      if state.outputBuckets.contains(where: { !buckets[$0].isPositive }) {
        end(number, .cut)
        return .cut
      }
    }
    return .running(outputTokens: state.generation.outputTokens(at: now))
  }

  /// The client has gone: no more tokens are produced, those so far stay charged. Of an ended generation nothing changes.
  package mutating func disconnect(_ number: Int, at time: MockTime) {
    advance(to: time)
    end(number, .disconnected)
  }

  // MARK: Events

  private mutating func handle(_ event: EventQueue.Event) {
    guard let state = running[event.generation] else { return }
    switch event.kind {
    case .begin: begin(event.generation, state)
    case .emit:
      running[event.generation]?.isEmitting = true
      let rate = state.generation.tokensPerMinute
      for bucket in state.outputBuckets { buckets[bucket].changeStreaming(by: rate, at: now) }
      pools[state.pool].series.changeFlow(by: rate, at: now)
    case .end:
      end(event.generation, state.generation.fault?.inStream == nil ? .completed : .faulted)
    }
  }

  private mutating func begin(_ number: Int, _ state: Running) {
    running[number]?.hasBegun = true
    correctInput(state)
    cache.write(state.generation.request, minimum: configuration.minimumCacheableTokens, now: now)
  }

  /// Replaces the estimates by the truth.
  private mutating func correctInput(_ state: Running) {
    for debit in state.inputDebits {
      buckets[debit.bucket].advance(to: now)
      buckets[debit.bucket].debit(Int64(debit.actual - debit.debited))
    }
  }

  private mutating func end(_ number: Int, _ outcome: ChargeRecord.Outcome) {
    guard let state = running.removeValue(forKey: number) else { return }
    let generation = state.generation
    // The input of a request that was aborted before its answer began has been processed all the same.
    if !state.hasBegun { correctInput(state) }
    let tokens = generation.outputTokens(at: now)
    if state.isEmitting {
      let rate = generation.tokensPerMinute
      let flowed = Int128(rate) * Int128(max(0, now.nanoseconds - generation.firstTokenAt.nanoseconds))
      let correction = Int128(tokens) * TokenBucket.unit - flowed
      for bucket in state.outputBuckets {
        buckets[bucket].changeStreaming(by: -rate, at: now)
        buckets[bucket].debit(units: correction)
      }
      pools[state.pool].series.changeFlow(by: -rate, at: now)
      pools[state.pool].series.addOutput(units: correction, at: now)
    }
    pools[state.pool].running -= 1
    var usage = generation.usage
    usage.outputTokens = tokens
    spend.charge(usage, price: groups[pools[state.pool].key.group].price, account: generation.request.account)
    charges[number]?.usage.outputTokens = tokens
    charges[number]?.outcome = outcome
  }

  // MARK: Readings

  mutating func advanceBuckets(of pool: Int) {
    for bucket in pools[pool].buckets.values { buckets[bucket].advance(to: now) }
    for own in pools[pool].workspaceBuckets { buckets[own.bucket].advance(to: now) }
  }

  /// What the rate headers show now, or showed a while ago where stale headers are configured.
  mutating func snapshot(_ pool: Int, _ account: Account) -> RateSnapshot {
    advanceBuckets(of: pool)
    let fresh = freshSnapshot(pool, account)
    let stale = configuration.headers.staleSeconds
    guard stale > 0 else { return fresh }
    pools[pool].snapshots.append(fresh)
    let limit = now - .seconds(stale)
    let old = pools[pool].snapshots.lastIndex { $0.time <= limit } ?? 0
    pools[pool].snapshots.removeFirst(old)
    return pools[pool].snapshots[0]
  }

  private func freshSnapshot(_ pool: Int, _ account: Account) -> RateSnapshot {
    func reading(_ bucket: Int?) -> RateSnapshot.Reading? {
      guard let bucket else { return nil }
      let state = buckets[bucket]
      return RateSnapshot.Reading(
        limit: state.limit, remaining: max(0, state.tokens), reset: now + (state.waitUntilFull ?? .seconds(60)))
    }
    func sum(_ left: RateSnapshot.Reading?, _ right: RateSnapshot.Reading?) -> RateSnapshot.Reading? {
      guard let left, let right else { return left ?? right }
      return RateSnapshot.Reading(
        limit: left.limit + right.limit, remaining: left.remaining + right.remaining,
        reset: max(left.reset, right.reset))
    }
    let organization = pools[pool].buckets
    let own = pools[pool].workspaceBuckets.filter { $0.workspace == account.workspace }
    func ownBucket(_ dimensions: Dimension...) -> Int? {
      own.first { dimensions.contains($0.dimension) }?.bucket
    }
    let (input, output) = (ownBucket(.inputTokensTotal, .inputTokens), ownBucket(.outputTokens))
    return RateSnapshot(
      time: now, requests: reading(organization[.requests]), inputTokens: reading(organization[.inputTokens]),
      outputTokens: reading(organization[.outputTokens]),
      tokens: sum(reading(input ?? organization[.inputTokens]), reading(output ?? organization[.outputTokens])),
      fastInputTokens: reading(organization[.fastInputTokens]),
      fastOutputTokens: reading(organization[.fastOutputTokens]))
  }
}
