import KubernetesCore

/// Who sets which field of an object: keeps `metadata.managedFields` and carries out server-side apply.
struct ManagedFields {
  /// One manager's entry.
  struct Entry {
    var manager: String
    var operation: String
    var apiVersion: String
    var subresource: String
    var time: String
    var paths: Set<FieldPath>

    func isSame(as other: Entry) -> Bool {
      (manager, operation, apiVersion, subresource)
        == (other.manager, other.operation, other.apiVersion, other.subresource)
    }
  }

  /// A write, as far as it matters here.
  struct Writer {
    var manager: String
    var apiVersion: String
    var subresource: String
    var now: Timestamp

    func entry(_ operation: String, _ paths: Set<FieldPath>) -> Entry {
      Entry(
        manager: manager, operation: operation, apiVersion: apiVersion, subresource: subresource, time: now.rfc3339,
        paths: paths)
    }
  }

  /// Fields that others set otherwise.
  struct Conflicts: Error {
    /// The others' names with the fields, in order.
    var fields: [(manager: String, field: String)]
  }

  private var entries: [Entry]

  init(_ object: JSONValue?) {
    entries = (object?[path: ["metadata", "managedFields"]]?.arrayValue ?? []).map { json in
      Entry(
        manager: json["manager"]?.stringValue ?? "", operation: json["operation"]?.stringValue ?? "",
        apiVersion: json["apiVersion"]?.stringValue ?? "", subresource: json["subresource"]?.stringValue ?? "",
        time: json["time"]?.stringValue ?? "", paths: FieldPaths.paths(of: json["fieldsV1"] ?? [:]))
    }
  }

  private var json: JSONValue {
    .array(
      entries.filter { !$0.paths.isEmpty }.map { entry in
        var json: JSONValue = [
          "manager": .string(entry.manager), "operation": .string(entry.operation),
          "apiVersion": .string(entry.apiVersion), "time": .string(entry.time), "fieldsType": "FieldsV1",
          "fieldsV1": FieldPaths.fields(of: entry.paths),
        ]
        if !entry.subresource.isEmpty { json["subresource"] = .string(entry.subresource) }
        return json
      })
  }

  /// The new object with the entries as they are after an update by `writer`.
  static func afterUpdate(
    of old: JSONValue?, to new: JSONValue, by writer: Writer, schema: Schema
  ) -> JSONValue {
    let before = old.map { FieldPaths.leaves(of: $0, schema: schema) } ?? [:]
    let after = FieldPaths.leaves(of: new, schema: schema)
    let changed = Set(after.filter { before[$0.key] != $0.value }.keys)
    let removed = Set(before.keys).subtracting(after.keys)
    var fields = ManagedFields(old)
    if !changed.isEmpty || !removed.isEmpty { fields.update(changed, removed, by: writer) }
    return fields.written(to: new)
  }

  private mutating func update(_ changed: Set<FieldPath>, _ removed: Set<FieldPath>, by writer: Writer) {
    let own = writer.entry("Update", changed)
    var isKnown = false
    for index in entries.indices {
      if entries[index].isSame(as: own) {
        isKnown = true
        entries[index].paths.subtract(removed)
        entries[index].paths.formUnion(changed)
        entries[index].time = own.time
      } else {
        entries[index].paths.subtract(removed)
        entries[index].paths.subtract(changed)
      }
    }
    if !isKnown, !changed.isEmpty { entries.append(own) }
  }

  private func written(to object: JSONValue) -> JSONValue {
    var result = object
    var metadata = result["metadata"] ?? [:]
    let json = self.json
    metadata["managedFields"] = json.arrayValue?.isEmpty == false ? json : nil
    result["metadata"] = metadata
    return result
  }

  // MARK: Server-side apply

  /// The live object with what `configuration` says, as `writer`'s applied configuration; nil `live` begins with nothing.
  static func apply(
    _ configuration: JSONValue, to live: JSONValue?, by writer: Writer, force: Bool, schema: Schema
  ) throws(Conflicts) -> JSONValue {
    let wanted = FieldPaths.leaves(of: configuration, schema: schema)
    let present = live.map { FieldPaths.leaves(of: $0, schema: schema) } ?? [:]
    let own = writer.entry("Apply", Set(wanted.keys))
    var fields = ManagedFields(live)
    let differing = wanted.filter { present[$0.key] != $0.value && $0.key.last != "." }.keys
    if !force {
      var conflicts: [(manager: String, field: String)] = []
      for entry in fields.entries where !entry.isSame(as: own) {
        for path in differing where entry.paths.contains(path) && present[path] != nil {
          conflicts.append((entry.manager, FieldPaths.shown(path)))
        }
      }
      guard conflicts.isEmpty else { throw Conflicts(fields: conflicts.sorted { $0 < $1 }) }
    }
    var result = merged(live ?? [:], configuration, schema)
    let previous = fields.entries.first { $0.isSame(as: own) }?.paths ?? []
    let others = fields.entries.filter { !$0.isSame(as: own) }.reduce(into: Set<FieldPath>()) { $0.formUnion($1.paths) }
    // Whole elements first: one whose key has gone could not be found any more.
    let gone = previous.subtracting(wanted.keys).subtracting(others)
    for path in gone.filter({ $0.last == "." }) + gone.filter({ $0.last != "." }) {
      if path.last == ".", others.contains(where: { $0.starts(with: path.dropLast()) }) { continue }
      result = FieldPaths.removing(path[...], from: result, schema: schema) ?? result
    }
    for index in fields.entries.indices where !fields.entries[index].isSame(as: own) {
      fields.entries[index].paths.subtract(differing)
    }
    fields.entries.removeAll { $0.isSame(as: own) }
    fields.entries.insert(own, at: 0)
    return fields.written(to: result)
  }

  private static func merged(_ old: JSONValue, _ new: JSONValue, _ schema: Schema?) -> JSONValue {
    switch (old, new) {
    case (.object(var members), .object(let changes)):
      for (key, change) in changes {
        members[key] = members[key].map { merged($0, change, schema?.field(key)) } ?? change
      }
      return .object(members)
    case (.array(let elements), .array(let changes)):
      switch schema?.ownership {
      case .set: return .array(elements + changes.filter { !elements.contains($0) })
      case .map(let keys):
        var result = elements
        for change in changes {
          let name = FieldPaths.elementName(change, keys)
          if let place = result.firstIndex(where: { FieldPaths.elementName($0, keys) == name }) {
            result[place] = merged(result[place], change, schema?.element)
          } else {
            result.append(change)
          }
        }
        return .array(result)
      default: return new
      }
    default: return new
    }
  }
}
