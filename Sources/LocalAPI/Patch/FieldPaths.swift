import KubernetesCore

/// The path of one field, in the words of `FieldsV1`: `f:spec`, `k:{"name":"a"}`, `v:"x"`; `.` at the end for the thing itself.
typealias FieldPath = [String]

/// The fields of objects as sets of paths, for the question who set what (`metadata.managedFields`).
enum FieldPaths {
  /// What belongs to nobody, since the server writes it or it is the object's name.
  private static let unowned: Set<String> = [
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generateName", "generation",
    "managedFields",
    "name", "namespace", "resourceVersion", "selfLink", "uid",
  ]

  /// The fields of an object, each with its value.
  static func leaves(of object: JSONValue, schema: Schema) -> [FieldPath: JSONValue] {
    var stripped = object
    stripped["apiVersion"] = nil
    stripped["kind"] = nil
    let metadata = (object["metadata"]?.objectValue ?? [:]).filter { !unowned.contains($0.key) }
    stripped["metadata"] = metadata.isEmpty ? nil : .object(metadata)
    var result: [FieldPath: JSONValue] = [:]
    collect(stripped, schema, [], &result)
    return result
  }

  private static func collect(
    _ value: JSONValue, _ schema: Schema?, _ path: FieldPath, _ result: inout [FieldPath: JSONValue]
  ) {
    switch value {
    case .object(let members):
      let isMap: Bool
      switch schema?.shape {
      case .map, .any, nil: isMap = true
      default: isMap = false
      }
      if members.isEmpty || (isMap && !path.isEmpty) { result[path + ["."]] = [:] }
      for (key, member) in members { collect(member, schema?.field(key), path + ["f:\(key)"], &result) }
    case .array(let elements):
      switch schema?.ownership {
      case .map(let keys) where !elements.isEmpty:
        for element in elements {
          let place = path + [elementName(element, keys)]
          result[place + ["."]] = [:]
          collect(element, schema?.element, place, &result)
        }
      case .set where !elements.isEmpty:
        for element in elements { result[path + ["v:\(text(element))"]] = element }
      default: result[path] = value
      }
    default: result[path] = value
    }
  }

  static func elementName(_ element: JSONValue, _ keys: [String]) -> String {
    var identity: [String: JSONValue] = [:]
    for key in keys { identity[key] = element[key] ?? defaults[key] }
    return "k:\(text(.object(identity)))"
  }

  /// A port without a protocol is one of TCP.
  private static let defaults: [String: JSONValue] = ["protocol": "TCP"]

  private static func text(_ value: JSONValue) -> String { String(decoding: value.text, as: UTF8.self) }

  // MARK: FieldsV1

  /// The paths of a `fieldsV1` document.
  static func paths(of fields: JSONValue) -> Set<FieldPath> {
    var result: Set<FieldPath> = []
    func walk(_ node: JSONValue, _ path: FieldPath) {
      guard let members = node.objectValue, !members.isEmpty else {
        if !path.isEmpty { result.insert(path) }
        return
      }
      for (key, member) in members { walk(member, path + [key]) }
    }
    walk(fields, [])
    return result
  }

  /// The `fieldsV1` document of paths.
  static func fields(of paths: Set<FieldPath>) -> JSONValue {
    func node(_ paths: [ArraySlice<String>]) -> JSONValue {
      var children: [String: [ArraySlice<String>]] = [:]
      for path in paths {
        guard let head = path.first else { continue }
        children[head, default: []].append(path.dropFirst())
      }
      return .object(children.mapValues(node))
    }
    return node(paths.map { $0[...] })
  }

  // MARK: Values at paths

  /// The value with what lies at a path taken out; lists and maps that this empties stay.
  static func removing(_ path: ArraySlice<String>, from value: JSONValue, schema: Schema?) -> JSONValue? {
    guard let head = path.first, head != "." else { return nil }
    let rest = path.dropFirst()
    let isWhole = rest.isEmpty || rest.first == "."
    if head.hasPrefix("f:"), case .object(var members) = value {
      let name = String(head.dropFirst(2))
      guard let member = members[name] else { return value }
      members[name] = isWhole ? nil : removing(rest, from: member, schema: schema?.field(name))
      return .object(members)
    }
    guard case .array(let elements) = value else { return value }
    if head.hasPrefix("v:") { return .array(elements.filter { "v:\(text($0))" != head }) }
    guard case .map(let keys) = schema?.ownership else { return value }
    return .array(
      elements.compactMap { element in
        guard elementName(element, keys) == head else { return element }
        return isWhole ? nil : removing(rest, from: element, schema: schema?.element)
      })
  }

  /// `.spec.template.spec.containers[name="a"].image`, as conflicts name a field.
  static func shown(_ path: FieldPath) -> String {
    path.filter { $0 != "." }.map { part in
      if part.hasPrefix("f:") { return "." + part.dropFirst(2) }
      if part.hasPrefix("k:"), let keys = try? JSONValue(parsing: Array(part.dropFirst(2).utf8)).objectValue {
        let pairs = keys.sorted { $0.key < $1.key }.map { "\($0.key)=\(text($0.value))" }
        return "[\(pairs.joined(separator: ","))]"
      }
      return "[=\(part.dropFirst(2))]"
    }.joined()
  }
}
