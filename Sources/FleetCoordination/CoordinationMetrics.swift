package import Observability

/// The coordinator's metric families; docs/metrics.md lists them.
package enum CoordinationMetrics {
  private static let namespaceAndName = ["namespace", "name"]

  /// The limit of a dimension.
  package static let limit = "swarmscale_budget_limit"
  /// What was admitted in the last minute.
  package static let admitted = "swarmscale_budget_admitted"
  /// What waits for its grant.
  package static let waiting = "swarmscale_budget_waiting"
  /// What others use on the same organisation.
  package static let foreign = "swarmscale_budget_foreign"
  /// Admitted and foreign use over the limit.
  package static let utilization = "swarmscale_budget_utilization_ratio"
  /// The requests that wait.
  package static let queue = "swarmscale_budget_queue_requests"
  /// 95 % of the grants of the last minute waited less.
  package static let wait = "swarmscale_budget_queue_wait_p95_seconds"
  /// Rejections of the last minute by kind.
  package static let rejections = "swarmscale_budget_rejections"
  /// What was spent since midnight UTC.
  package static let spent = "swarmscale_budget_spent_today_dollars"
  /// The clients that draw from the budget.
  package static let clients = "swarmscale_budget_clients"
  /// The workers that have a stream.
  package static let workers = "swarmscale_coordinator_workers"
  /// Whether the coordinator is new and learns.
  package static let learning = "swarmscale_coordinator_learning"
  /// Status patches by outcome.
  package static let statusWrites = "swarmscale_budget_status_writes_total"

  /// Every family with its declaration.
  package static let families: [MetricsRegistry.Family] = [
    .init(limit, .gauge, labels: namespaceAndName + ["dimension"], help: "Limit of a budget's dimension, a minute."),
    .init(admitted, .gauge, labels: namespaceAndName + ["dimension"], help: "What was admitted in the last minute."),
    .init(waiting, .gauge, labels: namespaceAndName + ["dimension"], help: "What the waiting requests ask for."),
    .init(
      foreign, .gauge, labels: namespaceAndName + ["dimension"],
      help: "What others use on the same organisation, a minute."),
    .init(
      utilization, .gauge, labels: namespaceAndName + ["dimension"], help: "Admitted and foreign use over the limit."),
    .init(queue, .gauge, labels: namespaceAndName, help: "Requests that wait for their grant."),
    .init(wait, .gauge, labels: namespaceAndName, help: "95 % of the last minute's grants waited less than this."),
    .init(rejections, .gauge, labels: namespaceAndName + ["kind"], help: "Rejections by the API in the last minute."),
    .init(spent, .gauge, labels: namespaceAndName, help: "US dollars spent since midnight UTC."),
    .init(clients, .gauge, labels: namespaceAndName, help: "Workers that draw from the budget."),
    .init(workers, .gauge, help: "Workers that are connected to this coordinator."),
    .init(learning, .gauge, help: "1 while a new coordinator waits for workers to come back."),
    .init(statusWrites, .counter, labels: ["outcome"], help: "Patches of budgets' status."),
  ]
}
