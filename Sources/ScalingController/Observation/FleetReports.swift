package import KubernetesCore
package import ScalingDecision
package import ScalingObservation

/// What a coordinator knows of budgets and workers; a scripted one in tests.
///
/// Every read is answered from memory: it waits for nobody and makes no request, so that a budget costs nothing at the
/// Kubernetes API or at the provider's (D47). Times are civil times of this process's clock; their ages decide whether
/// a report still counts, as with every other sample.
package protocol FleetReports: Sendable {
  /// Whether workers may still be on their way to this coordinator: it has just begun, and who hasn't reported yet may
  /// be at work all the same.
  var isLearning: Bool { get }
  /// What the workers of an autoscaler report; nil when none of them ever did.
  func activity(of autoscaler: ObjectKey) -> FleetActivityReport?
  /// An autoscaler's load on the budget called `name` in its namespace; nil when nothing is known of it.
  func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport?
}

/// What a coordinator tells workers on behalf of a decision.
package protocol FleetOrders: Sendable {
  /// Orders a pod to take no new work; what it has may take `timeout`. Nothing when the pod isn't known.
  func drain(_ pod: ObjectKey, timeout: Duration) async
  /// Takes the order back.
  func withdrawDrain(_ pod: ObjectKey) async
}

/// What runs as long as this process leads, beside the passes over autoscalers.
package protocol LeaderTask: Sendable {
  /// Runs until the task is cancelled; an error ends the controller.
  func lead(_ leadership: Leadership) async throws
}

/// What a leader's task gets from the controller.
package struct Leadership: Sendable {
  /// Whether this process (still) leads: nothing may be written when it doesn't.
  package var mayAct: @Sendable () -> Bool
  /// Asks for a pass over an autoscaler at once, because what it goes by has changed.
  package var wake: @Sendable (ObjectKey) -> Void
  /// The uid of the pod of a name, as the cache has it; nil: there is none.
  package var podUID: @Sendable (ObjectKey) -> String?

  /// Makes a leadership.
  package init(
    mayAct: @escaping @Sendable () -> Bool, wake: @escaping @Sendable (ObjectKey) -> Void,
    podUID: @escaping @Sendable (ObjectKey) -> String?
  ) {
    self.mayAct = mayAct
    self.wake = wake
    self.podUID = podUID
  }
}

extension BudgetReport {
  /// This report for a metric with a target of its own, which counts where it is below the budget's: a metric can keep
  /// its fleet further from the limit, not nearer to it than the budget grants.
  func aimed(lower: Int64, upper: Int64) -> BudgetReport {
    var report = self
    for index in report.loads.indices {
      let top = min(upper, report.loads[index].band?.upper ?? upper)
      report.loads[index].band = .init(lower: min(lower, top), upper: top)
    }
    return report
  }
}
