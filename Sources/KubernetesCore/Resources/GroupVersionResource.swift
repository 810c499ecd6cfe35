/// The coordinates of a kind of resource in the API: group, version and the plural name in the path.
package struct GroupVersionResource: Hashable, Sendable {
  /// The API group; empty for the core group.
  package var group: String
  /// The version, such as `v1`.
  package var version: String
  /// The plural resource name in lower case, such as `pods`.
  package var resource: String

  /// Names a kind of resource; `group` is empty for the core group.
  package init(group: String, version: String, resource: String) {
    self.group = group
    self.version = version
    self.resource = resource
  }

  /// The path below which the group and version are served, such as `/api/v1` or `/apis/apps/v1`.
  package var basePath: String { group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)" }
}

/// The name of an object within its kind: namespace (empty for cluster-scoped objects) and name.
package struct ObjectKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// The namespace; empty for a cluster-scoped object.
  package var namespace: String
  /// The object's name.
  package var name: String

  /// Names an object; `namespace` is empty for a cluster-scoped one.
  package init(namespace: String, name: String) {
    self.namespace = namespace
    self.name = name
  }

  /// `namespace/name`, or the bare name of a cluster-scoped object.
  package var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }

  package static func < (lhs: ObjectKey, rhs: ObjectKey) -> Bool {
    (lhs.namespace, lhs.name) < (rhs.namespace, rhs.name)
  }
}
