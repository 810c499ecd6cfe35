package import KubernetesCore

/// A selection by fields: `spec.nodeName=a,status.phase!=Running`.
package struct FieldSelector: Sendable, Hashable {
  private struct Requirement: Sendable, Hashable {
    var path: [String]
    var value: String
    var isEqual: Bool
  }

  private var requirements: [Requirement] = []

  /// The selector that matches everything.
  package static let everything = FieldSelector()

  /// Whether it matches everything.
  package var isEmpty: Bool { requirements.isEmpty }

  private init() {}

  /// The fields that can be asked for, beyond name and namespace.
  private static let known: [String: Set<String>] = [
    "pods": [
      "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase",
      "status.podIP", "status.nominatedNodeName",
    ],
    "events": [
      "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
      "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "source",
      "type", "reportingComponent",
    ],
    "nodes": ["spec.unschedulable"], "secrets": ["type"], "namespaces": ["status.phase"],
    "replicasets": ["status.replicas"],
  ]

  /// Reads the text of a query.
  package init(_ text: String, type: ResourceType) throws(APIFailure) {
    for part in text.split(separator: ",") where !part.isEmpty {
      let isEqual = !part.contains("!=")
      let pieces = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pieces.count == 2 else { throw .badRequest("invalid selector: '\(part)'; can't understand '\(part)'") }
      var field = String(pieces[0])
      if !isEqual { field.removeLast() }
      var value = String(pieces[1])
      if isEqual, value.hasPrefix("=") { value.removeFirst() }
      let isName = field == "metadata.name" || (field == "metadata.namespace" && type.isNamespaced)
      guard isName || Self.known[type.storage]?.contains(field) == true else {
        throw .badRequest(
          "Unable to find \"\(type.apiVersion), Resource=\(type.plural)\" that match label selector \"\", field selector "
            + "\"\(text.prefix(200))\": field label not supported: \(field.prefix(100))")
      }
      if field == "source" { field = "source.component" }
      requirements.append(
        Requirement(path: field.split(separator: ".").map(String.init), value: value, isEqual: isEqual))
    }
  }

  /// Whether an object, as it is stored, matches.
  package func matches(_ object: JSONValue) -> Bool {
    requirements.allSatisfy { requirement in
      let value: String =
        switch object[path: requirement.path] {
        case .string(let text): text
        case .bool(let flag): flag ? "true" : "false"
        case .int(let number): String(number)
        default: requirement.path == ["spec", "unschedulable"] ? "false" : ""
        }
      return (value == requirement.value) == requirement.isEqual
    }
  }
}
