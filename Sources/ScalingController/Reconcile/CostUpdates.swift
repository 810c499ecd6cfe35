package import KubernetesCore
package import ScalingDecision

/// How often deletion costs of workers that stay are changed: Kubernetes asks not to change them often, since each change is
/// one of the pod, which everybody sees who watches pods.
///
/// Marks of victims, and marks that are taken off again, are never left out: the write that follows relies on them.
package struct CostUpdates: Hashable, Sendable {
  /// How many changes a fleet makes a minute at most.
  package static let perMinute = 60

  private var since = MonotonicTime(sinceOrigin: .zero)
  private var count = 0

  /// Nothing was changed yet.
  package init() {}

  /// `orders` without the changes that are too many; they come again with the next plan that needs them.
  package mutating func bounded(_ orders: [WorkerOrder], now: MonotonicTime) -> [WorkerOrder] {
    if now - since >= .seconds(60) {
      since = now
      count = 0
    }
    return orders.filter { order in
      guard case .setDeletionCost(_, let cost) = order, cost > 0 else { return true }
      count += 1
      return count <= Self.perMinute
    }
  }
}
