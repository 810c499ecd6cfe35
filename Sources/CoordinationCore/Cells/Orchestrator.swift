/// What the orchestrator knows, all of it: a new one that is given the same has the same plan.
package struct FleetSnapshot: Hashable, Sendable {
  /// A pod of the fleet.
  package struct Pod: Hashable, Sendable {
    /// The agents that it can run.
    package var slots: Int
    /// Whether it is late: it keeps its cell, and counts for nothing new.
    package var isSuspect: Bool

    /// Describes a pod.
    package init(slots: Int, isSuspect: Bool = false) {
      self.slots = slots
      self.isSuspect = isSuspect
    }
  }

  /// The pods.
  package var pods: [String: Pod] = [:]
  /// The cells as they are, with the agents of each pod.
  package var cells: [Int: [String: Int]] = [:]
  /// The next cell's number.
  package var nextCell = 1
  /// The cell of each shard of the queue; their number is the fleet's for ever.
  package var shards = [Int?](repeating: nil, count: 64)
  /// The tier as it is.
  package var tier = FleetTier.inProcess
  /// What the cells tell.
  package var summaries: [CellSummary] = []
  /// What may be spent in all, in any unit a minute, such as tokens.
  package var budget = 0
  /// Where the fleet stands on the ladder.
  package var rung = DegradationRung.normal

  /// An empty fleet.
  package init() {}
}

/// What pods and cells are to go by until the next plan. Without a new one they go on as they are.
package struct FleetPlan: Hashable, Sendable {
  /// The leadership that made it: a pod takes no plan with a lower epoch than one that it has seen.
  package var epoch: UInt64
  /// How the fleet is coordinated.
  package var tier: FleetTier
  /// The cells with their pods.
  package var cells: [Int: [String: Int]]
  /// The next cell's number.
  package var nextCell: Int
  /// The cell of each shard: whose pods claim from it.
  package var shards: [Int?]
  /// What changed in the cells.
  package var changes: [CellMap.Effect]
  /// Each cell's part of the budget; the parts sum up to it.
  package var budgets: [Int: Int]
  /// Who may claim elsewhere.
  package var transfers: [CellBalancer.Transfer]
  /// The weights of high, normal and bulk.
  package var weights: [Int]
  /// Whether bulk tasks are turned away.
  package var shedsBulk: Bool
}

/// Sets weights, budgets and the cell map. It is never on a task's path: when it is away, pods go on by the last plan.
///
/// It keeps nothing that the snapshot doesn't hold, but for times of calm: losing them delays a merge of tiers by a minute, no more.
package struct Orchestrator: Sendable {
  /// What it goes by.
  package struct Policy: Hashable, Sendable {
    /// Cells.
    package var cells = CellMap.Policy()
    /// Transfers.
    package var balance = CellBalancer.Policy()
    /// Weights of high, normal and bulk.
    package var weights = [16, 4, 1]
    /// The percentage of a cell's even part of the budget that it always has: the first task of an idle cell must not wait for a plan.
    package var floorPercent = 20

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  private let policy: Policy
  private let epoch: UInt64
  private var tiers: TierSelector
  private var balancer: CellBalancer

  /// The orchestrator of a leadership, which begins from what the store holds.
  package init(epoch: UInt64, from snapshot: FleetSnapshot, policy: Policy = Policy()) {
    self.epoch = epoch
    self.policy = policy
    tiers = TierSelector(tier: snapshot.tier)
    balancer = CellBalancer(policy: policy.balance)
  }

  /// Makes the plan for a fleet.
  package mutating func plan(_ snapshot: FleetSnapshot, now: Duration) -> FleetPlan {
    _ = tiers.handle(agents: snapshot.pods.values.reduce(0) { $0 + $1.slots }, now: now)
    var map = CellMap(cells: snapshot.cells, nextCell: snapshot.nextCell, policy: policy.cells)
    let changes = map.update(pods: snapshot.pods.mapValues(\.slots))
    var shards = ShardMap(owners: snapshot.shards)
    shards.update(cells: map.cells.mapValues { $0.values.reduce(0, +) })
    let summaries = snapshot.summaries.filter { map.cells[$0.cell] != nil }
    return FleetPlan(
      epoch: epoch, tier: tiers.tier, cells: map.cells, nextCell: map.nextCell, shards: shards.owners,
      changes: changes,
      budgets: budgets(map, snapshot, now), transfers: balancer.handle(summaries, now: now), weights: policy.weights,
      shedsBulk: snapshot.rung >= .shedBulk)
  }

  /// The budget by demand (slots at work and tasks that wait for one), above a floor for each cell, without rest.
  private func budgets(_ map: CellMap, _ snapshot: FleetSnapshot, _ now: Duration) -> [Int: Int] {
    let numbers = map.numbers
    guard !numbers.isEmpty else { return [:] }
    let floor = snapshot.budget * policy.floorPercent / 100 / numbers.count
    let demands = numbers.map { cell -> Int in
      let summary = snapshot.summaries.first { $0.cell == cell && now - $0.at <= policy.balance.freshness }
      // A cell that is silent wants what its slots can use.
      let slots = map.agents(cell)
      guard let summary else { return slots }
      return min(slots, max(0, summary.slots - summary.freeSlots) + summary.waiting)
    }
    let parts = ShardMap.split(snapshot.budget - floor * numbers.count, by: demands)
    return Dictionary(uniqueKeysWithValues: zip(numbers, parts.map { $0 + floor }))
  }
}
