import KubernetesCore

extension ClusterState {
  // MARK: Update

  mutating func update(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let options = try WriteOptions(call)
    let read = try read(parseDocument(call), as: place.type, options: options)
    let name = read.json[path: ["metadata", "name"]]?.stringValue ?? ""
    guard name == place.name else {
      throw .badRequest(
        "the name of the object (\(name)) does not match the name on the URL (\(place.name ?? ""))")
    }
    guard let old = store[place.key] else {
      // What leases, events and services allow, and nothing else.
      guard place.subresource == nil, ["leases", "events", "services"].contains(place.type.storage) else {
        throw .notFound(place.type, name)
      }
      return try create(read, place, options, call, &moment)
    }
    return try update(old, to: read, place, options, call, &moment)
  }

  /// Puts what was read in the place of what is there.
  mutating func update(
    _ old: JSONValue, to read: ReadObject, _ place: Place, _ options: WriteOptions, _ call: APICall,
    _ moment: inout Moment, isPatch: Bool = false, applied: Bool = false
  ) throws(APIFailure) -> APIAnswer {
    let type = place.type
    let name = place.name ?? ""
    var new = read.json
    try checkPreconditions(old, new, place, isPatch: isPatch)
    Strategy.keepMetadata(of: old, in: &new)
    let isStatus = place.subresource == "status"
    Strategy.prepareForUpdate(&new, from: old, type, isStatus: isStatus)
    var faults = read.faults
    // A write of the status alone isn't stopped by a spec that was let in before.
    if isStatus { faults.removeAll { !$0.field.hasPrefix("status") } }
    faults +=
      Validation.faults(of: new, type, isStatus: isStatus)
      + Validation.faults(ofUpdate: new, from: old, type, isStatus: isStatus)
    let warnings = read.warnings + (isStatus ? [] : advice(on: new, type, faults: &faults))
    guard faults.isEmpty else { throw .invalid(type, name, faults) }
    if Self.isSame(old, new) { return try shown(served(old, type), type, call, moment.now, warnings: warnings) }
    if !applied {
      new = ManagedFields.afterUpdate(
        of: old, to: new, by: writer(options, type, place.subresource ?? "", moment.now),
        schema: catalog.type(storage: type.storage)?.schema ?? type.schema)
    }
    guard !options.isDryRun else {
      return try shown(served(new, type), type, call, moment.now, warnings: warnings)
    }
    let kept = put(new, at: place.key)
    return try shown(served(kept, type), type, call, moment.now, warnings: warnings)
  }

  /// Stores an object; one that only waited for its last finalizer goes.
  mutating func put(_ object: JSONValue, at key: StoreKey) -> JSONValue {
    let metadata = object["metadata"]
    let isFinished =
      metadata?["deletionTimestamp"] != nil && (metadata?["finalizers"]?.arrayValue ?? []).isEmpty
      && metadata?["deletionGracePeriodSeconds"]?.intValue == 0
    // A namespace goes when it is empty, which its controller sees to.
    guard isFinished, key.storage != "namespaces" else { return store.put(object, at: key) }
    return store.remove(key) ?? object
  }

