import KubernetesCore

extension ClusterState {
  /// Removes what has lost its owners, and lets owners go that waited for it.
  mutating func collectGarbage(_ now: Timestamp) {
    var living: [String: JSONValue] = [:]
    var dependents: [ObjectStore.Entry] = []
    var leaving: [ObjectStore.Entry] = []
    for storage in store.storages where storage != "events" && storage != "leases" {
      for entry in store.list(storage, namespace: nil) {
        living[Owners.uid(of: entry.object)] = entry.object
        if !(entry.object[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []).isEmpty {
          dependents.append(entry)
        }
        let finalizers = entry.object[path: ["metadata", "finalizers"]]?.arrayValue ?? []
        if PodFacts.isDeleting(entry.object), finalizers.contains("orphan") || finalizers.contains("foregroundDeletion")
        {
          leaving.append(entry)
        }
      }
    }
    orphan(leaving, dependents)
    for entry in dependents { collect(entry, living, dependents, now) }
    finishForeground(leaving)
  }

  private mutating func collect(
    _ entry: ObjectStore.Entry, _ living: [String: JSONValue], _ dependents: [ObjectStore.Entry], _ now: Timestamp
  ) {
    guard let object = store[entry.key], !PodFacts.isDeleting(object) else { return }
    let references = object[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
    guard !references.isEmpty else { return }
    let alive = references.filter { living[$0["uid"]?.stringValue ?? ""] != nil }
    let solid = alive.filter { !isLeaving(living[$0["uid"]?.stringValue ?? ""]) }
    if !solid.isEmpty {
      guard alive.count < references.count else { return }
      var new = object
      new["metadata"]?["ownerReferences"] = .array(alive)
      store.put(new, at: entry.key)
      return
    }
    guard var options = try? DeleteOptions(APICall("DELETE", ""), [:]) else { return }
    let uid = Owners.uid(of: object)
    let hasDependents = dependents.contains { dependent in
      (dependent.object[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []).contains {
        $0["uid"]?.stringValue == uid
      }
    }
    // What is asked for in the foreground waits for all that lies below, too.
    options.policy = !alive.isEmpty && hasDependents ? "Foreground" : "Background"
    delete(object, at: entry.key, options, now)
  }

  private func isLeaving(_ owner: JSONValue?) -> Bool {
    guard let owner, PodFacts.isDeleting(owner) else { return false }
    return (owner[path: ["metadata", "finalizers"]]?.arrayValue ?? []).contains("foregroundDeletion")
  }

  private mutating func orphan(_ leaving: [ObjectStore.Entry], _ dependents: [ObjectStore.Entry]) {
    for owner in leaving {
      let finalizers = owner.object[path: ["metadata", "finalizers"]]?.arrayValue ?? []
      guard finalizers.contains("orphan") else { continue }
      let uid = Owners.uid(of: owner.object)
      for dependent in dependents {
        guard var object = store[dependent.key] else { continue }
        let references = object[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
        let rest = references.filter { $0["uid"]?.stringValue != uid }
        guard rest.count < references.count else { continue }
        object["metadata"]?["ownerReferences"] = rest.isEmpty ? nil : .array(rest)
        store.put(object, at: dependent.key)
      }
      remove("orphan", from: owner.key)
    }
  }

  private mutating func finishForeground(_ leaving: [ObjectStore.Entry]) {
    for owner in leaving where isLeaving(store[owner.key]) {
      let uid = Owners.uid(of: owner.object)
      let isBlocked = store.storages.contains { storage in
        store.list(storage, namespace: nil).contains { entry in
          (entry.object[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []).contains {
            $0["uid"]?.stringValue == uid && $0["blockOwnerDeletion"] == true
          }
        }
      }
      if !isBlocked { remove("foregroundDeletion", from: owner.key) }
    }
  }

  private mutating func remove(_ finalizer: String, from key: StoreKey) {
    guard var object = store[key] else { return }
    let finalizers = object[path: ["metadata", "finalizers"]]?.arrayValue ?? []
    let rest = finalizers.filter { $0.stringValue != finalizer }
    object["metadata"]?["finalizers"] = rest.isEmpty ? nil : .array(rest)
    _ = put(object, at: key)
  }

  /// A pod whose node is gone has nobody left who could confirm its end.
  mutating func collectPods(ofLostNodes nodes: Set<String>, _ now: Timestamp) {
    for entry in store.list("pods", namespace: nil) where nodes.contains(PodFacts.node(entry.object)) {
      guard var options = try? DeleteOptions(APICall("DELETE", ""), [:]) else { continue }
      options.grace = 0
      delete(entry.object, at: entry.key, options, now)
    }
  }
}
