package import Observability

/// The metric families of the bridges to other autoscalers; docs/metrics.md lists them.
package enum BridgeMetrics {
  /// What became of requests by other autoscalers.
  package static let requests = "swarmscale_bridge_requests_total"

  /// Every family with its declaration.
  package static let families: [MetricsRegistry.Family] = [
    .init(
      requests, .counter, labels: ["bridge", "outcome"],
      help:
        "Requests by other autoscalers: served, unavailable (no fresh number), invalid, or refused (no right to ask).")
  ]
}
