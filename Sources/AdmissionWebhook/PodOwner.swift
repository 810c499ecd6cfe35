package import KubernetesCore
package import ScalingController

/// Which targets a pod may belong to.
package enum PodOwner {
  /// The targets that a pod's controller stands for, the likeliest first: for a pod of a ReplicaSet the Deployment (or Rollout)
  /// that has made it, by the hash that both names and labels carry. No request is needed, and no right to read ReplicaSets.
  package static func targets(of pod: JSONValue, inNamespace namespace: String) -> [TargetIdentity] {
    let owners = pod["metadata"]?["ownerReferences"]?.arrayValue ?? []
    guard let owner = owners.first(where: { $0["controller"]?.boolValue == true }),
      let kind = owner["kind"]?.stringValue, let name = owner["name"]?.stringValue
    else { return [] }
    let parts = (owner["apiVersion"]?.stringValue ?? "").split(separator: "/")
    let group = parts.count == 2 ? String(parts[0]) : ""
    let own = TargetIdentity(namespace: namespace, group: group, kind: kind, name: name)
    guard kind == "ReplicaSet", group == "apps" else { return [own] }
    var targets: [TargetIdentity] = []
    for (label, group, kind) in [
      ("pod-template-hash", "apps", "Deployment"), ("rollouts-pod-template-hash", "argoproj.io", "Rollout"),
    ] {
      guard let hash = pod["metadata"]?["labels"]?[label]?.stringValue, !hash.isEmpty, name.hasSuffix("-\(hash)") else {
        continue
      }
      targets.append(
        TargetIdentity(namespace: namespace, group: group, kind: kind, name: String(name.dropLast(hash.count + 1))))
    }
    return targets + [own]
  }
}
