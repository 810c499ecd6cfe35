/// What every Kubernetes object carries: its name, identity, version, labels and owners (`metav1.ObjectMeta`).
package struct ObjectMeta: Hashable, Sendable {
  /// The name; empty in a create request that gives `generateName`.
  package var name: String
  /// The prefix from which the server makes a name; empty for none.
  package var generateName: String
  /// The namespace; empty for cluster-scoped objects.
  package var namespace: String
  /// The identity in space and time; empty before the object is created.
  package var uid: String
  /// The opaque version for optimistic locking and watches; compare for equality only.
  package var resourceVersion: String
  /// The number of the desired state; counts up with each change of the spec. 0 when the kind has none.
  package var generation: Int64
  /// When the server created the object.
  package var creationTimestamp: Timestamp?
  /// When the object will be gone; set once deletion was asked for.
  package var deletionTimestamp: Timestamp?
  /// Keys and values by which objects are selected.
  package var labels: [String: String]
  /// Keys and values of any other use.
  package var annotations: [String: String]
  /// The objects whose end is this one's end.
  package var ownerReferences: [OwnerReference]
  /// Names that must be removed before the object can go.
  package var finalizers: [String]
  /// Which manager set which fields.
  package var managedFields: [ManagedFieldsEntry]

  /// Makes metadata; what isn't given is empty.
  package init(
    name: String = "", namespace: String = "", generateName: String = "", uid: String = "",
    resourceVersion: String = "", generation: Int64 = 0, creationTimestamp: Timestamp? = nil,
    deletionTimestamp: Timestamp? = nil, labels: [String: String] = [:], annotations: [String: String] = [:],
    ownerReferences: [OwnerReference] = [], finalizers: [String] = [], managedFields: [ManagedFieldsEntry] = []
  ) {
    self.name = name
    self.generateName = generateName
    self.namespace = namespace
    self.uid = uid
    self.resourceVersion = resourceVersion
    self.generation = generation
    self.creationTimestamp = creationTimestamp
    self.deletionTimestamp = deletionTimestamp
    self.labels = labels
    self.annotations = annotations
    self.ownerReferences = ownerReferences
    self.finalizers = finalizers
    self.managedFields = managedFields
  }

  /// Namespace and name.
  package var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }

  /// The one owner that manages this object, if there is one.
  package var controller: OwnerReference? { ownerReferences.first { $0.isController } }
}

extension ObjectMeta: Codable {
  private enum CodingKeys: String, CodingKey {
    case name, generateName, namespace, uid, resourceVersion, generation, creationTimestamp, deletionTimestamp
    case labels, annotations, ownerReferences, finalizers, managedFields
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    name = try container.decode(.name, default: "")
    generateName = try container.decode(.generateName, default: "")
    namespace = try container.decode(.namespace, default: "")
    uid = try container.decode(.uid, default: "")
    resourceVersion = try container.decode(.resourceVersion, default: "")
    generation = try container.decode(.generation, default: 0)
    creationTimestamp = try container.decodeTimestamp(.creationTimestamp)
    deletionTimestamp = try container.decodeTimestamp(.deletionTimestamp)
    labels = try container.decode(.labels, default: [:])
    annotations = try container.decode(.annotations, default: [:])
    ownerReferences = try container.decode(.ownerReferences, default: [])
    finalizers = try container.decode(.finalizers, default: [])
    managedFields = try container.decode(.managedFields, default: [])
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeUnlessEmpty(name, forKey: .name)
    try container.encodeUnlessEmpty(generateName, forKey: .generateName)
    try container.encodeUnlessEmpty(namespace, forKey: .namespace)
    try container.encodeUnlessEmpty(uid, forKey: .uid)
    try container.encodeUnlessEmpty(resourceVersion, forKey: .resourceVersion)
    if generation != 0 { try container.encode(generation, forKey: .generation) }
    try container.encodeIfPresent(creationTimestamp, forKey: .creationTimestamp)
    try container.encodeIfPresent(deletionTimestamp, forKey: .deletionTimestamp)
    try container.encodeUnlessEmpty(labels, forKey: .labels)
    try container.encodeUnlessEmpty(annotations, forKey: .annotations)
    try container.encodeUnlessEmpty(ownerReferences, forKey: .ownerReferences)
    try container.encodeUnlessEmpty(finalizers, forKey: .finalizers)
    try container.encodeUnlessEmpty(managedFields, forKey: .managedFields)
  }
}

