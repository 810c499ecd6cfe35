package import KubernetesCore

/// The HPA's reading of the resource metrics API (`metrics.k8s.io`).
///
/// Source: `GetResourceMetric`, `getPodMetrics` and `getContainerMetrics` of
/// `pkg/controller/podautoscaler/metrics/client.go`.
package enum HPAResourceMetrics {
  /// One `PodMetrics` object.
  package struct Item: Hashable, Sendable {
    /// The pod's name.
    package var pod: String
    /// When the sample was taken.
    package var timestamp: Timestamp
    /// The length of time that it covers.
    package var window: Duration
    /// The usage of each container.
    package var containers: [Container]

    /// Makes an item.
    package init(pod: String, timestamp: Timestamp, window: Duration, containers: [Container]) {
      self.pod = pod
      self.timestamp = timestamp
      self.window = window
      self.containers = containers
    }
  }

  /// The usage of one container.
  package struct Container: Hashable, Sendable {
    /// The container's name.
    package var name: String
    /// Usage by resource name.
    package var usage: [String: HPAQuantity]

    /// Makes a container's usage.
    package init(name: String, usage: [String: HPAQuantity]) {
      self.name = name
      self.usage = usage
    }
  }

  /// The samples of the pods that have `resource`: of whole pods, or of the one `container` where that is not empty.
  ///
  /// A whole pod counts only if it has containers and each of them has the resource. Quantities are rounded up to
  /// thousandths container by container. An empty list is an error.
  package static func podMetrics(
    _ items: [Item], resource: String, container: String = ""
  ) throws(HPASourceError) -> [String: HPAPodMetric] {
    if items.isEmpty { throw HPASourceError("no metrics returned from resource metrics API") }
    var metrics: [String: HPAPodMetric] = [:]
    for item in items {
      let value =
        container.isEmpty
        ? podUsage(item, resource: resource)
        : item.containers.first { $0.name == container }?.usage[resource]?.milliValue
      if let value {
        metrics[item.pod] = HPAPodMetric(timestamp: item.timestamp, window: item.window, valueMilli: value)
      }
    }
    return metrics
  }

  private static func podUsage(_ item: Item, resource: String) -> Int64? {
    if item.containers.isEmpty { return nil }
    var sum: Int64 = 0
    for container in item.containers {
      guard let usage = container.usage[resource] else { return nil }
      sum &+= usage.milliValue
    }
    return sum
  }
}
