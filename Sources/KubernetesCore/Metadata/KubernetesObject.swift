/// What a cache needs to know of an object: which one it is and in which version.
package protocol WatchedObject: Sendable {
  /// The kind of resource.
  static var resource: GroupVersionResource { get }
  /// Namespace and name.
  var key: ObjectKey { get }
  /// The identity in space and time.
  var uid: String { get }
  /// The opaque version; compare for equality only.
  var resourceVersion: String { get }
}

/// A Kubernetes object as a value that reads from and writes to JSON.
package protocol KubernetesObject: WatchedObject, Codable {
  /// The kind, in camel case, such as `Lease`.
  static var kind: String { get }
  /// Whether objects of the kind live in a namespace.
  static var isNamespaced: Bool { get }
  /// The object's metadata.
  var metadata: ObjectMeta { get set }
}

extension KubernetesObject {
  /// `group/version`, or the bare version for the core group.
  package static var apiVersion: String { resource.apiVersion }
  package var key: ObjectKey { metadata.key }
  package var uid: String { metadata.uid }
  package var resourceVersion: String { metadata.resourceVersion }
}

extension GroupVersionResource {
  /// `group/version`, or the bare version for the core group, as in an object's `apiVersion` field.
  package var apiVersion: String { group.isEmpty ? version : "\(group)/\(version)" }
}

/// A list of objects with the version of the whole.
package struct ObjectList<Item> {
  /// The list's version and paging token.
  package var metadata: ListMeta
  /// The objects of this page.
  package var items: [Item]

  /// Makes a list.
  package init(metadata: ListMeta = ListMeta(), items: [Item]) {
    self.metadata = metadata
    self.items = items
  }
}

extension ObjectList: Sendable where Item: Sendable {}
extension ObjectList: Equatable where Item: Equatable {}
extension ObjectList: Hashable where Item: Hashable {}

enum ListKeys: String, CodingKey { case metadata, items }

extension ObjectList: Decodable where Item: Decodable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: ListKeys.self)
    metadata = try container.decode(.metadata, default: ListMeta())
    items = try container.decode(.items, default: [])
  }
}

extension ObjectList: Encodable where Item: Encodable {
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: ListKeys.self)
    try container.encode(metadata, forKey: .metadata)
    try container.encode(items, forKey: .items)
  }
}

/// The metadata of an object of any kind (`metav1.PartialObjectMetadata`).
package struct PartialObjectMetadata: Hashable, Sendable, Codable {
  /// The object's metadata.
  package var metadata: ObjectMeta

  /// Wraps metadata.
  package init(metadata: ObjectMeta) { self.metadata = metadata }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    metadata = try container.decode(.metadata, default: ObjectMeta())
  }
}
