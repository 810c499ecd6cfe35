package import KubernetesCore

/// What a value of the API may look like, and how two of them are merged.
///
/// A tree of classes, built once from the schemas' text: equal parts are shared, so that a pod's template isn't built four times.
package final class Schema: Sendable {
  /// The shape of a value.
  package enum Shape: Sendable {
    /// Named fields; unknown ones are dropped, unless all are kept.
    case object(fields: [String: Schema], keepsUnknown: Bool)
    /// Any names, one schema for the values.
    case map(Schema)
    /// A list.
    case list(Schema)
    case string
    case integer
    case number
    case boolean
    /// A whole number or a string; a quantity where it says so.
    case integerOrString(isQuantity: Bool)
    /// Anything.
    case any
  }

  /// How lists with elements of equal identity are merged.
  package enum ListMerge: Hashable, Sendable {
    /// The new list takes the place of the old one.
    case atomic
    /// The union of values.
    case set
    /// Element by element, by the values of these fields.
    case map(keys: [String])
  }

  /// The shape.
  package let shape: Shape
  /// Fields that must be there.
  package let required: [String]
  /// How a strategic merge patch treats a list here.
  package let patchMerge: ListMerge
  /// Whether a strategic merge patch names the fields that are to remain (`$retainKeys`).
  package let retainsKeys: Bool
  /// How ownership of a list's elements is tracked.
  package let ownership: ListMerge
  /// The choices, where there are some.
  package let choices: [String]
  /// The smallest number.
  package let minimum: Double?
  /// The largest number.
  package let maximum: Double?
  /// The fewest elements or characters.
  package let minimumCount: Int?
  /// The most elements or characters.
  package let maximumCount: Int?
  /// A regular expression for texts.
  package let pattern: String?
  /// What stands there when nothing is written.
  package let fallback: JSONValue?
  /// The type's name where it has one, such as `io.k8s.api.core.v1.PodSpec`.
  package let name: String?

  init(_ json: JSONValue, name: String?, shape: Shape) {
    self.shape = shape
    self.name = name
    required = json["required"]?.arrayValue?.compactMap(\.stringValue) ?? []
    let strategy = json["x-kubernetes-patch-strategy"]?.stringValue?.split(separator: ",").map(String.init) ?? []
    let listKeys = json["x-kubernetes-list-map-keys"]?.arrayValue?.compactMap(\.stringValue) ?? []
    let mergeKey = json["x-kubernetes-patch-merge-key"]?.stringValue
    retainsKeys = strategy.contains("retainKeys")
    patchMerge = strategy.contains("merge") ? mergeKey.map { .map(keys: [$0]) } ?? .set : .atomic
    switch json["x-kubernetes-list-type"]?.stringValue {
    case "map": ownership = .map(keys: listKeys.isEmpty ? [mergeKey ?? "name"] : listKeys)
    case "set": ownership = .set
    case "atomic": ownership = .atomic
    default: ownership = patchMerge
    }
    choices = json["enum"]?.arrayValue?.compactMap(\.stringValue) ?? []
    minimum = Self.number(json["minimum"])
    maximum = Self.number(json["maximum"])
    minimumCount = (json["minItems"] ?? json["minLength"])?.intValue.map { Int(clamping: $0) }
    maximumCount = (json["maxItems"] ?? json["maxLength"])?.intValue.map { Int(clamping: $0) }
    pattern = json["pattern"]?.stringValue
    fallback = json["default"]
  }

  private static func number(_ json: JSONValue?) -> Double? {
    switch json {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The schema of a field; nil when there is no such field.
  package func field(_ name: String) -> Schema? {
    switch shape {
    case .object(let fields, _): fields[name]
    case .map(let value): value
    default: nil
    }
  }

  /// The schema of a list's elements.
  package var element: Schema? { if case .list(let element) = shape { element } else { nil } }
}

/// Builds schemas from definitions, each definition once.
struct SchemaBuilder {
  private let definitions: [String: JSONValue]
  private var built: [String: Schema] = [:]

  init(definitions: [String: JSONValue]) {
    self.definitions = definitions
  }

  /// The schema of a definition; `any` for one that isn't there.
  mutating func definition(_ name: String) -> Schema {
    if let known = built[name] { return known }
    let schema = schema(definitions[name] ?? [:], name: name)
    built[name] = schema
    return schema
  }

  /// The schema that `json` describes. None of the served types contains itself, so this ends.
  mutating func schema(_ json: JSONValue, name: String? = nil) -> Schema {
    if let reference = json["$ref"]?.stringValue {
      let target = definition(String(reference.split(separator: "/").last ?? ""))
      // What stands beside a reference says how it is merged; only lists and objects with retainKeys care.
      guard json["x-kubernetes-patch-strategy"] != nil else { return target }
      return Schema(json, name: target.name, shape: target.shape)
    }
    return Schema(json, name: name, shape: shape(json, name: name))
  }

  private mutating func shape(_ json: JSONValue, name: String?) -> Schema.Shape {
    if name?.hasSuffix("resource.Quantity") == true { return .integerOrString(isQuantity: true) }
    if json["x-kubernetes-int-or-string"]?.boolValue == true || json["format"]?.stringValue == "int-or-string" {
      return .integerOrString(isQuantity: false)
    }
    switch json["type"]?.stringValue {
    case "string": return .string
    case "integer": return .integer
    case "number": return .number
    case "boolean": return .boolean
    case "array": return .list(schema(json["items"] ?? [:]))
    case "object": return objectShape(json)
    default: return json["properties"] == nil ? .any : objectShape(json)
    }
  }

  private mutating func objectShape(_ json: JSONValue) -> Schema.Shape {
    if let properties = json["properties"]?.objectValue {
      var fields: [String: Schema] = [:]
      for (field, value) in properties { fields[field] = schema(value) }
      return .object(fields: fields, keepsUnknown: json["x-kubernetes-preserve-unknown-fields"]?.boolValue == true)
    }
    if let values = json["additionalProperties"], values.objectValue != nil { return .map(schema(values)) }
    return .any
  }
}
