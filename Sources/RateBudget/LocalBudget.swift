/// A pod's side of the budget: it mirrors what the coordinator grants, and grants by itself, within the pod's share,
/// while the coordinator can't be reached.
///
/// Mirroring is what makes the change-over safe: a pod that has just used more than its share is in debt when it starts
/// to be alone, an idle one has a full bucket, and together they have no more than the burst allowance.
package struct LocalBudget: Sendable {
  /// The budget; use its `submit`, `advance` and so on only while `isAlone`.
  package var budget: GroupBudget
  private var policy: SharePolicy
  /// What was used in the minute before the coordinator was lost.
  private var usedWhenLost = PerDimension<Int64>.zero

  /// Makes the budget of a pod that isn't connected yet: until it is told a share it has the floor of `initial`.
  package init(configuration: BudgetConfiguration, initial: Share, now: BudgetTime) {
    budget = GroupBudget(configuration: configuration, now: now)
    policy = SharePolicy(
      share: Share(rates: initial.floor, floor: initial.floor, lease: initial.lease, decay: initial.decay))
    policy.lose(now: now)
    follow(now: now)
  }

  /// Whether the pod grants by itself.
  package var isAlone: Bool { policy.lostSince != nil }

  /// The share that was told last; a new coordinator is told it.
  package var share: Share { policy.share }

  /// What the pod has used in a minute lately, in micro-units: now, or before the coordinator was lost if that was more,
  /// since alone it had to use less and less. A new coordinator is told it.
  package func usedLately(now: BudgetTime) -> PerDimension<Int64> {
    let used = budget.used(now: now)
    guard let lost = policy.lostSince, now - lost < Self.memory else { return used }
    return PerDimension(
      requests: max(used.requests, usedWhenLost.requests), inputTokens: max(used.inputTokens, usedWhenLost.inputTokens),
      inputTokensTotal: max(used.inputTokensTotal, usedWhenLost.inputTokensTotal),
      outputTokens: max(used.outputTokens, usedWhenLost.outputTokens))
  }

  /// As long as a rate that was reached counts for the ramp: `RampLimiter`'s ten minutes.
  private static let memory: Duration = .seconds(600)

  /// Takes in a share from the coordinator.
  package mutating func tell(_ share: Share, now: BudgetTime) {
    policy.tell(share)
    follow(now: now)
  }

  /// Notes that the coordinator is there again: full rights at once. Returns what to tell it: the share that is held and
  /// the grants that aren't settled. Requests that wait here are to be submitted there; they are no longer here.
  package mutating func connect(now: BudgetTime) -> (share: Share, outstanding: [AdoptedGrant], waiting: [GrantID]) {
    policy.recover()
    follow(now: now)
    let waiting = budget.queue.waitingIDs
    for id in waiting { budget.cancel(id, now: now) }
    return (policy.share, budget.outstanding(now: now), waiting)
  }

  /// Notes that the coordinator is lost. Submit what waited there to `budget`.
  ///
  /// Debt beyond half a lease of the share is forgiven: a pod's share is small against one request, and without that all
  /// pods that have just worked would wait at once. Idle pods' unused claims, which their full buckets don't keep, pay
  /// for it.
  package mutating func lose(now: BudgetTime) {
    let isNew = policy.lostSince == nil
    if isNew { usedWhenLost = budget.used(now: now) }
    policy.lose(now: now)
    follow(now: now)
    guard isNew else { return }
    for index in budget.lanes.indices { budget.lanes[index].forgiveDebt(beyond: policy.share.lease / 2, now: now) }
  }

  /// Notes a grant of the coordinator.
  package mutating func mirror(_ request: GrantRequest, now: BudgetTime) {
    budget.adopt(AdoptedGrant(request: request), charging: true, now: now)
  }

  /// Grants what fits now; nothing while connected.
  package mutating func advance(now: BudgetTime) -> [Outcome] {
    follow(now: now)
    return isAlone ? budget.advance(now: now) : []
  }

  private mutating func follow(now: BudgetTime) {
    budget.setShare(policy.rates(at: now), now: now)
  }
}
