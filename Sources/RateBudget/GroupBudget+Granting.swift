import PriorityQueue

extension GroupBudget {
  private enum Fit {
    case fits
    case blocked(until: BudgetTime?)
  }

  /// Puts a request in line. It is charged when it is granted, not before; a refused one leaves no trace.
  package mutating func submit(_ request: GrantRequest, now: BudgetTime) -> Submission {
    if let lease = leases[request.id] { return .alreadyGranted(grant(of: lease)) }
    if queue.ticket(of: request.id) != nil { return .alreadyQueued }
    if let refusal = standingRefusal(now: now) { return .refused(refusal) }
    if let refusal = spendRefusal(request, now: now) { return .refused(refusal) }
    guard queue.count < configuration.queueLimit else { return .refused(.queueFull(limit: configuration.queueLimit)) }
    guard queue.client(named: request.client) != nil || queue.clientCount < configuration.clientLimit,
      queue.fleet(named: request.fleet) != nil || queue.fleets.count < configuration.clientLimit
    else { return .refused(.tooManyClients(limit: configuration.clientLimit)) }
    enqueue(request, attempt: 0, submitted: now, notBefore: nil, now: now)
    return .queued
  }

  mutating func enqueue(
    _ request: GrantRequest, attempt: Int, submitted: BudgetTime, notBefore: BudgetTime?, now: BudgetTime
  ) {
    let share = configuration.share(of: request.fleet)
    let named = fleet(named: request.fleet)
    let client = queue.client(named: request.client, fleet: named)
    let fleet = queue.clients[client]?.fleet ?? named
    let level = (request.priority ?? share.priority).rawValue
    queue.add(
      GrantQueue.Waiting(
        request: request, fleet: fleet, client: client, level: level, submitted: submitted, blockedSince: nil,
        attempt: attempt, isDelayed: false, isInteractive: level == Priority.interactive.rawValue),
      notBefore: notBefore, now: now)
    wakeAt = now
  }

  mutating func fleet(named name: String) -> Int {
    let index = queue.fleet(named: name, weight: configuration.share(of: name).weight)
    while fleetBooks.count <= index { fleetBooks.append(FleetBooks()) }
    return index
  }

  /// Takes a waiting request back; whether it waited.
  @discardableResult
  package mutating func cancel(_ id: GrantID, now: BudgetTime) -> Bool {
    guard let ticket = queue.ticket(of: id) else { return false }
    queue.remove(ticket)
    wakeAt = now
    return true
  }

  /// Grants what fits now, in order, and tells what expired or is refused.
  package mutating func advance(now: BudgetTime) -> [Outcome] {
    roll(to: now)
    expireLeases(now: now)
    var outcomes = queue.expire(at: now).map { Outcome.expired($0) }
    queue.advance(to: now)
    wakeAt = nil
    if let refusal = standingRefusal(now: now) {
      for id in queue.waitingIDs {
        if let ticket = queue.ticket(of: id) { queue.remove(ticket) }
        outcomes.append(.refused(id, refusal))
      }
      return outcomes
    }
    if let until = pause?.until, until > now {
      wakeAt = until
      return outcomes
    }
    if pause != nil, pause?.refusal == nil { pause = nil }
    while let head = queue.head(), let waiting = queue.waiting(head) {
      if let refusal = spendRefusal(waiting.request, now: now) {
        queue.remove(head)
        outcomes.append(.refused(waiting.request.id, refusal))
        continue
      }
      switch fit(waiting, now: now) {
      case .fits:
        if let grant = grant(head, now: now) { outcomes.append(.granted(grant)) }
        guard pause == nil else { return outcomes }
      case .blocked(let until):
        guard let bypasser = bypasser(of: head, until: until, now: now) else { return outcomes }
        if let grant = grant(bypasser, now: now) { outcomes.append(.granted(grant)) }
      }
    }
    return outcomes
  }

  /// The first smaller request that may go before the head, which has waited for less than the bypass time.
  ///
  /// Without one, notes when it is worth looking again. Beyond the bypass time the head reserves what flows in.
  private mutating func bypasser(of head: GrantQueue.Ticket, until: BudgetTime?, now: BudgetTime) -> GrantQueue.Ticket?
  {
    wakeAt = until
    let end = queue.block(head, now: now) + configuration.bypass
    guard now < end else { return nil }
    for ticket in queue.bypassers(of: head, lead: configuration.bypassLead.wholeNanoseconds, width: 4) {
      guard let waiting = queue.waiting(ticket) else { continue }
      switch fit(waiting, now: now) {
      case .fits:
        if spendRefusal(waiting.request, now: now) == nil { return ticket }
      case .blocked(let time):
        if let time, time < end { wakeAt = min(wakeAt ?? time, time) }
      }
    }
    return nil
  }

  /// Whether a request fits in every dimension; nothing is charged before all of them agree.
  private mutating func fit(_ waiting: GrantQueue.Waiting, now: BudgetTime) -> Fit {
    let amounts = amounts(of: waiting.request.estimate)
    var until = now
    for lane in lanes where lane.dimension != .outputTokens {
      guard let limit = lane.limit else { continue }
      let cost = amounts[lane.dimension] * TokenBucket.unit
      guard cost > 0 else { continue }
      let depth = lane.bucket.depth
      let whole = min(limit.scaled(by: configuration.reservePercent, over: 100), depth / 2)
      let reserve = waiting.isInteractive ? 0 : whole.scaled(by: reserved, over: million)
      let goal = min(cost.addingSaturated(reserve), depth)
      guard let time = lane.instant(of: goal, now: now) else { return .blocked(until: nil) }
      until = max(until, time)
    }
    if amounts.outputTokens > 0 {
      let streamClass = emission.streamClass(model: waiting.request.model, kind: waiting.request.kind)
      switch fitOutput(streamClass, isUrgent: waiting.isInteractive, now: now) {
      case .fits: break
      case .blocked(nil): return .blocked(until: nil)
      case .blocked(let time?): until = max(until, time)
      }
    }
    return until > now ? .blocked(until: until) : .fits
  }

