/// Holds a count until a proposal has stood for a whole window.
package enum StabilizationWindow {
  /// What the windows make of a proposal.
  package struct Result: Hashable, Sendable {
    /// The count to go to.
    package var replicas: Int
    /// When the oldest proposal that holds the count leaves its window; nil where nothing is held.
    package var until: Milliseconds?
  }

  /// Moves `current` as far as both windows, which already hold the newest proposal, agree.
  ///
  /// As in the HPA: up to the smallest proposal of the growth window, then down to the largest of the shrink window.
  package static func stabilize(
    current: Int, proposed: Int, growth: WindowHistory, shrink: WindowHistory, now: Milliseconds,
    growthWindow: Milliseconds, shrinkWindow: Milliseconds
  ) -> Result {
    let smallest = growth.first(since: now.subtractingSaturated(growthWindow))?.replicas ?? proposed
    let largest = shrink.first(since: now.subtractingSaturated(shrinkWindow))?.replicas ?? proposed
    let replicas = min(max(current, min(smallest, proposed)), max(largest, proposed))
    var until: Milliseconds?
    if replicas < proposed {
      until = growth.last { $0.replicas <= replicas }?.at.addingSaturated(growthWindow)
    } else if replicas > proposed {
      until = shrink.last { $0.replicas >= replicas }?.at.addingSaturated(shrinkWindow)
    }
    return Result(replicas: replicas, until: until)
  }
}

extension WindowHistory {
  /// Notes a proposal, forgets those that left the window, and those that can no longer be its largest.
  package mutating func noteForLargest(_ replicas: Int, at now: Milliseconds, window: Milliseconds) {
    note(replicas, at: now, cutoff: now.subtractingSaturated(window)) { $0 <= $1 }
  }

  /// Notes a proposal, forgets those that left the window, and those that can no longer be its smallest.
  package mutating func noteForSmallest(_ replicas: Int, at now: Milliseconds, window: Milliseconds) {
    note(replicas, at: now, cutoff: now.subtractingSaturated(window)) { $0 >= $1 }
  }
}
