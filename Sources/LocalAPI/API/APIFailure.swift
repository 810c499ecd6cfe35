package import KubernetesCore

/// A request that is refused, as a `metav1.Status`.
package struct APIFailure: Error, Sendable {
  /// The HTTP status.
  package var code: Int
  /// A machine-readable word.
  package var reason: String
  /// What is wrong, in words.
  package var message: String
  /// Further data.
  package var details: JSONValue?

  /// Makes a refusal.
  package init(_ code: Int, _ reason: String, _ message: String, details: JSONValue? = nil) {
    self.code = code
    self.reason = reason
    self.message = message
    self.details = details
  }

  /// The status document.
  package var status: JSONValue {
    var json: JSONValue = [
      "apiVersion": "v1", "kind": "Status", "metadata": [:], "status": "Failure", "message": .string(message),
      "reason": .string(reason), "code": .int(Int64(code)),
    ]
    json["details"] = details
    return json
  }

  private static func details(_ type: ResourceType, _ name: String) -> JSONValue {
    var json: JSONValue = ["name": .string(name), "kind": .string(type.plural)]
    if !type.group.isEmpty { json["group"] = .string(type.group) }
    return json
  }

  static func notFound(_ type: ResourceType, _ name: String) -> APIFailure {
    APIFailure(
      404, "NotFound", "\(type.qualifiedName) \"\(name)\" not found", details: details(type, name))
  }

  /// A path that this server doesn't serve.
  static func noSuchPath(_ path: String) -> APIFailure {
    APIFailure(
      404, "NotFound",
      "the server could not find the requested resource (\(path.prefix(200)) is not served by the local cluster; see "
        + "docs/local-cluster.md)", details: [:])
  }

  static func alreadyExists(_ type: ResourceType, _ name: String) -> APIFailure {
    APIFailure(
      409, "AlreadyExists", "\(type.qualifiedName) \"\(name)\" already exists", details: details(type, name))
  }

  static func conflict(_ type: ResourceType, _ name: String, _ problem: String? = nil) -> APIFailure {
    let problem =
      problem ?? "the object has been modified; please apply your changes to the latest version and try again"
    return APIFailure(
      409, "Conflict", "Operation cannot be fulfilled on \(type.qualifiedName) \"\(name)\": \(problem)",
      details: details(type, name))
  }

  static func badRequest(_ message: String) -> APIFailure { APIFailure(400, "BadRequest", message) }

  static func forbidden(_ type: ResourceType, _ name: String, _ problem: String) -> APIFailure {
    APIFailure(
      403, "Forbidden", "\(type.qualifiedName) \"\(name)\" is forbidden: \(problem)", details: details(type, name))
  }

  static func methodNotAllowed(_ method: String) -> APIFailure {
    APIFailure(
      405, "MethodNotAllowed", "the server does not allow this method on the requested resource (\(method))",
      details: [:])
  }

  static func unsupportedMediaType(_ accepted: [String]) -> APIFailure {
    APIFailure(
      415, "UnsupportedMediaType",
      "the body of the request was in an unknown format - accepted media types include: "
        + accepted.joined(separator: ", "))
  }

  static func expired(_ expired: VersionExpired) -> APIFailure {
    APIFailure(
      410, "Expired", "too old resource version: \(expired.version) (\(expired.oldest))")
  }

  /// Faults of something that is no stored object, such as the options of a request.
  static func invalid(kind: String, group: String = "", name: String = "", _ faults: [FieldFault]) -> APIFailure {
    let type = ResourceType(
      group: group, version: "", plural: "", singular: "", kind: kind, schema: Schema([:], name: nil, shape: .any),
      storage: "")
    return invalid(type, name, faults)
  }

  static func invalid(_ type: ResourceType, _ name: String, _ faults: [FieldFault]) -> APIFailure {
    let kind = type.group.isEmpty ? type.kind : "\(type.kind).\(type.group)"
    let texts = faults.map { "\($0.field): \($0.message)" }
    let text = texts.count == 1 ? texts[0] : "[\(texts.joined(separator: ", "))]"
    var details = details(type, name)
    details["kind"] = .string(type.kind)
    details["causes"] = .array(
      faults.map {
        ["reason": .string($0.reason.rawValue), "message": .string($0.message), "field": .string($0.field)]
      })
    return APIFailure(422, "Invalid", "\(kind) \"\(name)\" is invalid: \(text)", details: details)
  }
}
