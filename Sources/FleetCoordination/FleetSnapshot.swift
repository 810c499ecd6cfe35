import CoordinationProtocol
package import Coordinator
package import KubernetesCore
import RateBudget
import ScalingAPI
package import ScalingDecision
package import ScalingObservation

/// What the coordinator knew at one moment, in the terms of autoscalers.
package struct FleetSnapshot: Sendable {
  private let at: Timestamp
  /// Whether the coordinator is new, and workers may still be on their way to it.
  package let isLearning: Bool
  private var activities: [String: FleetActivityReport] = [:]
  private var groups: [String: GroupReport] = [:]
  private let budgets: [ObjectKey: ResolvedBudget]

  /// Takes `report` apart, which was made at `at` in civil time, for the usable `budgets`.
  package init(_ report: CoordinatorReport, budgets: [BudgetObject], at: Timestamp) {
    self.at = at
    isLearning = report.isLearning
    var usable: [ObjectKey: ResolvedBudget] = [:]
    for budget in budgets { usable[budget.key] = budget.resolved }
    self.budgets = usable
    for group in report.groups where group.key.speed.isEmpty { groups[group.key.modelGroup] = group.report }
    var fleets: [String: FleetActivity] = [:]
    for fleet in report.fleets { fleets[fleet.fleet] = fleet }
    addWorkers(report.workers)
    for name in activities.keys.sorted() {
      let backlog = fleets[name].flatMap(backlog)
      activities[name]?.backlog = backlog
      activities[name]?.completedWork = fleets[name].map { Int64(clamping: $0.completed) }
    }
  }

  private mutating func addWorkers(_ workers: [WorkerReport]) {
    var ages: [String: [String: (isConnected: Bool, age: Duration)]] = [:]
    for worker in workers {
      guard let activity = worker.activity, !worker.identity.fleet.isEmpty else { continue }
      let (fleet, pod) = (worker.identity.fleetName, worker.identity.pod)
      // A pod whose process was restarted is there twice until the old one is forgotten; the one with a stream counts.
      if let other = ages[fleet]?[pod],
        (other.isConnected ? 0 : 1, other.age) <= (worker.isConnected ? 0 : 1, worker.activityAge)
      {
        continue
      }
      ages[fleet, default: [:]][pod] = (worker.isConnected, worker.activityAge)
      let since = at - worker.activityAge
      activities[fleet, default: FleetActivityReport()].workers[pod] = .init(
        uid: worker.identity.uid, activity: self.activity(activity, drain: worker.drain, since: since),
        // A worker with a stream speaks when something changes: what it said last holds for as long as the stream does.
        at: worker.isConnected ? at : since)
    }
  }

  private func activity(
    _ activity: CoordinationProtocol.WorkerActivity, drain: WorkerReport.Drain?, since: Timestamp
  ) -> DecisionActivity {
    // A request on its way is work, also where the worker doesn't say what it works on.
    // One that drains has some left until it says that it hasn't: an agent in the middle of a tool has no request either.
    let works = activity.inFlight + activity.waiting > 0 || drain?.answer == .accepted ? 1 : 0
    let inFlight = max(activity.busy, works)
    return DecisionActivity(
      inFlight: inFlight, slots: max(activity.slots, 1), oldestWorkAt: inFlight > 0 ? since - activity.oldestAge : nil,
      isWaitingForAPI: activity.waiting > 0 && activity.inFlight == 0, drain: state(of: drain),
      unsavedSince: inFlight > 0 ? activity.unsavedAge.map { since - $0 } : nil,
      drainedAt: drain?.answer == .drained ? drain.map { at - $0.answerAge } : nil)
  }

  private func state(of drain: WorkerReport.Drain?) -> DecisionActivity.Drain {
    guard let drain else { return .none }
    let since = at - drain.age
    return switch drain.answer {
    case nil: .ordered(since: since)
    case .accepted, .drained: .acknowledged(since: since)
    // It works on; it may be asked again.
    case .refused: .none
    }
  }

  /// The work of a fleet whose workers say how much they can hold; without slots "busy" is a guess from requests, and
  /// no measure of demand.
  private func backlog(_ fleet: FleetActivity) -> BacklogReport? {
    guard fleet.slots > 0, fleet.reporting > 0 else { return nil }
    return BacklogReport(
      queued: Int64(fleet.queued), inFlight: Int64(fleet.busy),
      slotsPerWorker: Int64(max(fleet.slots / fleet.reporting, 1)), at: at)
  }

  /// What the workers of an autoscaler report; nil when none of them ever did.
  package func activity(of autoscaler: ObjectKey) -> FleetActivityReport? {
    activities["\(autoscaler.namespace)/\(autoscaler.name)"]
  }

  /// An autoscaler's load on a budget of its namespace; nil when there is no such budget, or it can't be used.
  package func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport? {
    let key = ObjectKey(namespace: autoscaler.namespace, name: name)
    guard let budget = budgets[key] else { return nil }
    // Nobody has drawn from it yet: it binds nobody.
    guard let group = groups[ResolvedBudget.modelGroup(of: key)] else {
      return BudgetReport(loads: [], isLearning: isLearning, at: at)
    }
    let fleet = group.fleets.first { $0.name == "\(autoscaler.namespace)/\(autoscaler.name)" }
    let lower = Int64(budget.target.lower)
    var loads = (fleet?.loads ?? []).compactMap { load -> BudgetReport.Load? in
      guard let dimension = BudgetDimension(load.dimension) else { return nil }
      return BudgetReport.Load(
        dimension, limit: load.limit, offered: load.offered, sustained: load.sustained,
        band: .init(lower: min(lower, load.targetPercent), upper: load.targetPercent))
    }
    if fleet != nil { loads += money(group, budget) }
    return BudgetReport(
      loads: loads, throttledPPM: group.throttledPPM, isRampLimited: group.isRampLimited,
      isLearning: group.isLearning || isLearning, at: at)
  }

  /// The ceilings of money in micro-dollars an hour. Their load is that of all fleets: what one leaves the others spend.
  private func money(_ group: GroupReport, _ budget: ResolvedBudget) -> [BudgetReport.Load] {
    var loads: [BudgetReport.Load] = []
    let (lower, upper) = (Int64(budget.target.lower), Int64(budget.target.upper))
    if let limit = group.spendLimits.perHour {
      loads.append(
        BudgetReport.Load(
          .hourlySpend, limit: limit, offered: group.spentLastHour, band: .init(lower: lower, upper: upper)))
    }
    if let limit = group.spendLimits.perDay {
      let day: Int64 = 86_400
      let left = day - at.secondsSinceEpoch % day
      // What is left, spread over the rest of the day; the last hour counts as a whole one.
      let rate = Int64(clamping: Int128(max(limit - group.spentToday, 0)) * 3_600 / Int128(max(left, 3_600)))
      loads.append(
        BudgetReport.Load(
          .dailySpend, limit: rate, offered: group.spentLastHour, band: .init(lower: lower, upper: upper)))
    }
    return loads
  }
}

extension BudgetDimension {
  /// The dimension of decisions; nil for one that they don't know.
  fileprivate init?(_ dimension: Dimension) {
    switch dimension {
    case .requests: self = .requests
    case .inputTokens, .inputTokensTotal: self = .inputTokens
    case .outputTokens: self = .outputTokens
    }
  }
}
