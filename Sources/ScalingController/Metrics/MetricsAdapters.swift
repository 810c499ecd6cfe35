package import KubernetesCore
package import KubernetesRuntime
import Synchronization

/// How long a metrics API may take to answer. A pass waits for it, so it stays below the sync period: a source that
/// hangs then counts as unknown, and edits of the spec aren't held up.
let metricsTimeout = Duration.seconds(8)

/// Reads `custom.metrics.k8s.io` and `external.metrics.k8s.io`, which adapters serve.
package struct MetricsAdapters: Sendable {
  private let client: APIClient
  private let discovery: Discovery
  private let customVersion: CustomMetricsVersion

  /// Makes a reader.
  package init(client: APIClient, discovery: Discovery) {
    self.client = client
    self.discovery = discovery
    self.customVersion = CustomMetricsVersion()
  }

  /// A number of each pod that matches `pods`.
  package func podValues(
    namespace: String, metric: String, selector: Selector, pods: Selector
  ) async throws -> [MetricValue] {
    var query = [APIRequest.QueryItem("labelSelector", pods.description)]
    if !selector.isEmpty { query.append(.init("metricLabelSelector", selector.description)) }
    let path = "namespaces/\(try APIRequest.segment(namespace))/pods/*/\(try APIRequest.segment(metric))"
    return try await custom(path, query).items
  }

  /// A number of one object.
  package func objectValue(
    namespace: String, apiVersion: String, kind: String, name: String, metric: String, selector: Selector
  ) async throws -> MetricValue {
    let query = selector.isEmpty ? [] : [APIRequest.QueryItem("metricLabelSelector", selector.description)]
    let metricSegment = try APIRequest.segment(metric)
    let path: String
    if kind == "Namespace", apiVersion == "v1" {
      path = "namespaces/\(try APIRequest.segment(name))/metrics/\(metricSegment)"
    } else {
      let found = try await discovery.resource(apiVersion: apiVersion, kind: kind)
      let resource = found.resource
      let collection = resource.group.isEmpty ? resource.resource : "\(resource.resource).\(resource.group)"
      let prefix = found.isNamespaced ? "namespaces/\(try APIRequest.segment(namespace))/" : ""
      path = "\(prefix)\(try APIRequest.segment(collection))/\(try APIRequest.segment(name))/\(metricSegment)"
    }
    guard let value = try await custom(path, query).items.first else {
      throw KubernetesError(
        .notFound, "The metric \(metric) of \(kind) \(name) has no value; check the adapter's rules.")
    }
    return value
  }

  /// All series of a metric from outside.
  package func externalValues(
    namespace: String, metric: String, selector: Selector
  ) async throws -> [ExternalMetricValue] {
    let query = selector.isEmpty ? [] : [APIRequest.QueryItem("labelSelector", selector.description)]
    let base = "/apis/external.metrics.k8s.io/v1beta1/namespaces"
    let path = "\(base)/\(try APIRequest.segment(namespace))/\(try APIRequest.segment(metric))"
    return try await client.send(
      APIRequest(path: path, query: query, timeout: metricsTimeout), as: ExternalMetricValueList.self
    ).items
  }

  /// Asks in the newest version that the adapter serves: v1beta2, else v1beta1.
  private func custom(_ path: String, _ query: [APIRequest.QueryItem]) async throws -> MetricValueList {
    let versions = customVersion.known.map { [$0] } ?? ["v1beta2", "v1beta1"]
    var failure = KubernetesError(.notFound, "custom.metrics.k8s.io is not served; install a metrics adapter.")
    for version in versions {
      do {
        let list = try await client.send(
          APIRequest(path: "/apis/custom.metrics.k8s.io/\(version)/\(path)", query: query, timeout: metricsTimeout),
          as: MetricValueList.self)
        customVersion.learn(version)
        return list
      } catch let error as KubernetesError where error.code == .notFound {
        failure = error
      }
    }
    customVersion.forget()
    throw failure
  }
}

/// The version of `custom.metrics.k8s.io` that answered last.
private final class CustomMetricsVersion: Sendable {
  private let version = Mutex<String?>(nil)

  var known: String? { version.withLock { $0 } }

  func learn(_ value: String) { version.withLock { $0 = value } }

  func forget() { version.withLock { $0 = nil } }
}
