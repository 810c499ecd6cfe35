package import KubernetesCore

/// Which values of a metric from outside a client asks for.
package struct ExternalMetricsRequest: Sendable {
  /// The metric's name: one of those that the cluster serves.
  package var metric: String
  /// Which series are meant.
  package var selector: Selector
}

extension ClusterState {
  static let externalGroup = "external.metrics.k8s.io"
  static let externalVersion = "v1beta1"

  /// Whether a path lies in `external.metrics.k8s.io`, and that is served.
  func isExternal(_ parts: [String]) -> Bool {
    parts.count >= 2 && parts[0] == "apis" && parts[1] == Self.externalGroup && !externalMetrics.isEmpty
  }

  /// Discovery, and lists of a metric's values. The same in each namespace: what is measured knows of none.
  func external(_ parts: [String], _ call: APICall) throws(APIFailure) -> APIAnswer {
    guard ["GET", "HEAD"].contains(call.method) else { throw .methodNotAllowed(call.method) }
    if parts.count == 2 {
      var json = group(Self.externalGroup)
      json["kind"] = "APIGroup"
      json["apiVersion"] = "v1"
      return .document(status: 200, json, warnings: [])
    }
    guard parts[2] == Self.externalVersion else { throw .noSuchPath(call.path) }
    switch parts.count {
    case 3: return .document(status: 200, externalResources, warnings: [])
    case 6 where parts[3] == "namespaces":
      guard externalMetrics.contains(parts[5]) else {
        throw APIFailure(
          404, "NotFound",
          "the metric \(parts[5]) is not served; there are \(externalMetrics.joined(separator: ", "))", details: [:])
      }
      return .external(ExternalMetricsRequest(metric: parts[5], selector: try labelSelector(call)))
    default: throw .noSuchPath(call.path)
    }
  }

  private var externalResources: JSONValue {
    let resources: [JSONValue] = externalMetrics.map { name in
      [
        "name": .string(name), "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList",
        "verbs": ["get"],
      ]
    }
    return [
      "kind": "APIResourceList", "apiVersion": "v1",
      "groupVersion": .string("\(Self.externalGroup)/\(Self.externalVersion)"), "resources": .array(resources),
    ]
  }

  private func labelSelector(_ call: APICall) throws(APIFailure) -> Selector {
    guard let text = call["labelSelector"], !text.isEmpty else { return .everything }
    do throws(SelectorError) {
      return try Selector(text)
    } catch {
      throw .badRequest("unable to parse requirement: \(error)")
    }
  }

  /// The answer to a question for a metric's values, sorted by their labels.
  package static func externalDocument(
    for request: ExternalMetricsRequest, measured: [MeasuredExternal], at now: Timestamp
  ) -> JSONValue {
    let chosen = measured.filter { request.selector.matches($0.labels) }
      .map { value in (order: value.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }, value: value) }
      .sorted { $0.order.lexicographicallyPrecedes($1.order) }
    return [
      "apiVersion": .string("\(externalGroup)/\(externalVersion)"), "kind": "ExternalMetricValueList", "metadata": [:],
      "items": .array(
        chosen.map { entry in
          [
            "metricName": .string(request.metric),
            "metricLabels": .object(entry.value.labels.mapValues { .string($0) }), "timestamp": .string(now.rfc3339),
            "value": .string("\(entry.value.milliValue)m"),
          ]
        }),
    ]
  }
}
