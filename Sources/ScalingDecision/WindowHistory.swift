/// Proposals of a stabilisation window, reduced to those that can still be the window's extreme.
///
/// For a maximum a proposal is forgotten as soon as a later one is at least as large, since the later one outlives it;
/// what is left falls strictly from the oldest to the newest (a monotone queue). A window of an hour then holds a
/// handful of values where the HPA keeps one for each evaluation. Answers equal those of the full list, except that
/// beyond `capacity` values the two oldest are merged so that the more holding value lives longer.
package struct WindowHistory: Hashable, Sendable {
  /// A proposal and its moment.
  package struct Entry: Hashable, Sendable {
    /// The proposed count.
    package var replicas: Int
    /// When it was proposed.
    package var at: Milliseconds
  }

  /// The most values kept.
  package static let capacity = 64

  /// All values but the newest, oldest first: none while proposals stay equal, so that they need no memory of the heap.
  private(set) var older: [Entry] = []
  /// The newest value; nil when there is none at all.
  private(set) var newest: Entry?

  /// The values, oldest first.
  package var entries: [Entry] {
    get { newest.map { older + [$0] } ?? [] }
    set {
      older = Array(newValue.dropLast())
      newest = newValue.last
    }
  }

  /// Makes an empty history.
  package init() {}

  /// The oldest value that was proposed after `cutoff`: the window's extreme.
  func first(since cutoff: Milliseconds) -> Entry? {
    for entry in older where entry.at > cutoff { return entry }
    return newest.flatMap { $0.at > cutoff ? $0 : nil }
  }

  /// The newest value that `matches`.
  @inline(__always)
  func last(where matches: (Entry) -> Bool) -> Entry? {
    if let newest, matches(newest) { return newest }
    return older.last(where: matches)
  }

  /// Appends a value made `now`, without those of `cutoff` or before and those that it outlives.
  @inline(__always)
  mutating func note(
    _ replicas: Int, at now: Milliseconds, cutoff: Milliseconds, isOutlived: (Int, Int) -> Bool
  ) {
    // The clock may have stepped back: proposals from the future count as made now, lest they hold for ever.
    func kept(_ entry: Entry) -> Entry? {
      let at = min(entry.at, now)
      return at > cutoff && !isOutlived(entry.replicas, replicas) ? Entry(replicas: entry.replicas, at: at) : nil
    }
    if !older.isEmpty, older.contains(where: { kept($0) != $0 }) { older = older.compactMap(kept) }
    if let entry = newest.flatMap(kept) { older.append(entry) }
    newest = Entry(replicas: replicas, at: now)
    guard older.count >= Self.capacity else { return }
    // The oldest value holds more than its successor; it takes over the successor's longer life.
    older[0].at = older[1].at
    older.remove(at: 1)
  }
}

/// Changes of the count, as far back as rate policies look.
package struct ScaleEvents: Hashable, Sendable {
  /// A change and its moment.
  package struct Event: Hashable, Sendable {
    /// Workers added, or removed if negative.
    package var change: Int
    /// When the count was written.
    package var at: Milliseconds
  }

  /// The most changes kept; beyond it neighbours of one direction are merged at the later moment.
  package static let capacity = 64

  /// The changes, oldest first.
  package var events: [Event] = []

  /// Makes an empty list.
  package init() {}
}
