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

  /// The values, oldest first.
  package var entries: [Entry] = []

  /// Makes an empty history.
  package init() {}
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
