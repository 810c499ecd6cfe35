import KubernetesCore

private let revisionAnnotation = "deployment.kubernetes.io/revision"
private let desiredAnnotation = "deployment.kubernetes.io/desired-replicas"
private let mostAnnotation = "deployment.kubernetes.io/max-replicas"
private let hashLabel = "pod-template-hash"

extension ClusterState {
  /// A Deployment with its ReplicaSets while it is being looked at.
  private struct Rollout {
    var key: StoreKey
    var deployment: JSONValue
    /// The ReplicaSet of the template as it is now.
    var new: ObjectStore.Entry?
    /// The others, oldest first.
    var old: [ObjectStore.Entry]
    let bounds: DeploymentPlan.Bounds

    var isRecreate: Bool { deployment[path: ["spec", "strategy", "type"]] == "Recreate" }
    var all: [ObjectStore.Entry] { old + (new.map { [$0] } ?? []) }
  }

  /// One step of a Deployment towards its spec.
  mutating func settleDeployment(_ key: StoreKey, _ moment: inout Moment) {
    guard let deployment = store[key], let selector = Owners.selector(deployment["spec"] ?? [:]) else { return }
    var rollout = find(key, deployment, selector)
    guard !PodFacts.isDeleting(deployment) else { return writeStatus(rollout, moment.now) }
    if deployment[path: ["spec", "paused"]] == true {
      if rollout.new != nil { syncRevision(&rollout) }
      rescale(&rollout, &moment)
    } else if isRescaled(rollout) {
      syncRevision(&rollout)
      rescale(&rollout, &moment)
    } else if rollout.isRecreate {
      recreate(&rollout, &moment)
    } else {
      roll(&rollout, &moment)
    }
    cleanUp(&rollout, moment.now)
    writeStatus(rollout, moment.now)
  }

  // MARK: ReplicaSets

