package import CoordinationProtocol
package import RateBudget

/// One worker, as the coordinator knows it.
package struct WorkerReport: Hashable, Sendable {
  /// Who it is.
  package var identity: WorkerIdentity
  /// Whether it has a stream.
  package var isConnected: Bool
  /// What it said last that it does; nil: nothing yet.
  package var activity: WorkerActivity?
  /// How old that is.
  package var activityAge: Duration
  /// The drain order that stands, with the worker's answer; nil: none stands.
  package var drain: Drain?

  /// A drain order.
  package struct Drain: Hashable, Sendable {
    /// Its number.
    package var order: UInt64
    /// How long ago it was given.
    package var age: Duration
    /// What the worker says; nil: nothing yet.
    package var answer: DrainState?
    /// How long it has said so.
    package var answerAge = Duration.zero
  }
}

/// What the workers of a fleet do, summed up: for the backlog of its autoscaler.
package struct FleetActivity: Hashable, Sendable {
  /// namespace/autoscaler.
  package var fleet: String
  /// How many workers have a stream.
  package var connected: Int
  /// How many have said what they do.
  package var reporting: Int
  /// Their slots.
  package var slots: Int
  /// The pieces of work in hand.
  package var busy: Int
  /// The requests at the API.
  package var inFlight: Int
  /// The requests that wait for the budget.
  package var waiting: Int
  /// The work that waits: for a slot of a worker, and in the queues that the workers take from. A queue counts once, as who saw it last saw it.
  package var queued: Int
  /// How many workers drain.
  package var draining: Int
  /// The age of the oldest piece of work.
  package var oldestAge: Duration
  /// The pieces of work that were finished since the coordinator began; it never falls.
  package var completed: UInt64 = 0
}

/// What a coordinator knows now: for status, metrics and decisions.
package struct CoordinatorReport: Hashable, Sendable {
  /// One group's budget.
  package struct Group: Hashable, Sendable {
    /// The group.
    package var key: GroupKey
    /// Its budget.
    package var report: GroupReport
  }

  /// The coordinator's name.
  package var name: String
  /// Whether it is new, and workers may still be on their way to it.
  package var isLearning: Bool
  /// The groups, by key.
  package var groups: [Group]
  /// The fleets, by name.
  package var fleets: [FleetActivity]
  /// The workers, by client.
  package var workers: [WorkerReport]
}

extension CoordinatorState {
  /// What is known at `now`.
  package mutating func report(now: BudgetTime) -> CoordinatorReport {
    var groups: [CoordinatorReport.Group] = []
    budgets.forEach { key, budget in groups.append(CoordinatorReport.Group(key: key, report: budget.report(now: now))) }
    let workers = workers(now: now)
    return CoordinatorReport(
      name: name, isLearning: learningUntil.map { now < $0 } ?? false, groups: groups,
      fleets: fleets(of: workers), workers: workers)
  }

  /// The workers, by client; lost ones as well until they are forgotten.
  package func workers(now: BudgetTime) -> [WorkerReport] {
    sessions.keys.sorted().compactMap { client in
      guard let session = sessions[client] else { return nil }
      var drain: WorkerReport.Drain?
      if let record = session.drain, !record.order.isWithdrawn {
        drain = WorkerReport.Drain(
          order: record.order.order, age: now - record.orderedAt, answer: record.answer,
          answerAge: record.answer == nil ? .zero : now - record.answeredAt)
      }
      return WorkerReport(
        identity: session.identity, isConnected: session.stream != nil, activity: session.activity,
        activityAge: now - session.activityAt, drain: drain)
    }
  }

  private func fleets(of workers: [WorkerReport]) -> [FleetActivity] {
    var fleets: [String: FleetActivity] = [:]
    var depths: [String: [String: QueueDepth]] = [:]
    for worker in workers where worker.isConnected {
      let name = worker.identity.fleetName
      var fleet =
        fleets[name]
        ?? FleetActivity(
          fleet: name, connected: 0, reporting: 0, slots: 0, busy: 0, inFlight: 0, waiting: 0, queued: 0, draining: 0,
          oldestAge: .zero, completed: completed[name] ?? 0)
      fleet.connected += 1
      if worker.drain != nil, worker.drain?.answer != .refused { fleet.draining += 1 }
      if let activity = worker.activity {
        fleet.reporting += 1
        fleet.slots += activity.slots
        fleet.busy += activity.busy
        fleet.inFlight += activity.inFlight
        fleet.waiting += activity.waiting
        fleet.queued += activity.queued
        fleet.oldestAge = max(fleet.oldestAge, activity.oldestAge)
        for var depth in activity.queues {
          depth.age += worker.activityAge
          let known = depths[name]?[depth.queue]
          if known.map({ depth.age < $0.age }) ?? true { depths[name, default: [:]][depth.queue] = depth }
        }
      }
      fleets[name] = fleet
    }
    for (name, queues) in depths { fleets[name]?.queued += queues.values.reduce(0) { $0 + $1.waiting } }
    return fleets.keys.sorted().compactMap { fleets[$0] }
  }
}
