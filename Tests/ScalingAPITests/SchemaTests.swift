import KubernetesCore
import KubernetesYAML
import ScalingAPI
import Testing
import YAML

private func yaml(_ path: String) throws -> [JSONValue] {
  let (documents, problem) = YAMLDocument.read(try repositoryFile(path))
  if let problem { throw problem }
  return documents.map(\.json)
}

/// The OpenAPI schema of a custom resource, enough of it to judge documents as the API server does.
private struct Schema {
  var json: JSONValue

  init(_ json: JSONValue) { self.json = json }

  init(plural: String) throws {
    let definition = try #require(try yaml("manifests/crd/\(plural).yaml").first)
    json = try #require(definition[path: ["spec", "versions", "0", "schema", "openAPIV3Schema"]])
  }

  var properties: [String: JSONValue] { json["properties"]?.objectValue ?? [:] }
  func property(_ name: String) -> Schema? { properties[name].map { Schema($0) } }
  var isQuantity: Bool { json["x-kubernetes-int-or-string"]?.boolValue ?? false }
  var isOpaque: Bool { json["x-kubernetes-preserve-unknown-fields"]?.boolValue ?? false }
  var choices: [String]? { json["enum"]?.arrayValue?.compactMap(\.stringValue) }

  /// A value with every field filled in.
  var sample: JSONValue {
    if isQuantity { return "4" }
    if isOpaque { return ["z": [1, "a", true]] }
    switch json["type"]?.stringValue {
    case "boolean": return true
    case "integer": return json["minimum"] ?? 1
    case "string":
      if let choice = choices?.first { return .string(choice) }
      if json["format"] == "date-time" { return "2026-11-25T01:30:00Z" }
      return json["pattern"]?.stringValue?.hasPrefix("^https") == true ? "https://p" : "30m"
    case "array": return [json["items"].map { Schema($0).sample } ?? .null]
    default:
      if let values = json["additionalProperties"] { return ["a": Schema(values).sample] }
      return .object(properties.mapValues { Schema($0).sample })
    }
  }

  /// What the API server would say about a value: unknown fields are cut off there, so they count as findings here.
  func findings(_ value: JSONValue, at path: String) -> [String] {
    if isOpaque { return [] }
    if isQuantity {
      if case .string = value { return [] }
      return value.intValue == nil ? ["\(path): not an integer or string"] : []
    }
    switch (json["type"]?.stringValue, value) {
    case ("boolean", .bool): return []
    case ("string", .string(let text)):
      if let choices, !choices.contains(text) { return ["\(path): not supported"] }
      return (json["minLength"]?.intValue).map { Int64(text.utf8.count) < $0 } == true ? ["\(path): too short"] : []
    case ("integer", .int(let number)):
      let isLow = (json["minimum"]?.intValue).map { number < $0 } ?? false
      let isHigh = (json["maximum"]?.intValue).map { number > $0 } ?? false
      return isLow || isHigh ? ["\(path): out of range"] : []
    case ("array", .array(let elements)):
      let items = Schema(json["items"] ?? [:])
      let isShort = (json["minItems"]?.intValue).map { Int64(elements.count) < $0 } ?? false
      return (isShort ? ["\(path): too few"] : [])
        + elements.enumerated().flatMap { items.findings($1, at: "\(path)[\($0)]") }
    case ("object", .object(let members)):
      if let values = json["additionalProperties"] {
        return members.flatMap { Schema(values).findings($0.value, at: "\(path).\($0.key)") }
      }
      let missing = (json["required"]?.arrayValue ?? []).compactMap(\.stringValue).filter { members[$0] == nil }
      return missing.map { "\(path).\($0): required" }
        + members.sorted { $0.key < $1.key }.flatMap { key, member in
          property(key)?.findings(member, at: "\(path).\(key)") ?? ["\(path).\(key): unknown"]
        }
    default: return ["\(path): wrong type"]
    }
  }

  /// The value after the API server has filled in defaults.
  func defaulted(_ value: JSONValue) -> JSONValue {
    switch value {
    case .object(var members):
      for (name, schema) in properties {
        if let present = members[name] ?? schema["default"] { members[name] = Schema(schema).defaulted(present) }
      }
      return .object(members)
    case .array(let elements): return .array(elements.map { Schema(json["items"] ?? [:]).defaulted($0) })
    default: return value
    }
  }

  /// Compares the stored properties of a value, deep down, with the schema's.
  func compareNames(of value: Any, at path: String) {
    if isOpaque || properties["matchLabels"] != nil { return }
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .optional: if let wrapped = mirror.children.first { compareNames(of: wrapped.value, at: path) }
    case .collection:
      for child in mirror.children { Schema(json["items"] ?? [:]).compareNames(of: child.value, at: "\(path)[]") }
    case .struct where json["type"] == "object":
      // A property behind a wrapper is stored under its name with an underscore.
      let fields = mirror.children.map { child in
        (
          name: String((child.label ?? "").trimmingPrefix("_")),
          value: (child.value as? any Wrapper)?.content ?? child.value
        )
      }
      #expect(Set(fields.map(\.name)) == Set(properties.keys), "\(path)")
      for field in fields { property(field.name)?.compareNames(of: field.value, at: "\(path).\(field.name)") }
    default: break
    }
  }

  /// Every schema below this one, with its path.
  func walk(_ path: String = "") -> [(path: String, schema: Schema)] {
    [(path, self)] + properties.sorted { $0.key < $1.key }.flatMap { Schema($0.value).walk("\(path).\($0.key)") }
      + (json["items"].map { Schema($0).walk("\(path)[]") } ?? [])
  }
}

