package import KubernetesCore

/// What the controllers know between two steps: how far they have read, and what they have to look at.
struct ControllerState: Sendable {
  /// Changes up to this version have been looked at; nil: everything has to be.
  var cursor: UInt64?
  var replicaSets: Set<StoreKey> = []
  var deployments: Set<StoreKey> = []
  var namespaces: Set<StoreKey> = []
  /// Whether a pod waits for a node, or a node has changed.
  var mustSchedule = false
  /// Whether an owner has gone, or an object waits for what depends on it.
  var mustCollect = false
  /// Nodes that have been deleted.
  var lostNodes: Set<String> = []
  /// When to look at something again, though nothing changes.
  var deadlines: [StoreKey: Timestamp] = [:]

  var isIdle: Bool {
    replicaSets.isEmpty && deployments.isEmpty && namespaces.isEmpty && !mustSchedule && !mustCollect
      && lostNodes.isEmpty
  }

  /// Notes that an object wants to be looked at not later than a moment.
  mutating func wake(_ key: StoreKey, at time: Timestamp) {
    deadlines[key] = min(deadlines[key] ?? time, time)
  }
}

extension ClusterState {
  /// Lets the controllers do what there is to do; answers when to come again, though nothing has changed by then.
  ///
  /// A call ends after a bounded number of steps; what is left then is due at once.
  package mutating func settle(
    at now: Timestamp, using generator: inout some RandomNumberGenerator
  ) -> Timestamp? {
    var moment = Moment(now: now, bits: (0..<4).map { _ in generator.next() })
    for _ in 0..<32 {
      observe(now)
      guard !controllers.isIdle else { return nextDeadline(now) }
      let work = controllers
      controllers.replicaSets = []
      controllers.deployments = []
      controllers.namespaces = []
      controllers.mustSchedule = false
      controllers.mustCollect = false
      controllers.lostNodes = []
      for key in work.namespaces.sorted() { settleNamespace(key, &moment) }
      for key in work.deployments.sorted() { settleDeployment(key, &moment) }
      for key in work.replicaSets.sorted() { settleReplicaSet(key, &moment) }
      if !work.lostNodes.isEmpty { collectPods(ofLostNodes: work.lostNodes, now) }
      if work.mustSchedule { schedule(&moment) }
      if work.mustCollect { collectGarbage(now) }
    }
    return now
  }

  private mutating func nextDeadline(_ now: Timestamp) -> Timestamp? {
    let oldest = expireEvents(now)
    let deadline = controllers.deadlines.values.min()
    return [oldest, deadline].compactMap { $0 }.min()
  }

  /// Reads what has changed and notes who has to look at it.
  private mutating func observe(_ now: Timestamp) {
    for (key, deadline) in controllers.deadlines where deadline <= now {
      controllers.deadlines[key] = nil
      mark(key)
    }
    guard let cursor = controllers.cursor, let changes = try? store.changes(after: cursor, limit: .max) else {
      controllers.cursor = store.version
      for storage in ["deployments", "replicasets", "namespaces"] {
        for entry in store.list(storage, namespace: nil) { mark(entry.key) }
      }
      controllers.mustSchedule = true
      controllers.mustCollect = true
      return
    }
    controllers.cursor = store.version
    for change in Array(changes) { observe(change) }
  }

  private mutating func mark(_ key: StoreKey) {
    switch key.storage {
    case "deployments": controllers.deployments.insert(key)
    case "replicasets": controllers.replicaSets.insert(key)
    case "namespaces": controllers.namespaces.insert(key)
    case "pods": controllers.mustSchedule = true
    default: break
    }
  }

  private mutating func observe(_ change: ObjectChange) {
    let key = change.key
    switch key.storage {
    case "events", "leases": return
    case "pods":
      for pod in [change.old, change.new].compactMap({ $0 }) { markOwner(of: pod, key, "replicasets", "ReplicaSet") }
      if change.new.map({ PodFacts.node($0).isEmpty }) ?? true { controllers.mustSchedule = true }
      // A Recreate waits for the last old pod, and by then its ReplicaSet counts none already.
      if change.new == nil, let old = change.old { markDeployment(ofPod: old, key) }
    case "replicasets":
      controllers.replicaSets.insert(key)
      for set in [change.old, change.new].compactMap({ $0 }) { markOwner(of: set, key, "deployments", "Deployment") }
    case "nodes":
      controllers.mustSchedule = true
      if change.new == nil { controllers.lostNodes.insert(key.name) } else { controllers.lostNodes.remove(key.name) }
    default: mark(key)
    }
    if key.namespace != "", change.new == nil {
      // A namespace that is about to go waits for its last object.
      controllers.namespaces.insert(StoreKey(storage: "namespaces", namespace: "", name: key.namespace))
    }
    let owners = change.new?[path: ["metadata", "ownerReferences"]]?.arrayValue ?? []
    if change.new == nil || (change.old == nil && !owners.isEmpty)
      || (change.new?[path: ["metadata", "deletionTimestamp"]] != nil
        && change.new?[path: ["metadata", "finalizers"]] != nil)
    {
      controllers.mustCollect = true
    }
  }

  private mutating func markDeployment(ofPod pod: JSONValue, _ key: StoreKey) {
    guard let name = Owners.controller(of: pod)?["name"]?.stringValue,
      let set = store[StoreKey(storage: "replicasets", namespace: key.namespace, name: name)]
    else { return }
    markOwner(of: set, key, "deployments", "Deployment")
  }

