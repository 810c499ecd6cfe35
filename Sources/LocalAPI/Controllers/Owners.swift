package import KubernetesCore

/// Who belongs to whom.
package enum Owners {
  /// The selector of a workload's spec; nil when it is none.
  package static func selector(_ spec: JSONValue) -> Selector? {
    guard let json = spec["selector"], let structured = try? KubernetesJSON.decode(LabelSelector.self, from: json)
    else {
      return nil
    }
    return try? Selector(structured)
  }

  /// The reference to the object's managing controller.
  static func controller(of object: JSONValue) -> JSONValue? {
    object[path: ["metadata", "ownerReferences"]]?.arrayValue?.first { $0["controller"] == true }
  }

  static func uid(of object: JSONValue) -> String { object[path: ["metadata", "uid"]]?.stringValue ?? "" }
  static func name(of object: JSONValue) -> String { object[path: ["metadata", "name"]]?.stringValue ?? "" }
  static func namespace(of object: JSONValue) -> String { object[path: ["metadata", "namespace"]]?.stringValue ?? "" }

  /// The reference that makes `owner` the managing controller of an object.
  static func reference(to owner: JSONValue) -> JSONValue {
    [
      "apiVersion": owner["apiVersion"] ?? "", "kind": owner["kind"] ?? "", "name": .string(name(of: owner)),
      "uid": .string(uid(of: owner)), "controller": true, "blockOwnerDeletion": true,
    ]
  }

  static func isControlled(_ object: JSONValue, by owner: JSONValue) -> Bool {
    controller(of: object)?["uid"]?.stringValue == uid(of: owner)
  }
}