/// A property wrapper that the schemas know nothing of.
private protocol Wrapper {
  var content: Any { get }
}

extension Boxed: Wrapper {
  var content: Any { wrappedValue as Any }
}

@Suite("The schemas in manifests/crd")
struct SchemaTests {
  static let examples = ["basic", "band", "hpa-migrated", "custom-target", "api-budget", "schedule", "prometheus"]

  @Test("each field of the autoscaler's schema goes through the Swift types and back, and they have no other")
  func autoscalerFields() throws {
    let schema = try Schema(plural: "swarmautoscalers")
    var sample = schema.sample
    sample["apiVersion"] = "swarmscale.dev/v1alpha1"
    sample["kind"] = "SwarmAutoscaler"
    sample["metadata"] = ["name": "x"]
    let object = SwarmAutoscaler(sample)
    #expect(object.decodingIssues.isEmpty)
    #expect(try KubernetesJSON.value(of: object) == sample)
    try #require(schema.property("spec")).compareNames(of: object.spec, at: "spec")
    try #require(schema.property("status")).compareNames(of: try #require(object.status), at: "status")
  }

  @Test("each field of the budget's schema goes through the Swift types and back, and they have no other")
  func budgetFields() throws {
    let schema = try Schema(plural: "apibudgets")
    var sample = schema.sample
    sample["apiVersion"] = "swarmscale.dev/v1alpha1"
    sample["kind"] = "APIBudget"
    sample["metadata"] = ["name": "x"]
    let object = APIBudget(sample)
    #expect(object.decodingIssues.isEmpty)
    #expect(try KubernetesJSON.value(of: object) == sample)
    try #require(schema.property("spec")).compareNames(of: object.spec, at: "spec")
    try #require(schema.property("status")).compareNames(of: try #require(object.status), at: "status")
  }

  @Test("every field is described, so that kubectl explain teaches", arguments: ["swarmautoscalers", "apibudgets"])
  func descriptions(plural: String) throws {
    let schema = try Schema(plural: plural)
    var described = 0
    for (path, field) in schema.walk() where !path.hasSuffix("]") && path != ".metadata" {
      #expect((field.json["description"]?.stringValue ?? "").count > 5, "\(path)")
      described += 1
    }
    #expect(described > 40)
  }

  @Test("defaults that the server fills in are those of the code")
  func defaults() throws {
    let schema = try #require(try Schema(plural: "swarmautoscalers").property("spec"))
    let spec: JSONValue = [
      "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"], "drain": [:], "embed": [:],
      "fallback": ["replicas": 9],
      "metrics": [
        ["type": "APIRate", "apiRate": ["budgetRef": ["name": "claude"], "target": [:]]],
        [
          "type": "Prometheus",
          "prometheus": [
            "serverAddress": "https://p", "query": "q", "target": ["type": "Value", "value": 4],
          ],
        ],
      ],
    ]
    let filled = schema.defaulted(spec)
    #expect(filled[path: ["drain", "timeout"]] == "30m" && filled["syncPeriodSeconds"] == nil)
    #expect(try autoscaler(spec: filled).resolved() == autoscaler(spec: spec).resolved())
    let budgetSchema = try #require(try Schema(plural: "apibudgets").property("spec"))
    let budget: JSONValue = ["target": [:], "burst": [:], "shares": [["autoscaler": "a"]]]
    #expect(
      try APIBudget(["spec": budgetSchema.defaulted(budget)]).resolved() == APIBudget(["spec": budget]).resolved())
  }

  @Test("each example is understood without a finding, by the schema and by the code", arguments: examples)
  func example(name: String) throws {
    var seen = 0
    for document in try yaml("examples/\(name).yaml") {
      let issues: [FieldIssue]
      let schema: Schema
      switch document["kind"] {
      case "SwarmAutoscaler":
        issues = SwarmAutoscaler(document).validate()
        schema = try Schema(plural: "swarmautoscalers")
      case "APIBudget":
        issues = APIBudget(document).validate()
        schema = try Schema(plural: "apibudgets")
      default: continue
      }
      seen += 1
      #expect(issues.isEmpty)
      let spec = try #require(document["spec"])
      #expect(try #require(schema.property("spec")).findings(spec, at: "spec") == [])
    }
    #expect(seen > 0)
  }

  @Test("the schema accepts every spec that the HPA accepts, and refuses nothing that the code accepts")
  func vectors() throws {
    let schema = try #require(try Schema(plural: "swarmautoscalers").property("spec"))
    var accepted = 0
    for vector in try HPAVector.load("hpa_validate") {
      let findings = schema.findings(vector.input.spec, at: "spec")
      if autoscaler(spec: vector.input.spec).validate().errors.isEmpty {
        #expect(findings == [], "\(vector.id)")
        accepted += 1
      }
    }
    for vector in try HPAVector.load("hpa_defaults") {
      #expect(schema.findings(vector.input.spec, at: "spec") == [], "\(vector.id)")
    }
    #expect(accepted >= 46)
  }
}
