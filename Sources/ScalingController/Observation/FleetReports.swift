package import KubernetesCore
package import ScalingDecision
package import ScalingObservation

/// What a coordinator knows of budgets and workers; a scripted one in tests.
///
/// Every read is answered from memory: it waits for nobody and makes no request, so that a budget costs nothing at the
/// Kubernetes API or at the provider's (D47). Times are civil times of this process's clock; their ages decide whether
/// a report still counts, as with every other sample.
package protocol FleetReports: Sendable {
  /// What the workers of an autoscaler report; nil when none of them ever did.
  func activity(of autoscaler: ObjectKey) -> FleetActivityReport?
  /// An autoscaler's load on the budget called `name` in its namespace; nil when nothing is known of it.
  func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport?
}
