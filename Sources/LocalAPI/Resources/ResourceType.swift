package import KubernetesCore

/// One served type: its names, what can be done with it, how it looks.
package struct ResourceType: Sendable {
  /// The group; empty for the core group.
  package var group: String
  /// The version.
  package var version: String
  /// The plural name, as in paths.
  package var plural: String
  /// The singular name.
  package var singular: String
  /// The kind.
  package var kind: String
  /// Short names for kubectl.
  package var shortNames: [String] = []
  /// Categories for kubectl, such as `all`.
  package var categories: [String] = []
  /// Whether objects lie in a namespace.
  package var isNamespaced = true
  /// What can be done with objects; `create` alone for reviews, which are answered and not stored.
  package var verbs = Self.allVerbs
  /// Subresources in the order of discovery.
  package var subresources: [Subresource] = []
  /// Whether the type is one of ours, checked as the CRD says.
  package var isCustom = false
  /// Whether a change of the spec counts up `metadata.generation`.
  package var hasGeneration = false
  /// The schema of whole objects.
  package var schema: Schema
  /// The columns of kubectl's tables.
  package var columns: [TableColumn] = []
  /// Where objects of this type are kept; two types can show the same objects (events).
  package var storage: String

  static let allVerbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

  /// `group/version`, or the version alone in the core group.
  package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
  /// The name of a list's kind.
  package var listKind: String { kind + "List" }
  /// `plural.group`, as messages name the type.
  package var qualifiedName: String { group.isEmpty ? plural : "\(plural).\(group)" }
  /// Whether objects are kept.
  package var isStored: Bool { verbs.contains("list") && group != "metrics.k8s.io" }

  /// A part of an object with an address of its own.
  package struct Subresource: Sendable, Hashable {
    /// The last part of the path.
    package var name: String
    /// The kind of its documents.
    package var kind: String
    /// The group of that kind.
    package var group: String = ""
    /// The version of that kind.
    package var version: String = ""
    /// What can be done with it.
    package var verbs: [String]

    static func status(_ kind: String) -> Subresource {
      Subresource(name: "status", kind: kind, verbs: ["get", "patch", "update"])
    }

    static let scale = Subresource(
      name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs: ["get", "patch", "update"])
  }
}

/// One column of a table.
package struct TableColumn: Sendable {
  /// The title.
  package var name: String
  /// `string`, `integer` or `date`.
  package var type = "string"
  /// `name` for the names that `kubectl get -o name` prints.
  package var format = ""
  /// 0 for columns that are always shown; 1 for `-o wide`.
  package var priority = 0
  /// A line for people.
  package var description = ""
  /// The cell of an object at a time.
  package var cell: @Sendable (JSONValue, Timestamp) -> JSONValue
}

/// All served types.
package struct ResourceCatalog: Sendable {
  /// The types in the order of discovery.
  package let types: [ResourceType]
  /// The definitions of the schemas, for OpenAPI.
  let definitions: [String: JSONValue]
  private let custom: [String: JSONValue]
  private let byPath: [String: Int]

  /// The catalog of this server.
  package static let shared = ResourceCatalog()

  init() {
    // The text is written by a script and read by every test, so it can be read.
    let document = (try? JSONValue(parsing: Array(schemaText.utf8))) ?? [:]
    var definitions = document["definitions"]?.objectValue ?? [:]
    let custom = document["custom"]?.objectValue ?? [:]
    for (plural, part) in custom { definitions["dev.swarmscale.v1alpha1.\(plural)"] = part["schema"] ?? [:] }
    var builder = SchemaBuilder(definitions: definitions)
    var types = Self.coreTypes(&builder) + Self.groupTypes(&builder)
    types += Self.customTypes(custom, &builder) + Self.metricsTypes()
    self.types = types
    self.definitions = definitions
    self.custom = custom
    byPath = Dictionary(
      uniqueKeysWithValues: types.enumerated().map { ("\($1.apiVersion)/\($1.plural)", $0) })
  }

  /// The type at a place in the API.
  package func type(group: String, version: String, plural: String) -> ResourceType? {
    byPath[group.isEmpty ? "\(version)/\(plural)" : "\(group)/\(version)/\(plural)"].map { types[$0] }
  }

  /// The type of an object by what it says of itself.
  package func type(apiVersion: String, kind: String) -> ResourceType? {
    types.first { $0.apiVersion == apiVersion && $0.kind == kind }
  }

  /// Schema and columns of one of our own types, as the CRD has them.
  package func customPart(_ plural: String) -> JSONValue? { custom[plural] }

  /// The first type with this storage: the one that objects are kept as.
  package func type(storage: String) -> ResourceType? { types.first { $0.storage == storage } }

  /// The groups, core first, in the order of discovery.
  package var groups: [String] {
    var seen: [String] = []
    for type in types where !seen.contains(type.group) { seen.append(type.group) }
    return seen
  }

  /// The definition that describes a type's objects.
  static func definitionName(_ type: ResourceType) -> String {
    switch type.group {
    case "": "io.k8s.api.core.v1.\(type.kind)"
    case "swarmscale.dev": "dev.swarmscale.v1alpha1.\(type.plural)"
    default: "io.k8s.api.\(type.group.split(separator: ".")[0]).\(type.version).\(type.kind)"
    }
  }
}

extension ClusterState {
  /// The paths of all kinds of objects, those with a namespace in `default`; for tests that try everything.
  package var servedPaths: [String] {
    catalog.types.filter { $0.group != "metrics.k8s.io" }.map { type in
      let root = type.group.isEmpty ? "/api/\(type.version)" : "/apis/\(type.group)/\(type.version)"
      return type.isNamespaced ? "\(root)/namespaces/default/\(type.plural)" : "\(root)/\(type.plural)"
    }
  }
}
