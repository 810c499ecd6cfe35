package import Observability
package import RateBudget
package import SwarmCoordination
import Synchronization

/// The sidecar's metrics. Labels name budgets, statuses and causes: never a key, a prompt or a completion.
package final class SidecarMetrics: Sendable {
  private static let prefix = "swarmscale_sidecar_"
  /// More budgets than this share the label "other": models are named by clients.
  private static let labelLimit = 64

  private let registry: MetricsRegistry
  private let budgets: @Sendable () -> [(key: GroupKey, report: GroupReport)]
  private let coordinator: @Sendable () -> Coordinator?
  private let fleet: @Sendable () -> String
  private let labels = Mutex<Set<String>>([])
  private let noted = Mutex(LinkCounts())

  /// What there is to say of the coordinator.
  package struct Coordinator: Hashable, Sendable {
    /// Whether it admits requests now.
    package var isConnected: Bool
    /// What was counted since the start.
    package var counts: LinkCounts

    /// Makes it.
    package init(isConnected: Bool, counts: LinkCounts) {
      self.isConnected = isConnected
      self.counts = counts
    }
  }

  /// Makes the metrics; `budgets` tells the state of the budgets at each scrape, `coordinator` that of the link, nil where
  /// there is none, `fleet` how the fleet stands that shares an engine, as text.
  package init(
    budgets: @escaping @Sendable () -> [(key: GroupKey, report: GroupReport)] = { [] },
    coordinator: @escaping @Sendable () -> Coordinator? = { nil }, fleet: @escaping @Sendable () -> String = { "" }
  ) {
    registry = MetricsRegistry(Self.families)
    self.budgets = budgets
    self.coordinator = coordinator
    self.fleet = fleet
  }

  /// Everything that is exported.
  package static let families: [MetricsRegistry.Family] = [
    .init(
      prefix + "requests_total", .counter, labels: ["kind", "status"],
      help: "Answers to the worker; kind is metered or other."),
    .init(
      prefix + "upstream_responses_total", .counter, labels: ["budget", "status"],
      help: "Answers of the API to metered attempts."),
    .init(prefix + "retries_total", .counter, labels: ["budget", "cause"], help: "Attempts that were repeated."),
    .init(
      prefix + "refused_total", .counter, labels: ["budget", "cause"],
      help: "Requests that the sidecar answered itself."),
    .init(
      prefix + "tokens_total", .counter, labels: ["budget", "kind"],
      help: "Tokens used; kind is input, cache_write, cache_read or output."),
    .init(prefix + "cut_total", .counter, labels: ["budget"], help: "Answers that ended before they were complete."),
    .init(
      prefix + "breaker_opened_total", .counter, labels: ["budget"],
      help: "How often the API failed a model so often that it is left alone for a minute."),
    .init(prefix + "pings_total", .counter, help: "Pings put into silent streams."),
    .init(prefix + "requests_in_flight", .gauge, help: "Requests that are with the API."),
    .init(prefix + "requests_waiting", .gauge, help: "Requests that wait for the budget or the next attempt."),
    .init(
      prefix + "wait_seconds", .histogram, labels: ["budget"], buckets: [0.001, 0.01, 0.1, 1, 5, 15, 60, 120, 300],
      help: "How long requests waited for their grant."),
    .init(prefix + "budget_limit", .gauge, labels: ["budget", "dimension"], help: "Limit a minute."),
    .init(prefix + "budget_admitted", .gauge, labels: ["budget", "dimension"], help: "Charged in the last minute."),
    .init(
      prefix + "budget_pressure_ratio", .gauge, labels: ["budget"],
      help: "Offered load of the fullest dimension as a part of its limit; above 1 requests wait."),
    .init(
      prefix + "coordinator_connected", .gauge,
      help:
        "1 while the coordinator admits requests, 0 while this worker's own share does; absent without a coordinator."),
    .init(
      prefix + "coordinator_reconnects_total", .counter,
      help: "How often a lost connection to the coordinator was made again."),
    .init(
      prefix + "admissions_total", .counter, labels: ["source"],
      help: "Admitted requests; source is coordinator, or share: this worker's own share while there is none."),
  ]

  private func label(_ budget: String) -> String {
    labels.withLock { labels in
      if labels.contains(budget) { return budget }
      guard labels.count < Self.labelLimit else { return "other" }
      labels.insert(budget)
      return budget
    }
  }

  private func count(_ name: String, _ labels: [String] = [], by amount: Int64 = 1) {
    registry.increment(Self.prefix + name, by: Double(amount), labels)
  }

  /// Takes in what the gateway does.
  package func note(_ event: GatewayEvent) {
    switch event {
    case .admitted(let group, let waited):
      registry.observe(Self.prefix + "wait_seconds", waited / .seconds(1), [label(group)])
    case .answered(let group, let status): count("upstream_responses_total", [label(group), String(status)])
    case .retried(let group, let cause): count("retries_total", [label(group), cause.rawValue])
    case .refused(let group, let cause): count("refused_total", [label(group), cause])
    case .opened(let model): count("breaker_opened_total", [label(model)])
    case .settled(let group, let usage, let isComplete):
      let budget = label(group)
      let writes = (usage.cacheCreation ?? 0) + (usage.cacheCreationHour ?? 0)
      for (kind, amount) in [
        ("input", usage.input ?? 0), ("cache_write", writes), ("cache_read", usage.cacheRead ?? 0),
        ("output", usage.output ?? 0),
      ] where amount > 0 {
        count("tokens_total", [budget, kind], by: amount)
      }
      if !isComplete { count("cut_total", [budget]) }
    }
  }

  /// Notes an answer to the worker.
  func answered(isMetered: Bool, status: Int) {
    count("requests_total", [isMetered ? "metered" : "other", String(status)])
  }

  /// Notes a ping.
  func pinged() {
    count("pings_total")
  }

  private func note(_ coordinator: Coordinator) {
    registry.set(Self.prefix + "coordinator_connected", to: coordinator.isConnected ? 1 : 0)
    // The link keeps the totals; what has come since the last scrape is added.
    let new = noted.withLock { noted in
      var new = LinkCounts()
      new.welcomes = max(0, coordinator.counts.welcomes - 1) - noted.welcomes
      new.byCoordinator = coordinator.counts.byCoordinator - noted.byCoordinator
      new.byShare = coordinator.counts.byShare - noted.byShare
      noted.welcomes += new.welcomes
      noted.byCoordinator += new.byCoordinator
      noted.byShare += new.byShare
      return new
    }
    count("coordinator_reconnects_total", by: new.welcomes)
    count("admissions_total", ["coordinator"], by: new.byCoordinator)
    count("admissions_total", ["share"], by: new.byShare)
  }

  /// The text for Prometheus.
  package func render(activity: ClaudeGateway.Activity) -> String {
    registry.set(Self.prefix + "requests_in_flight", to: Double(activity.inFlight))
    registry.set(Self.prefix + "requests_waiting", to: Double(activity.waiting))
    if let coordinator = coordinator() { note(coordinator) }
    for (key, report) in budgets() {
      let budget = label(key.modelGroup + (key.speed.isEmpty ? "" : "/" + key.speed))
      for dimension in report.dimensions {
        let labels = [budget, "\(dimension.dimension)"]
        registry.set(Self.prefix + "budget_limit", to: Double(dimension.limit), labels)
        registry.set(Self.prefix + "budget_admitted", to: Double(dimension.admitted), labels)
      }
      registry.set(Self.prefix + "budget_pressure_ratio", to: Double(report.pressurePPM) / 1_000_000, [budget])
    }
    return registry.render() + fleet()
  }
}
