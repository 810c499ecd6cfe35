package import KubernetesCore
import KubernetesYAML
import ScalingAPI
import YAML

/// Checks documents like a compiler: every object on its own, then against each other.
package struct ManifestValidator {
  /// What was found, in the order of the files and documents.
  package private(set) var findings: [Finding] = []
  /// How many autoscalers and budgets were checked.
  package private(set) var checked = 0
  /// How many other documents were passed over.
  package private(set) var passedOver = 0
  /// The autoscalers by target, to find two that fight over one.
  private var targets: [Target: String] = [:]
  /// Where each object was first defined.
  private var places: [String: String] = [:]

  private struct Target: Hashable {
    var namespace: String
    var group: String
    var kind: String
    var name: String
  }

  /// A document, or an item of a list, and where it stands.
  private struct Item {
    var file: String
    var document: YAMLDocument
    var json: JSONValue
    /// What stands before the fields of a list's item, such as `items[2].`.
    var prefix: String

    var kind: String { json["kind"]?.stringValue ?? "" }
    var apiVersion: String { json["apiVersion"]?.stringValue ?? "" }
    var group: String {
      let parts = apiVersion.split(separator: "/", omittingEmptySubsequences: false)
      return parts.count == 2 ? String(parts[0]) : ""
    }
    var namespace: String { json["metadata"]?["namespace"]?.stringValue ?? "" }
    var name: String { json["metadata"]?["name"]?.stringValue ?? "" }
    /// The kind and name for people.
    var title: String {
      let name = name.isEmpty ? json["metadata"]?["generateName"]?.stringValue.map { $0 + "*" } ?? "(no name)" : name
      return "\(kind) \(namespace.isEmpty ? name : "\(namespace)/\(name)")"
    }

    func line(of path: String) -> Int {
      let line = document.line(of: prefix + path)
      return path.isEmpty ? (prefix.isEmpty ? document.line : document.line(of: String(prefix.dropLast()))) : line
    }
  }

  /// Makes a validator that has seen nothing.
  package init() {}

  /// How many findings are of a severity.
  package func count(_ severity: Finding.Severity) -> Int { findings.count { $0.severity == severity } }

  /// Notes that a file can't be read.
  package mutating func add(unreadable file: String, _ error: KubernetesError) {
    findings.append(Finding(file: file, line: nil, .error, error.message.droppingFullStop))
  }

  /// Checks the documents of a file.
  package mutating func check(_ bytes: [UInt8], file: String) {
    let (documents, problem) = YAMLDocument.read(bytes)
    for document in documents {
      check(Item(file: file, document: document, json: document.json, prefix: ""))
    }
    if let problem {
      findings.append(
        Finding(
          file: file, line: problem.line, .error, "the YAML can't be read: \(problem.problem.droppingFullStop)",
          fix: "correct the line or the indentation around it; documents after it are not checked"))
    } else if documents.isEmpty {
      findings.append(Finding(file: file, line: nil, .note, "there is no document in it"))
    }
  }

  private mutating func check(_ item: Item) {
    if item.kind == "List", item.apiVersion == "v1", let items = item.json["items"]?.arrayValue {
      for (index, json) in items.enumerated() {
        var inner = item
        inner.json = json
        inner.prefix = "items[\(index)]."
        check(inner)
      }
      return
    }
    switch (item.group, item.kind) {
    case (ScalingGroup.name, _): checkOwn(item)
    case ("autoscaling", "HorizontalPodAutoscaler"): checkHPA(item)
    case (_, SwarmAutoscaler.kind), (_, APIBudget.kind):
      add(
        item, .required, "apiVersion", "it isn't the group of this kind",
        fix: "write apiVersion: \(ScalingGroup.name)/\(ScalingGroup.version)")
      checked += 1
    default:
      passedOver += 1
      let what = item.kind.isEmpty ? "a document without a kind" : item.title
      note(item, "\(what) is passed over; only \(SwarmAutoscaler.kind) and \(APIBudget.kind) are checked")
    }
  }

  private mutating func checkOwn(_ item: Item) {
    checked += 1
    let version = "\(ScalingGroup.name)/\(ScalingGroup.version)"
    if item.apiVersion != version {
      add(item, .notSupported, "apiVersion", "this program knows \(version) only", fix: "write apiVersion: \(version)")
    }
    switch item.kind {
    case SwarmAutoscaler.kind:
      let autoscaler = SwarmAutoscaler(item.json)
      add(item, autoscaler.validate())
      checkIdentity(item)
      checkTarget(item, autoscaler)
    case APIBudget.kind:
      add(item, APIBudget(item.json).validate())
      checkIdentity(item)
    default:
      let kinds = [SwarmAutoscaler.kind, APIBudget.kind]
      let fix = closestText(to: item.kind, in: kinds).map { "write kind: \($0)" } ?? "write one of these kinds"
      add(item, .notSupported, "kind", "the kinds are \(kinds.joined(separator: " and "))", fix: fix)
    }
  }

  /// An `autoscaling/v2` spec works after an edit of two lines; whatever stands in the way of that is told.
  private mutating func checkHPA(_ item: Item) {
    guard item.apiVersion == "autoscaling/v2" else {
      passedOver += 1
      note(
        item, "\(item.title) of \(item.apiVersion) is passed over; only autoscaling/v2 can become a SwarmAutoscaler",
        fix: "let the cluster convert it: kubectl get hpa.v2.autoscaling \(item.name) -o yaml")
      return
    }
    checked += 1
    var converted = item
    converted.json["apiVersion"] = .string("\(ScalingGroup.name)/\(ScalingGroup.version)")
    converted.json["kind"] = .string(SwarmAutoscaler.kind)
    converted.json["status"] = nil
    let issues = SwarmAutoscaler(converted.json).validate()
    add(item, issues)
    let works = issues.errors.isEmpty ? "would work" : "would not work yet"
    note(
      item,
      "\(item.title) \(works) after editing apiVersion to \(ScalingGroup.name)/\(ScalingGroup.version) and kind to "
        + SwarmAutoscaler.kind)
  }

  private mutating func checkIdentity(_ item: Item) {
    if item.name.isEmpty, item.json["metadata"]?["generateName"]?.stringValue ?? "" == "" {
      add(item, .required, "metadata.name", "the name is missing", fix: "write metadata: {name: reviewers}")
      return
    }
    let place = "\(item.file):\(item.line(of: "metadata.name"))"
    guard !item.name.isEmpty, let first = places.updateValue(place, forKey: item.title) else { return }
    add(
      item, .duplicate, severity: .warning, "metadata.name", "\(item.title) stands at \(first) too; the later wins",
      fix: "remove one, or give it another name")
  }

  private mutating func checkTarget(_ item: Item, _ autoscaler: SwarmAutoscaler) {
    guard let reference = autoscaler.spec.scaleTargetRef, let kind = reference.kind, let name = reference.name else {
      return
    }
    let parts = (reference.apiVersion ?? "").split(separator: "/")
    let target = Target(
      namespace: item.namespace, group: parts.count == 2 ? String(parts[0]) : "", kind: kind, name: name)
    guard let other = targets[target] else {
      targets[target] = item.title
      return
    }
    guard other != item.title else { return }
    add(
      item, .duplicate, severity: .warning, "spec.scaleTargetRef",
      "\(other) scales \(kind) \(name) too; the older of the two decides and this one does nothing",
      fix: "put the metrics of both into one autoscaler")
  }

  private mutating func add(_ item: Item, _ issues: [FieldIssue]) {
    for issue in issues {
      findings.append(
        Finding(
          file: item.file, line: item.line(of: issue.path), object: item.title, path: item.prefix + issue.path, issue))
    }
  }

  private mutating func add(
    _ item: Item, _ kind: FieldIssue.Kind, severity: FieldIssue.Severity = .error, _ path: String, _ message: String,
    fix: String
  ) {
    let value = path.split(separator: ".").reduce(item.json as JSONValue?) { $0?[String($1)] }?.stringValue ?? ""
    add(item, [FieldIssue(kind, severity: severity, path: path, value: value, message: message, fix: fix)])
  }

  private mutating func note(_ item: Item, _ message: String, fix: String = "") {
    findings.append(
      Finding(file: item.file, line: item.line(of: ""), object: item.title, .note, message, fix: fix))
  }
}

extension String {
  fileprivate var droppingFullStop: String { hasSuffix(".") ? String(dropLast()) : self }
}
