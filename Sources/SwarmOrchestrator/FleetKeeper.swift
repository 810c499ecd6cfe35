package import CoordinationCore

/// What the leader goes by.
package struct OrchestratorPolicy: Hashable, Sendable {
  /// Cells, transfers, weights, the floor of budgets.
  package var orchestrator = Orchestrator.Policy()
  /// How long pods may be silent.
  package var membership = Membership.Policy()
  /// The shards of each queue in the tier of cells: as many cells can have one of their own. Must be the same for all candidates.
  package var shards = 16
  /// What may be spent in all, in any unit a minute.
  package var budget = 0
  /// Pods that look after the leader.
  package var standbys = 4

  /// The policy that holds where nothing else is said.
  package init() {}
}

/// What a leader keeps in mind between two looks at the fleet: nothing that a new one couldn't read from the store, but for times of calm.
/// Pure; `OrchestratorCandidate` drives it.
package struct FleetKeeper: Sendable {
  private let policy: OrchestratorPolicy
  private let leader: String
  private let epoch: UInt64
  private var orchestrator: Orchestrator
  private var membership: Membership
  private var known: [String: (incarnation: UInt64, heardAt: Duration)] = [:]
  /// The last plan that the store has.
  package private(set) var plan: PublishedPlan
  private var flow: FleetFlow

  /// A leadership that begins from what the store holds.
  package init(
    epoch: UInt64, leader: String, from plan: PublishedPlan?, flow: FleetFlow?,
    policy: OrchestratorPolicy = OrchestratorPolicy()
  ) {
    self.epoch = epoch
    self.leader = leader
    self.policy = policy
    self.plan = plan ?? PublishedPlan()
    self.flow = flow ?? FleetFlow()
    membership = Membership(policy: policy.membership)
    var snapshot = FleetSnapshot()
    snapshot.tier = self.plan.tier
    orchestrator = Orchestrator(epoch: epoch, from: snapshot, policy: policy.orchestrator)
  }

  /// What is to be written: a plan when it has changed, a flow when it has. `rung` is where the fleet stands on the ladder.
  package mutating func handle(
    pods: [String: FleetBoard.Pod], cells: [CellSummary], rung: DegradationRung = .normal, now: Duration
  ) -> (plan: PublishedPlan?, flow: FleetFlow?) {
    note(pods, now)
    var snapshot = FleetSnapshot()
    for (name, member) in membership.members where member.slots > 0 {
      snapshot.pods[name] = .init(slots: member.slots, isSuspect: member.isSuspect)
    }
    snapshot.cells = plan.cells
    snapshot.nextCell = plan.nextCell
    snapshot.shards = plan.shards.count == policy.shards ? plan.shards : [Int?](repeating: nil, count: policy.shards)
    snapshot.tier = plan.tier
    snapshot.summaries = cells
    snapshot.budget = policy.budget
    snapshot.rung = rung
    let made = orchestrator.plan(snapshot, now: now)
    return (publish(made, pods), publish(made, cells))
  }

  /// The last flow, where the store would forget it before long.
  package func renewal(after age: Duration) -> FleetFlow? {
    !flow.transfers.isEmpty && age >= .seconds(3) ? flow : nil
  }

  private mutating func note(_ pods: [String: FleetBoard.Pod], _ now: Duration) {
    for (name, pod) in pods.sorted(by: { $0.key < $1.key }) {
      let (incarnation, slots) = (pod.heartbeat.incarnation, pod.heartbeat.slots)
      let before = known[name]
      if before?.incarnation != incarnation {
        _ = membership.handle(.join(name, incarnation: incarnation, slots: slots), now: now)
      } else if before?.heardAt != pod.heardAt {
        _ = membership.handle(.renew(name, incarnation: incarnation, slots: slots), now: now)
      }
      known[name] = (incarnation, pod.heardAt)
    }
    for (name, last) in known where pods[name] == nil {
      _ = membership.handle(.leave(name, incarnation: last.incarnation), now: now)
      known[name] = nil
    }
    _ = membership.handle(.tick, now: now)
  }

  private mutating func publish(_ made: FleetPlan, _ pods: [String: FleetBoard.Pod]) -> PublishedPlan? {
    var next = plan
    next.epoch = epoch
    next.leader = leader
    next.tier = made.tier
    next.cells = made.cells
    next.nextCell = made.nextCell
    next.shards = made.shards
    next.weights = made.weights
    next.shedsBulk = made.shedsBulk
    next.layout = layout(made.tier, pods)
    let available = Set(membership.available.filter { $0.member.slots > 0 }.map(\.name))
    for cell in made.cells.keys {
      let names = (made.cells[cell] ?? [:]).keys.filter(available.contains).sorted()
      if let head = plan.heads[cell], names.contains(head) { continue }
      next.heads[cell] = names.first
    }
    next.heads = next.heads.filter { made.cells[$0.key] != nil }
    var standbys = plan.standbys.filter { available.contains($0) && $0 != leader }
    // Those that have been there for longest are the least likely to go.
    let others = membership.available.filter { !standbys.contains($0.name) && $0.name != leader && $0.member.slots > 0 }
      .sorted { ($0.member.incarnation, $0.name) < ($1.member.incarnation, $1.name) }
    standbys += others.prefix(max(0, policy.standbys - standbys.count)).map(\.name)
    next.standbys = standbys
    guard !next.isSame(as: plan) else { return nil }
    next.version = plan.version + 1
    if next.layout.next != nil, plan.layout.next == nil { next.layout.since = next.version }
    plan = next
    return next
  }

  /// The layout that a tier wants, by way of a time in which keys are submitted by neither: until each pod has said that it knows, or is gone.
  private func layout(_ tier: FleetTier, _ pods: [String: FleetBoard.Pod]) -> ShardLayout {
    var layout = plan.layout
    let wanted = tier == .cells ? policy.shards : 1
    guard let next = layout.next else {
      if wanted != layout.shards { layout.next = wanted }
      return layout
    }
    guard next == wanted else {
      layout.next = nil
      return layout
    }
    guard pods.values.allSatisfy({ $0.heartbeat.plan >= layout.since }) else { return layout }
    layout.older = ([layout.shards] + layout.older).filter { $0 != next }.reduce(into: []) {
      if !$0.contains($1) { $0.append($1) }
    }
    (layout.shards, layout.next) = (next, nil)
    return layout
  }

  private mutating func publish(_ made: FleetPlan, _ cells: [CellSummary]) -> FleetFlow? {
    var next = flow
    next.epoch = epoch
    next.transfers = made.tier == .cells ? made.transfers : []
    next.budgets = made.budgets
    next.desiredSlots = [:]
    for cell in cells where made.cells[cell.cell] != nil {
      next.desiredSlots[cell.cell] = max(0, cell.slots - cell.freeSlots) + cell.waiting
    }
    guard next != flow else { return nil }
    next.version += 1
    flow = next
    return next
  }
}
