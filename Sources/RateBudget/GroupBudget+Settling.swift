import PriorityQueue

/// What a settlement did.
package enum Settlement: Hashable, Sendable {
  /// The balance moved by these amounts (positive: charged in addition).
  case applied(PerDimension<Int64>)
  /// The grant isn't known: settled before, or expired. Nothing moved.
  case unknown
}

extension GroupBudget {
  /// Says what a grant has used so far. All counts are cumulative, so that a report may be repeated or get lost; the
  /// input replaces the estimate as soon as it is known. After the final one the grant is gone: settling it again moves
  /// nothing.
  @discardableResult
  package mutating func settle(_ id: GrantID, usage: Usage, isFinal: Bool, now: BudgetTime) -> Settlement {
    guard var lease = leases[id] else { return .unknown }
    var actual = lease.charged
    if let input = usage.chargedInput, let total = usage.totalInput, !lease.isAdopted {
      actual.inputTokens = configuration.countsCacheReads ? total : input
      actual.inputTokensTotal = total
    }
    if let output = usage.output { actual.outputTokens = max(lease.charged.outputTokens, Usage.sane(output)) }
    if isFinal, let output = usage.output { actual.outputTokens = Usage.sane(output) }
    let change = actual - lease.charged
    charge(change, fleet: lease.fleet, client: id.client, granted: lease.granted, now: now)
    if binding != .outputTokens { queue.correct(fleet: lease.fleet, by: fairCost(change)) }
    lease.charged = actual
    guard isFinal else {
      leases[id] = lease
      return .applied(change)
    }
    leases[id] = nil
    if binding == .outputTokens {
      let surplus = actual.outputTokens - lease.request.estimate.expectedOutput
      queue.correct(fleet: lease.fleet, by: fairCost(.init(repeating: surplus)))
    }
    endStream(lease, tokens: actual.outputTokens, now: now)
    spend.free(lease.reserved)
    if let prices = lease.prices { spend.spend(prices.cost(of: bill(lease, usage)), wall: wall(at: now)) }
    if pause?.probe == id { pause = nil }
    wakeAt = now
    return .applied(change)
  }

  /// Gives everything back: the request was never sent.
  @discardableResult
  package mutating func release(_ id: GrantID, now: BudgetTime) -> Settlement {
    guard let lease = leases[id] else { return .unknown }
    return giveBack(lease, now: now)
  }

  /// Upstream failed (529, 5xx, reset): everything is given back and no limit is touched, unless output had begun: then
  /// what was used stays charged.
  @discardableResult
  package mutating func fail(_ id: GrantID, now: BudgetTime) -> Settlement {
    guard let lease = leases[id] else { return .unknown }
    count(.overloaded, now: now)
    if lease.charged.outputTokens > 0 { return settle(id, usage: Usage(), isFinal: true, now: now) }
    return giveBack(lease, now: now)
  }

  mutating func giveBack(_ lease: Lease, now: BudgetTime) -> Settlement {
    let id = lease.request.id
    leases[id] = nil
    let change = PerDimension<Int64>.zero - (lease.isAdopted ? .zero : lease.charged)
    charge(change, fleet: lease.fleet, client: id.client, granted: lease.granted, now: now)
    if !lease.isAdopted {
      queue.correct(fleet: lease.fleet, by: -max(1, fairCost(amounts(of: lease.request.estimate))))
    }
    endStream(lease, tokens: nil, now: now)
    spend.free(lease.reserved)
    if pause?.probe == id { pause?.probe = nil }
    wakeAt = now
    return .applied(change)
  }

  private mutating func endStream(_ lease: Lease, tokens: Int64?, now: BudgetTime) {
    guard let streamClass = lease.streamClass else { return }
    emission.end(streamClass, tokens: tokens, life: now.nanoseconds(since: lease.granted))
  }

  /// The usage to be paid: what is known, the estimate for the rest.
  private func bill(_ lease: Lease, _ usage: Usage) -> Usage {
    var bill = usage
    if bill.input == nil {
      let estimate = lease.request.estimate
      bill = Usage(input: estimate.input, cacheRead: estimate.inputTotal - estimate.input)
    }
    bill.output = usage.output ?? lease.charged.outputTokens
    return bill
  }

  /// Grants whose lease is over are lost: they stay charged at their estimate. Expected output that was never reported
  /// was produced minutes ago, so it is counted and paid, but not taken out of today's bucket.
  mutating func expireLeases(now: BudgetTime) {
    while let due = leaseEnds.first, due.at <= now {
      leaseEnds.pop()
      guard let lease = leases[due.id], lease.expires == due.at else { continue }
      expire(lease, now: now)
    }
  }

  mutating func expire(_ lease: Lease, now: BudgetTime) {
    let id = lease.request.id
    leases[id] = nil
    let missing = max(0, lease.request.estimate.expectedOutput - lease.charged.outputTokens)
    let output = Dimension.outputTokens.rawValue
    lanes[output].note(missing * TokenBucket.unit, now: now)
    fleetBooks[lease.fleet].logs[output].add(missing * TokenBucket.unit, at: now)
    endStream(lease, tokens: nil, now: now)
    spend.free(lease.reserved)
    if let prices = lease.prices {
      spend.spend(prices.cost(of: lease.request.estimate), wall: wall(at: now))
    }
    if pause?.probe == id { pause?.probe = nil }
    wakeAt = now
  }
}
