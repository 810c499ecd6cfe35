package import KubernetesCore

/// What other autoscalers may be told, and until when. Pure: observations and a moment give an answer.
///
/// A number that is too old, or whose autoscaler is in trouble, is not told: whoever gets no number leaves the count as it is, which is
/// safer than one that nobody stands for any more.
package struct BridgeBook: Sendable {
  /// Something that is known, or why it isn't.
  private enum Knowledge<Value: Sendable>: Sendable {
    case known(Value, at: Timestamp, freshUntil: MonotonicTime)
    case unknown(String)
  }

  /// An answer.
  package enum Answer: Hashable, Sendable {
    /// The series that were selected, in the order of their labels; empty: there is none of that name.
    case values([BridgedValue])
    /// A number that was asked for isn't known now; the text says why. No part of the answer is given then: a sum of what is left
    /// would be another number.
    case unavailable(String)
  }

  private var isLeading = false
  private let hasBudgets: Bool
  private var desired: [ObjectKey: Knowledge<Int64>] = [:]
  private var budgets: [ObjectKey: Knowledge<[HeadroomReading]>] = [:]

  /// How often an autoscaler may miss its period before its last decision no longer counts.
  package static let missedPeriods = 3
  /// How long a decision counts at least, however short the period is.
  package static let shortestDecision = Duration.seconds(10)
  /// How long a look at the budgets counts: ten times the pause between two looks.
  package static let headroomLifetime = Duration.seconds(10)

  /// Makes an empty book; `hasBudgets`: whether a coordinator knows budgets here.
  package init(hasBudgets: Bool) {
    self.hasBudgets = hasBudgets
  }

  /// The metrics that there are.
  package var metrics: [BridgedMetric] { hasBudgets ? BridgedMetric.allCases : [.desiredReplicas] }

  // MARK: Observations

  /// This process leads from now on: what it knew is of another time.
  package mutating func begin() {
    self = BridgeBook(hasBudgets: hasBudgets)
    isLeading = true
  }

  /// Another leads, or nobody.
  package mutating func end() {
    self = BridgeBook(hasBudgets: hasBudgets)
  }

  /// A decision was made, and nothing kept it from being carried out. The next is due within `period`.
  package mutating func decided(
    _ autoscaler: ObjectKey, replicas: Int, at moment: Timestamp, period: Duration, now: MonotonicTime
  ) {
    let lifetime = max(period * Self.missedPeriods, Self.shortestDecision)
    desired[autoscaler] = .known(Int64(max(replicas, 0)), at: moment, freshUntil: now + lifetime)
  }

  /// A pass over an autoscaler came to no decision.
  package mutating func failed(_ autoscaler: ObjectKey, why: String) {
    desired[autoscaler] = .unknown(why)
  }

  /// An autoscaler is gone.
  package mutating func forget(_ autoscaler: ObjectKey) { desired[autoscaler] = nil }

  /// A look at the budgets; `nil` readings: not known, for the reason beside them. Those that aren't named are gone.
  package mutating func measured(
    _ readings: [ObjectKey: (readings: [HeadroomReading]?, why: String)], at moment: Timestamp, now: MonotonicTime
  ) {
    budgets = readings.mapValues { entry in
      entry.readings.map { .known($0, at: moment, freshUntil: now + Self.headroomLifetime) } ?? .unknown(entry.why)
    }
  }

  // MARK: Answers

  /// The series of `metric` in `namespace` that `selector` picks. `autoscalers` are the names of those that exist there, also those
  /// that nothing was decided for yet.
  package func answer(
    _ metric: BridgedMetric, namespace: String, selector: Selector, autoscalers: [String], now: MonotonicTime
  ) -> Answer {
    guard isLeading else { return .unavailable("this replica doesn't lead; the one that does has the numbers") }
    switch metric {
    case .desiredReplicas: return replicas(namespace, selector, autoscalers, now)
    case .apiHeadroom: return headroom(namespace, selector, now)
    }
  }

  private func replicas(
    _ namespace: String, _ selector: Selector, _ autoscalers: [String], _ now: MonotonicTime
  ) -> Answer {
    var values: [BridgedValue] = []
    for name in autoscalers.sorted() {
      let labels = [BridgedMetric.Label.autoscaler: name]
      guard selector.matches(labels) else { continue }
      switch desired[ObjectKey(namespace: namespace, name: name)] {
      case .known(let replicas, let at, let freshUntil) where now < freshUntil:
        values.append(BridgedValue(labels: labels, value: replicas, at: at))
      case .known(_, let at, _):
        return .unavailable("the last decision for the SwarmAutoscaler \(name) is of \(at.rfc3339), which is too old")
      case .unknown(let why): return .unavailable("no decision for the SwarmAutoscaler \(name): \(why)")
      case nil: return .unavailable("nothing is decided yet for the SwarmAutoscaler \(name)")
      }
    }
    return .values(values)
  }

  private func headroom(_ namespace: String, _ selector: Selector, _ now: MonotonicTime) -> Answer {
    guard hasBudgets else { return .unavailable("no coordinator runs here (--coordinator-listen): no budget is known") }
    var values: [BridgedValue] = []
    for key in budgets.keys.filter({ $0.namespace == namespace }).sorted() {
      // What a budget's dimensions are is known with the readings only: one that isn't known may be one of those asked for.
      let isAskedFor = selector.requirements.allSatisfy { requirement in
        requirement.key == BridgedMetric.Label.dimension
          || requirement.matches([BridgedMetric.Label.budget: key.name])
      }
      guard isAskedFor, let knowledge = budgets[key] else { continue }
      switch knowledge {
      case .known(let readings, let at, let freshUntil) where now < freshUntil:
        for reading in readings {
          let labels = [BridgedMetric.Label.budget: key.name, BridgedMetric.Label.dimension: reading.dimension]
          guard selector.matches(labels) else { continue }
          values.append(BridgedValue(labels: labels, value: reading.units, at: at))
        }
      case .known(_, let at, _):
        return .unavailable("the budget \(key.name) was looked at last at \(at.rfc3339), which is too long ago")
      case .unknown(let why): return .unavailable("the headroom of the budget \(key.name) isn't known: \(why)")
      }
    }
    return .values(values)
  }
}