  private mutating func markOwner(of object: JSONValue, _ key: StoreKey, _ storage: String, _ kind: String) {
    if let owner = Owners.controller(of: object) {
      guard owner["kind"]?.stringValue == kind else { return }
      mark(StoreKey(storage: storage, namespace: key.namespace, name: owner["name"]?.stringValue ?? ""))
      return
    }
    let labels = TableColumns.labels(of: object)
    for entry in store.list(storage, namespace: key.namespace)
    where Owners.selector(entry.object["spec"] ?? [:])?.matches(labels) == true {
      mark(entry.key)
    }
  }

  // MARK: Writing

  /// Stores what a controller has changed, if it has.
  mutating func write(_ object: JSONValue, over old: JSONValue, at key: StoreKey) -> JSONValue {
    guard !Self.isSame(old, object) else { return old }
    return put(object, at: key)
  }

  /// Says in an event what a controller did; one that is said again is counted.
  mutating func record(
    _ reason: String, _ message: String, type: String = "Normal", about object: JSONValue, by component: String,
    _ moment: inout Moment
  ) {
    let namespace = Owners.namespace(of: object).isEmpty ? "default" : Owners.namespace(of: object)
    let digest = Hash.fnv64("\(Owners.uid(of: object)) \(type) \(reason) \(message)")
    let name = "\(Owners.name(of: object).prefix(230)).\(Moment.hexadecimal(digest))"
    let key = StoreKey(storage: "events", namespace: namespace, name: name)
    let time = JSONValue.string(moment.now.rfc3339)
    if var event = store[key] {
      event["count"] = .int((event["count"]?.intValue ?? 1) + 1)
      event["lastTimestamp"] = time
      store.put(event, at: key)
      return
    }
    store.put(
      [
        "apiVersion": "v1", "kind": "Event",
        "metadata": [
          "name": .string(name), "namespace": .string(namespace), "uid": .string(moment.uid()),
          "creationTimestamp": time,
        ],
        "involvedObject": [
          "apiVersion": object["apiVersion"] ?? "", "kind": object["kind"] ?? "",
          "name": .string(Owners.name(of: object)), "namespace": .string(Owners.namespace(of: object)),
          "uid": .string(Owners.uid(of: object)),
          "resourceVersion": object[path: ["metadata", "resourceVersion"]] ?? "",
        ],
        "reason": .string(reason), "message": .string(message), "type": .string(type), "count": 1,
        "firstTimestamp": time, "lastTimestamp": time, "source": ["component": .string(component)],
        "reportingComponent": .string(component), "reportingInstance": "", "eventTime": .null,
      ], at: key)
  }

  /// Removes events that are too old or too many; answers when the next one gets too old.
  private mutating func expireEvents(_ now: Timestamp) -> Timestamp? {
    guard store.count("events") > 0 else { return nil }
    var ages: [(time: Timestamp, key: StoreKey)] = []
    for entry in store.list("events", namespace: nil) {
      let event = entry.object
      // Its time begins anew when it is counted again.
      let texts = [event["lastTimestamp"], event[path: ["series", "lastObservedTime"]]].compactMap { $0?.stringValue }
      let times = texts.compactMap { try? Timestamp(rfc3339: $0) } + [PodFacts.creationTime(event) ?? now]
      ages.append((times.max() ?? now, entry.key))
    }
    ages.sort { ($0.time, $0.key) < ($1.time, $1.key) }
    let surplus = max(0, ages.count - limits.events)
    let gone = ages.enumerated().prefix { $0.offset < surplus || $0.element.time + limits.eventLifetime <= now }
    for (_, event) in gone { store.remove(event.key) }
    guard ages.count > gone.count else { return nil }
    return ages[gone.count].time + limits.eventLifetime
  }

  // MARK: Namespaces

  private mutating func settleNamespace(_ key: StoreKey, _ moment: inout Moment) {
    guard let namespace = store[key] else { return }
    guard PodFacts.isDeleting(namespace) else {
      let account = StoreKey(storage: "serviceaccounts", namespace: key.name, name: "default")
      if store[account] == nil {
        store.put(
          [
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": [
              "name": "default", "namespace": .string(key.name), "uid": .string(moment.uid()),
              "creationTimestamp": .string(moment.now.rfc3339),
            ],
          ], at: account)
      }
      return
    }
    guard var options = try? DeleteOptions(APICall("DELETE", ""), [:]) else { return }
    options.policy = "Background"
    var isEmpty = true
    for storage in store.storages {
      for entry in store.list(storage, namespace: key.name) {
        if delete(entry.object, at: entry.key, options, moment.now) != nil { isEmpty = false }
      }
    }
    if isEmpty { store.remove(key) }
  }
}

/// Digests for names; nothing here is a secret.
enum Hash {
  static func fnv64(_ text: String) -> UInt64 {
    text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }

  /// Ten characters that a name may end with, as Kubernetes writes a template's digest.
  static func name(_ value: UInt64) -> String {
    let alphabet = Array("bcdfghjklmnpqrstvwxz2456789")
    return String(
      String(UInt32(truncatingIfNeeded: value ^ value >> 32)).utf8.map { alphabet[Int($0) % alphabet.count] })
  }
}
