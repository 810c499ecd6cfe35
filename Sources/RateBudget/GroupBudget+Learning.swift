/// The kinds of answers that say no.
package enum RejectionKind: Int, Hashable, Sendable, CaseIterable {
  /// 429: too fast.
  case rate
  /// 429: growing too fast.
  case ramp
  /// Money has run out.
  case spend
  /// 529 and other failures of upstream.
  case overloaded
}

/// What to do with a request that upstream answered with a rejection.
package enum RejectionDecision: Hashable, Sendable {
  /// It waits again, at the head of its line, not before the given time; `advance` grants it.
  case requeued(notBefore: BudgetTime)
  /// Its client must be told at once, with `x-should-retry: false` unless the refusal is worth retrying.
  case tellClient(Refusal)
  /// The grant isn't known (settled or expired): nothing was given back, the budget has taken note.
  case unknown
}

extension GroupBudget {
  /// Takes in the headers of a response that arrived at `now`.
  ///
  /// Limits count at once, up and down. What remained is a measurement at the response's own date; responses older than
  /// the newest one taken in are ignored.
  package mutating func observe(_ headers: RateHeaders, now: BudgetTime) {
    guard !headers.isEmpty else { return }
    var measured = now
    if let date = headers.date {
      measured = clock.observe(date, now: now)
      if let newestDate, date < newestDate { return }
      newestDate = date
    }
    var isChanged = false
    for index in lanes.indices {
      let reading = headers.readings[lanes[index].dimension]
      if let limit = reading.limit, limit > 0 {
        let micro = Self.micro(limit)
        isChanged = isChanged || micro != lanes[index].limit
        lanes[index].follow(limit: micro, source: .headers, burst: configuration.burst, now: now)
      }
      let untilFull: Duration? = reading.reset.flatMap { reset in headers.date.map { max(.zero, reset - $0) } }
      lanes[index].observe(reading, untilFull: untilFull, at: measured, now: now)
    }
    if isChanged { steer(now: now) }
    wakeAt = now
  }

  /// Takes in an error answer to a grant. `generator` spreads the next attempts of requests that were told the same
  /// retry-after; none comes before it.
  package mutating func reject(
    _ id: GrantID, verdict: UpstreamVerdict, headers: RateHeaders = RateHeaders(), now: BudgetTime,
    using generator: inout some RandomNumberGenerator
  ) -> RejectionDecision {
    observe(headers, now: now)
    let lease = leases[id]
    if let lease { _ = giveBack(lease, now: now) }
    switch verdict {
    case .settled: return .unknown
    case .overloaded:
      count(.overloaded, now: now)
      return requeue(lease, wait: .zero, spread: .zero, now: now, using: &generator)
    case .rateLimited(let retryAfter):
      count(.rate, now: now)
      let dimension = headers.exhausted ?? binding
      let cost = lease.map { amounts(of: $0.request.estimate)[dimension] * TokenBucket.unit } ?? 0
      let enlarged = headers.exhausted == nil ? lease.map { enlarge($0, headers: headers) } : nil
      let isUndersized = enlarged.map { $0.request.estimate != lease?.request.estimate } ?? false
      penalise(dimension, cost: dimension == .outputTokens ? 0 : cost, isUndersized: isUndersized, now: now)
      return hold(enlarged ?? lease, for: retryAfter ?? .seconds(5), now: now, using: &generator)
    case .rampLimited(let retryAfter):
      count(.ramp, now: now)
      for index in lanes.indices { lanes[index].ramp.refuse(now: now) }
      return hold(lease, for: retryAfter ?? .seconds(10), now: now, using: &generator)
    case .spendLimited(let code, let retryAfter):
      count(.spend, now: now)
      let refusal = Refusal.upstreamSpendLimit(code: code)
      stop(for: retryAfter ?? configuration.spendProbe, refusal: refusal, now: now)
      return lease == nil ? .unknown : .tellClient(refusal)
    }
  }

  /// Ends a pause that money has caused: somebody has raised the limit.
  package mutating func resume(now: BudgetTime) {
    pause = nil
    wakeAt = now
  }

  /// An unexpected 429 lowers the target, unless our own burst explains it: then the rate was right, and the burst gets
  /// shorter.
  private mutating func penalise(_ dimension: Dimension, cost: Int64, isUndersized: Bool, now: BudgetTime) {
    let lane = lanes[dimension.rawValue]
    guard lane.limit != nil else { return }
    if isUndersized || isBurst(lane, log: lane.log, cost: cost, from: now + .seconds(-60), to: now) {
      if target.shorten(now: now) { steer(now: now) }
    } else if target.penalise(now: now) {
      suspicion = Suspicion(dimension: dimension, cost: cost, at: now)
      steer(now: now)
    }
  }

