package import KubernetesCore

/// The JSON patch (RFC 6902) between two documents, in the form that admission answers take.
package enum JSONPatch {
  /// The operations that turn `old` into `new`, in the order of the members' names; empty: they are equal. Lists of equal
  /// length are compared element by element, others replaced.
  package static func operations(from old: JSONValue, to new: JSONValue) -> [JSONValue] {
    var operations: [JSONValue] = []
    compare(old, new, at: "", &operations)
    return operations
  }

  private static func compare(_ old: JSONValue, _ new: JSONValue, at path: String, _ operations: inout [JSONValue]) {
    guard old != new else { return }
    switch (old, new) {
    case (.object(let before), .object(let after)):
      for key in Set(before.keys).union(after.keys).sorted() {
        let place = "\(path)/\(escaped(key))"
        switch (before[key], after[key]) {
        case (let before?, let after?): compare(before, after, at: place, &operations)
        case (nil, let after?): operations.append(["op": "add", "path": .string(place), "value": after])
        case (_, nil): operations.append(["op": "remove", "path": .string(place)])
        }
      }
    case (.array(let before), .array(let after)) where before.count == after.count:
      for (index, (before, after)) in zip(before, after).enumerated() {
        compare(before, after, at: "\(path)/\(index)", &operations)
      }
    default: operations.append(["op": "replace", "path": .string(path), "value": new])
    }
  }

  private static func escaped(_ key: String) -> String {
    key.contains { $0 == "~" || $0 == "/" }
      ? key.split(separator: "~", omittingEmptySubsequences: false).joined(separator: "~0")
        .split(separator: "/", omittingEmptySubsequences: false).joined(separator: "~1")
      : key
  }
}
