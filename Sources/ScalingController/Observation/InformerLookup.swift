package import KubernetesCore
package import KubernetesRuntime
package import ScalingAPI

/// Looks up in the informers' stores.
package struct InformerLookup: ClusterLookup {
  private let autoscalers: InformerStore<SwarmAutoscaler>
  private let pods: InformerStore<Pod>

  /// Looks up in two stores that were made with the index functions below.
  package init(autoscalers: InformerStore<SwarmAutoscaler>, pods: InformerStore<Pod>) {
    self.autoscalers = autoscalers
    self.pods = pods
  }

  /// Autoscalers are found by the target that they name and by their namespace.
  package static func indexAutoscaler(_ autoscaler: SwarmAutoscaler) -> [String] {
    var values = ["namespace/\(autoscaler.metadata.namespace)"]
    if let target = TargetIdentity(autoscaler) { values.append(indexValue(target)) }
    return values
  }

  /// Pods are found by each of their labels: a selector's rarest label leads to a handful of candidates.
  package static func indexPod(_ pod: Pod) -> [String] {
    pod.labels.map { label in indexValue(pod.key.namespace, label.key, label.value) }
  }

  private static func indexValue(_ target: TargetIdentity) -> String {
    "target/\(target.namespace)/\(target.group)/\(target.kind)/\(target.name)"
  }

  private static func indexValue(_ namespace: String, _ key: String, _ value: String) -> String {
    "\(namespace)\u{0}\(key)\u{0}\(value)"
  }

  package func autoscaler(_ key: ObjectKey) -> SwarmAutoscaler? { autoscalers[key] }

  package func olderRival(of autoscaler: SwarmAutoscaler) -> String? {
    guard let target = TargetIdentity(autoscaler) else { return nil }
    let rivals = autoscalers.objects(indexedBy: Self.indexValue(target)).filter { rival in
      rival.metadata.uid != autoscaler.metadata.uid && rival.precedes(autoscaler)
    }
    return rivals.min { $0.precedes($1) }?.metadata.name
  }

  /// The autoscaler that scales a target: the oldest that names it.
  package func autoscaler(scaling target: TargetIdentity) -> SwarmAutoscaler? {
    autoscalers.objects(indexedBy: Self.indexValue(target)).min { $0.precedes($1) }
  }

  package func autoscalerCount(inNamespace namespace: String) -> Int {
    autoscalers.count(indexedBy: "namespace/\(namespace)")
  }

  /// The names of the autoscalers of a namespace, in no order.
  package func autoscalerNames(inNamespace namespace: String) -> [String] {
    autoscalers.objects(indexedBy: "namespace/\(namespace)").map(\.metadata.name)
  }

  package func pods(inNamespace namespace: String, matching selector: Selector) -> [Pod] {
    let exact = selector.requirements.compactMap { requirement -> String? in
      guard requirement.operator == .equals, requirement.values.count == 1 else { return nil }
      return Self.indexValue(namespace, requirement.key, requirement.values[0])
    }
    guard let rarest = exact.min(by: { pods.count(indexedBy: $0) < pods.count(indexedBy: $1) }) else {
      return pods.objects(namespace: namespace).filter { selector.matches($0.labels) }
    }
    return pods.objects(indexedBy: rarest).filter { selector.matches($0.labels) }
  }
}
