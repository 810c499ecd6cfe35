/// The scale of a workload (`autoscaling/v1`), read and written through its `/scale` subresource.
package struct Scale: Hashable, Sendable, Codable {
  /// Metadata of the workload; its `resourceVersion` is the precondition of a write.
  package var metadata: ObjectMeta
  /// The replicas that are wanted.
  package var replicas: Int32
  /// The replicas that were last observed.
  package var observedReplicas: Int32
  /// The label selector of the pods, as text; empty when the workload tells none.
  package var selector: String

  private enum CodingKeys: String, CodingKey { case apiVersion, kind, metadata, spec, status }
  private enum SpecKeys: String, CodingKey { case replicas }
  private enum StatusKeys: String, CodingKey { case replicas, selector }

  /// Makes a scale.
  package init(metadata: ObjectMeta, replicas: Int32, observedReplicas: Int32 = 0, selector: String = "") {
    self.metadata = metadata
    self.replicas = replicas
    self.observedReplicas = observedReplicas
    self.selector = selector
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    metadata = try container.decode(.metadata, default: ObjectMeta())
    let spec = try? container.nestedContainer(keyedBy: SpecKeys.self, forKey: .spec)
    // Go leaves out zero: an absent count is 0.
    replicas = try spec?.decodeIfPresent(Int32.self, forKey: .replicas) ?? 0
    let status = try? container.nestedContainer(keyedBy: StatusKeys.self, forKey: .status)
    observedReplicas = try status?.decodeIfPresent(Int32.self, forKey: .replicas) ?? 0
    selector = try status?.decodeIfPresent(String.self, forKey: .selector) ?? ""
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode("autoscaling/v1", forKey: .apiVersion)
    try container.encode("Scale", forKey: .kind)
    try container.encode(metadata, forKey: .metadata)
    var spec = container.nestedContainer(keyedBy: SpecKeys.self, forKey: .spec)
    try spec.encode(replicas, forKey: .replicas)
    var status = container.nestedContainer(keyedBy: StatusKeys.self, forKey: .status)
    try status.encode(observedReplicas, forKey: .replicas)
    try status.encodeUnlessEmpty(selector, forKey: .selector)
  }
}
