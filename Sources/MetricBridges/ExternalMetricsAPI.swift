package import KubernetesCore

/// The API `external.metrics.k8s.io/v1beta1` as API servers ask for it: requests and answers as values, no I/O.
package enum ExternalMetricsAPI {
  /// The API's group.
  package static let group = "external.metrics.k8s.io"
  /// The one version of it that there is.
  package static let version = "v1beta1"
  /// The name of the object by which API servers find who serves it.
  package static let serviceName = "\(version).\(group)"
  private static let groupVersion = "\(group)/\(version)"

  /// An answer over HTTP.
  package struct Response: Hashable, Sendable {
    /// The HTTP status.
    package var status: Int
    /// The object in the body.
    package var body: JSONValue

    /// Makes an answer.
    package init(status: Int, body: JSONValue) {
      self.status = status
      self.body = body
    }
  }

  /// What is asked for.
  package enum Question: Hashable, Sendable {
    /// Which metrics there are.
    case discovery
    /// The series of a metric in a namespace.
    case values(BridgedMetric, namespace: String, selector: Selector)
  }

  /// Reads a request; throws what it is answered when it can't be.
  ///
  /// - Parameters:
  ///   - path: The path, with nothing escaped in it: no name of ours needs that.
  ///   - selector: The query's `labelSelector`; nil and empty: every series.
  package static func question(
    _ method: String, _ path: String, selector: String?, metrics: [BridgedMetric]
  ) throws(Refusal) -> Question {
    guard method == "GET" else {
      throw Refusal(405, "MethodNotAllowed", "metrics can only be read: use GET, not \(method)")
    }
    let parts = path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
    let prefix = ["apis", group, version]
    guard parts.starts(with: prefix) else { throw Refusal(404, "NotFound", "nothing is served at \(path)") }
    let rest = Array(parts.dropFirst(prefix.count))
    if rest.isEmpty { return .discovery }
    guard rest.count == 3, rest[0] == "namespaces" else {
      throw Refusal(404, "NotFound", "metrics are at /apis/\(groupVersion)/namespaces/NAMESPACE/METRIC, not at \(path)")
    }
    guard let metric = BridgedMetric(rawValue: rest[2]), metrics.contains(metric) else {
      let known = metrics.map(\.rawValue).joined(separator: ", ")
      throw Refusal(404, "NotFound", "there is no metric \(rest[2]); there are: \(known)")
    }
    do {
      return .values(metric, namespace: rest[1], selector: try Selector(selector ?? ""))
    } catch {
      throw Refusal(400, "BadRequest", "labelSelector: \(error)")
    }
  }

  /// Why a request isn't answered, as API servers say it.
  package struct Refusal: Error, Hashable, Sendable {
    /// The HTTP status.
    package var status: Int
    /// The reason of a `Status` object.
    package var reason: String
    /// What is wrong, and what to do.
    package var message: String

    /// Makes a refusal.
    package init(_ status: Int, _ reason: String, _ message: String) {
      self.status = status
      self.reason = reason
      self.message = message
    }

    /// As a `Status` object.
    package var response: Response {
      Response(
        status: status,
        body: [
          "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure", "reason": .string(reason),
          "message": .string(message), "code": .int(Int64(status)),
        ])
    }
  }

  /// The list of the metrics. Each stands in it as a resource, as adapters of Prometheus and others have it.
  package static func discovery(_ metrics: [BridgedMetric]) -> Response {
    let resources = metrics.map { metric -> JSONValue in
      [
        "name": .string(metric.rawValue), "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList",
        "verbs": ["get"],
      ]
    }
    return Response(
      status: 200,
      body: [
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": .string(groupVersion),
        "resources": .array(resources),
      ])
  }

  /// The series of a metric, or that they aren't known now.
  package static func response(_ answer: BridgeBook.Answer, of metric: BridgedMetric) -> Response {
    switch answer {
    case .unavailable(let why): return Refusal(503, "ServiceUnavailable", why).response
    case .values(let values):
      let items = values.map { value -> JSONValue in
        [
          "metricName": .string(metric.rawValue), "metricLabels": .object(value.labels.mapValues { .string($0) }),
          "timestamp": .string(Timestamp(secondsSinceEpoch: value.at.secondsSinceEpoch).rfc3339),
          "value": .string(Quantity(value.value).description),
        ]
      }
      return Response(
        status: 200,
        body: [
          "kind": "ExternalMetricValueList", "apiVersion": .string(groupVersion), "metadata": [:],
          "items": .array(items),
        ])
    }
  }
}
