import KubernetesCore
import LocalAPI
import LocalCluster
import TaskQueue

/// The queues' backlog as metrics of `external.metrics.k8s.io`, each with the label `queue`.
struct QueueMetrics: ClusterExternalSource {
  let engine: any TaskEngine

  var names: [String] { ["tasks_outstanding", "tasks_pending", "tasks_oldest_seconds"] }

  func values(of metric: String, matching selector: Selector) async -> [MeasuredExternal] {
    var queues = (try? await engine.statistics(of: nil)) ?? [:]
    // Who asks for a queue by its name hears that there is nothing in it, also before anybody has used it: a fleet that waits for
    // its first task isn't a fleet with a broken metric.
    for requirement in selector.requirements
    where requirement.key == "queue" && [.equals, .in].contains(requirement.operator) {
      for name in requirement.values where queues[name] == nil { queues[name] = TaskQueueStatistics() }
    }
    return queues.map { name, statistics in
      MeasuredExternal(labels: ["queue": name], milliValue: Self.milliValue(of: metric, statistics))
    }
  }

  private static func milliValue(of metric: String, _ statistics: TaskQueueStatistics) -> Int64 {
    switch metric {
    case "tasks_outstanding": Int64(statistics.outstanding) * 1_000
    case "tasks_pending": Int64(statistics.pending) * 1_000
    default: statistics.oldestPending.nanosecondsClamped / 1_000_000
    }
  }
}
