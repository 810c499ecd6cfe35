import TaskQueue

/// Which lane is asked next, by the weights of a `LanePolicy`: critical for its share of the claims, then high, normal and bulk in turns.
///
/// What waits in the lanes is the server's knowledge, so this learns from what came: a lane that was asked and had nothing keeps no claim to its turn.
struct LaneShares: Sendable {
  /// The distance that a lane of weight 1 goes with each turn.
  private static let distance: UInt64 = 1 << 20

  private let policy: LanePolicy
  private var pass = [UInt64](repeating: 0, count: TaskLane.allCases.count)
  private var position: UInt64 = 0
  private var tokens: Int

  init(policy: LanePolicy) {
    self.policy = policy
    tokens = 100 * policy.criticalBurst
  }

  private func weight(_ lane: TaskLane) -> UInt64 {
    // Critical beyond its share has the weight of high.
    UInt64(max(1, lane == .critical ? policy.weights.high : policy.weights[lane]))
  }

  /// The lane of one more task, of those that are open.
  private mutating func next(_ open: [TaskLane]) -> TaskLane? {
    if open.contains(.critical), tokens >= 100 {
      tokens -= 100
      return .critical
    }
    // A lane that was empty or had no room has no claim to the turns it let pass.
    for lane in open { pass[lane.rawValue] = max(pass[lane.rawValue], position) }
    guard let lane = open.min(by: { pass[$0.rawValue] < pass[$1.rawValue] }) else { return nil }
    position = pass[lane.rawValue]
    pass[lane.rawValue] += Self.distance / weight(lane)
    tokens = min(tokens + policy.criticalPercent, 100 * policy.criticalBurst)
    return lane
  }

  /// Of each lane how many to ask for, of `maximum` in all and no more than there is room for.
  func allot(_ maximum: Int, open: [TaskLane], room: LaneCounts) -> LaneCounts {
    var turns = self
    var left = room
    var counts = LaneCounts(all: 0)
    while counts.total < maximum, let lane = turns.next(open.filter { left[$0] > 0 }) {
      counts[lane] += 1
      left[lane] -= 1
    }
    return counts
  }

  /// Notes what came of the lanes that were open.
  mutating func took(_ counts: LaneCounts, open: [TaskLane]) {
    var left = counts
    while left.total > 0, next(open.filter { left[$0] > 0 }).map({ left[$0] -= 1 }) != nil {}
  }
}
