/// The tasks of a queue that can be claimed now, and whose turn it is: lanes by `LaneTurns`, fairness keys within each by `FairLane`.
struct LaneSchedule: Sendable {
  private var lanes = [FairLane](repeating: FairLane(), count: TaskLane.allCases.count)
  private var turns: LaneTurns

  init(policy: LanePolicy = LanePolicy()) { turns = LaneTurns(policy: policy) }

  var policy: LanePolicy {
    get { turns.policy }
    set { turns.policy = newValue }
  }

  /// How many tasks can be claimed.
  var count: Int { lanes.reduce(0) { $0 + $1.count } }

  func count(_ lane: TaskLane) -> Int { lanes[lane.rawValue].count }

  /// The oldest task of a lane.
  func oldest(_ lane: TaskLane) -> FairLane.Waiting? { lanes[lane.rawValue].oldest }

  mutating func push(_ number: UInt64, _ task: NewTask, submitted: Duration) {
    let lane = task.lane.rawValue
    if lanes[lane].count == 0 { turns.fill(task.lane) }
    lanes[lane].push(
      FairLane.Waiting(number: number, cost: task.fairnessCost, submitted: submitted), key: task.fairnessKey)
  }

  /// Takes back a task that can be claimed.
  mutating func withdraw(_ number: UInt64, _ task: NewTask) {
    lanes[task.lane.rawValue].withdraw(number, key: task.fairnessKey)
  }

  /// Takes the task whose turn it is, of the lanes that have room.
  mutating func pop(room: LaneCounts) -> (number: UInt64, lane: TaskLane)? {
    var open = room
    for lane in TaskLane.allCases where lanes[lane.rawValue].count == 0 { open[lane] = 0 }
    let lane = turns.next(open: open, isHighOlder: isOlder(.high, than: .normal))
    guard let lane else { return nil }
    return lanes[lane.rawValue].pop().map { ($0.number, lane) }
  }

  private func isOlder(_ lane: TaskLane, than other: TaskLane) -> Bool {
    guard let first = lanes[lane.rawValue].first, let second = lanes[other.rawValue].first else { return false }
    return first.submitted < second.submitted
  }
}