  /// Output is let in by its rate: the streams that live, and this one, must not produce more than flows into the
  /// bucket; a level away from the middle of the bucket is brought back over a minute.
  private func fitOutput(_ streamClass: Int, isUrgent: Bool, now: BudgetTime) -> Fit {
    let lane = lanes[Dimension.outputTokens.rawValue]
    guard lane.limit != nil else { return .fits }
    let bucket = lane.bucket
    let middle = bucket.depth / 2
    var inflow = bucket.rate
    if isUrgent { inflow = inflow.scaled(by: 100 + configuration.reservePercent, over: 100) }
    var goal: Int64 = min(1, bucket.depth)
    if emission.live > 0 {
      // Thousandths of a token a second are 60,000 micro-tokens a minute; a minute's correction is the level itself.
      let needed = (emission.predicted + emission.rate(of: streamClass)) * 60_000
      goal = max(goal, needed.subtractingSaturated(inflow).addingSaturated(middle))
    }
    if bucket.level(at: now) >= goal { return .fits }
    return .blocked(until: bucket.instant(of: goal, now: now))
  }

  /// What a request will be charged, in whole units.
  func amounts(of estimate: Estimate) -> PerDimension<Int64> {
    var amounts = estimate.amounts
    if configuration.countsCacheReads { amounts.inputTokens = amounts.inputTokensTotal }
    return amounts
  }

  /// What a request costs of the whole budget, in nanoseconds of the binding dimension's limit.
  func fairCost(_ amounts: PerDimension<Int64>) -> Int64 {
    guard let limit = lanes[binding.rawValue].limit, limit > 0 else { return secondNanoseconds }
    return (amounts[binding] * TokenBucket.unit).scaled(by: minuteNanoseconds, over: limit)
  }

  private mutating func grant(_ ticket: GrantQueue.Ticket, now: BudgetTime) -> Grant? {
    guard let found = queue.waiting(ticket) else { return nil }
    let amounts = amounts(of: found.request.estimate)
    guard let waiting = queue.serve(ticket, cost: max(1, fairCost(amounts))) else { return nil }
    let request = waiting.request
    var charged = amounts
    charged.outputTokens = 0
    let prices = prices(of: request.model)
    var lease = Lease(
      request: request, fleet: waiting.fleet, attempt: waiting.attempt, submitted: waiting.submitted, granted: now,
      expires: now + configuration.grantLease, charged: charged, reserved: prices?.cost(of: request.estimate) ?? 0,
      prices: prices)
    charge(charged, fleet: waiting.fleet, client: request.client, granted: now, now: now)
    if amounts.outputTokens > 0 {
      let streamClass = emission.streamClass(model: request.model, kind: request.kind)
      emission.begin(streamClass)
      lease.streamClass = streamClass
    }
    spend.reserve(lease.reserved)
    grants.add(1, at: now)
    waits.add(now.nanoseconds(since: waiting.submitted), now: now)
    if pause != nil { pause?.probe = request.id }
    insert(lease)
    return grant(of: lease)
  }

  mutating func insert(_ lease: Lease) {
    leases[lease.request.id] = lease
    leaseEnds.push(LeaseEnd(at: lease.expires, id: lease.request.id))
    guard leaseEnds.count > 2 * leases.count + 1024 else { return }
    let leases = leases
    leaseEnds.keep { leases[$0.id]?.expires == $0.at }
  }

  private func grant(of lease: Lease) -> Grant {
    Grant(
      id: lease.request.id, waited: lease.granted - lease.submitted, expires: lease.expires, attempt: lease.attempt)
  }

  /// Charges (or gives back) amounts everywhere: buckets, books of the fleet, use of the client. Input belongs to the
  /// time of its grant, when upstream took it; output is taken when it is reported.
  mutating func charge(
    _ amounts: PerDimension<Int64>, fleet: Int, client: String, granted: BudgetTime, now: BudgetTime
  ) {
    for dimension in Dimension.allCases where amounts[dimension] != 0 {
      let micro = amounts[dimension] * TokenBucket.unit
      lanes[dimension.rawValue].charge(micro, granted: dimension == .outputTokens ? now : granted, now: now)
      fleetBooks[fleet].logs[dimension.rawValue].add(micro, at: now)
    }
    if let use = connections[client]?.use { connections[client]?.use = use + amounts }
  }

  // MARK: Money

  mutating func prices(of model: String) -> ModelPrices? {
    if let known = priceCache[model] { return known }
    let prices = configuration.prices.prices(of: model)
    if priceCache.count < 1_000 { priceCache[model] = prices }
    return prices
  }

  private mutating func spendRefusal(_ request: GrantRequest, now: BudgetTime) -> Refusal? {
    guard configuration.spend.perHour != nil || configuration.spend.perDay != nil else { return nil }
    let cost = prices(of: request.model)?.cost(of: request.estimate) ?? 0
    return spend.refusal(cost: cost, limits: configuration.spend, wall: wall(at: now))
      .map { .spendCeiling($0.period, resumesIn: $0.wait) }
  }
}
