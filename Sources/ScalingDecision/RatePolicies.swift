/// Limits the change of the count within periods, in exact arithmetic.
package enum RatePolicies {
  /// The bare limit of one direction, and when it moves.
  package struct Limit: Hashable, Sendable {
    /// The count that may be reached.
    package var replicas: Int
    /// When the next remembered change leaves the selected policy's period; nil: there is none.
    package var until: Milliseconds?
  }

  /// The largest count that growth may reach now; nil: no limit.
  package static func growthLimit(
    _ rules: ScalingRules, current: Int, events: ScaleEvents, now: Milliseconds
  ) -> Limit? {
    if rules.selectPolicy == .disabled { return Limit(replicas: current, until: nil) }
    return selected(rules, current, events, now, isMostChange: { $0 > $1 }) { policy, start in
      policy.unit == .pods
        ? clamped(Int128(start) + Int128(policy.value)) : percent(start, 100 + Int128(policy.value), roundsUp: true)
    }
  }

  /// The smallest count that a shrink may reach now; nil: no limit.
  package static func shrinkLimit(
    _ rules: ScalingRules, current: Int, events: ScaleEvents, now: Milliseconds
  ) -> Limit? {
    if rules.selectPolicy == .disabled { return Limit(replicas: current, until: nil) }
    return selected(rules, current, events, now, isMostChange: { $0 < $1 }) { policy, start in
      policy.unit == .pods
        ? clamped(Int128(start) - Int128(policy.value)) : percent(start, 100 - Int128(policy.value), roundsUp: false)
    }
  }

  private static func selected(
    _ rules: ScalingRules, _ current: Int, _ events: ScaleEvents, _ now: Milliseconds,
    isMostChange: (Int, Int) -> Bool, limit: (ScalingRules.Policy, Int) -> Int
  ) -> Limit? {
    var best: Limit?
    for policy in rules.policies {
      let period = policy.period.milliseconds
      let cutoff = now.subtractingSaturated(period)
      let start = current.subtractingSaturated(events.change(since: cutoff))
      let replicas = limit(policy, start)
      if let present = best {
        let isMore = isMostChange(replicas, present.replicas)
        let isBetter = rules.selectPolicy == .max ? isMore : replicas != present.replicas && !isMore
        guard isBetter else { continue }
      }
      let until = events.events.first { $0.at > cutoff }?.at.addingSaturated(period)
      best = Limit(replicas: replicas, until: until)
    }
    return best
  }

  /// `start · percent / 100`, rounded up, or towards zero.
  private static func percent(_ start: Int, _ percent: Int128, roundsUp: Bool) -> Int {
    let product = Int128(start) * percent
    let quotient = product / 100
    return clamped(roundsUp && product > 0 && product % 100 != 0 ? quotient + 1 : quotient)
  }

  private static func clamped(_ value: Int128) -> Int { Int(clamping: value) }
}

extension ScaleEvents {
  /// The sum of the changes made after `cutoff`.
  package func change(since cutoff: Milliseconds) -> Int {
    var sum = 0
    for event in events where event.at > cutoff { sum = sum.addingSaturated(event.change) }
    return sum
  }

  /// Notes a change, and forgets those made at `cutoff` or before.
  package mutating func note(_ change: Int, at now: Milliseconds, forgettingUntil cutoff: Milliseconds) {
    forget(until: cutoff, now: now)
    guard change != 0 else { return }
    events.append(Event(change: change, at: now))
    guard events.count > Self.capacity else { return }
    // Merge the oldest neighbours of one direction at the later moment, so that the limits err towards less change.
    let index = events.indices.dropLast().first { (events[$0].change < 0) == (events[$0 + 1].change < 0) } ?? 0
    events[index + 1].change = events[index + 1].change.addingSaturated(events[index].change)
    events.remove(at: index)
  }

  /// Forgets changes made at `cutoff` or before; those from the future count as made now.
  mutating func forget(until cutoff: Milliseconds, now: Milliseconds) {
    guard events.contains(where: { $0.at <= cutoff || $0.at > now }) else { return }
    for index in events.indices { events[index].at = min(events[index].at, now) }
    events.removeAll { $0.at <= cutoff }
  }
}