  private mutating func find(_ key: StoreKey, _ deployment: JSONValue, _ selector: Selector) -> Rollout {
    var own: [ObjectStore.Entry] = []
    for entry in store.list("replicasets", namespace: key.namespace) {
      if Owners.isControlled(entry.object, by: deployment) {
        own.append(entry)
      } else if Owners.controller(of: entry.object) == nil, !PodFacts.isDeleting(entry.object),
        !PodFacts.isDeleting(deployment), selector.matches(TableColumns.labels(of: entry.object))
      {
        var set = entry.object
        let references = set[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
        set["metadata"]?["ownerReferences"] = .array(references + [Owners.reference(to: deployment)])
        own.append((entry.key, store.put(set, at: entry.key)))
      }
    }
    own.sort { left, right in
      let times = (PodFacts.creationTime(left.object), PodFacts.creationTime(right.object))
      if let first = times.0, let second = times.1, first != second { return first < second }
      // Within one second the revision tells.
      return revision(left.object) < revision(right.object)
    }
    let template = Self.template(deployment)
    let new = own.first { Self.template($0.object) == template }
    return Rollout(
      key: key, deployment: deployment, new: new, old: own.filter { $0.key != new?.key },
      bounds: DeploymentPlan.Bounds(spec: deployment["spec"] ?? [:]))
  }

  /// The template without the digest that the ReplicaSet's has.
  private static func template(_ object: JSONValue) -> JSONValue {
    var template = object[path: ["spec", "template"]] ?? [:]
    template["metadata"]?["labels"]?[hashLabel] = nil
    return template
  }

  private func annotation(_ object: JSONValue, _ name: String) -> Int64? {
    object[path: ["metadata", "annotations", name]]?.stringValue.flatMap { Int64($0) }
  }

  private func revision(_ object: JSONValue) -> Int64 { annotation(object, revisionAnnotation) ?? 0 }

  private func replicas(_ object: JSONValue) -> Int64 { object[path: ["spec", "replicas"]]?.intValue ?? 0 }

  private func status(_ object: JSONValue, _ field: String) -> Int64 {
    object[path: ["status", field]]?.intValue ?? 0
  }

  private func count(_ entry: ObjectStore.Entry) -> DeploymentPlan.ReplicaCount {
    DeploymentPlan.ReplicaCount(
      name: entry.key.name, replicas: replicas(entry.object), available: status(entry.object, "availableReplicas"))
  }

  /// Numbers the new ReplicaSet. The counts beside it are those that it was scaled with last: by them its part of another
  /// count is found.
  private mutating func syncRevision(_ rollout: inout Rollout) {
    guard let new = rollout.new else { return }
    let next = (rollout.old.map { revision($0.object) }.max() ?? 0) + 1
    var set = new.object
    if revision(set) < next { annotate(&set, [revisionAnnotation: String(next)]) }
    set["spec"]?["minReadySeconds"] = rollout.deployment[path: ["spec", "minReadySeconds"]]
    rollout.new = (new.key, write(set, over: new.object, at: new.key))
    var deployment = rollout.deployment
    annotate(&deployment, [revisionAnnotation: String(revision(set))])
    rollout.deployment = write(deployment, over: rollout.deployment, at: rollout.key)
  }

  private func annotate(_ object: inout JSONValue, _ values: [String: String]) {
    var annotations = object[path: ["metadata", "annotations"]] ?? [:]
    for (key, value) in values { annotations[key] = .string(value) }
    object["metadata"]?["annotations"] = annotations
  }

  private func annotateCounts(_ set: inout JSONValue, _ bounds: DeploymentPlan.Bounds) {
    annotate(
      &set,
      [
        desiredAnnotation: String(bounds.replicas), mostAnnotation: String(bounds.replicas + bounds.surge),
      ])
  }

  private mutating func createNew(_ rollout: inout Rollout, _ moment: inout Moment) {
    let template = Self.template(rollout.deployment)
    let collisions = status(rollout.deployment, "collisionCount")
    let digest = Hash.name(Hash.fnv64("\(collisions) " + String(decoding: template.text, as: UTF8.self)))
    let key = StoreKey(
      storage: "replicasets", namespace: rollout.key.namespace, name: "\(rollout.key.name.prefix(242))-\(digest)")
    guard store[key] == nil else {
      // Somebody else's set has the name: count up, and so make another digest.
      var deployment = rollout.deployment
      deployment["status"]?["collisionCount"] = .int(collisions + 1)
      rollout.deployment = write(deployment, over: rollout.deployment, at: rollout.key)
      return
    }
    var labelled = template
    var labels = template[path: ["metadata", "labels"]] ?? [:]
    labels[hashLabel] = .string(digest)
    var templateMetadata = template["metadata"] ?? [:]
    templateMetadata["labels"] = labels
    labelled["metadata"] = templateMetadata
    var selector = rollout.deployment[path: ["spec", "selector"]] ?? [:]
    var matchLabels = selector["matchLabels"] ?? [:]
    matchLabels[hashLabel] = .string(digest)
    selector["matchLabels"] = matchLabels
    let all = rollout.old.reduce(0) { $0 + replicas($1.object) }
    var annotations = rollout.deployment[path: ["metadata", "annotations"]]?.objectValue ?? [:]
    annotations["kubectl.kubernetes.io/last-applied-configuration"] = nil
    annotations[revisionAnnotation] = .string(String((rollout.old.map { revision($0.object) }.max() ?? 0) + 1))
    var set: JSONValue = [
      "apiVersion": "apps/v1", "kind": "ReplicaSet",
      "metadata": [
        "name": .string(key.name), "namespace": .string(key.namespace), "uid": .string(moment.uid()),
        "creationTimestamp": .string(moment.now.rfc3339), "generation": 1, "labels": labels,
        "annotations": .object(annotations), "ownerReferences": [Owners.reference(to: rollout.deployment)],
      ],
      "spec": [
        "replicas": .int(
          DeploymentPlan.newCount(rollout.bounds, new: 0, all: all, isRecreate: rollout.isRecreate)),
        "selector": selector, "template": labelled,
      ],
      "status": ["replicas": 0],
    ]
    set["spec"]?["minReadySeconds"] = rollout.deployment[path: ["spec", "minReadySeconds"]]
    annotateCounts(&set, rollout.bounds)
    let kept = store.put(set, at: key)
    rollout.new = (key, kept)
    syncRevision(&rollout)
    let count = replicas(kept)
    if count > 0 {
      record(
        "ScalingReplicaSet", "Scaled up replica set \(key.name) to \(count)", about: rollout.deployment,
        by: "deployment-controller", &moment)
    }
    setProgress(&rollout, "True", "NewReplicaSetCreated", "Created new replica set \"\(key.name)\"", moment.now)
  }

  private mutating func scale(
    _ entry: ObjectStore.Entry, to wanted: Int64, _ rollout: Rollout, _ moment: inout Moment
  ) -> ObjectStore.Entry {
    let before = replicas(entry.object)
    var set = entry.object
    annotateCounts(&set, rollout.bounds)
    if wanted != before {
      set["spec"]?["replicas"] = .int(wanted)
      let generation = set[path: ["metadata", "generation"]]?.intValue ?? 0
      set["metadata"]?["generation"] = .int(generation + 1)
    }
    let kept = write(set, over: entry.object, at: entry.key)
    if wanted != before {
      record(
        "ScalingReplicaSet",
        "Scaled \(wanted > before ? "up" : "down") replica set \(entry.key.name) from \(before) to \(wanted)",
        about: rollout.deployment, by: "deployment-controller", &moment)
    }
    return (entry.key, kept)
  }

  // MARK: Strategies

  private mutating func roll(_ rollout: inout Rollout, _ moment: inout Moment) {
    if rollout.new == nil { createNew(&rollout, &moment) } else { syncRevision(&rollout) }
    guard let new = rollout.new else { return }
    let all = rollout.all.reduce(0) { $0 + replicas($1.object) }
    let wanted = DeploymentPlan.newCount(
      rollout.bounds, new: replicas(new.object), all: all, isRecreate: false)
    if wanted != replicas(new.object) {
      rollout.new = scale(new, to: wanted, rollout, &moment)
      return
    }
    let counts = DeploymentPlan.oldCounts(rollout.bounds, new: count(new), old: rollout.old.map(count))
    for (index, next) in counts.enumerated() where next.replicas != replicas(rollout.old[index].object) {
      rollout.old[index] = scale(rollout.old[index], to: next.replicas, rollout, &moment)
    }
  }

  private mutating func recreate(_ rollout: inout Rollout, _ moment: inout Moment) {
    if rollout.new != nil { syncRevision(&rollout) }
    var isScaling = false
    for index in rollout.old.indices where replicas(rollout.old[index].object) > 0 {
      rollout.old[index] = scale(rollout.old[index], to: 0, rollout, &moment)
      isScaling = true
    }
    guard !isScaling, !hasPods(of: rollout.old) else { return }
    if rollout.new == nil { createNew(&rollout, &moment) }
    guard let new = rollout.new, replicas(new.object) != rollout.bounds.replicas else { return }
    rollout.new = scale(new, to: rollout.bounds.replicas, rollout, &moment)
  }

  /// Whether a pod of the old sets still runs; one that is being deleted does.
  private mutating func hasPods(of sets: [ObjectStore.Entry]) -> Bool {
    guard let namespace = sets.first?.key.namespace else { return false }
    let owners = Set(sets.map { Owners.uid(of: $0.object) })
    let remains = store.list("pods", namespace: namespace).contains { entry in
      guard let owner = Owners.controller(of: entry.object)?["uid"]?.stringValue, owners.contains(owner) else {
        return false
      }
      return !["Succeeded", "Failed"].contains(PodFacts.phase(entry.object))
    }
    return remains
  }

  // MARK: Scaling

  private func isRescaled(_ rollout: Rollout) -> Bool {
    rollout.all.contains { entry in
      guard replicas(entry.object) > 0, let desired = annotation(entry.object, desiredAnnotation) else { return false }
      return desired != rollout.bounds.replicas
    }
  }

  private mutating func rescale(_ rollout: inout Rollout, _ moment: inout Moment) {
    let active = rollout.all.filter { replicas($0.object) > 0 }
    let single = active.isEmpty ? rollout.new ?? rollout.old.last : active.count == 1 ? active[0] : nil
    if let single {
      replace(scale(single, to: rollout.bounds.replicas, rollout, &moment), in: &rollout)
      return
    }
    if let new = rollout.new, replicas(new.object) == rollout.bounds.replicas,
      annotation(new.object, desiredAnnotation) == rollout.bounds.replicas,
      status(new.object, "availableReplicas") == rollout.bounds.replicas
    {
      for entry in rollout.old where replicas(entry.object) > 0 {
        replace(scale(entry, to: 0, rollout, &moment), in: &rollout)
      }
      return
    }
    // The largest first; of equals, the newer one when pods are added and the older one when they are taken.
    let total = active.reduce(0) { $0 + replicas($1.object) }
    let isGrowing = rollout.bounds.replicas + rollout.bounds.surge > total
    let ordered = active.enumerated().sorted { left, right in
      let counts = (replicas(left.element.object), replicas(right.element.object))
      return counts.0 == counts.1 ? (left.offset > right.offset) == isGrowing : counts.0 > counts.1
    }.map(\.element)
    let counts = DeploymentPlan.proportional(
      rollout.bounds, sets: ordered.map(count), previousMost: ordered.map { annotation($0.object, mostAnnotation) ?? 0 }
    )
    for (entry, wanted) in zip(ordered, counts) { replace(scale(entry, to: wanted, rollout, &moment), in: &rollout) }
  }

  private func replace(_ entry: ObjectStore.Entry, in rollout: inout Rollout) {
    if rollout.new?.key == entry.key { rollout.new = entry }
    for index in rollout.old.indices where rollout.old[index].key == entry.key { rollout.old[index] = entry }
  }

  /// Removes old ReplicaSets beyond the history's limit once the rollout is complete.
  private mutating func cleanUp(_ rollout: inout Rollout, _ now: Timestamp) {
    guard let limit = rollout.deployment[path: ["spec", "revisionHistoryLimit"]]?.intValue, isComplete(rollout) else {
      return
    }
    let idle = rollout.old.filter {
      replicas($0.object) == 0 && status($0.object, "replicas") == 0 && !PodFacts.isDeleting($0.object)
    }
    guard Int64(rollout.old.count) > limit, let options = try? DeleteOptions(APICall("DELETE", ""), [:]) else { return }
    for entry in idle.sorted(by: { revision($0.object) < revision($1.object) }).prefix(rollout.old.count - Int(limit)) {
      delete(entry.object, at: entry.key, options, now)
      rollout.old.removeAll { $0.key == entry.key }
    }
  }

  // MARK: Status

  private func isComplete(_ rollout: Rollout) -> Bool {
    guard let new = rollout.new else { return false }
    let wanted = rollout.bounds.replicas
    return status(new.object, "replicas") == wanted && status(new.object, "availableReplicas") == wanted
      && rollout.old.allSatisfy { status($0.object, "replicas") == 0 }
  }

  private func setProgress(
    _ rollout: inout Rollout, _ value: String, _ reason: String, _ message: String, _ now: Timestamp
  ) {
    var status = rollout.deployment["status"] ?? [:]
    Self.setCondition("Progressing", value, reason, message, in: &status, now)
    rollout.deployment["status"] = status
  }

  private static func setCondition(
    _ type: String, _ value: String, _ reason: String, _ message: String, in status: inout JSONValue, _ now: Timestamp,
    isRenewed: Bool = false
  ) {
    var conditions = status["conditions"]?.arrayValue ?? []
    let old = conditions.first { $0["type"]?.stringValue == type }
    if let old, old["status"]?.stringValue == value, old["reason"]?.stringValue == reason, !isRenewed { return }
    var transition = JSONValue.string(now.rfc3339)
    if old?["status"]?.stringValue == value, let before = old?["lastTransitionTime"] { transition = before }
    conditions.removeAll { $0["type"]?.stringValue == type }
    conditions.append([
      "type": .string(type), "status": .string(value), "reason": .string(reason), "message": .string(message),
      "lastUpdateTime": .string(now.rfc3339), "lastTransitionTime": transition,
    ])
    status["conditions"] = .array(conditions)
  }

  private mutating func writeStatus(_ rollout: Rollout, _ now: Timestamp) {
    guard var current = store[rollout.key] else { return }
    let old = current["status"] ?? [:]
    func sum(_ field: String) -> Int64 { rollout.all.reduce(0) { $0 + status($1.object, field) } }
    var new: JSONValue = [:]
    let available = sum("availableReplicas")
    let specified = rollout.all.reduce(0) { $0 + replicas($1.object) }
    let counts: [(String, Int64)] = [
      ("replicas", sum("replicas")), ("updatedReplicas", rollout.new.map { status($0.object, "replicas") } ?? 0),
      ("readyReplicas", sum("readyReplicas")), ("availableReplicas", available),
      ("unavailableReplicas", max(0, specified - available)),
    ]
    for (field, count) in counts where count > 0 { new[field] = .int(count) }
    new["observedGeneration"] = current[path: ["metadata", "generation"]]
    new["collisionCount"] = old["collisionCount"]
    new["conditions"] = rollout.deployment[path: ["status", "conditions"]] ?? old["conditions"]
    if available >= rollout.bounds.replicas - rollout.bounds.unavailable {
      Self.setCondition(
        "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", in: &new, now)
    } else {
      Self.setCondition(
        "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", in: &new,
        now)
    }
    progress(rollout, old, &new, now)
    current["status"] = new
    _ = write(current, over: store[rollout.key] ?? current, at: rollout.key)
  }

  private mutating func progress(_ rollout: Rollout, _ old: JSONValue, _ new: inout JSONValue, _ now: Timestamp) {
    let spec = rollout.deployment["spec"] ?? [:]
    guard let deadline = spec["progressDeadlineSeconds"]?.intValue, deadline != Int64(Int32.max) else { return }
    let name = rollout.new.map { "ReplicaSet \"\($0.key.name)\"" } ?? "Deployment \"\(rollout.key.name)\""
    let condition = (new["conditions"]?.arrayValue ?? []).first { $0["type"] == "Progressing" }
    func count(_ status: JSONValue, _ field: String) -> Int64 { status[field]?.intValue ?? 0 }
    if spec["paused"] == true {
      if condition?["reason"] != "DeploymentPaused" {
        Self.setCondition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", in: &new, now)
      }
      return
    }
    if condition?["reason"] == "DeploymentPaused" {
      Self.setCondition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", in: &new, now)
    }
    let isWhole = count(new, "replicas") == count(new, "updatedReplicas")
    if isWhole, condition?["reason"] == "NewReplicaSetAvailable" { return }
    let hasProgressed =
      count(new, "updatedReplicas") > count(old, "updatedReplicas")
      || count(new, "replicas") - count(new, "updatedReplicas") < count(old, "replicas") - count(old, "updatedReplicas")
      || count(new, "readyReplicas") > count(old, "readyReplicas")
      || count(new, "availableReplicas") > count(old, "availableReplicas")
    if isComplete(rollout) {
      Self.setCondition(
        "Progressing", "True", "NewReplicaSetAvailable", "\(name) has successfully progressed.", in: &new, now)
    } else if hasProgressed {
      Self.setCondition(
        "Progressing", "True", "ReplicaSetUpdated", "\(name) is progressing.", in: &new, now, isRenewed: true)
    } else if let text = condition?["lastUpdateTime"]?.stringValue, let since = try? Timestamp(rfc3339: text),
      condition?["reason"] != "NewReplicaSetAvailable", condition?["reason"] != "ProgressDeadlineExceeded"
    {
      let end = since + .seconds(deadline + 1)
      guard end <= now else { return controllers.wake(rollout.key, at: end) }
      Self.setCondition(
        "Progressing", "False", "ProgressDeadlineExceeded", "\(name) has timed out progressing.", in: &new, now)
    }
  }
}
