package import KubernetesCore

/// A replica count that the metrics asked for at some moment, before any stabilization.
package struct HPARecommendation: Hashable, Sendable {
  /// The replica count.
  package var replicas: Int32
  /// When it was recommended.
  package var at: Timestamp

  /// Makes a recommendation.
  package init(replicas: Int32, at: Timestamp) {
    self.replicas = replicas
    self.at = at
  }
}

/// A change that the controller itself wrote.
package struct HPAScaleEvent: Hashable, Sendable {
  /// The number of replicas added, or the number removed.
  package var change: Int32
  /// When it was written.
  package var at: Timestamp
  /// The mark of a slot to be used again; such an event still counts while it lies inside a period.
  package var isOutdated: Bool

  /// Makes an event.
  package init(change: Int32, at: Timestamp, isOutdated: Bool = false) {
    self.change = change
    self.at = at
    self.isOutdated = isOutdated
  }
}

/// What the controller remembers of one HPA between passes: all that is lost when it restarts.
///
/// Source: the maps `recommendations`, `scaleUpEvents` and `scaleDownEvents` of `HorizontalController`
/// (`horizontal.go`). Order and slots are those of the original: old entries are overwritten in place.
package struct HPAHistory: Hashable, Sendable {
  /// Past recommendations; nil until the first one is recorded.
  package var recommendations: [HPARecommendation]?
  /// Past growth.
  package var scaleUpEvents: [HPAScaleEvent]
  /// Past shrinking.
  package var scaleDownEvents: [HPAScaleEvent]

  /// Makes a history, by default the empty one of a controller that has just started.
  package init(
    recommendations: [HPARecommendation]? = nil, scaleUpEvents: [HPAScaleEvent] = [],
    scaleDownEvents: [HPAScaleEvent] = []
  ) {
    self.recommendations = recommendations
    self.scaleUpEvents = scaleUpEvents
    self.scaleDownEvents = scaleDownEvents
  }

  /// Records the present size as the first recommendation, if there is none yet (`recordInitialRecommendation`).
  package mutating func recordInitialRecommendation(_ replicas: Int32, now: Timestamp) {
    if recommendations == nil { recommendations = [HPARecommendation(replicas: replicas, at: now)] }
  }

  /// Stores `replicas` in the slot `index`, or behind all others where there is none to use again.
  mutating func record(_ replicas: Int32, reusing index: Int?, now: Timestamp) {
    let recommendation = HPARecommendation(replicas: replicas, at: now)
    if let index {
      recommendations?[index] = recommendation
    } else {
      recommendations = (recommendations ?? []) + [recommendation]
    }
  }

  /// Stores a written change (`storeScaleEvent`); without a behavior nothing is stored.
  ///
  /// Slots older than the longest period of the *same* direction are marked and the last of them is used again, so
  /// that a longer period on the other side can miss events.
  package mutating func storeScaleEvent(
    behavior: HPABehaviorSpec?, from previous: Int32, to replicas: Int32, now: Timestamp
  ) {
    guard let behavior else { return }
    if replicas > previous {
      Self.store(
        HPAScaleEvent(change: replicas &- previous, at: now), in: &scaleUpEvents, rules: behavior.scaleUp, now: now)
    } else {
      Self.store(
        HPAScaleEvent(change: previous &- replicas, at: now), in: &scaleDownEvents, rules: behavior.scaleDown, now: now)
    }
  }

  private static func store(
    _ event: HPAScaleEvent, in events: inout [HPAScaleEvent], rules: HPAScalingRules?, now: Timestamp
  ) {
    let longestPeriod = max(0, rules?.policies?.map(\.periodSeconds).max() ?? 0)
    let cutoff = now - .seconds(longestPeriod)
    for index in events.indices where events[index].at < cutoff { events[index].isOutdated = true }
    if let slot = events.lastIndex(where: \.isOutdated) {
      events[slot] = event
    } else {
      events.append(event)
    }
  }

  /// The sum of the changes within a period, its far end excluded (`getReplicasChangePerPeriod`).
  static func change(in events: [HPAScaleEvent], periodSeconds: Int32, now: Timestamp) -> Int32 {
    let cutoff = now - .seconds(periodSeconds)
    return events.reduce(0) { $1.at > cutoff ? $0 &+ $1.change : $0 }
  }
}
