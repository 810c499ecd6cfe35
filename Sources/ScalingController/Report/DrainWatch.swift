import KubernetesCore
package import ScalingDecision

/// What became of drains and of work, from one look at a fleet to the next: what is counted was seen, not supposed.
///
/// A new leader begins with what it finds, and counts nothing of that.
package struct DrainWatch: Hashable, Sendable {
  /// What is new.
  package struct News: Hashable, Sendable {
    /// Workers that were told to drain.
    package var ordered = 0
    /// Workers that have answered.
    package var acknowledged = 0
    /// Workers that have none left.
    package var drained = 0
    /// How long each of them took, from the order on.
    package var durations: [Duration] = []
    /// Workers that work on although they were told to drain.
    package var refused = 0
    /// Workers that were called back.
    package var cancelled = 0
    /// Busy workers that were given up because their time was over.
    package var timedOut: [String] = []
    /// Workers whose removal, by whomever, began while they had work.
    package var removedBusy: [String] = []
    /// Pieces of work that were in hand when their worker was gone.
    package var lost = 0
  }

  /// What was counted since this process leads.
  package struct Totals: Hashable, Sendable {
    /// Workers whose removal began while they had work.
    package var removedBusy = 0
    /// Pieces of work that were in hand when their worker was gone.
    package var lost = 0
  }

  private enum Stage: Int, Comparable {
    case none, ordered, acknowledged, drained
    static func < (lhs: Stage, rhs: Stage) -> Bool { lhs.rawValue < rhs.rawValue }
  }

  private struct Known: Hashable {
    var stage: Stage
    var orderedAt: Timestamp?
    var inFlight: Int
    var isLeaving: Bool
  }

  private var known: [String: Known] = [:]
  /// What was counted so far.
  package private(set) var totals = Totals()

  /// Nothing was seen yet.
  package init() {}

  /// Compares what a decision was made from with what was seen before, and notes what it orders.
  ///
  /// - Parameter isCarriedOut: whether the plan's orders were given; `hasWritten`: whether its write was made.
  package mutating func observe(_ input: DecisionInput, _ plan: Plan, isCarriedOut: Bool, hasWritten: Bool) -> News {
    var news = News()
    var seen: [String: Known] = [:]
    for worker in input.workers {
      let before = known.removeValue(forKey: worker.name)
      guard let now = Self.look(at: worker) ?? before else { continue }
      seen[worker.name] = note(now, since: before, of: worker, at: input.now, &news)
    }
    for (name, gone) in known.sorted(by: { $0.key < $1.key }) where gone.inFlight > 0 {
      if !gone.isLeaving { news.removedBusy.append(name) }
      news.lost += gone.inFlight
    }
    known = seen
    if isCarriedOut { noteOrders(of: plan, at: input.now, &news) }
    if hasWritten {
      for victim in plan.victims where (known[victim]?.inFlight ?? 0) > 0 { news.timedOut.append(victim) }
    }
    totals.removedBusy += news.removedBusy.count
    totals.lost += news.lost
    return news
  }

  private static func look(at worker: WorkerObservation) -> Known? {
    guard let activity = worker.activity else { return nil }
    let inFlight = activity.isBusy ? max(activity.inFlight, 1) : 0
    switch activity.drain {
    case .none: return Known(stage: .none, inFlight: inFlight, isLeaving: false)
    case .ordered(let since): return Known(stage: .ordered, orderedAt: since, inFlight: inFlight, isLeaving: false)
    case .acknowledged(let since):
      return Known(
        stage: inFlight == 0 ? .drained : .acknowledged, orderedAt: since, inFlight: inFlight, isLeaving: false)
    }
  }

  private func note(
    _ now: Known, since before: Known?, of worker: WorkerObservation, at moment: Timestamp, _ news: inout News
  ) -> Known {
    var now = now
    now.isLeaving = worker.isDeleting
    guard let before else { return now }
    if worker.isDeleting, !before.isLeaving, before.inFlight > 0 || now.inFlight > 0 {
      news.removedBusy.append(worker.name)
    }
    if now.stage >= .acknowledged, before.stage < .acknowledged { news.acknowledged += 1 }
    if now.stage == .drained, before.stage < .drained {
      news.drained += 1
      if let ordered = now.orderedAt { news.durations.append(max(moment - ordered, .zero)) }
    }
    if now.stage == .none, before.stage > .none, !worker.isDeleting { news.refused += 1 }
    return now
  }

  private mutating func noteOrders(of plan: Plan, at moment: Timestamp, _ news: inout News) {
    for order in plan.orders {
      switch order {
      case .drain(let worker):
        news.ordered += 1
        known[worker]?.stage = .ordered
        known[worker]?.orderedAt = moment
      case .undrain(let worker):
        news.cancelled += 1
        known[worker]?.stage = .none
      case .setDeletionCost: break
      }
    }
  }
}
