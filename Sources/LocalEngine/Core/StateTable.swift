import CoordinationEngine
import PriorityQueue

/// Keys with values, revisions and ends, as a state machine.
package struct StateTable: Sendable {
  let limits: StateLimits
  private var items: [String: Item] = [:]
  private var keys = SortedElements<String>()
  /// The last change.
  private(set) var revision: UInt64 = 0
  /// The latest changes in their order, those before `recentStart` forgotten.
  private var recent: [Recent] = []
  private var recentStart = 0
  /// The last removal that is forgotten: who knows less than this can't be told what is gone.
  private var forgottenRemoval: UInt64 = 0
  private var ends = BinaryHeap<End>()
  private var bytes = 0
  private var isTracked = false
  private var changed: Set<String> = []
  private var takenRevision: UInt64 = 0

  /// Changes that a watcher can be behind before it is told by a look at all keys.
  private static let remembered = 65_536

  /// A key's value.
  package struct Item: Hashable, Sendable {
    /// The value.
    package var value: [UInt8]
    /// Its last change.
    package var revision: UInt64
    /// When it ends; nil: never.
    package var end: Duration?

    /// Puts it together.
    package init(value: [UInt8], revision: UInt64, end: Duration?) {
      self.value = value
      self.revision = revision
      self.end = end
    }
  }

  private struct Recent: Sendable {
    var revision: UInt64
    var key: String
    var isRemoval: Bool
  }

  private struct End: Comparable, Sendable {
    var at: Duration
    var key: String
    var revision: UInt64

    static func < (lhs: End, rhs: End) -> Bool { (lhs.at, lhs.revision) < (rhs.at, rhs.revision) }
  }

  init(limits: StateLimits) {
    self.limits = limits
  }

  // MARK: Looking

  func get(_ key: String) throws(EngineError) -> StateEntry? {
    try limits.check(key: key)
    return items[key].map { StateEntry(key: key, value: $0.value, revision: Revision($0.revision)) }
  }

  func list(_ prefix: String) throws(EngineError) -> StateList {
    try limits.check(prefix: prefix)
    var entries: [StateEntry] = []
    keys.forEach(from: prefix) { key in
      guard key.hasPrefix(prefix) else { return false }
      if let item = items[key] {
        entries.append(StateEntry(key: key, value: item.value, revision: Revision(item.revision)))
      }
      return true
    }
    return StateList(entries: entries, revision: Revision(revision))
  }

  /// When a key ends by itself next, or nothing does.
  var nextDeadline: Duration? { ends.first?.at }

  // MARK: Changing

  /// Makes all changes or none; the revision of each.
  mutating func apply(_ changes: [StateChange], now: Duration) throws(EngineError) -> [Revision] {
    expire(now: now)
    try limits.check(changes)
    var grown = 0
    var added = 0
    for change in changes {
      try check(change)
      let old = items[change.key]
      grown -= old?.value.count ?? 0
      if case .put(_, let value, _, _) = change {
        grown += value.count
        added += old == nil ? 1 : 0
      }
    }
    guard items.count + added <= limits.keys else { throw .full(what: "keys", limit: limits.keys) }
    guard grown <= 0 || bytes + grown <= limits.totalBytes else {
      throw .full(what: "bytes of values", limit: limits.totalBytes)
    }
    return changes.map { change in
      switch change {
      case .put(let key, let value, _, let ttl): put(key, value, end: ttl.map { now + $0 })
      case .delete(let key, _): remove(key)
      }
      return Revision(revision)
    }
  }

  private func check(_ change: StateChange) throws(EngineError) {
    let expected: Expectation
    switch change {
    case .put(_, _, let condition, _): expected = condition
    case .delete(_, let condition): expected = condition
    }
    let current = items[change.key]?.revision
    let isMet =
      switch expected {
      case .any: true
      case .absent: current == nil
      case .revision(let revision): current == revision.number
      }
    guard isMet else { throw .conflict(key: change.key, expected: expected, current: current.map { Revision($0) }) }
  }

  private mutating func put(_ key: String, _ value: [UInt8], end: Duration?) {
    revision += 1
    if let old = items.updateValue(Item(value: value, revision: revision, end: end), forKey: key) {
      bytes -= old.value.count
    } else {
      keys.insert(key)
    }
    bytes += value.count
    note(key, isRemoval: false)
    if let end {
      ends.push(End(at: end, key: key, revision: revision))
      compactEnds()
    }
  }

  private mutating func remove(_ key: String) {
    guard let old = items.removeValue(forKey: key) else { return }
    revision += 1
    bytes -= old.value.count
    keys.remove(key)
    note(key, isRemoval: true)
  }

  private mutating func note(_ key: String, isRemoval: Bool) {
    if isTracked { changed.insert(key) }
    recent.append(Recent(revision: revision, key: key, isRemoval: isRemoval))
    guard recent.count - recentStart > Self.remembered else { return }
    if recent[recentStart].isRemoval { forgottenRemoval = recent[recentStart].revision }
    recentStart += 1
    if recentStart > Self.remembered {
      recent.removeFirst(recentStart)
      recentStart = 0
    }
  }

  /// Ends the keys whose time is over.
  mutating func expire(now: Duration) {
    while let end = ends.first, end.at <= now {
      ends.pop()
      if items[end.key]?.revision == end.revision { remove(end.key) }
    }
  }

  /// A key that is renewed often leaves an entry each time.
  private mutating func compactEnds() {
    guard ends.count > 1_024, ends.count > 2 * items.count else { return }
    ends.keep { items[$0.key]?.revision == $0.revision }
  }

  // MARK: Watching

  /// The changes below a prefix after a revision, up to `upTo` and `maximum` of them, and where to go on. Of each key only its last.
  func events(
    _ prefix: String, after: UInt64, upTo: UInt64, maximum: Int
  ) throws(EngineError) -> (events: [StateEvent], next: UInt64) {
    guard after < upTo else { return ([], after) }
    guard after >= forgottenRemoval else { throw .compacted(oldest: Revision(forgottenRemoval)) }
    let oldest = recentStart < recent.count ? recent[recentStart].revision : revision + 1
    // Revisions have no gaps: from `oldest` on each is in the list, unless the table was restored.
    guard after + 1 >= oldest else { return scan(prefix, after: after, upTo: upTo) }
    var events: [StateEvent] = []
    var index = recentStart + Int(after + 1 - oldest)
    while index < recent.count, events.count < maximum, recent[index].revision <= upTo {
      let change = recent[index]
      index += 1
      guard change.key.hasPrefix(prefix) else { continue }
      if let item = items[change.key] {
        guard item.revision == change.revision else { continue }
        events.append(.put(StateEntry(key: change.key, value: item.value, revision: Revision(item.revision))))
      } else if change.isRemoval {
        events.append(.removed(key: change.key, revision: Revision(change.revision)))
      }
    }
    let isComplete = index >= recent.count || recent[index].revision > upTo
    return (events, isComplete ? upTo : recent[index - 1].revision)
  }

  /// For a watcher that is far behind, but knows of all removals that are forgotten: the keys themselves, then what is remembered.
  private func scan(_ prefix: String, after: UInt64, upTo: UInt64) -> (events: [StateEvent], next: UInt64) {
    let oldest = recentStart < recent.count ? recent[recentStart].revision : revision + 1
    var old: [StateEntry] = []
    for (key, item) in items where item.revision > after && item.revision < oldest && key.hasPrefix(prefix) {
      old.append(StateEntry(key: key, value: item.value, revision: Revision(item.revision)))
    }
    let next = min(oldest - 1, upTo)
    return (old.filter { $0.revision.number <= next }.sorted { $0.revision < $1.revision }.map { .put($0) }, next)
  }

  /// The keys that changed after a revision, as far as that is remembered.
  func keysChanged(after: UInt64) -> ArraySlice<String> {
    guard recentStart < recent.count else { return [] }
    let skipped = after + 1 > recent[recentStart].revision ? Int(after + 1 - recent[recentStart].revision) : 0
    return recent[min(recentStart + skipped, recent.count)...].map(\.key)[...]
  }

  // MARK: Writing down

  /// Puts keys in that were written down, and notes what changes from then on. Removals before `revision` are forgotten.
  mutating func restore(_ saved: [(key: String, item: Item)], revision: UInt64) {
    isTracked = true
    self.revision = revision
    takenRevision = revision
    forgottenRemoval = revision
    for (key, item) in saved {
      items[key] = item
      keys.insert(key)
      bytes += item.value.count
      if let end = item.end { ends.push(End(at: end, key: key, revision: item.revision)) }
    }
  }

  var hasChanges: Bool { isTracked && revision != takenRevision }

  /// The keys that changed since the last call, sorted; nil for what is gone.
  mutating func takeChanges() -> [(key: String, item: Item?)] {
    takenRevision = revision
    defer { changed.removeAll() }
    return changed.sorted().map { ($0, items[$0]) }
  }
}
