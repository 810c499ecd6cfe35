import KubernetesCore

/// Takes a custom resource's document apart, tolerating faults in every part.
struct ObjectParts {
  /// The metadata; where it can't be read as a whole, at least name, namespace, uid, resourceVersion and generation.
  let metadata: ObjectMeta
  /// Findings about the document's outermost level.
  let issues: [FieldIssue]
  private let document: JSONValue

  init(_ json: JSONValue, fields: [String]) {
    document = json
    var issues: [FieldIssue] = []
    if json.objectValue == nil {
      issues.append(
        FieldIssue(
          .wrongType, path: "document", value: ShapeChecker.text(of: json), message: "an object is needed",
          fix: "begin the document with apiVersion: \(ScalingGroup.name)/\(ScalingGroup.version) and a kind"))
    }
    for (key, value) in (json.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where !fields.contains(key) {
      let fix =
        closestText(to: key, in: fields).map { "write \"\($0)\", or remove the field" }
        ?? "indent it below spec, or remove it"
      issues.append(
        FieldIssue(
          .unknownField, path: key, value: ShapeChecker.text(of: value),
          message: "there is no such field; the fields here are \(fields.joined(separator: ", "))", fix: fix))
    }
    do throws(KubernetesError) {
      metadata = try KubernetesJSON.decode(ObjectMeta.self, from: json["metadata"] ?? [:])
    } catch {
      metadata = Self.essentials(of: json["metadata"] ?? [:])
      issues.append(
        FieldIssue(
          .wrongType, path: "metadata", value: ShapeChecker.text(of: json["metadata"] ?? .null),
          message: error.message, fix: "write metadata as for any Kubernetes object, texts in quotes"))
    }
    self.issues = issues
  }

  /// The fitting part of a member; what doesn't fit is added to `issues`.
  func member<T: Decodable>(
    _ name: String, of shape: [FieldShape], default empty: T, issues: inout [FieldIssue]
  ) -> T {
    guard let value = document[name], value != .null else { return empty }
    var checker = ShapeChecker()
    let fitting = checker.checked(value, as: .object(shape), at: name) ?? [:]
    issues += checker.issues
    do throws(KubernetesError) {
      return try KubernetesJSON.decode(T.self, from: fitting)
    } catch {
      issues.append(
        FieldIssue(.wrongType, path: name, value: "", message: error.message, fix: "correct the field named here"))
      return empty
    }
  }

  /// The status, or nil with a warning when it can't be read: it is the controller's own and will be written again.
  func status<T: Decodable>(_ issues: inout [FieldIssue]) -> T? {
    guard let value = document["status"], value != .null else { return nil }
    do throws(KubernetesError) {
      return try KubernetesJSON.decode(T.self, from: value)
    } catch {
      issues.append(
        FieldIssue(
          .wrongType, severity: .warning, path: "status", value: "",
          message: "the status can't be read, so history before now is lost: \(error.message)",
          fix: "nothing; the controller writes a new status"))
      return nil
    }
  }

  private static func essentials(of json: JSONValue) -> ObjectMeta {
    ObjectMeta(
      name: json["name"]?.stringValue ?? "", namespace: json["namespace"]?.stringValue ?? "",
      uid: json["uid"]?.stringValue ?? "", resourceVersion: json["resourceVersion"]?.stringValue ?? "",
      generation: json["generation"]?.intValue ?? 0)
  }
}
