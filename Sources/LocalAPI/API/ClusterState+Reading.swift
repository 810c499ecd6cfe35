package import KubernetesCore

extension ClusterState {
  // MARK: Lists

  func list(_ place: Place, _ call: APICall, _ now: Timestamp) throws(APIFailure) -> APIAnswer {
    let (labels, fields) = try selectors(call, place.type)
    var version = store.version
    var entries: [ObjectStore.Entry]
    var after: StoreKey?
    if let token = call["continue"], !token.isEmpty {
      let start = try ContinueToken(token)
      version = start.version
      after = StoreKey(storage: place.type.storage, namespace: start.namespace, name: start.name)
      entries = try entriesAt(version, place)
    } else if call["resourceVersionMatch"] == "Exact" {
      version = try Self.version(call["resourceVersion"] ?? "")
      entries = try entriesAt(version, place)
    } else {
      let wanted = try Self.version(call["resourceVersion"] ?? "0")
      guard wanted <= store.version else { throw tooLarge(wanted) }
      entries = store.list(place.type.storage, namespace: place.listedNamespace)
    }
    entries = entries.filter { Self.matches($0.object, labels, fields) }
    if let after { entries = Array(entries.drop { $0.key <= after }) }
    var metadata: JSONValue = ["resourceVersion": .string(String(version))]
    if let limit = call["limit"].flatMap({ Int($0) }), limit > 0, entries.count > limit {
      let rest = entries.count - limit
      entries.removeLast(rest)
      if let last = entries.last?.key {
        metadata["continue"] = .string(
          ContinueToken(version: version, namespace: last.namespace, name: last.name).text)
      }
      if labels.isEmpty, fields.isEmpty { metadata["remainingItemCount"] = .int(Int64(rest)) }
    }
    let form = ObjectForm(accept: call.accept, includeObject: call["includeObject"])
    return .document(
      status: 200, Self.list(entries.map { served($0.object, place.type) }, metadata, place.type, form, now),
      warnings: [])
  }

  private func entriesAt(_ version: UInt64, _ place: Place) throws(APIFailure) -> [ObjectStore.Entry] {
    guard version <= store.version else { throw tooLarge(version) }
    do {
      return try store.list(place.type.storage, namespace: place.listedNamespace, at: version)
    } catch {
      throw APIFailure(
        410, "Expired",
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
          + "the continue parameter.")
    }
  }

  private func tooLarge(_ version: UInt64) -> APIFailure {
    APIFailure(
      504, "Timeout", "Too large resource version: \(version), current: \(store.version)",
      details: ["retryAfterSeconds": 1])
  }

  static func version(_ text: String) throws(APIFailure) -> UInt64 {
    if text.isEmpty { return 0 }
    guard let version = UInt64(text) else {
      throw .badRequest("resourceVersion: Invalid value: \"\(text.prefix(64))\": it is not a version of this server")
    }
    return version
  }

  func selectors(_ call: APICall, _ type: ResourceType) throws(APIFailure) -> (Selector, FieldSelector) {
    var labels = Selector.everything
    if let text = call["labelSelector"], !text.isEmpty {
      do throws(SelectorError) {
        labels = try Selector(text)
      } catch {
        throw .badRequest("unable to parse requirement: \(error)")
      }
    }
    return (labels, try FieldSelector(call["fieldSelector"] ?? "", type: type))
  }

  static func matches(_ object: JSONValue, _ labels: Selector, _ fields: FieldSelector) -> Bool {
    (labels.isEmpty || labels.matches(TableColumns.labels(of: object))) && fields.matches(object)
  }

  /// A stored object as its type shows it.
  func served(_ object: JSONValue, _ type: ResourceType) -> JSONValue {
    type.group == "events.k8s.io" ? EventForms.new(from: object) : object
  }

  // MARK: Watches

  func watch(_ place: Place, _ call: APICall, name: String? = nil) throws(APIFailure) -> APIAnswer {
    guard place.type.verbs.contains("watch") else { throw .methodNotAllowed(call.method) }
    var (labels, fields) = try selectors(call, place.type)
    if let name { fields = try FieldSelector("metadata.name=\(name)", type: place.type) }
    let text = call["resourceVersion"] ?? ""
    var version = try Self.version(text)
    var initial: [JSONValue] = []
    let sendsInitial = call.isSet("sendInitialEvents") || version == 0
    if sendsInitial {
      let entries = store.list(place.type.storage, namespace: place.listedNamespace)
      initial = entries.map(\.object).filter { Self.matches($0, labels, fields) }
      version = store.version
    } else if version > store.version {
      throw tooLarge(version)
    } else if version < store.compacted {
      throw .expired(VersionExpired(version: version, oldest: store.compacted))
    }
    if labels.isEmpty { labels = .everything }
    return .watch(
      WatchRequest(
        type: place.type, namespace: place.listedNamespace, labels: labels, fields: fields, version: version,
        initial: initial, wantsBookmarks: call.isSet("allowWatchBookmarks"),
        timeout: call["timeoutSeconds"].flatMap { Int64($0) }.map { .seconds(min(max($0, 1), 86_400)) },
        form: ObjectForm(accept: call.accept, includeObject: call["includeObject"]),
        endsInitialWithBookmark: call.isSet("sendInitialEvents")))
  }

