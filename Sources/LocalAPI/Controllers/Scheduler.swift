import KubernetesCore

/// Binds pods to nodes: any ready node that has room by its count of pods.
enum Scheduler {
  static func bound(_ pod: JSONValue, to node: String, _ now: Timestamp) -> JSONValue {
    var result = pod
    result["spec"]?["nodeName"] = .string(node)
    setScheduled(
      ["type": "PodScheduled", "status": "True", "lastProbeTime": .null, "lastTransitionTime": .string(now.rfc3339)],
      in: &result)
    return result
  }

  static func unbound(_ pod: JSONValue, because message: String, _ now: Timestamp) -> JSONValue {
    var result = pod
    setScheduled(
      [
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": .string(message),
        "lastProbeTime": .null, "lastTransitionTime": .string(now.rfc3339),
      ], in: &result)
    return result
  }

  private static func setScheduled(_ condition: JSONValue, in pod: inout JSONValue) {
    var conditions = pod[path: ["status", "conditions"]]?.arrayValue ?? []
    if let old = conditions.first(where: { $0["type"] == "PodScheduled" }) {
      guard old["status"] != condition["status"] || old["message"] != condition["message"] else { return }
      conditions.removeAll { $0["type"] == "PodScheduled" }
    }
    var status = pod["status"] ?? [:]
    status["conditions"] = .array(conditions + [condition])
    pod["status"] = status
  }

  /// Why a node can't take a pod; nil when it can.
  static func obstacle(_ node: JSONValue, _ pod: JSONValue, taken: Int) -> String? {
    if node[path: ["spec", "unschedulable"]] == true { return "node(s) were unschedulable" }
    guard TableColumns.condition("Ready", of: node)?["status"] == "True" else { return "node(s) were not ready" }
    let labels = TableColumns.labels(of: node)
    for (key, value) in pod[path: ["spec", "nodeSelector"]]?.objectValue ?? [:] where labels[key] != value.stringValue {
      return "node(s) didn't match Pod's node affinity/selector"
    }
    let room = node[path: ["status", "allocatable", "pods"]]?.stringValue.flatMap { try? Quantity($0) }?.value
    if let room, Int64(taken) >= room { return "Too many pods" }
    return nil
  }
}

extension ClusterState {
  /// Gives every waiting pod a node, the oldest first.
  mutating func schedule(_ moment: inout Moment) {
    let nodes = store.list("nodes", namespace: nil)
    var taken: [String: Int] = [:]
    var waiting: [ObjectStore.Entry] = []
    for entry in store.list("pods", namespace: nil) {
      let node = PodFacts.node(entry.object)
      if !node.isEmpty {
        if !["Succeeded", "Failed"].contains(PodFacts.phase(entry.object)) { taken[node, default: 0] += 1 }
      } else if PodFacts.isActive(entry.object), entry.object[path: ["spec", "schedulerName"]] == "default-scheduler",
        (entry.object[path: ["spec", "schedulingGates"]]?.arrayValue ?? []).isEmpty
      {
        waiting.append(entry)
      }
    }
    waiting.sort { left, right in
      let times = (PodFacts.creationTime(left.object), PodFacts.creationTime(right.object))
      return times.0 == times.1 ? left.key < right.key : (times.0 ?? moment.now) < (times.1 ?? moment.now)
    }
    for entry in waiting {
      var obstacles: [String: Int] = [:]
      var best: (name: String, taken: Int)?
      for node in nodes {
        let count = taken[node.key.name] ?? 0
        if let obstacle = Scheduler.obstacle(node.object, entry.object, taken: count) {
          obstacles[obstacle, default: 0] += 1
        } else if count < best?.taken ?? .max {
          best = (node.key.name, count)
        }
      }
      place(entry, on: best?.name, obstacles, nodes.count, &moment)
      if let best { taken[best.name, default: 0] += 1 }
    }
  }

  private mutating func place(
    _ entry: ObjectStore.Entry, on node: String?, _ obstacles: [String: Int], _ count: Int, _ moment: inout Moment
  ) {
    guard let node else {
      let reasons = obstacles.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
      let text =
        count == 0
        ? "no nodes available to schedule pods" : "0/\(count) nodes are available: \(reasons.joined(separator: ", "))."
      let new = Scheduler.unbound(entry.object, because: text, moment.now)
      guard !Self.isSame(entry.object, new) else { return }
      store.put(new, at: entry.key)
      record("FailedScheduling", text, type: "Warning", about: new, by: "default-scheduler", &moment)
      return
    }
    let pod = store.put(Scheduler.bound(entry.object, to: node, moment.now), at: entry.key)
    record(
      "Scheduled", "Successfully assigned \(entry.key.namespace)/\(entry.key.name) to \(node)", about: pod,
      by: "default-scheduler", &moment)
  }
}
