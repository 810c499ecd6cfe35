import PriorityQueue

/// How urgent a task is. Lanes share the workers by weight, so that no lane waits for ever.
package enum TaskLane: Int, Hashable, Sendable, CaseIterable, Comparable {
  /// Somebody waits for it, or the fleet depends on it.
  case critical
  /// Before the ordinary.
  case high
  /// The ordinary.
  case normal
  /// Whenever there is room.
  case bulk

  /// The lane of a name; nil for a name that isn't one.
  package init?(name: String) {
    guard let lane = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = lane
  }

  /// The name as clients write it.
  package var name: String {
    switch self {
    case .critical: "critical"
    case .high: "high"
    case .normal: "normal"
    case .bulk: "bulk"
    }
  }

  /// Claims in a row of 85 that the lane gets while all lanes have tasks. Four times the next lane's: a critical task overtakes
  /// three claims in four at once, and bulk still gets more than one in a hundred.
  package var weight: Int {
    switch self {
    case .critical: 64
    case .high: 16
    case .normal: 4
    case .bulk: 1
    }
  }

  package static func < (lhs: TaskLane, rhs: TaskLane) -> Bool { lhs.rawValue < rhs.rawValue }
}

/// The tasks that can be claimed now, and whose turn it is: stride scheduling over the lanes, the oldest first within each.
struct LaneSchedule: Sendable {
  private var ready = [BinaryHeap<UInt64>](repeating: BinaryHeap(), count: TaskLane.allCases.count)
  /// Where each lane stands on the way; the lane that is furthest behind comes next.
  private var pass = [UInt64](repeating: 0, count: TaskLane.allCases.count)
  /// Where the lane stood that was served last.
  private var position: UInt64 = 0

  /// How many tasks can be claimed.
  var count: Int { ready.reduce(0) { $0 + $1.count } }

  func count(_ lane: TaskLane) -> Int { ready[lane.rawValue].count }

  /// The oldest task of a lane, by its number.
  func oldest(_ lane: TaskLane) -> UInt64? { ready[lane.rawValue].first }

  mutating func push(_ number: UInt64, _ lane: TaskLane) {
    // A lane that had nothing to do has no claim to the turns it let pass.
    if ready[lane.rawValue].count == 0 { pass[lane.rawValue] = max(pass[lane.rawValue], position) }
    ready[lane.rawValue].push(number)
  }

  /// Takes the task whose turn it is.
  mutating func pop() -> UInt64? {
    let candidates = TaskLane.allCases.filter { ready[$0.rawValue].count > 0 }
    // The first of equals: the more urgent lane.
    guard let lane = candidates.min(by: { pass[$0.rawValue] < pass[$1.rawValue] }) else { return nil }
    position = pass[lane.rawValue]
    pass[lane.rawValue] = position + UInt64(TaskLane.critical.weight / lane.weight)
    return ready[lane.rawValue].pop()
  }
}
