package import KubernetesCore

/// A patch that can't be applied, and why.
package struct PatchError: Error, Hashable, Sendable {
  /// Whether the patch itself is no patch (400) or doesn't fit the object (422).
  package var isMalformed: Bool
  /// What is wrong.
  package var message: String

  static func malformed(_ message: String) -> PatchError { PatchError(isMalformed: true, message: message) }
  static func doesNotFit(_ message: String) -> PatchError { PatchError(isMalformed: false, message: message) }
}

/// JSON patches (RFC 6902).
package enum JSONPatch {
  /// The most operations of one patch, as in the API server.
  static let limit = 10_000

  /// The document with all operations carried out; nothing is changed when one fails.
  package static func apply(_ patch: JSONValue, to document: JSONValue) throws(PatchError) -> JSONValue {
    guard let operations = patch.arrayValue else { throw .malformed("a JSON patch is an array of operations") }
    guard operations.count <= limit else {
      throw .malformed(
        "The allowed maximum operations in a JSON patch is \(limit), got \(operations.count)")
    }
    var result = document
    for operation in operations { try carryOut(operation, &result) }
    return result
  }

  private static func carryOut(_ operation: JSONValue, _ document: inout JSONValue) throws(PatchError) {
    guard let name = operation["op"]?.stringValue, let text = operation["path"]?.stringValue else {
      throw .malformed("each operation of a JSON patch needs op and path")
    }
    let path = try pointer(text)
    switch name {
    case "add": try set(&document, path[...], value(operation), mustExist: false, text)
    case "replace":
      guard find(document, path) != nil || path.isEmpty else { throw missing("replace", text) }
      try set(&document, path[...], value(operation), mustExist: true, text)
    case "remove": try remove(&document, path[...], text)
    case "test":
      let wanted = operation["value"] ?? .null
      guard (find(document, path) ?? .null) == wanted else {
        throw .doesNotFit("testing value \(text) failed: test failed")
      }
    case "move", "copy":
      guard let source = operation["from"]?.stringValue else { throw .malformed("\(name) needs from") }
      let sourcePath = try pointer(source)
      guard let moved = find(document, sourcePath) else { throw missing(name, source) }
      if name == "move" { try remove(&document, sourcePath[...], source) }
      try set(&document, path[...], moved, mustExist: false, text)
    default: throw .malformed("there is no operation \"\(name)\" in JSON patches")
    }
  }

  private static func value(_ operation: JSONValue) throws(PatchError) -> JSONValue {
    guard let value = operation["value"] else { throw .malformed("the operation needs a value") }
    return value
  }

  private static func pointer(_ text: String) throws(PatchError) -> [String] {
    if text.isEmpty { return [] }
    guard text.hasPrefix("/") else { throw .malformed("the path \"\(text)\" doesn't begin with /") }
    return text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map { part in
      // "~1" first: "~01" stands for "~1".
      var result = ""
      var isEscape = false
      for character in part {
        if isEscape {
          result += character == "1" ? "/" : character == "0" ? "~" : "~\(character)"
          isEscape = false
        } else if character == "~" {
          isEscape = true
        } else {
          result.append(character)
        }
      }
      return result
    }
  }

  private static func find(_ document: JSONValue, _ path: [String]) -> JSONValue? { document[path: path] }

  private static func missing(_ operation: String, _ path: String) -> PatchError {
    .doesNotFit("\(operation) operation does not apply: doc is missing path: \(path): missing value")
  }

  private static func set(
    _ document: inout JSONValue, _ path: ArraySlice<String>, _ value: JSONValue, mustExist: Bool, _ text: String
  ) throws(PatchError) {
    guard let key = path.first else {
      document = value
      return
    }
    let rest = path.dropFirst()
    switch document {
    case .object(var members):
      if rest.isEmpty {
        members[key] = value
      } else {
        guard var inner = members[key] else { throw missing("add", text) }
        try set(&inner, rest, value, mustExist: mustExist, text)
        members[key] = inner
      }
      document = .object(members)
    case .array(var elements):
      if rest.isEmpty, !mustExist {
        let index = key == "-" ? elements.count : Int(key) ?? -1
        guard (0...elements.count).contains(index) else { throw missing("add", text) }
        elements.insert(value, at: index)
      } else {
        guard let index = Int(key), elements.indices.contains(index) else { throw missing("replace", text) }
        try set(&elements[index], rest, value, mustExist: mustExist, text)
      }
      document = .array(elements)
    default: throw missing("add", text)
    }
  }

  private static func remove(
    _ document: inout JSONValue, _ path: ArraySlice<String>, _ text: String
  ) throws(PatchError) {
    guard let key = path.first else { throw .doesNotFit("the whole document can't be removed") }
    let rest = path.dropFirst()
    switch document {
    case .object(var members):
      guard var inner = members[key] else { throw missing("remove", text) }
      if rest.isEmpty {
        members[key] = nil
      } else {
        try remove(&inner, rest, text)
        members[key] = inner
      }
      document = .object(members)
    case .array(var elements):
      guard let index = Int(key), elements.indices.contains(index) else { throw missing("remove", text) }
      if rest.isEmpty { elements.remove(at: index) } else { try remove(&elements[index], rest, text) }
      document = .array(elements)
    default: throw missing("remove", text)
    }
  }
}
