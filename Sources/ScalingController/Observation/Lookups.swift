package import KubernetesCore
package import ScalingAPI

/// What the reconciler looks up in the informers' caches; a scripted one in tests.
package protocol ClusterLookup: Sendable {
  /// The autoscaler called `key`, or nil when it's gone.
  func autoscaler(_ key: ObjectKey) -> SwarmAutoscaler?
  /// The name of the oldest other autoscaler that names the same target and is older than `autoscaler`.
  func olderRival(of autoscaler: SwarmAutoscaler) -> String?
  /// How many autoscalers there are in a namespace.
  func autoscalerCount(inNamespace namespace: String) -> Int
  /// The pods of a namespace that match a selector.
  func pods(inNamespace namespace: String, matching selector: Selector) -> [Pod]
}

/// What a target is called across API versions: autoscalers that share it are rivals.
package struct TargetIdentity: Hashable, Sendable {
  /// The autoscaler's and target's namespace.
  package var namespace: String
  /// The API group of the target's kind.
  package var group: String
  /// The kind.
  package var kind: String
  /// The name.
  package var name: String

  /// Names a target.
  package init(namespace: String, group: String, kind: String, name: String) {
    self.namespace = namespace
    self.group = group
    self.kind = kind
    self.name = name
  }

  /// The identity of the target that an autoscaler names; nil when it names none.
  package init?(_ autoscaler: SwarmAutoscaler) {
    guard let reference = autoscaler.spec.scaleTargetRef, let kind = reference.kind, let name = reference.name else {
      return nil
    }
    namespace = autoscaler.metadata.namespace
    let parts = (reference.apiVersion ?? "").split(separator: "/")
    group = parts.count == 2 ? String(parts[0]) : ""
    self.kind = kind
    self.name = name
  }
}

extension SwarmAutoscaler {
  /// Whether this autoscaler has the better claim to a target: it's older, or as old and first by name.
  package func precedes(_ other: SwarmAutoscaler) -> Bool {
    let farFuture = Timestamp(nanosecondsSinceEpoch: .max)
    let mine = metadata.creationTimestamp ?? farFuture
    let theirs = other.metadata.creationTimestamp ?? farFuture
    return (mine, metadata.name) < (theirs, other.metadata.name)
  }
}