  /// Whether the charges of a time would have emptied a bucket as deep as ours that gets the whole limit and serves only
  /// us: if the refused request would have left less than half of it, upstream's may well have been empty.
  private func isBurst(_ lane: Lane, log: ChargeLog, cost: Int64, from start: BudgetTime, to end: BudgetTime) -> Bool {
    let depth = lane.bucket.depth
    let level = log.replay(level: depth, full: depth, inflow: lane.limit ?? 0, from: start, to: end)
    return level.subtractingSaturated(cost) < depth / 2
  }

  /// A few requests that are much larger than their estimates empty a shallow bucket before that is known here. Ten
  /// seconds after the 429 most of them have told it: if our charges do explain it now, the target is restored.
  mutating func judgeAgain(now: BudgetTime) {
    guard let last = suspicion, now - last.at >= .seconds(10) else { return }
    suspicion = nil
    let lane = lanes[last.dimension.rawValue]
    // The log reaches back a minute, in bins of 250 ms.
    let start = last.at + .seconds(-45)
    guard now - start < .seconds(60),
      isBurst(lane, log: lane.attributed, cost: last.cost, from: start, to: last.at + .milliseconds(250))
    else { return }
    target.acquit()
    _ = target.shorten(now: now)
  }

  /// A request that is refused although more remains than it was expected to need is larger than what remains: its next
  /// attempt asks for twice that. Otherwise it would be sent, and refused, again and again.
  private func enlarge(_ lease: Lease, headers: RateHeaders) -> Lease {
    guard let remaining = headers.readings.inputTokens.remaining,
      let limit = lanes[Dimension.inputTokens.rawValue].limit,
      remaining > amounts(of: lease.request.estimate).inputTokens
    else { return lease }
    var lease = lease
    let old = lease.request.estimate
    let input = min(remaining.addingSaturated(remaining), limit / TokenBucket.unit)
    lease.request.estimate.input = max(old.input, input)
    lease.request.estimate.inputTotal = max(old.inputTotal, lease.request.estimate.input)
    return lease
  }

  mutating func count(_ kind: RejectionKind, now: BudgetTime) {
    rejections[kind.rawValue].add(1, at: now)
  }

  /// Nothing is sent before `wait` is over; a wait that is longer than requests are held is told to everybody at once.
  private mutating func hold(
    _ lease: Lease?, for wait: Duration, now: BudgetTime, using generator: inout some RandomNumberGenerator
  ) -> RejectionDecision {
    guard wait <= configuration.longestPause else {
      let refusal = Refusal.upstreamPause(retryAfter: wait)
      stop(for: min(wait, .seconds(86_400)), refusal: refusal, now: now)
      return lease == nil ? .unknown : .tellClient(refusal)
    }
    let until = now + wait
    if pause == nil || (pause?.refusal == nil && (pause?.until ?? until) < until) {
      pause = Pause(until: until, refusal: nil)
    }
    // A quarter of the wait, between one and ten seconds: the longer upstream is full, the gentler the return.
    let spread = Duration.nanoseconds(
      (wait.wholeNanoseconds / 4).clamped(to: secondNanoseconds...(10 * secondNanoseconds)))
    return requeue(lease, wait: wait, spread: spread, now: now, using: &generator)
  }

  private mutating func stop(for wait: Duration?, refusal: Refusal, now: BudgetTime) {
    pause = Pause(until: wait.map { now + $0 }, refusal: refusal)
    wakeAt = now
  }

  private mutating func requeue(
    _ lease: Lease?, wait: Duration, spread: Duration, now: BudgetTime,
    using generator: inout some RandomNumberGenerator
  ) -> RejectionDecision {
    guard let lease else { return .unknown }
    let limit = max(spread.wholeNanoseconds, 1)
    let jitter: Duration = spread > .zero ? .nanoseconds(Int64.random(in: 1...limit, using: &generator)) : .zero
    let notBefore = now + wait + jitter
    guard notBefore < lease.request.deadline else {
      return .tellClient(.deadlineBeforeRetry(retryAfter: wait + jitter))
    }
    enqueue(
      lease.request, attempt: lease.attempt + 1, submitted: lease.submitted, notBefore: notBefore, now: now)
    return .requeued(notBefore: notBefore)
  }

  /// The refusal that everybody gets now. When its time is over one request is let through: if it succeeds, so may all.
  func standingRefusal(now: BudgetTime) -> Refusal? {
    guard let pause, let refusal = pause.refusal else { return nil }
    if let until = pause.until, until <= now, pause.probe == nil { return nil }
    guard case .upstreamPause = refusal, let until = pause.until else { return refusal }
    return .upstreamPause(retryAfter: max(.seconds(1), until - now))
  }
}
