package import KubernetesCore

/// Strategic merge patches: merge patches that know which lists are merged element by element, and by which key.
///
/// The directives `$patch: delete | replace | merge`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…` and `$retainKeys` are
/// followed; docs: kubernetes/community, strategic-merge-patch.md.
package enum StrategicMergePatch {
  /// The document with the patch applied.
  package static func apply(
    _ patch: JSONValue, to document: JSONValue, schema: Schema
  ) throws(PatchError) -> JSONValue {
    guard patch.objectValue != nil else { throw .malformed("a strategic merge patch is an object") }
    return try merge(document, patch, schema) ?? [:]
  }

  /// nil: the value is to go.
  private static func merge(
    _ old: JSONValue?, _ patch: JSONValue, _ schema: Schema?
  ) throws(PatchError) -> JSONValue? {
    guard case .object(let changes) = patch else { return patch == .null ? nil : patch }
    switch changes["$patch"]?.stringValue {
    case "delete": return nil
    case "replace":
      var rest = changes
      rest["$patch"] = nil
      return .object(rest)
    case nil, "merge": break
    case let other?: throw .malformed("Unknown patch type: \(other)")
    }
    var members = old?.objectValue ?? [:]
    if let kept = changes["$retainKeys"]?.arrayValue?.compactMap(\.stringValue) {
      members = members.filter { kept.contains($0.key) }
    }
    for (key, change) in changes.sorted(by: { $0.key < $1.key }) {
      if key.hasPrefix("$") {
        try follow(directive: key, change, &members)
        continue
      }
      let field = schema?.field(key)
      if case .array(let elements) = change, let field {
        let order = changes["$setElementOrder/\(key)"]?.arrayValue
        members[key] = try mergeList(members[key], elements, order: order, field)
      } else if change == .null {
        members[key] = nil
      } else {
        members[key] = try merge(members[key], change, field)
      }
    }
    for (key, order) in changes where key.hasPrefix("$setElementOrder/") {
      let name = String(key.dropFirst("$setElementOrder/".count))
      guard changes[name] == nil, let elements = members[name]?.arrayValue, let wanted = order.arrayValue,
        let field = schema?.field(name)
      else { continue }
      members[name] = .array(ordered(elements, by: wanted, before: elements, field))
    }
    return .object(members)
  }

  private static func follow(
    directive: String, _ change: JSONValue, _ members: inout [String: JSONValue]
  ) throws(PatchError) {
    let prefix = "$deleteFromPrimitiveList/"
    if directive.hasPrefix(prefix) {
      let name = String(directive.dropFirst(prefix.count))
      let gone = change.arrayValue ?? []
      guard let elements = members[name]?.arrayValue else { return }
      members[name] = .array(elements.filter { !gone.contains($0) })
    } else if !directive.hasPrefix("$setElementOrder/"), !["$retainKeys", "$patch"].contains(directive) {
      throw .malformed("there is no directive \(directive) in strategic merge patches")
    }
  }

  private static func mergeList(
    _ old: JSONValue?, _ changes: [JSONValue], order: [JSONValue]?, _ schema: Schema
  ) throws(PatchError) -> JSONValue {
    let before = old?.arrayValue ?? []
    var result = before
    switch schema.patchMerge {
    case .atomic: return .array(changes)
    case .set: for change in changes where !result.contains(change) { result.append(change) }
    case .map(let keys):
      if changes.contains(where: { $0["$patch"] == "replace" }) {
        return .array(changes.filter { $0["$patch"] != "replace" })
      }
      for change in changes {
        guard keys.allSatisfy({ change[$0] != nil }) else {
          throw .malformed(
            "map: \(FieldFault.shown(change)) does not contain declared merge key: \(keys.joined(separator: ", "))")
        }
        let place = result.firstIndex { element in keys.allSatisfy { element[$0] == change[$0] } }
        let merged = try merge(place.map { result[$0] }, change, schema.element)
        if let place {
          if let merged { result[place] = merged } else { result.remove(at: place) }
        } else if let merged {
          result.append(merged)
        }
      }
    }
    return .array(ordered(result, by: order ?? changes, before: before, schema))
  }

  /// The elements in the patch's order; those that it doesn't name stand where the live list has them, as far as that is possible,
  /// and behind new ones. This is `mergeSortedSlice` of Kubernetes' `strategicpatch`.
  private static func ordered(
    _ elements: [JSONValue], by order: [JSONValue], before: [JSONValue], _ schema: Schema
  ) -> [JSONValue] {
    var keys: [String] = []
    if case .map(let mergeKeys) = schema.patchMerge { keys = mergeKeys }
    func rank(_ element: JSONValue, in list: [JSONValue]) -> Int? {
      list.firstIndex { other in keys.isEmpty ? other == element : keys.allSatisfy { other[$0] == element[$0] } }
    }
    var named = elements.filter { rank($0, in: order) != nil }
      .sorted { (rank($0, in: order) ?? 0) < (rank($1, in: order) ?? 0) }[...]
    var others = elements.filter { rank($0, in: order) == nil }[...]
    var result: [JSONValue] = []
    while let first = named.first, let other = others.first {
      if let left = rank(other, in: before), let right = rank(first, in: before), left < right {
        result.append(others.removeFirst())
      } else {
        result.append(named.removeFirst())
      }
    }
    return result + named + others
  }
}