/// A reference to an object that owns another (`metav1.OwnerReference`).
package struct OwnerReference: Hashable, Sendable, Codable {
  /// The owner's API version, such as `apps/v1`.
  package var apiVersion: String
  /// The owner's kind.
  package var kind: String
  /// The owner's name.
  package var name: String
  /// The owner's identity.
  package var uid: String
  /// Whether the owner is the managing controller; at most one is.
  package var controller: Bool?
  /// Whether the owner can't go in the foreground before this object has gone.
  package var blockOwnerDeletion: Bool?

  /// Whether the owner is the managing controller.
  package var isController: Bool { controller ?? false }

  /// Makes a reference.
  package init(
    apiVersion: String, kind: String, name: String, uid: String, controller: Bool? = nil,
    blockOwnerDeletion: Bool? = nil
  ) {
    self.apiVersion = apiVersion
    self.kind = kind
    self.name = name
    self.uid = uid
    self.controller = controller
    self.blockOwnerDeletion = blockOwnerDeletion
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    apiVersion = try container.decode(.apiVersion, default: "")
    kind = try container.decode(.kind, default: "")
    name = try container.decode(.name, default: "")
    uid = try container.decode(.uid, default: "")
    controller = try container.decodeOptional(.controller)
    blockOwnerDeletion = try container.decodeOptional(.blockOwnerDeletion)
  }
}

/// Which fields one manager has set, and when (`metav1.ManagedFieldsEntry`).
package struct ManagedFieldsEntry: Hashable, Sendable, Codable {
  /// The manager's name, such as `kubectl` or `kube-controller-manager`.
  package var manager: String?
  /// `Apply` or `Update`.
  package var operation: String?
  /// The version in which the fields are named.
  package var apiVersion: String?
  /// When the entry last changed.
  package var time: Timestamp?
  /// The format of `fieldsV1`.
  package var fieldsType: String?
  /// The fields, as a trie of `f:name` keys.
  package var fieldsV1: JSONValue?
  /// The subresource through which they were set, such as `scale`.
  package var subresource: String?

  /// Makes an entry.
  package init(
    manager: String? = nil, operation: String? = nil, apiVersion: String? = nil, time: Timestamp? = nil,
    fieldsType: String? = nil, fieldsV1: JSONValue? = nil, subresource: String? = nil
  ) {
    self.manager = manager
    self.operation = operation
    self.apiVersion = apiVersion
    self.time = time
    self.fieldsType = fieldsType
    self.fieldsV1 = fieldsV1
    self.subresource = subresource
  }
}

/// The metadata of a list (`metav1.ListMeta`).
package struct ListMeta: Hashable, Sendable, Codable {
  /// The version of the whole list, from which a watch can start.
  package var resourceVersion: String
  /// The token for the next page; empty on the last.
  package var continueToken: String
  /// How many items follow after this page, if the server said so.
  package var remainingItemCount: Int64?

  private enum CodingKeys: String, CodingKey {
    case resourceVersion, remainingItemCount
    case continueToken = "continue"
  }

  /// Makes list metadata.
  package init(resourceVersion: String = "", continueToken: String = "", remainingItemCount: Int64? = nil) {
    self.resourceVersion = resourceVersion
    self.continueToken = continueToken
    self.remainingItemCount = remainingItemCount
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    resourceVersion = try container.decode(.resourceVersion, default: "")
    continueToken = try container.decode(.continueToken, default: "")
    remainingItemCount = try container.decodeOptional(.remainingItemCount)
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeUnlessEmpty(resourceVersion, forKey: .resourceVersion)
    try container.encodeUnlessEmpty(continueToken, forKey: .continueToken)
    try container.encodeIfPresent(remainingItemCount, forKey: .remainingItemCount)
  }
}
