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

  /// When `ownManager` wrote the count that stands there; nil when somebody else did, in the same second too, or nobody says.
  package static func ownWrite(
    in managedFields: [ManagedFieldsEntry], ownManager: String, newerThan foreign: ForeignWriter?
  ) -> Timestamp? {
    let times = managedFields.compactMap { entry in
      entry.manager == ownManager && entry.fieldsV1?[path: ["f:spec", "f:replicas"]] != nil ? entry.time : nil
    }
    guard let newest = times.max() else { return nil }
    return newest > foreign?.at ?? .distantPast ? newest : nil
  }
}

extension Timestamp {
  fileprivate static let distantPast = Timestamp(nanosecondsSinceEpoch: .min)
}
