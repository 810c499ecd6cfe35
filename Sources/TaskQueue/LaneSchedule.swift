/// The tasks that can be claimed now, and whose turn it is.
///
/// Critical tasks come first for a share of the claims, by a token bucket that is filled by claims. High, normal and bulk take turns by
/// weight (stride scheduling); critical tasks beyond their share take every second turn of high. A turn of normal goes to high as long as high's
/// next task was submitted before normal's: by weight alone a high lane with more than its share of the load would wait longer than
/// a normal lane with less. So a normal task never overtakes an older high one, and waits for older high ones and for its turns, no longer.
struct LaneSchedule: Sendable {
  /// The lanes that take turns.
  private static let sharing: [TaskLane] = [.high, .normal, .bulk]
  /// The distance that a lane of weight 1 goes with each turn.
  private static let distance: UInt64 = 1 << 20

  private var lanes = [FairLane](repeating: FairLane(), count: TaskLane.allCases.count)
  /// Where each lane stands on its way; the lane that is furthest behind comes next.
  private var pass = [UInt64](repeating: 0, count: TaskLane.allCases.count)
  /// Where the lane stood whose turn it was last.
  private var position: UInt64 = 0
  /// Hundredths of claims for which critical may come first.
  private var tokens: Int
  /// Whether the next turn of high is for a critical task beyond the share.
  private var isOverflowNext = false
  var policy: LanePolicy

  init(policy: LanePolicy = LanePolicy()) {
    self.policy = policy
    tokens = 100 * policy.criticalBurst
  }

  /// How many tasks can be claimed.
  var count: Int { lanes.reduce(0) { $0 + $1.count } }

  func count(_ lane: TaskLane) -> Int { lanes[lane.rawValue].count }

  /// The oldest task of a lane.
  func oldest(_ lane: TaskLane) -> FairLane.Waiting? { lanes[lane.rawValue].oldest }

  mutating func push(_ number: UInt64, _ task: NewTask, submitted: Duration) {
    let lane = task.lane.rawValue
    // A lane that had nothing to do has no claim to the turns it let pass.
    if lanes[lane].count == 0 { pass[lane] = max(pass[lane], position) }
    lanes[lane].push(
      FairLane.Waiting(number: number, cost: task.fairnessCost, submitted: submitted), key: task.fairnessKey)
  }

  /// Takes the task whose turn it is, of the lanes that have room.
  mutating func pop(room: LaneCounts) -> (number: UInt64, lane: TaskLane)? {
    func isOpen(_ lane: TaskLane) -> Bool { room[lane] > 0 && lanes[lane.rawValue].count > 0 }
    let sharing = Self.sharing.filter(isOpen)
    let lane: TaskLane
    if isOpen(.critical), sharing.isEmpty {
      lane = .critical
    } else if isOpen(.critical), tokens >= 100 {
      tokens -= 100
      lane = .critical
    } else if let turn = turn(sharing, isCriticalOpen: isOpen(.critical)) {
      lane = turn
    } else {
      return nil
    }
    tokens = min(tokens + policy.criticalPercent, 100 * policy.criticalBurst)
    return lanes[lane.rawValue].pop().map { ($0.number, lane) }
  }

  /// The lane whose turn it is. Critical tasks beyond their share have high's turns, also when high has no task.
  private mutating func turn(_ open: [TaskLane], isCriticalOpen: Bool) -> TaskLane? {
    let isHighOpen = open.contains(.high)
    let candidates = isCriticalOpen && !isHighOpen ? [.high] + open : open
    // A lane that had no room has no claim to the turns it let pass either. The first of equals: the more urgent lane.
    for lane in candidates { pass[lane.rawValue] = max(pass[lane.rawValue], position) }
    guard let lane = candidates.min(by: { pass[$0.rawValue] < pass[$1.rawValue] }) else { return nil }
    position = pass[lane.rawValue]
    pass[lane.rawValue] += Self.distance / policy.weight(lane)
    // Normal has had its turn: bulk's comes no later.
    if lane == .normal, isHighOpen, isOlder(.high, than: .normal) { return .high }
    guard lane == .high, isCriticalOpen else { return lane }
    isOverflowNext.toggle()
    return isOverflowNext || !isHighOpen ? .critical : .high
  }

  private func isOlder(_ lane: TaskLane, than other: TaskLane) -> Bool {
    guard let first = lanes[lane.rawValue].first, let second = lanes[other.rawValue].first else { return false }
    return first.submitted < second.submitted
  }
}
