package import Observability

/// The controller's metric families; docs/metrics.md lists them.
package enum ControllerMetrics {
  static let namespaceAndName = ["namespace", "name"]

  /// Replica count of the target's scale, as last read.
  package static let currentReplicas = "swarmscale_autoscaler_current_replicas"
  /// Replica count that the last decision aims for.
  package static let desiredReplicas = "swarmscale_autoscaler_desired_replicas"
  /// Replica count that each metric proposes or allows.
  package static let proposedReplicas = "swarmscale_autoscaler_metric_replicas"
  /// 1 for the binding step of the last decision.
  package static let bindingStep = "swarmscale_autoscaler_binding_step"
  /// 1 while the named condition is true, 0 while it is false.
  package static let condition = "swarmscale_autoscaler_condition"
  /// Passes by outcome.
  package static let reconciles = "swarmscale_reconciles_total"
  /// How long passes take.
  package static let reconcileSeconds = "swarmscale_reconcile_duration_seconds"
  /// Writes of the scale subresource by outcome and direction.
  package static let scaleWrites = "swarmscale_scale_writes_total"
  /// Drains by what became of them.
  package static let drains = "swarmscale_drains_total"
  /// How long workers take from the order to drain until they have no work.
  package static let drainSeconds = "swarmscale_drain_duration_seconds"
  /// Workers whose removal, by whomever, began while they had work.
  package static let removedBusy = "swarmscale_workers_removed_busy_total"
  /// Pieces of work that were in hand when their worker was gone.
  package static let lostWork = "swarmscale_work_lost_total"
  /// Status patches by outcome.
  package static let statusWrites = "swarmscale_status_writes_total"
  /// Whether this process leads.
  package static let leader = "swarmscale_leader"
  /// Objects in the caches.
  package static let cachedObjects = "swarmscale_cached_objects"
  /// Watches that ended and were begun again.
  package static let watchRestarts = "swarmscale_watch_restarts_total"
  /// Full lists.
  package static let relists = "swarmscale_relists_total"
  /// Keys that wait for a worker.
  package static let queueDepth = "swarmscale_queue_depth"
  /// How long the first key in the queue has waited.
  package static let queueOldestSeconds = "swarmscale_queue_oldest_seconds"
  /// Requests to the Kubernetes API by status class.
  package static let apiRequests = "swarmscale_kubernetes_requests_total"
  /// Requests that wait for their answer, and watches.
  package static let apiInFlight = "swarmscale_kubernetes_requests_in_flight"
  /// Connections opened to the Kubernetes API.
  package static let apiConnections = "swarmscale_kubernetes_connections_total"
  /// Admission reviews by webhook and outcome.
  package static let admissions = "swarmscale_admission_reviews_total"

  /// Every family with its declaration.
  package static let families: [MetricsRegistry.Family] = [
    .init(currentReplicas, .gauge, labels: namespaceAndName, help: "Replica count of the target's scale."),
    .init(desiredReplicas, .gauge, labels: namespaceAndName, help: "Replica count that the last decision aims for."),
    .init(
      proposedReplicas, .gauge, labels: namespaceAndName + ["metric", "role"],
      help: "Replica count that a metric proposes (demand) or allows (ceiling)."),
    .init(
      bindingStep, .gauge, labels: namespaceAndName + ["step"],
      help: "1 for the step that had the last word; the others have no series."),
    .init(
      condition, .gauge, labels: namespaceAndName + ["type"], help: "1 while the condition is true, 0 otherwise."),
    .init(reconciles, .counter, labels: ["outcome"], help: "Passes over autoscalers by outcome."),
    .init(
      reconcileSeconds, .histogram, buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      help: "How long passes take."),
    .init(scaleWrites, .counter, labels: ["direction", "outcome"], help: "Writes of /scale."),
    .init(
      drains, .counter, labels: namespaceAndName + ["outcome"],
      help: "Workers that were ordered, acknowledged, drained, refused, cancelled or timed_out."),
    .init(
      drainSeconds, .histogram, buckets: [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600],
      help: "From the order to drain until the worker had no work."),
    .init(
      removedBusy, .counter, labels: namespaceAndName, help: "Workers whose removal began while they had work."),
    .init(lostWork, .counter, labels: namespaceAndName, help: "Pieces of work in hand when their worker was gone."),
    .init(statusWrites, .counter, labels: ["outcome"], help: "Patches of autoscalers' status."),
    .init(leader, .gauge, help: "1 while this process leads."),
    .init(cachedObjects, .gauge, labels: ["resource"], help: "Objects in the watch caches."),
    .init(watchRestarts, .counter, labels: ["resource"], help: "Watches that ended and were begun again."),
    .init(relists, .counter, labels: ["resource"], help: "Full lists of a resource."),
    .init(queueDepth, .gauge, help: "Autoscalers that wait for a worker."),
    .init(queueOldestSeconds, .gauge, help: "How long the first autoscaler in the queue has waited."),
    .init(apiRequests, .counter, labels: ["class"], help: "Requests to the Kubernetes API by class of answer."),
    .init(apiInFlight, .gauge, labels: ["kind"], help: "Requests to the Kubernetes API without an end yet."),
    .init(apiConnections, .counter, help: "Connections opened to the Kubernetes API."),
    .init(
      admissions, .counter, labels: ["webhook", "outcome"],
      help: "Admission reviews: pods Embedded, Unchanged, NotManaged or Skipped with a reason; specs Valid or Refused."),
  ]
}