  private func checkPreconditions(
    _ old: JSONValue, _ new: JSONValue, _ place: Place, isPatch: Bool
  ) throws(APIFailure) {
    let type = place.type
    let name = place.name ?? ""
    let namespace = new[path: ["metadata", "namespace"]]?.stringValue ?? ""
    guard namespace.isEmpty || namespace == place.namespace else {
      throw .badRequest("the namespace of the provided object does not match the namespace sent on the request")
    }
    if let uid = new[path: ["metadata", "uid"]]?.stringValue, !uid.isEmpty,
      let oldUID = old[path: ["metadata", "uid"]]?.stringValue, uid != oldUID
    {
      throw .conflict(
        type, name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(oldUID)")
    }
    let version = new[path: ["metadata", "resourceVersion"]]?.stringValue ?? ""
    if version.isEmpty {
      guard isPatch || !(type.isCustom || ["leases", "serviceaccounts"].contains(type.storage)) else {
        throw .invalid(
          type, name,
          [FieldFault(.invalid, "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")])
      }
    } else if version != "0", version != old[path: ["metadata", "resourceVersion"]]?.stringValue {
      throw .conflict(type, name)
    }
  }

  /// Whether two objects differ in nothing that anybody sees, so that no version is made.
  static func isSame(_ old: JSONValue, _ new: JSONValue) -> Bool {
    func stripped(_ object: JSONValue) -> JSONValue {
      var result = object
      var metadata = result["metadata"] ?? [:]
      for field in ["managedFields", "resourceVersion"] { metadata[field] = nil }
      result["metadata"] = metadata
      return result
    }
    return stripped(old) == stripped(new)
  }

  // MARK: Patch

  mutating func patch(
    _ place: Place, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let options = try WriteOptions(call)
    let type = place.type
    var accepted = ["application/json-patch+json", "application/merge-patch+json"]
    if !type.isCustom { accepted.append("application/strategic-merge-patch+json") }
    accepted.append("application/apply-patch+yaml")
    guard accepted.contains(call.bodyType) else { throw .unsupportedMediaType(accepted) }
    let patch = try parse(call)
    if call.bodyType == "application/apply-patch+yaml" {
      return try serverSideApply(patch, place, options, call, &moment)
    }
    let old = try object(place)
    let shownOld = served(old, type)
    let patched = try Self.patched(shownOld, patch, call.bodyType, type.schema, place)
    guard patched[path: ["metadata", "name"]] == shownOld[path: ["metadata", "name"]] else {
      throw .badRequest("the name of the object does not match the name on the URL (\(place.name ?? ""))")
    }
    let read = try read(patched, as: type, options: options)
    return try update(old, to: read, place, options, call, &moment, isPatch: true)
  }

  static func patched(
    _ object: JSONValue, _ patch: JSONValue, _ mediaType: String, _ schema: Schema, _ place: Place
  ) throws(APIFailure) -> JSONValue {
    do throws(PatchError) {
      switch mediaType {
      case "application/json-patch+json": return try JSONPatch.apply(patch, to: object)
      case "application/merge-patch+json":
        guard patch.objectValue != nil else { throw PatchError.malformed("a merge patch is an object") }
        return object.applyingMergePatch(patch)
      default: return try StrategicMergePatch.apply(patch, to: object, schema: schema)
      }
    } catch {
      guard error.isMalformed else {
        throw APIFailure(
          422, "Invalid", "the server rejected our request due to an error in our request: \(error.message)",
          details: [:])
      }
      throw .badRequest(error.message)
    }
  }

  private mutating func serverSideApply(
    _ configuration: JSONValue, _ place: Place, _ options: WriteOptions, _ call: APICall, _ moment: inout Moment
  ) throws(APIFailure) -> APIAnswer {
    let type = place.type
    guard !(call["fieldManager"] ?? "").isEmpty else {
      throw .invalid(
        kind: "PatchOptions", group: "meta.k8s.io", [.required("fieldManager", "is required for apply patch")])
    }
    guard configuration["kind"]?.stringValue == type.kind, configuration["apiVersion"]?.stringValue == type.apiVersion
    else {
      throw .badRequest("an applied configuration names its apiVersion and kind: \(type.apiVersion), \(type.kind)")
    }
    guard configuration[path: ["metadata", "managedFields"]] == nil else {
      throw .badRequest("metadata.managedFields must be nil")
    }
    var findings = SchemaFindings()
    var wanted = configuration
    // Defaults are no wish of the manager's, so they are not filled in here.
    _ = type.schema.reading(configuration, &findings)
    wanted["metadata"]?["name"] = .string(place.name ?? "")
    if !findings.unknown.isEmpty, options.fieldValidation == "Strict" {
      let texts = findings.unknown.map { "unknown field \"\($0)\"" }.joined(separator: ", ")
      throw .badRequest("failed to create typed patch object: strict decoding error: \(texts)")
    }
    let old = store[place.key]
    if old == nil, place.subresource != nil { throw .notFound(type, place.name ?? "") }
    let merged: JSONValue
    do throws(ManagedFields.Conflicts) {
      merged = try ManagedFields.apply(
        wanted, to: old, by: writer(options, type, place.subresource ?? "", moment.now), force: options.force,
        schema: type.schema)
    } catch {
      throw Self.failure(error)
    }
    let managed = merged[path: ["metadata", "managedFields"]]
    var read = try read(merged, as: type, options: options)
    guard let old else {
      let answer = try create(read, place, options, call, &moment)
      // Creation counts as an update by whoever creates; here it is the applied configuration.
      if !options.isDryRun, var object = store[place.key] {
        object["metadata"]?["managedFields"] = managed
        return try shown(store.put(object, at: place.key), type, call, moment.now, status: 201)
      }
      return answer
    }
    read.json["metadata"]?["managedFields"] = managed
    return try update(old, to: read, place, options, call, &moment, isPatch: true, applied: true)
  }

  private static func failure(_ conflicts: ManagedFields.Conflicts) -> APIFailure {
    let count = conflicts.fields.count
    let managers = Set(conflicts.fields.map(\.manager)).sorted().map { "conflict with \"\($0)\"" }
    let causes = conflicts.fields.map { conflict -> JSONValue in
      [
        "reason": "FieldManagerConflict", "message": .string("conflict with \"\(conflict.manager)\""),
        "field": .string(conflict.field),
      ]
    }
    return APIFailure(
      409, "Conflict",
      "Apply failed with \(count) conflict\(count == 1 ? "" : "s"): \(managers.joined(separator: ", ")): "
        + conflicts.fields.map(\.field).joined(separator: ", "), details: ["causes": .array(causes)])
  }
}
