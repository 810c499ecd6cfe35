package import KubernetesCore

/// Who answers for the numbers: the controller, or a script in tests.
package protocol BridgeSource: Sendable {
  /// The metrics that there are.
  var metrics: [BridgedMetric] { get }
  /// The series of `metric` in `namespace` that `selector` picks, as they are known now.
  func answer(_ metric: BridgedMetric, namespace: String, selector: Selector) -> BridgeBook.Answer
}

extension BridgeSource {
  /// Answers a request of `external.metrics.k8s.io`.
  package func respond(_ method: String, _ path: String, labelSelector: String?) -> ExternalMetricsAPI.Response {
    do throws(ExternalMetricsAPI.Refusal) {
      switch try ExternalMetricsAPI.question(method, path, selector: labelSelector, metrics: metrics) {
      case .discovery: return ExternalMetricsAPI.discovery(metrics)
      case .values(let metric, let namespace, let selector):
        return ExternalMetricsAPI.response(answer(metric, namespace: namespace, selector: selector), of: metric)
      }
    } catch {
      return error.response
    }
  }
}
