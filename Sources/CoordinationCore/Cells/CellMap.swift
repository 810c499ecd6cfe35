/// Which pod belongs to which cell: as few cells as hold the fleet, none above its limit, and as few moves as possible.
///
/// A pod that moves finishes what it has under the leases it holds, and takes its next task from the other cell: a move changes where
/// it asks, not whose a task is. Pure, and the same for the same history; a new orchestrator goes on from `cells`.
package struct CellMap: Hashable, Sendable {
  /// Sizes.
  package struct Policy: Hashable, Sendable {
    /// The most agents of a cell.
    package var limit = 1_000
    /// How full a cell is made when pods move into it, in percent: room to grow without moving again.
    package var fillPercent = 80
    /// Two cells become one when together they are no fuller than this: clearly less than `fillPercent`, or a pod more splits them again.
    package var mergePercent = 50

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// A change.
  package enum Effect: Hashable, Sendable {
    /// A cell begins: its share of the queue must be there before pods ask it.
    case opened(Int)
    /// A pod asks this cell from now on; nil: it is new.
    case moved(pod: String, from: Int?, to: Int)
    /// A cell has no pods any more: its share of the queue is drained by others, then removed.
    case closed(Int)
  }

  /// The pods of each cell with their agents.
  package private(set) var cells: [Int: [String: Int]] = [:]
  /// The number of the next cell; numbers aren't used again.
  package private(set) var nextCell: Int
  private let policy: Policy
  /// The agents of each cell.
  private var totals: [Int: Int]

  /// Goes on from a map that was written down.
  package init(cells: [Int: [String: Int]] = [:], nextCell: Int = 1, policy: Policy = Policy()) {
    self.cells = cells
    self.nextCell = max(nextCell, (cells.keys.max() ?? 0) + 1)
    self.policy = policy
    totals = cells.mapValues { $0.values.reduce(0, +) }
  }

  /// The cells' numbers, sorted.
  package var numbers: [Int] { cells.keys.sorted() }

  /// The agents of a cell.
  package func agents(_ cell: Int) -> Int { totals[cell] ?? 0 }

  /// The cell of a pod.
  package func cell(of pod: String) -> Int? { numbers.first { cells[$0]?[pod] != nil } }

  /// Takes note of the fleet as it is: its pods, and the agents of each.
  package mutating func update(pods: [String: Int]) -> [Effect] {
    var effects: [Effect] = []
    var known: Set<String> = []
    for cell in numbers {
      for pod in cells[cell, default: [:]].keys {
        known.insert(pod)
        cells[cell]?[pod] = pods[pod]
      }
      totals[cell] = cells[cell]?.values.reduce(0, +)
    }
    for cell in numbers { effects += relieve(cell) }
    for pod in pods.keys.sorted() where !known.contains(pod) { effects += place(pod, pods[pod] ?? 0, from: nil) }
    effects += merge()
    for cell in numbers where cells[cell]?.isEmpty == true {
      (cells[cell], totals[cell]) = (nil, nil)
      effects.append(.closed(cell))
    }
    return effects
  }

  /// Moves pods out of a cell that has outgrown its limit: the largest first, so that few move; until it is below its fill.
  private mutating func relieve(_ cell: Int) -> [Effect] {
    guard agents(cell) > policy.limit else { return [] }
    var effects: [Effect] = []
    let pods = (cells[cell] ?? [:]).sorted { ($0.value, $1.key) > ($1.value, $0.key) }
    for (pod, agents) in pods {
      let excess = self.agents(cell) - policy.limit * policy.fillPercent / 100
      guard excess > 0, (cells[cell]?.count ?? 0) > 1 else { break }
      // A pod much larger than what is too many would move for nothing, unless no smaller one would do.
      let hasSmaller = pods.contains { $0.value < agents && $0.value >= excess && cells[cell]?[$0.key] != nil }
      guard !hasSmaller else { continue }
      cells[cell]?[pod] = nil
      totals[cell, default: 0] -= agents
      effects += place(pod, agents, from: cell)
    }
    return effects
  }

  /// Puts a pod into the fullest cell that has room for it below the fill, else below the limit, else into a new one.
  private mutating func place(_ pod: String, _ agents: Int, from: Int?) -> [Effect] {
    func best(_ bound: Int) -> Int? {
      cells.keys.filter { $0 != from && self.agents($0) + agents <= bound }.max {
        (self.agents($0), $1) < (self.agents($1), $0)
      }
    }
    func put(_ cell: Int) { cells[cell, default: [:]][pod] = agents; totals[cell, default: 0] += agents }
    if let cell = best(policy.limit * policy.fillPercent / 100) ?? (from == nil ? best(policy.limit) : nil) {
      put(cell)
      return [.moved(pod: pod, from: from, to: cell)]
    }
    let cell = nextCell
    nextCell += 1
    put(cell)
    return [.opened(cell), .moved(pod: pod, from: from, to: cell)]
  }

  /// Joins the smallest cell to another one while two are small enough.
  private mutating func merge() -> [Effect] {
    var effects: [Effect] = []
    while true {
      let filled = numbers.filter { cells[$0]?.isEmpty == false }
      guard filled.count > 1,
        let smallest = filled.min(by: { (agents($0), $1) < (agents($1), $0) })
      else { return effects }
      let bound = policy.limit * policy.mergePercent / 100
      let fitting = filled.filter { $0 != smallest && agents($0) + agents(smallest) <= bound }
      guard let target = fitting.max(by: { (agents($0), $1) < (agents($1), $0) }) else { return effects }
      for (pod, agents) in (cells[smallest] ?? [:]).sorted(by: { $0.key < $1.key }) {
        cells[target]?[pod] = agents
        effects.append(.moved(pod: pod, from: smallest, to: target))
      }
      totals[target, default: 0] += agents(smallest)
      (cells[smallest], totals[smallest]) = ([:], 0)
    }
  }
}
