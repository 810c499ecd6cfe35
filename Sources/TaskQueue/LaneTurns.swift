/// Whose turn it is between lanes, whoever keeps the tasks: a queue, or a worker that pulls from several shards.
///
/// Critical tasks come first for a share of the claims, by a token bucket that is filled by claims. High, normal and bulk take turns by
/// weight (stride scheduling); critical tasks beyond their share take every second turn of high. A turn of normal goes to high as long as high's
/// next task was submitted before normal's: by weight alone a high lane with more than its share of the load would wait longer than
/// a normal lane with less. So a normal task never overtakes an older high one, and waits for older high ones and for its turns, no longer.
package struct LaneTurns: Sendable {
  /// The lanes that take turns.
  private static let sharing: [TaskLane] = [.high, .normal, .bulk]
  /// The distance that a lane of weight 1 goes with each turn.
  private static let distance: UInt64 = 1 << 20

  /// Where each lane stands on its way; the lane that is furthest behind comes next.
  private var pass = [UInt64](repeating: 0, count: TaskLane.allCases.count)
  /// Where the lane stood whose turn it was last.
  private var position: UInt64 = 0
  /// Hundredths of claims for which critical may come first.
  private var tokens: Int
  /// Whether the next turn of high is for a critical task beyond the share.
  private var isOverflowNext = false
  /// How the lanes share.
  package var policy: LanePolicy

  /// Begins with a full bucket.
  package init(policy: LanePolicy = LanePolicy()) {
    self.policy = policy
    tokens = 100 * policy.criticalBurst
  }

  /// Notes that a lane without tasks has some: it has no claim to the turns it let pass.
  mutating func fill(_ lane: TaskLane) { pass[lane.rawValue] = max(pass[lane.rawValue], position) }

  /// The lane whose turn it is, of those that are open: for which `open` isn't 0, such as the tasks for which there is room. `isHighOlder` is
  /// whether high's next task was submitted before normal's. Nil: none is open.
  package mutating func next(open: LaneCounts, isHighOlder: Bool) -> TaskLane? {
    let isCriticalOpen = open.critical > 0
    let open = Self.sharing.filter { open[$0] > 0 }
    let lane: TaskLane
    if isCriticalOpen, open.isEmpty {
      lane = .critical
    } else if isCriticalOpen, tokens >= 100 {
      tokens -= 100
      lane = .critical
    } else if let turn = turn(open, isCriticalOpen, isHighOlder) {
      lane = turn
    } else {
      return nil
    }
    tokens = min(tokens + policy.criticalPercent, 100 * policy.criticalBurst)
    return lane
  }

  /// Critical tasks beyond their share have high's turns, also when high has no task.
  private mutating func turn(_ open: [TaskLane], _ isCriticalOpen: Bool, _ isHighOlder: Bool) -> TaskLane? {
    let isHighOpen = open.contains(.high)
    let candidates = isCriticalOpen && !isHighOpen ? [.high] + open : open
    // A lane that had no room has no claim to the turns it let pass either. The first of equals: the more urgent lane.
    for lane in candidates { fill(lane) }
    guard let lane = candidates.min(by: { pass[$0.rawValue] < pass[$1.rawValue] }) else { return nil }
    position = pass[lane.rawValue]
    pass[lane.rawValue] += Self.distance / policy.weight(lane)
    // Normal has had its turn: bulk's comes no later.
    if lane == .normal, isHighOpen, isHighOlder { return .high }
    guard lane == .high, isCriticalOpen else { return lane }
    isOverflowNext.toggle()
    return isOverflowNext || !isHighOpen ? .critical : .high
  }
}
