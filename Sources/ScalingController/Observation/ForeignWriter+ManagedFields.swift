package import KubernetesCore
package import ScalingDecision

extension ForeignWriter {
  /// Who else owns `spec.replicas` by `managedFields`, newest first; nil when only `ownManager` does, or nobody says.
  package init?(_ managedFields: [ManagedFieldsEntry], ownManager: String) {
    let others = managedFields.filter { entry in
      entry.manager != ownManager && entry.fieldsV1?[path: ["f:spec", "f:replicas"]] != nil
    }
    let newest = others.max { ($0.time ?? .distantPast) < ($1.time ?? .distantPast) }
    guard let newest else { return nil }
    self.init(manager: newest.manager ?? "unknown", at: newest.time)
  }
}

extension Timestamp {
  fileprivate static let distantPast = Timestamp(nanosecondsSinceEpoch: .min)
}
