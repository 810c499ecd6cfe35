package import CoordinationCore
package import CoordinationEngine

/// What a collector knows of a store: `GarbageCollector` fed by keys as they are listed and change. Pure.
package struct CollectionState: Sendable {
  /// What is done to the store.
  package enum Effect: Hashable, Sendable {
    /// Says of references of a dead owner that they don't count.
    case release(key: String)
    /// Deletes a blob, unless it was used of late; then the keys of `references(of:)`.
    case deleteBlob(BlobDigest)
    /// Deletes a key that says nothing any more.
    case deleteKey(String)
    /// Removes what a dead owner had, then its key.
    case reap(kind: String, name: String, key: String)
  }

  private let policy: GarbageCollector.Policy
  private var core: GarbageCollector
  /// References that don't count any more, and how many do.
  private var blobs: [BlobDigest: (released: Set<String>, live: Int)] = [:]
  private var references: [String: (digest: BlobDigest, owner: String, isLive: Bool)] = [:]
  private var resources: [String: (owner: String, kind: String, name: String)] = [:]
  private var owners: Set<String> = []
  /// Things of each owner.
  private var things: [String: Int] = [:]
  /// Owners without a lease, and when they count as dead.
  private var missing: [String: Duration] = [:]
  /// Keys that can go.
  private var stale: [String] = []

  /// Knows nothing.
  package init(policy: GarbageCollector.Policy) {
    self.policy = policy
    core = GarbageCollector(policy: policy)
  }

  /// How much it knows of.
  package var counts: (references: Int, blobs: Int, resources: Int, owners: Int) {
    (references.count, blobs.count, resources.count, owners.count)
  }

  /// When `tick` has something to do; nil: never.
  package var nextDeadline: Duration? {
    if !stale.isEmpty { return .zero }
    return [core.nextDeadline, missing.values.min()].compactMap { $0 }.min()
  }

  /// A key is there, or was changed.
  package mutating func note(_ entry: StateEntry, now: Duration) {
    switch CollectionKey(entry.key) {
    case .owner(let owner):
      owners.insert(owner)
      missing[owner] = nil
    case .reference(let digest, let owner, _):
      refer(entry.key, digest, owner, isLive: entry.value == CollectionKey.live, now)
    case .resource(let owner, let kind, _):
      guard resources[entry.key] == nil else { break }
      resources[entry.key] = (owner, kind, String(decoding: entry.value, as: UTF8.self))
      _ = core.handle(.owns(owner, .init(kind: "resource", name: entry.key)), now: now)
      add(owner, 1, now)
    case .leader, nil: break
    }
  }

  /// A key is gone.
  package mutating func noteRemoval(of key: String, now: Duration) {
    switch CollectionKey(key) {
    case .owner(let owner):
      owners.remove(owner)
      if things[owner] != nil { missing[owner] = now + Holdings.lease }
    case .reference:
      guard let reference = references.removeValue(forKey: key) else { break }
      if reference.isLive { blobs[reference.digest]?.live -= 1 }
      blobs[reference.digest]?.released.remove(key)
      if let blob = blobs[reference.digest], blob.live == 0, blob.released.isEmpty { blobs[reference.digest] = nil }
      _ = core.handle(.gone(key), now: now)
      _ = core.handle(.released(reference.owner, .init(kind: "reference", name: key)), now: now)
      add(reference.owner, -1, now)
    case .resource:
      guard let resource = resources.removeValue(forKey: key) else { break }
      _ = core.handle(.released(resource.owner, .init(kind: "resource", name: key)), now: now)
      add(resource.owner, -1, now)
    case .leader, nil: break
    }
  }

  private mutating func refer(
    _ key: String, _ digest: BlobDigest, _ owner: String, isLive: Bool, _ now: Duration
  ) {
    let before = references.updateValue((digest, owner, isLive), forKey: key)
    guard before?.isLive != isLive else { return }
    if before == nil { add(owner, 1, now) }
    if isLive {
      blobs[digest, default: ([], 0)].live += 1
      _ = core.handle(.refers(key, to: ["\(digest)"]), now: now)
      _ = core.handle(.owns(owner, .init(kind: "reference", name: key)), now: now)
    } else {
      if before?.isLive == true { blobs[digest]?.live -= 1 }
      blobs[digest, default: ([], 0)].released.insert(key)
      _ = core.handle(.refers(key, to: []), now: now)
      // One that was released before this collector began isn't known to have had a blob.
      _ = core.handle(.wrote(blob: "\(digest)"), now: now)
      _ = core.handle(.released(owner, .init(kind: "reference", name: key)), now: now)
      // Others still keep the blob known.
      if blobs[digest]?.live ?? 0 > 0 { stale.append(key) }
    }
  }

  /// Counts an owner's things; one that has some and no lease is dead, unless it comes back within a lease's time.
  private mutating func add(_ owner: String, _ change: Int, _ now: Duration) {
    let count = (things[owner] ?? 0) + change
    things[owner] = count > 0 ? count : nil
    if count <= 0 {
      missing[owner] = nil
    } else if !owners.contains(owner), missing[owner] == nil {
      missing[owner] = now + Holdings.lease
    }
  }

  /// A part of what is due, of bounded size.
  package mutating func tick(now: Duration) -> [Effect] {
    for owner in missing.filter({ $0.value <= now }).keys.sorted() {
      missing[owner] = nil
      _ = core.handle(.ownerEnded(owner), now: now)
    }
    let keys = stale.prefix(policy.batch)
    stale.removeFirst(keys.count)
    var effects = keys.filter { references[$0]?.isLive == false }.map(Effect.deleteKey)
    guard effects.count < policy.batch else { return effects }
    for effect in core.handle(.tick, now: now) {
      switch effect {
      case .deleteBlob(let text): if let digest = BlobDigest(text) { effects.append(.deleteBlob(digest)) }
      case .reap(_, let resource):
        if resource.kind == "reference" {
          effects.append(.release(key: resource.name))
        } else if let known = resources[resource.name] {
          effects.append(.reap(kind: known.kind, name: known.name, key: resource.name))
        }
      case .free, .bury, .forget: break
      }
    }
    return effects
  }

  /// The keys of a blob that nobody needs: they go with it.
  package func references(of digest: BlobDigest) -> [String] {
    guard let blob = blobs[digest], blob.live == 0 else { return [] }
    return blob.released.sorted()
  }

  /// A blob couldn't be deleted, because it was used of late or the store was away: later again.
  package mutating func keep(_ digest: BlobDigest, now: Duration) {
    _ = core.handle(.wrote(blob: "\(digest)"), now: now)
  }
}
