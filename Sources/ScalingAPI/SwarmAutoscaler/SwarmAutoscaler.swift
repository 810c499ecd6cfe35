package import KubernetesCore

/// An autoscaler for a fleet of workers: an `autoscaling/v2` spec and what this project adds to it.
///
/// Decoding never fails because of the spec: what can't be understood is left out and stands in `decodingIssues`, so that
/// one broken object never hides the others of a list. Act on the spec only through `resolved(_:)`, which refuses
/// a spec with errors.
package struct SwarmAutoscaler: Hashable, Sendable {
  /// The object's metadata.
  package var metadata: ObjectMeta
  /// What the user asks for.
  package var spec: Spec
  /// What the controller saw and did last.
  package var status: Status?
  /// What decoding left out: unknown fields, values of the wrong type. Not part of the JSON.
  package var decodingIssues: [FieldIssue]

  /// Makes an autoscaler.
  package init(metadata: ObjectMeta, spec: Spec, status: Status? = nil) {
    self.metadata = metadata
    self.spec = spec
    self.status = status
    self.decodingIssues = []
  }

  /// Reads a document of any shape; see the type for what happens to faults.
  package init(_ json: JSONValue) {
    let parts = ObjectParts(json, fields: ["apiVersion", "kind", "metadata", "spec", "status"])
    var issues = parts.issues
    metadata = parts.metadata
    spec = parts.member("spec", of: Spec.shape, default: Spec(), issues: &issues)
    status = parts.status(&issues)
    decodingIssues = issues
  }
}

extension SwarmAutoscaler: KubernetesObject {
  package static let resource = GroupVersionResource(
    group: ScalingGroup.name, version: ScalingGroup.version, resource: "swarmautoscalers")
  package static let kind = "SwarmAutoscaler"
  package static let isNamespaced = true

  private enum CodingKeys: String, CodingKey { case apiVersion, kind, metadata, spec, status }

  package init(from decoder: any Decoder) throws {
    self.init(try JSONValue(from: decoder))
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Self.apiVersion, forKey: .apiVersion)
    try container.encode(Self.kind, forKey: .kind)
    try container.encode(metadata, forKey: .metadata)
    try container.encode(spec, forKey: .spec)
    try container.encodeIfPresent(status, forKey: .status)
  }
}