  /// What a watch sees next: frames, and the version up to which they tell everything. Throws when it lags too far behind.
  package func changes(
    for watch: WatchRequest, after version: UInt64, limit: Int = 256, at now: Timestamp
  ) throws(VersionExpired) -> (frames: [JSONValue], version: UInt64, isMore: Bool) {
    let changes = try store.changes(after: version, limit: limit)
    var frames: [JSONValue] = []
    for change in changes where change.key.storage == watch.type.storage {
      guard watch.namespace == nil || watch.namespace == change.key.namespace else { continue }
      let before = change.old.map { Self.matches($0, watch.labels, watch.fields) } ?? false
      let after = change.new.map { Self.matches($0, watch.labels, watch.fields) } ?? false
      let type: String
      switch (before, after) {
      case (false, false): continue
      case (false, true): type = "ADDED"
      case (true, true): type = "MODIFIED"
      case (true, false): type = "DELETED"
      }
      var shown = change.shown
      if type == "DELETED", let old = change.old {
        // The last state that the watch knew, with the version of the change.
        shown = old
        var metadata = shown["metadata"] ?? [:]
        metadata["resourceVersion"] = .string(String(change.version))
        shown["metadata"] = metadata
      }
      frames.append(frame(type, shown, watch, now))
    }
    return (frames, changes.last?.version ?? version, changes.count == limit)
  }

  /// The frames that a watch begins with.
  package func initialFrames(for watch: WatchRequest, at now: Timestamp) -> [JSONValue] {
    var frames = watch.initial.map { frame("ADDED", $0, watch, now) }
    if watch.endsInitialWithBookmark { frames.append(bookmark(watch, watch.version, endsInitial: true)) }
    return frames
  }

  private func frame(_ type: String, _ object: JSONValue, _ watch: WatchRequest, _ now: Timestamp) -> JSONValue {
    ["type": .string(type), "object": Self.form(served(object, watch.type), watch.type, watch.form, now)]
  }

  /// The frame that tells a watch the version it has seen.
  package func bookmark(_ watch: WatchRequest, _ version: UInt64, endsInitial: Bool = false) -> JSONValue {
    var metadata: JSONValue = ["resourceVersion": .string(String(version)), "creationTimestamp": .null]
    if endsInitial { metadata["annotations"] = ["k8s.io/initial-events-end": "true"] }
    var object: JSONValue = [
      "apiVersion": .string(watch.type.apiVersion), "kind": .string(watch.type.kind), "metadata": metadata,
    ]
    if case .table = watch.form {
      object = Self.table([object], ["resourceVersion": .string(String(version))], watch.type, "Metadata", nil)
    }
    return ["type": "BOOKMARK", "object": object]
  }

  // MARK: Forms

  static func form(_ object: JSONValue, _ type: ResourceType, _ form: ObjectForm, _ now: Timestamp) -> JSONValue {
    switch form {
    case .whole: object
    case .metadata: partial(object)
    case .table(let include):
      table(
        [object], ["resourceVersion": object[path: ["metadata", "resourceVersion"]] ?? ""], type, include, now)
    }
  }

  private static func list(
    _ objects: [JSONValue], _ metadata: JSONValue, _ type: ResourceType, _ form: ObjectForm, _ now: Timestamp
  ) -> JSONValue {
    switch form {
    case .whole:
      [
        "apiVersion": .string(type.apiVersion), "kind": .string(type.listKind), "metadata": metadata,
        "items": .array(objects),
      ]
    case .metadata:
      [
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": metadata,
        "items": .array(objects.map(partial)),
      ]
    case .table(let include): table(objects, metadata, type, include, now)
    }
  }

  private static func partial(_ object: JSONValue) -> JSONValue {
    [
      "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] ?? [:],
    ]
  }

  private static func table(
    _ objects: [JSONValue], _ metadata: JSONValue, _ type: ResourceType, _ include: String, _ now: Timestamp?
  ) -> JSONValue {
    let definitions = type.columns.map { column -> JSONValue in
      [
        "name": .string(column.name), "type": .string(column.type), "format": .string(column.format),
        "description": .string(column.description), "priority": .int(Int64(column.priority)),
      ]
    }
    let rows = objects.map { object -> JSONValue in
      var row: JSONValue = ["cells": .array(now.map { now in type.columns.map { $0.cell(object, now) } } ?? [])]
      switch include {
      case "None": break
      case "Object": row["object"] = object
      default: row["object"] = partial(object)
      }
      return row
    }
    return [
      "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": metadata, "columnDefinitions": .array(definitions),
      "rows": .array(rows),
    ]
  }
}

/// Where the next page of a list begins; opaque to clients.
struct ContinueToken {
  var version: UInt64
  var namespace: String
  var name: String

  init(version: UInt64, namespace: String, name: String) {
    self.version = version
    self.namespace = namespace
    self.name = name
  }

  var text: String { "v1.\(version).\(namespace)/\(name)" }

  init(_ text: String) throws(APIFailure) {
    let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    let place = parts.last?.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false) ?? []
    guard parts.count == 3, parts[0] == "v1", let version = UInt64(parts[1]), place.count == 2 else {
      throw .badRequest("continue key is not valid: it is not a token of this server")
    }
    self.init(version: version, namespace: String(place[0]), name: String(place[1]))
  }
}
