package import CoordinationProtocol
package import RateBudget

/// What a worker owes to the coordinator's orders to drain; pure.
///
/// An order stands until it is taken back or its time is over. While it stands the worker takes no new work, and says
/// `accepted` as long as it has some, `drained` as soon as it has none, again when that changes. When time is over it says
/// `refused` and goes on: whoever gave the order may have died meanwhile, and a worker that waits for it would wait for
/// ever.
package struct DrainDuty: Hashable, Sendable {
  private var order: UInt64?
  /// Until when the order stands; nil: none does.
  package private(set) var until: BudgetTime?
  private var since = BudgetTime.zero
  private var said: DrainState?

  /// No order yet.
  package init() {}

  /// Whether an order stands.
  package var stands: Bool { until != nil }

  /// How much of an order's time has passed, in percent; nil: none stands.
  package func percent(now: BudgetTime) -> Int? {
    guard let until, until > since else { return until.map { _ in 100 } }
    return Int(min(100, max(0, (now - since) / .milliseconds(1) * 100 / max(1, (until - since) / .milliseconds(1)))))
  }

  /// Takes in an order, and gives the answer. Orders older than the last are passed over; the same one again (the
  /// coordinator repeats it on a new stream) is answered again.
  package mutating func receive(_ new: DrainOrder, isIdle: Bool, now: BudgetTime) -> DrainAnswer? {
    if let order, new.order < order { return nil }
    let isRepeated = new.order == order
    order = new.order
    said = nil
    if new.isWithdrawn {
      until = nil
      return answer(.refused)
    }
    // Repeated, it keeps its time: also the one that is over.
    if !isRepeated {
      until = now + max(.zero, new.timeout)
      since = now
    }
    guard stands else { return answer(.refused) }
    return answer(isIdle ? .drained : .accepted)
  }

  /// Looks again; the answer if it has changed.
  package mutating func update(isIdle: Bool, now: BudgetTime) -> DrainAnswer? {
    guard let until else { return nil }
    guard now < until else {
      self.until = nil
      return answer(.refused)
    }
    return answer(isIdle ? .drained : .accepted)
  }

  /// The order as the next coordinator has to know it; nil: none stands.
  package func standing(isIdle: Bool, now: BudgetTime) -> StandingDrain? {
    guard let order, let until, now < until else { return nil }
    return StandingDrain(order: order, age: now - since, state: isIdle ? .drained : .accepted)
  }

  private mutating func answer(_ state: DrainState) -> DrainAnswer? {
    guard let order, said != state else { return nil }
    said = state
    return DrainAnswer(order: order, state: state)
  }
}
