package import CoordinationEngine
import PriorityQueue

/// What is to come, by name.
package struct ScheduleTable: Sendable {
  private static let maximum = 100_000
  private static let longest = Duration.seconds(31_536_000)
  private var items: [String: Item] = [:]
  private var due = BinaryHeap<Due>()
  private var lastNumber: UInt64 = 0
  private var isTracked = false
  private var changed: Set<String> = []
  private let names = StateLimits()

  /// Something that is to come.
  package struct Item: Hashable, Sendable {
    /// When.
    package var at: Duration
    /// What.
    package var item: ScheduledItem
    /// Tells it from what the key was for before.
    var number: UInt64 = 0

    /// Puts it together.
    package init(at: Duration, item: ScheduledItem) {
      self.at = at
      self.item = item
    }
  }

  private struct Due: Comparable, Sendable {
    var at: Duration
    var number: UInt64
    var key: String

    static func < (lhs: Due, rhs: Due) -> Bool { (lhs.at, lhs.number) < (rhs.at, rhs.number) }
  }

  mutating func schedule(_ key: String, _ item: ScheduledItem, at: Duration, now: Duration) throws(EngineError) {
    try names.check(key: key)
    guard at - now >= .zero, at - now <= Self.longest else {
      throw .invalid("delay: 0 to \(Self.longest.components.seconds) s, not \(at - now)")
    }
    guard items[key] != nil || items.count < Self.maximum else { throw .full(what: "schedules", limit: Self.maximum) }
    put(key, item, at)
    if due.count > 1_024, due.count > 2 * items.count { due.keep { items[$0.key]?.number == $0.number } }
  }

  private mutating func put(_ key: String, _ item: ScheduledItem, _ at: Duration) {
    lastNumber += 1
    var pending = Item(at: at, item: item)
    pending.number = lastNumber
    items[key] = pending
    due.push(Due(at: at, number: lastNumber, key: key))
    if isTracked { changed.insert(key) }
  }

  mutating func cancel(_ key: String) throws(EngineError) -> Bool {
    try names.check(key: key)
    guard items.removeValue(forKey: key) != nil else { return false }
    if isTracked { changed.insert(key) }
    return true
  }

  func pending(now: Duration) -> [PendingSchedule] {
    items.sorted { $0.key < $1.key }.prefix(1_000)
      .map { PendingSchedule(key: $0.key, remaining: max(.zero, $0.value.at - now)) }
  }

  /// When something comes next, or nothing does.
  var nextDeadline: Duration? { due.first?.at }

  /// Takes out the first of what is due.
  mutating func next(now: Duration) -> (key: String, item: ScheduledItem)? {
    while let first = due.first, first.at <= now {
      due.pop()
      guard let item = items[first.key], item.number == first.number else { continue }
      items[first.key] = nil
      if isTracked { changed.insert(first.key) }
      return (first.key, item.item)
    }
    return nil
  }

  /// Puts back what couldn't come, to come later.
  mutating func putBack(_ key: String, _ item: ScheduledItem, at: Duration) { put(key, item, at) }

  mutating func restore(_ saved: [(key: String, item: Item)]) {
    isTracked = true
    for (key, item) in saved.sorted(by: { ($0.item.at, $0.item.number) < ($1.item.at, $1.item.number) }) {
      put(key, item.item, item.at)
    }
    changed.removeAll()
  }

  var hasChanges: Bool { !changed.isEmpty }

  /// What changed since the last call, sorted by key; nil for what is gone.
  mutating func takeChanges() -> [(key: String, item: Item?)] {
    defer { changed.removeAll() }
    return changed.sorted().map { ($0, items[$0]) }
  }
}
