package import KubernetesCore
import Synchronization

/// What happened to an object in a store.
package enum StoreChange: Hashable, Sendable {
  /// It came into being.
  case added
  /// It has a new version.
  case updated
  /// It is gone.
  case deleted
}

/// The objects that an informer has seen, by key, namespace and one further index of the user's choice.
///
/// Readers get values; the store changes under the informer's hand only.
package final class InformerStore<Object: WatchedObject>: Sendable {
  /// An object in a box of its own: a dictionary keeps a quarter to a half of its places free, and objects are large.
  private final class Box: Sendable {
    let object: Object
    init(_ object: Object) { self.object = object }
  }

  private struct State {
    var objects: [ObjectKey: Box] = [:]
    var namespaces: [String: Set<ObjectKey>] = [:]
    var indexed: [String: Set<ObjectKey>] = [:]
    /// During a list: the keys that its pages have named so far.
    var listed: Set<ObjectKey>?
  }

  private let state = Mutex(State())
  private let index: @Sendable (Object) -> [String]

  /// Makes an empty store; `index` gives the values under which an object is found by `objects(indexedBy:)`.
  package init(index: @escaping @Sendable (Object) -> [String] = { _ in [] }) {
    self.index = index
  }

  /// The object called `key`.
  package subscript(key: ObjectKey) -> Object? { state.withLock { $0.objects[key]?.object } }

  /// The number of objects.
  package var count: Int { state.withLock { $0.objects.count } }

  /// The keys of all objects, in order.
  package var keys: [ObjectKey] { state.withLock { $0.objects.keys.sorted() } }

  /// All objects (nil), or those of a namespace, in the order of their keys.
  package func objects(namespace: String? = nil) -> [Object] {
    state.withLock { state in
      guard let namespace else { return Self.sorted(state.objects.keys, in: state) }
      return Self.sorted(state.namespaces[namespace] ?? [], in: state)
    }
  }

  /// The objects for which the index function gave `value`, in the order of their keys.
  package func objects(indexedBy value: String) -> [Object] {
    state.withLock { Self.sorted($0.indexed[value] ?? [], in: $0) }
  }

  /// The number of objects for which the index function gave `value`.
  package func count(indexedBy value: String) -> Int { state.withLock { $0.indexed[value]?.count ?? 0 } }

  private static func sorted(_ keys: some Sequence<ObjectKey>, in state: State) -> [Object] {
    keys.sorted().compactMap { state.objects[$0]?.object }
  }

  /// Takes in an object's state; no change when it is the one already there.
  func put(_ object: Object) -> [StoreChange] {
    let key = object.key
    return state.withLock { state in
      state.listed?.insert(key)
      guard let old = state.objects[key]?.object else {
        insert(object, key, &state)
        return [.added]
      }
      if old.uid == object.uid, old.resourceVersion == object.resourceVersion { return [] }
      remove(old, key, &state)
      insert(object, key, &state)
      // Another object under the same name: whoever follows identities must see the end of the old one.
      return old.uid == object.uid ? [.updated] : [.deleted, .added]
    }
  }

  /// Removes the object of the same key.
  func delete(_ object: Object) -> [StoreChange] {
    state.withLock { state in
      guard let old = state.objects[object.key]?.object else { return [] }
      remove(old, object.key, &state)
      return [.deleted]
    }
  }

  /// Begins to note which keys a list names; what was noted of a list before is void.
  func beginList() { state.withLock { $0.listed = [] } }

  /// Ends a list: removes the objects that it didn't name and gives their keys, in order.
  func finishList() -> [ObjectKey] {
    state.withLock { state in
      guard let listed = state.listed else { return [] }
      state.listed = nil
      let gone = state.objects.keys.filter { !listed.contains($0) }.sorted()
      for key in gone {
        if let object = state.objects[key]?.object { remove(object, key, &state) }
      }
      return gone
    }
  }

  private func insert(_ object: Object, _ key: ObjectKey, _ state: inout State) {
    state.objects[key] = Box(object)
    state.namespaces[key.namespace, default: []].insert(key)
    for value in index(object) { state.indexed[value, default: []].insert(key) }
  }

  private func remove(_ object: Object, _ key: ObjectKey, _ state: inout State) {
    state.objects[key] = nil
    state.namespaces[key.namespace]?.remove(key)
    if state.namespaces[key.namespace]?.isEmpty == true { state.namespaces[key.namespace] = nil }
    for value in index(object) {
      state.indexed[value]?.remove(key)
      if state.indexed[value]?.isEmpty == true { state.indexed[value] = nil }
    }
  }
}
