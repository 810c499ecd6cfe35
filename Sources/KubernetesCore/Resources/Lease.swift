/// A lease (`coordination.k8s.io/v1`), by which instances agree on one leader.
package struct Lease: Hashable, KubernetesObject {
  package static let resource = GroupVersionResource(group: "coordination.k8s.io", version: "v1", resource: "leases")
  package static let kind = "Lease"
  package static let isNamespaced = true

  /// The lease's metadata.
  package var metadata: ObjectMeta
  /// Who holds the lease and since when.
  package var spec: Spec

  /// Who holds a lease and since when.
  package struct Spec: Hashable, Sendable, Codable {
    /// The holder; nil or empty when it was given back.
    package var holderIdentity: String?
    /// For how long after `renewTime` others must wait.
    package var leaseDurationSeconds: Int32?
    /// When the holder took the lease.
    package var acquireTime: MicroTimestamp?
    /// When the holder last renewed it.
    package var renewTime: MicroTimestamp?
    /// How often the lease changed hands.
    package var leaseTransitions: Int32?

    /// Makes a spec.
    package init(
      holderIdentity: String? = nil, leaseDurationSeconds: Int32? = nil, acquireTime: MicroTimestamp? = nil,
      renewTime: MicroTimestamp? = nil, leaseTransitions: Int32? = nil
    ) {
      self.holderIdentity = holderIdentity
      self.leaseDurationSeconds = leaseDurationSeconds
      self.acquireTime = acquireTime
      self.renewTime = renewTime
      self.leaseTransitions = leaseTransitions
    }
  }

  private enum CodingKeys: String, CodingKey { case apiVersion, kind, metadata, spec }

  /// Makes a lease.
  package init(metadata: ObjectMeta, spec: Spec = Spec()) {
    self.metadata = metadata
    self.spec = spec
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    metadata = try container.decode(.metadata, default: ObjectMeta())
    spec = try container.decode(.spec, default: Spec())
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Self.apiVersion, forKey: .apiVersion)
    try container.encode(Self.kind, forKey: .kind)
    try container.encode(metadata, forKey: .metadata)
    try container.encode(spec, forKey: .spec)
  }
}
