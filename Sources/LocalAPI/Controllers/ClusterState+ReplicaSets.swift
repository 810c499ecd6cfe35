import KubernetesCore

extension ClusterState {
  /// Makes the count of a ReplicaSet's pods what its spec says, and its status what is there.
  mutating func settleReplicaSet(_ key: StoreKey, _ moment: inout Moment) {
    guard let set = store[key], let selector = Owners.selector(set["spec"] ?? [:]) else { return }
    let pods = claim(set, selector).filter { PodFacts.isActive($0.object) }
    if !PodFacts.isDeleting(set) {
      let wanted = Int(clamping: set[path: ["spec", "replicas"]]?.intValue ?? 1)
      if pods.count < wanted {
        // As many in one step as Kubernetes makes at most; the rest follows.
        for _ in 0..<min(wanted - pods.count, 500) { createPod(of: set, &moment) }
      } else if pods.count > wanted {
        for victim in victims(of: set, among: pods, count: pods.count - wanted, moment.now) {
          guard let options = try? DeleteOptions(APICall("DELETE", ""), [:]) else { continue }
          delete(victim.object, at: victim.key, options, moment.now)
          record(
            "SuccessfulDelete", "Deleted pod: \(victim.key.name)", about: set, by: "replicaset-controller", &moment)
        }
      }
    }
    writeStatus(of: set, key, pods, moment.now)
  }

  /// The pods that belong to the set: orphans that match are taken, own ones that match no longer are let go.
  private mutating func claim(_ set: JSONValue, _ selector: Selector) -> [ObjectStore.Entry] {
    var own: [ObjectStore.Entry] = []
    for entry in store.list("pods", namespace: Owners.namespace(of: set)) {
      let matches = selector.matches(TableColumns.labels(of: entry.object))
      if Owners.isControlled(entry.object, by: set) {
        if matches || PodFacts.isDeleting(entry.object) {
          own.append(entry)
        } else if !PodFacts.isDeleting(set) {
          var pod = entry.object
          let references = pod[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
          let rest = references.filter { $0["uid"]?.stringValue != Owners.uid(of: set) }
          pod["metadata"]?["ownerReferences"] = rest.isEmpty ? nil : .array(rest)
          store.put(pod, at: entry.key)
        }
      } else if matches, Owners.controller(of: entry.object) == nil, PodFacts.isActive(entry.object),
        !PodFacts.isDeleting(set)
      {
        var pod = entry.object
        let references = pod[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
        pod["metadata"]?["ownerReferences"] = .array(references + [Owners.reference(to: set)])
        own.append((entry.key, store.put(pod, at: entry.key)))
      }
    }
    return own
  }

  private mutating func createPod(of set: JSONValue, _ moment: inout Moment) {
    let template = set[path: ["spec", "template"]] ?? [:]
    let prefix = "\(Owners.name(of: set))-"
    let namespace = Owners.namespace(of: set)
    var key = StoreKey(storage: "pods", namespace: namespace, name: "")
    repeat { key.name = String(prefix.prefix(58)) + moment.suffix() } while store[key] != nil
    var metadata: JSONValue = [
      "name": .string(key.name), "generateName": .string(prefix), "namespace": .string(namespace),
      "uid": .string(moment.uid()), "creationTimestamp": .string(moment.now.rfc3339),
      "ownerReferences": [Owners.reference(to: set)],
    ]
    for field in ["labels", "annotations", "finalizers"] { metadata[field] = template[path: ["metadata", field]] }
    var pod: JSONValue = [
      "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] ?? [:],
    ]
    guard let type = catalog.type(storage: "pods") else { return }
    Defaults.apply(to: &pod, type: type)
    Strategy.prepareForCreate(&pod, type)
    store.put(pod, at: key)
    record("SuccessfulCreate", "Created pod: \(key.name)", about: set, by: "replicaset-controller", &moment)
  }

  /// The pods to give up, in the order of Kubernetes.
  private func victims(
    of set: JSONValue, among pods: [ObjectStore.Entry], count: Int, _ now: Timestamp
  ) -> [ObjectStore.Entry] {
    guard count < pods.count else { return pods }
    let neighbours = neighbours(of: set)
    return pods.map { ($0, VictimRank($0.object, neighbours: neighbours[PodFacts.node($0.object)] ?? 0, now: now)) }
      .sorted { $0.1 < $1.1 }.prefix(count).map(\.0)
  }

  /// How many active pods of the set's family (all sets of one owner) run on each node.
  private func neighbours(of set: JSONValue) -> [String: Int] {
    let namespace = Owners.namespace(of: set)
    var family: Set<String> = [Owners.uid(of: set)]
    if let owner = Owners.controller(of: set)?["uid"] {
      for entry in store.list("replicasets", namespace: namespace)
      where Owners.controller(of: entry.object)?["uid"] == owner {
        family.insert(Owners.uid(of: entry.object))
      }
    }
    var result: [String: Int] = [:]
    for entry in store.list("pods", namespace: namespace) where PodFacts.isActive(entry.object) {
      guard let owner = Owners.controller(of: entry.object)?["uid"]?.stringValue, family.contains(owner) else {
        continue
      }
      result[PodFacts.node(entry.object), default: 0] += 1
    }
    return result
  }

  private mutating func writeStatus(
    of set: JSONValue, _ key: StoreKey, _ pods: [ObjectStore.Entry], _ now: Timestamp
  ) {
    let labels = set[path: ["spec", "template", "metadata", "labels"]]?.objectValue ?? [:]
    let seconds = set[path: ["spec", "minReadySeconds"]]?.intValue ?? 0
    var ready: Int64 = 0
    var available: Int64 = 0
    var labelled: Int64 = 0
    for pod in pods.map(\.object) {
      let own = TableColumns.labels(of: pod)
      if labels.allSatisfy({ own[$0.key] == $0.value.stringValue }) { labelled += 1 }
      if PodFacts.isReady(pod) { ready += 1 }
      guard let time = PodFacts.availableTime(pod, minReadySeconds: seconds) else { continue }
      if time <= now { available += 1 } else { controllers.wake(key, at: time) }
    }
    var status: JSONValue = ["replicas": .int(Int64(pods.count))]
    // Go leaves zeros out.
    for (field, count) in [
      ("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available),
    ] where count > 0 { status[field] = .int(count) }
    status["observedGeneration"] = set[path: ["metadata", "generation"]]
    guard var new = store[key] else { return }
    new["status"] = status
    _ = write(new, over: store[key] ?? new, at: key)
  }
}
