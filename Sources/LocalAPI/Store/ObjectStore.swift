package import KubernetesCore

/// Where an object lies: the storage of its type, its namespace (empty for none) and its name.
package struct StoreKey: Hashable, Comparable, Sendable {
  /// The storage of the object's type, such as `pods`.
  package var storage: String
  /// The namespace; empty for none.
  package var namespace: String
  /// The name.
  package var name: String

  /// Names a place.
  package init(storage: String, namespace: String, name: String) {
    self.storage = storage
    self.namespace = namespace
    self.name = name
  }

  package static func < (lhs: StoreKey, rhs: StoreKey) -> Bool {
    (lhs.storage, lhs.namespace, lhs.name) < (rhs.storage, rhs.namespace, rhs.name)
  }
}

/// One change of one object.
package struct ObjectChange: Sendable {
  /// The version that the change made.
  package var version: UInt64
  /// The object's place.
  package var key: StoreKey
  /// The object before; nil when it was created.
  package var old: JSONValue?
  /// The object after; nil when it was deleted.
  package var new: JSONValue?
  /// The object to show in a watch: the last state, with the deletion's version, when it was deleted.
  package var shown: JSONValue
}

/// A version of which nothing is known any more.
package struct VersionExpired: Error, Hashable {
  /// The version that was asked for.
  package var version: UInt64
  /// The oldest version that is known.
  package var oldest: UInt64
}

/// All objects, and a bounded log of the last changes, from which watches and old versions of lists are served.
package struct ObjectStore: Sendable {
  /// An object and its place.
  package typealias Entry = (key: StoreKey, object: JSONValue)

  private var objects: [String: [StoreKey: JSONValue]] = [:]
  /// The last changes, oldest first, without gaps.
  private var log: [ObjectChange] = []
  /// How many of the log's first elements have been given up; they go in one sweep.
  private var dropped = 0
  /// How many changes are kept at least.
  private let logLimit: Int
  /// The version of the last change; counts up by one with each.
  package private(set) var version: UInt64
  /// All changes after this version are in the log.
  package private(set) var compacted: UInt64

  /// Makes an empty store whose versions go on after `version`.
  package init(version: UInt64 = 1, logLimit: Int = 2_000) {
    self.version = version
    compacted = version
    self.logLimit = max(logLimit, 1)
  }

  // MARK: Reading

  /// The object at a place.
  package subscript(key: StoreKey) -> JSONValue? { objects[key.storage]?[key] }

  /// The objects of a storage, in one namespace or in all (nil), in order.
  package func list(_ storage: String, namespace: String?) -> [Entry] {
    Self.entries(objects[storage] ?? [:], namespace)
  }

  /// The same as they were at a version.
  package func list(
    _ storage: String, namespace: String?, at version: UInt64
  ) throws(VersionExpired) -> [Entry] {
    guard version >= compacted else { throw VersionExpired(version: version, oldest: compacted) }
    var past = objects[storage] ?? [:]
    for change in log[dropped...].reversed() {
      if change.version <= version { break }
      if change.key.storage == storage { past[change.key] = change.old }
    }
    return Self.entries(past, namespace)
  }

  private static func entries(_ objects: [StoreKey: JSONValue], _ namespace: String?) -> [Entry] {
    var entries: [Entry] = []
    for (key, object) in objects where namespace == nil || key.namespace == namespace {
      entries.append((key: key, object: object))
    }
    return entries.sorted { $0.key < $1.key }
  }

  /// How many objects a storage holds.
  package func count(_ storage: String) -> Int { objects[storage]?.count ?? 0 }

  /// All storages that hold something, in order.
  package var storages: [String] { objects.filter { !$0.value.isEmpty }.keys.sorted() }

  /// At most `limit` changes after a version, oldest first.
  package func changes(after version: UInt64, limit: Int) throws(VersionExpired) -> ArraySlice<ObjectChange> {
    guard version >= compacted else { throw VersionExpired(version: version, oldest: compacted) }
    // Versions count up by one, so the place is known.
    let start = min(dropped + Int(clamping: version - compacted), log.count)
    return log[start..<(start + min(limit, log.count - start))]
  }

  // MARK: Writing

  /// Puts an object at its place, with a new version; answers what is kept.
  @discardableResult
  package mutating func put(_ object: JSONValue, at key: StoreKey) -> JSONValue {
    version += 1
    let kept = Self.versioned(object, version)
    let old = objects[key.storage]?[key]
    objects[key.storage, default: [:]][key] = kept
    append(ObjectChange(version: version, key: key, old: old, new: kept, shown: kept))
    return kept
  }

  /// Removes an object; answers its last state, with the version of the deletion.
  @discardableResult
  package mutating func remove(_ key: StoreKey) -> JSONValue? {
    guard let old = objects[key.storage]?.removeValue(forKey: key) else { return nil }
    version += 1
    let shown = Self.versioned(old, version)
    append(ObjectChange(version: version, key: key, old: old, new: nil, shown: shown))
    return shown
  }

  private static func versioned(_ object: JSONValue, _ version: UInt64) -> JSONValue {
    var result = object
    var metadata = result["metadata"] ?? [:]
    metadata["resourceVersion"] = .string(String(version))
    result["metadata"] = metadata
    return result
  }

  /// Gives up all changes so far, as etcd's compaction does.
  package mutating func compact() {
    log = []
    dropped = 0
    compacted = version
  }

  private mutating func append(_ change: ObjectChange) {
    log.append(change)
    guard log.count - dropped > logLimit else { return }
    compacted = log[dropped].version
    // The change is let go at once, its place in the array later: a sweep for each change would cost the whole log.
    log[dropped].old = nil
    log[dropped].new = nil
    log[dropped].shown = .null
    dropped += 1
    if dropped > logLimit {
      log.removeFirst(dropped)
      dropped = 0
    }
  }

  // MARK: Snapshots

  /// Everything but the log, as one document.
  package var snapshot: JSONValue {
    var all: [JSONValue] = []
    for storage in storages {
      for (key, object) in list(storage, namespace: nil) {
        all.append(["storage": .string(key.storage), "object": object])
      }
    }
    return ["version": .string(String(version)), "objects": .array(all)]
  }

  /// Reads a snapshot; nil when it isn't one.
  package init?(snapshot: JSONValue, logLimit: Int = 2_000) {
    guard let version = snapshot["version"]?.stringValue.flatMap({ UInt64($0) }),
      let all = snapshot["objects"]?.arrayValue
    else { return nil }
    self.init(version: version, logLimit: logLimit)
    for entry in all {
      guard let storage = entry["storage"]?.stringValue, let object = entry["object"],
        let name = object[path: ["metadata", "name"]]?.stringValue
      else { return nil }
      let namespace = object[path: ["metadata", "namespace"]]?.stringValue ?? ""
      objects[storage, default: [:]][StoreKey(storage: storage, namespace: namespace, name: name)] = object
    }
  }
}
