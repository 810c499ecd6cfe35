/// What one decision must remember for the next: small, versioned, and kept in the object's status.
///
/// A controller that is restarted, or a new leader, decodes it and decides as if nothing had happened. Its size is
/// bounded whatever happens: windows keep only values that can still decide, and long histories are merged so that
/// they err towards holding still. An empty state (a new object, or a status that can't be read) makes the first
/// decision record the present count as a proposal, so that a shrink waits a whole window.
package struct DecisionState: Hashable, Sendable {
  /// The version that this code writes.
  package static let currentVersion = 1

  /// The count that the last decision left behind: what it wrote, or what it found. Nil in an empty state.
  package var expectedReplicas: Int?
  /// When the count was last written by us.
  package var lastWriteAt: Milliseconds?
  /// Whether the zero that stands in the scale was written by us.
  package var isScaledToZero: Bool
  /// Proposals that can still be the smallest of the growth window.
  package var growthWindow: WindowHistory
  /// Proposals that can still be the largest of the shrink window.
  package var shrinkWindow: WindowHistory
  /// Changes of the count that rate policies can still see.
  package var events: ScaleEvents
  /// What is remembered about each metric of the spec.
  package var metrics: [MetricMemory]
  /// Changes by other writers.
  package var contest: ContestMemory
  /// Whether growth brought more work done.
  package var gain: GainMemory

  /// Makes an empty state.
  package init() {
    expectedReplicas = nil
    lastWriteAt = nil
    isScaledToZero = false
    growthWindow = WindowHistory()
    shrinkWindow = WindowHistory()
    events = ScaleEvents()
    metrics = []
    contest = ContestMemory()
    gain = GainMemory()
  }
}

/// What is remembered about one metric.
package struct MetricMemory: Hashable, Sendable {
  /// The metric's `key`.
  package var key: String
  /// How many evaluations in a row gave nothing usable.
  package var failures: Int
  /// The last number that was believed, in thousandths; saturated.
  package var lastMilli: Int64?
  /// How many workers that number asked for.
  package var lastWanted: Int?
  /// How many different samples in a row showed a collapse.
  package var collapses: Int
  /// When the last sample that showed it was measured.
  package var collapseAt: Milliseconds?

  /// The longest key that is worth its place in an object's status, in characters.
  package static let longestKey = 96

  /// Makes the memory of a metric that was never read.
  package init(key: String) {
    self.key = key
    failures = 0
    lastMilli = nil
    lastWanted = nil
    collapses = 0
    collapseAt = nil
  }
}

/// What is remembered about other writers of the count.
package struct ContestMemory: Hashable, Sendable, Codable {
  /// How many changes they made within the window.
  package var changes: Int
  /// When they made the last one.
  package var lastChangeAt: Milliseconds?
  /// The field manager's name, if known; at most `longestName` bytes are kept.
  package var manager: String?
  /// How many own writes were made since the contest began.
  package var ownWrites: Int

  /// The longest name that is kept, in characters.
  package static let longestName = 128

  private enum CodingKeys: String, CodingKey {
    case changes = "n"
    case lastChangeAt = "t"
    case manager = "m"
    case ownWrites = "w"
  }

  /// Makes an empty memory.
  package init() {
    changes = 0
    lastChangeAt = nil
    manager = nil
    ownWrites = 0
  }
}

/// What is remembered about growth and what it brought.
package struct GainMemory: Hashable, Sendable, Codable {
  /// Work completed at the last reading.
  package var completed: Int64?
  /// When that was.
  package var completedAt: Milliseconds?
  /// Growth that is being watched.
  package var trial: Trial?
  /// The count that growth without gain was taken back to, and that is not exceeded for now.
  package var ceiling: Int?
  /// When growth may be tried again.
  package var ceilingUntil: Milliseconds?
  /// How many trials in a row brought nothing.
  package var failedTrials: Int

  /// Growth that is being watched.
  package struct Trial: Hashable, Sendable, Codable {
    /// The count before.
    package var from: Int
    /// The count after.
    package var to: Int
    /// When the growth was written.
    package var at: Milliseconds
    /// Work completed per hour before it, in thousandths.
    package var rateBefore: Int64
    /// Work completed until the fleet had grown; nil before.
    package var completedAtStart: Int64?
    /// When that was.
    package var startedAt: Milliseconds?
  }

  private enum CodingKeys: String, CodingKey {
    case completed = "c"
    case completedAt = "t"
    case trial = "r"
    case ceiling = "n"
    case ceilingUntil = "u"
    case failedTrials = "f"
  }

  /// Makes an empty memory.
  package init() {
    completed = nil
    completedAt = nil
    trial = nil
    ceiling = nil
    ceilingUntil = nil
    failedTrials = 0
  }
}
