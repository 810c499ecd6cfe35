import KubernetesCore

extension ClusterState {
  /// How an object is to go.
  struct DeleteOptions {
    var grace: Int64?
    var policy: String?
    var uid: String?
    var version: String?
    var isDryRun = false

    init(_ call: APICall, _ body: JSONValue) throws(APIFailure) {
      grace = body["gracePeriodSeconds"]?.intValue ?? call["gracePeriodSeconds"].flatMap { Int64($0) }
      policy = body["propagationPolicy"]?.stringValue ?? call["propagationPolicy"]
      if policy == nil, let orphans = body["orphanDependents"]?.boolValue { policy = orphans ? "Orphan" : "Background" }
      uid = body[path: ["preconditions", "uid"]]?.stringValue
      version = body[path: ["preconditions", "resourceVersion"]]?.stringValue
      let dryRun = body["dryRun"]?.arrayValue?.first?.stringValue ?? call["dryRun"] ?? ""
      guard ["", "All"].contains(dryRun) else {
        throw Self.invalid(.notSupported("dryRun", .string(String(dryRun.prefix(64))), ["All"]))
      }
      isDryRun = dryRun == "All"
      if let policy, !["Orphan", "Background", "Foreground"].contains(policy) {
        throw Self.invalid(
          .notSupported(
            "propagationPolicy", .string(String(policy.prefix(64))), ["Background", "Foreground", "Orphan"]))
      }
      if let grace, grace < 0 {
        throw Self.invalid(.invalid("gracePeriodSeconds", .int(grace), "must be greater than or equal to 0"))
      }
    }

    private static func invalid(_ fault: FieldFault) -> APIFailure {
      .invalid(kind: "DeleteOptions", group: "meta.k8s.io", [fault])
    }
  }

  mutating func delete(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let options = try DeleteOptions(call, call.body.isEmpty ? [:] : try parse(call))
    let old = try object(place)
    try check(options, old, place)
    let left = delete(old, at: place.key, options, moment.now)
    if let left { return try shown(served(left, place.type), place.type, call, moment.now) }
    guard place.type.storage != "pods" else {
      return try shown(old, place.type, call, moment.now)
    }
    var details: JSONValue = [
      "name": .string(place.name ?? ""), "kind": .string(place.type.plural),
      "uid": old[path: ["metadata", "uid"]] ?? "",
    ]
    if !place.type.group.isEmpty { details["group"] = .string(place.type.group) }
    return .document(
      status: 200,
      ["apiVersion": "v1", "kind": "Status", "metadata": [:], "status": "Success", "details": details], warnings: [])
  }

  func check(_ options: DeleteOptions, _ old: JSONValue, _ place: Place) throws(APIFailure) {
    let uid = old[path: ["metadata", "uid"]]?.stringValue ?? ""
    if let wanted = options.uid, wanted != uid {
      throw .conflict(
        place.type, place.name ?? "",
        "Precondition failed: UID in precondition: \(wanted), UID in object meta: \(uid)")
    }
    let version = old[path: ["metadata", "resourceVersion"]]?.stringValue ?? ""
    if let wanted = options.version, wanted != version {
      throw .conflict(
        place.type, place.name ?? "",
        "Precondition failed: ResourceVersion in precondition: \(wanted), ResourceVersion in object meta: \(version)")
    }
  }

  /// Deletes an object; answers its state when something has to happen before it goes, nil when it went.
  @discardableResult
  mutating func delete(
    _ old: JSONValue, at key: StoreKey, _ options: DeleteOptions, _ now: Timestamp
  ) -> JSONValue? {
    var finalizers = old[path: ["metadata", "finalizers"]]?.arrayValue ?? []
    switch options.policy {
    case "Orphan": finalizers = finalizers.filter { $0 != "foregroundDeletion" && $0 != "orphan" } + ["orphan"]
    case "Foreground":
      finalizers = finalizers.filter { $0 != "foregroundDeletion" && $0 != "orphan" } + ["foregroundDeletion"]
    default: break
    }
    let grace = Self.grace(old, key, options)
    let isNamespace = key.storage == "namespaces"
    guard grace > 0 || !finalizers.isEmpty || isNamespace else {
      if !options.isDryRun { store.remove(key) }
      return nil
    }
    var new = old
    var metadata = new["metadata"] ?? [:]
    metadata["finalizers"] = finalizers.isEmpty ? nil : .array(finalizers)
    let known = metadata["deletionGracePeriodSeconds"]?.intValue
    if metadata["deletionTimestamp"] == nil || grace < known ?? .max {
      metadata["deletionTimestamp"] = .string((now + .seconds(grace)).rfc3339)
      metadata["deletionGracePeriodSeconds"] = isNamespace ? nil : .int(grace)
    }
    new["metadata"] = metadata
    if isNamespace { new["status"] = ["phase": "Terminating"] }
    guard !options.isDryRun, !Self.isSame(old, new) else { return new }
    return store.put(new, at: key)
  }

  /// How many seconds an object is given: pods that run somewhere have a grace period, everything else goes at once.
  private static func grace(_ old: JSONValue, _ key: StoreKey, _ options: DeleteOptions) -> Int64 {
    guard key.storage == "pods", !PodFacts.node(old).isEmpty else { return 0 }
    if ["Succeeded", "Failed"].contains(PodFacts.phase(old)) { return 0 }
    let own = old[path: ["spec", "terminationGracePeriodSeconds"]]?.intValue ?? 30
    let wanted = options.grace ?? own
    // A grace period can only be cut shorter.
    guard let known = old[path: ["metadata", "deletionGracePeriodSeconds"]]?.intValue else { return wanted }
    return options.grace == nil ? known : min(wanted, known)
  }

  mutating func deleteCollection(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let options = try DeleteOptions(call, call.body.isEmpty ? [:] : try parse(call))
    let (labels, fields) = try selectors(call, place.type)
    guard !place.type.isNamespaced || place.listedNamespace != nil else { throw .methodNotAllowed(call.method) }
    let entries = store.list(place.type.storage, namespace: place.listedNamespace)
      .filter { Self.matches($0.object, labels, fields) }
    for entry in entries { delete(entry.object, at: entry.key, options, moment.now) }
    return .document(
      status: 200,
      [
        "apiVersion": .string(place.type.apiVersion), "kind": .string(place.type.listKind),
        "metadata": ["resourceVersion": .string(String(store.version))],
        "items": .array(entries.map { served($0.object, place.type) }),
      ], warnings: [])
  }
}
