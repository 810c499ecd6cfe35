/// Why a replica count could not be computed, with the text that Kubernetes gives.
package enum HPACalculationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The metrics API answered with an error, or with nothing.
  case metricsUnavailable(String)
  /// The pod lister failed.
  case podListFailed(String)
  /// The selector returned no pods.
  case noPods
  /// No metric is left once the pods that do not count are set aside.
  case noUsableMetrics
  /// A container that counts has no request for the resource.
  case missingContainerRequest(String)
  /// A pod lacks the named container.
  case containerNotFound(String)
  /// The requests of the pods with metrics add up to zero.
  case noMetricsMatchRequests
  /// The count of ready pods could not be had.
  case readyPodsUnavailable(String)

  /// The text that the HPA's events and conditions carry.
  package var description: String {
    switch self {
    case .metricsUnavailable(let text), .missingContainerRequest(let text), .containerNotFound(let text): text
    case .podListFailed(let text): "unable to get pods while calculating replica count: \(text)"
    case .noPods: "no pods returned by selector while calculating replica count"
    case .noUsableMetrics: "did not receive metrics for targeted pods (pods might be unready)"
    case .noMetricsMatchRequests: "no metrics returned matched known pods"
    case .readyPodsUnavailable(let text): "unable to calculate ready pods: \(text)"
    }
  }
}

/// A failed read, with the text of the failure.
package struct HPASourceError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What failed.
  package var message: String
  /// What failed.
  package var description: String { message }

  /// Makes an error.
  package init(_ message: String) { self.message = message }
}
