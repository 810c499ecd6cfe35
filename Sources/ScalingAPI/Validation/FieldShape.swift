import KubernetesCore

/// The name and JSON type of one field, for checks of documents before they are decoded.
package struct FieldShape: Sendable {
  /// A JSON type.
  package indirect enum Value: Sendable {
    case string
    case boolean
    case int32
    case int64
    /// A string or number that reads as a quantity.
    case quantity
    case list(Value)
    case map(Value)
    case object([FieldShape])
    /// Anything.
    case any
  }

  /// The field's name.
  package var name: String
  /// What it holds.
  package var value: Value

  /// Names a field and what it holds.
  package init(_ name: String, _ value: Value) {
    self.name = name
    self.value = value
  }
}

/// The fields of a `metav1.LabelSelector`.
let labelSelectorShape: [FieldShape] = [
  FieldShape("matchLabels", .map(.string)),
  FieldShape(
    "matchExpressions",
    .list(
      .object([
        FieldShape("key", .string), FieldShape("operator", .string), FieldShape("values", .list(.string)),
      ]))),
]

/// Compares a JSON document with the shape that it should have.
///
/// What doesn't fit is reported and left out of `checked`, so that what remains always decodes: one wrong field must not
/// hide the others, nor one broken object the other objects of a list.
struct ShapeChecker {
  /// The findings, in document order (members of an object by name).
  private(set) var issues: [FieldIssue] = []

  /// The fitting part of `value`; nil when the whole doesn't fit or is null.
  mutating func checked(_ value: JSONValue, as shape: FieldShape.Value, at path: String) -> JSONValue? {
    switch (shape, value) {
    case (_, .null): return nil
    case (.any, _), (.string, .string), (.boolean, .bool): return value
    case (.int32, .int(let number)):
      if Int32(exactly: number) != nil { return value }
      return wrong(value, at: path, "a whole number from \(Int32.min) to \(Int32.max) is needed", "5")
    case (.int64, .int): return value
    case (.quantity, .int), (.quantity, .double), (.quantity, .string): return checkedQuantity(value, at: path)
    case (.list(let element), .array(let elements)):
      // An element that doesn't fit becomes an empty object, so that the indices of the others stay.
      return .array(
        elements.enumerated().map { checked($1, as: element, at: "\(path)[\($0)]") ?? Self.placeholder(element) })
    case (.map(let element), .object(let members)):
      var kept: [String: JSONValue] = [:]
      for (key, member) in members.sorted(by: { $0.key < $1.key }) {
        kept[key] = checked(member, as: element, at: "\(path)[\(key)]")
      }
      return .object(kept)
    case (.object(let fields), .object(let members)): return checkedObject(members, fields: fields, at: path)
    default: return wrong(value, at: path, "\(Self.name(of: shape)) is needed", Self.example(of: shape))
    }
  }

  private mutating func checkedObject(
    _ members: [String: JSONValue], fields: [FieldShape], at path: String
  ) -> JSONValue {
    var kept: [String: JSONValue] = [:]
    for (key, member) in members.sorted(by: { $0.key < $1.key }) {
      if let field = fields.first(where: { $0.name == key }) {
        kept[key] = checked(member, as: field.value, at: "\(path).\(key)")
        continue
      }
      let names = fields.map(\.name)
      let fix =
        if let close = closestText(to: key, in: names) { "write \"\(close)\", or remove the field" } else {
          "remove the field"
        }
      issues.append(
        FieldIssue(
          .unknownField, path: "\(path).\(key)", value: Self.text(of: member),
          message: "there is no such field; the fields here are \(names.sorted().joined(separator: ", "))", fix: fix))
    }
    return .object(kept)
  }

  private mutating func checkedQuantity(_ value: JSONValue, at path: String) -> JSONValue? {
    let text = Self.text(of: value)
    do {
      _ = try Quantity(text)
      return value
    } catch {
      issues.append(
        FieldIssue(
          .invalid, path: path, value: text, message: "it is not a quantity: \(error.problem)",
          fix: "write a number with an optional suffix, such as \"500m\", \"4\", \"1.5Gi\" or \"2M\""))
      return nil
    }
  }

  private mutating func wrong(_ value: JSONValue, at path: String, _ message: String, _ example: String) -> JSONValue? {
    issues.append(
      FieldIssue(
        .wrongType, path: path, value: Self.text(of: value), message: message, fix: "write it like \(example)"))
    return nil
  }

  private static func placeholder(_ shape: FieldShape.Value) -> JSONValue {
    switch shape {
    case .string: .string("")
    case .int32, .int64, .quantity: .int(0)
    case .boolean: .bool(false)
    case .list: .array([])
    case .map, .object: .object([:])
    case .any: .null
    }
  }

  private static func name(of shape: FieldShape.Value) -> String {
    switch shape {
    case .string: "a text"
    case .boolean: "true or false"
    case .int32, .int64: "a whole number"
    case .quantity: "a quantity"
    case .list: "a list"
    case .map, .object: "an object with named fields"
    case .any: "a value"
    }
  }

  private static func example(of shape: FieldShape.Value) -> String {
    switch shape {
    case .string: "\"text\", in quotes"
    case .boolean: "true, without quotes"
    case .int32, .int64: "5, without quotes"
    case .quantity: "\"500m\""
    case .list(let element): "a list of lines that begin with \"- \", each \(name(of: element))"
    case .map, .object: "indented lines of \"name: value\""
    case .any: "any value"
    }
  }

  /// A short text for a value, for findings.
  static func text(of value: JSONValue) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): "\(flag)"
    case .int(let number): "\(number)"
    case .double(let number): "\(number)"
    case .string(let text): text
    case .array(let elements): "a list of \(elements.count)"
    case .object(let members): "{" + members.keys.sorted().joined(separator: ", ") + "}"
    }
  }
}

/// The candidate that differs least from `text` in letters, without regard to case; nil when none is near.
///
/// Near means a distance of at most a third of the length, at least one: `maxReplica` finds `maxReplicas`.
package func closestText(to text: String, in candidates: [String]) -> String? {
  let wanted = Array(text.lowercased().utf8)
  let limit = max(1, wanted.count / 3)
  var best: (distance: Int, text: String)?
  for candidate in candidates.sorted() {
    let distance = editDistance(wanted, Array(candidate.lowercased().utf8))
    if distance <= limit, best.map({ distance < $0.distance }) ?? true { best = (distance, candidate) }
  }
  return best?.text
}

/// The number of letters to insert, remove or change (Levenshtein), of texts cut to 64 letters.
private func editDistance(_ lhs: [UInt8], _ rhs: [UInt8]) -> Int {
  let lhs = lhs.prefix(64)
  let rhs = rhs.prefix(64)
  var row = Array(0...rhs.count)
  for (i, left) in lhs.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, right) in rhs.enumerated() {
      let substituted = diagonal + (left == right ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
    }
  }
  return row[rhs.count]
}
