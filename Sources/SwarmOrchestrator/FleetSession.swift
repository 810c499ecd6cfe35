package import CoordinationCore
package import CoordinationEngine
package import Logging

/// All of a process's part in a fleet: its membership, its candidacy, and its view of the tasks.
package final class FleetSession: Sendable {
  /// What it knows of the fleet.
  package let place: FleetPlace
  /// The engine's tasks from its place: what workers claim from and clients submit to.
  package let tasks: ShardedTasks
  private let member: PodMember
  private let candidate: OrchestratorCandidate?
  private let clock: any FleetClock

  /// A session that isn't running yet. `incarnation` is higher than that of each earlier process with the pod's name; `canLead`: whether it stands for
  /// election; `facts` tells what the pod does, whenever it is asked.
  package init(
    pod: String, incarnation: UInt64, engine: any CoordinationEngine, canLead: Bool = true,
    policy: OrchestratorPolicy = OrchestratorPolicy(), clock: any FleetClock = SystemFleetClock(), logger: Logger,
    rung: @escaping @Sendable () -> DegradationRung = { .normal }, facts: @escaping @Sendable () -> PodFacts
  ) {
    let place = FleetPlace(pod: pod)
    self.place = place
    self.clock = clock
    tasks = ShardedTasks(engine.tasks, place: place, clock: clock)
    member = PodMember(
      place: place, engine: engine, incarnation: incarnation, clock: clock, logger: logger, facts: facts)
    candidate =
      canLead
      ? OrchestratorCandidate(
        name: "\(pod)-\(incarnation)", place: place, engine: engine, policy: policy, clock: clock, logger: logger,
        rung: rung) : nil
  }

  /// Belongs to the fleet until the task is cancelled: then say `leave`.
  package func run() async {
    await withDiscardingTaskGroup { group in
      group.addTask { [member] in await member.run() }
      group.addTask { [tasks] in await tasks.run() }
      if let candidate { group.addTask { await candidate.run() } }
    }
  }

  /// Says goodbye: the lead and the place are free at once. Ask when `run` has ended.
  package func leave() async {
    await candidate?.resign()
    await member.leave()
  }

  /// How the fleet stands as this process sees it.
  package var status: FleetStatus {
    var status = FleetStatus(place.plan, place.flow)
    status.isLeading = candidate?.epoch != nil
    status.isPlaced = place.isPlaced(now: clock.now)
    status.cell = place.cell
    status.tierChanges = place.tierChanges
    status.takeovers = candidate?.takeovers ?? 0
    status.refusedPlans = place.refusedPlans
    status.stolen = place.stolen
    return status
  }
}

/// How a fleet stands, as one of its processes sees it. Metrics, JSON and the table for people are renderings of it.
package struct FleetStatus: Hashable, Sendable {
  /// A cell.
  package struct Cell: Hashable, Sendable {
    /// Its number.
    package var number: Int
    /// The pod that sums it up.
    package var head: String
    /// Its pods.
    package var pods: Int
    /// Their agents.
    package var agents: Int
    /// The shards from which they claim.
    package var shards: Int
    /// Its part of the budget, a minute.
    package var budget: Int
    /// The slots that it has work for; nil: nobody has said.
    package var desiredSlots: Int?
  }

  /// How it is coordinated.
  package var tier: FleetTier
  /// The leadership whose plan holds; 0: none has ever led.
  package var epoch: UInt64
  /// The plan's version.
  package var version: UInt64
  /// The leader's pod; empty: none has ever led.
  package var leader: String
  /// Whether this process leads.
  package var isLeading = false
  /// Whether others count on this process.
  package var isPlaced = false
  /// Its cell; nil: none.
  package var cell: Int?
  /// All pods.
  package var pods: Int
  /// All agents.
  package var agents: Int
  /// The cells by number.
  package var cells: [Cell]
  /// Over how many shards each queue is spread.
  package var shards: Int
  /// Whether that number is changing now.
  package var isResharding: Bool
  /// How often the tier changed.
  package var tierChanges = 0
  /// How often this process took the lead.
  package var takeovers = 0
  /// Plans of earlier leaderships that it refused.
  package var refusedPlans = 0
  /// Tasks that it has claimed from other cells.
  package var stolen = 0

  /// What a plan and its flow say; of a process that only looks on the rest stays as it is here.
  package init(_ plan: PublishedPlan, _ flow: FleetFlow) {
    (tier, epoch, version, leader) = (plan.tier, plan.epoch, plan.version, plan.leader)
    (pods, agents) = (plan.pods, plan.agents)
    cells = plan.cells.sorted { $0.key < $1.key }.map { number, pods in
      Cell(
        number: number, head: plan.heads[number] ?? "", pods: pods.count, agents: pods.values.reduce(0, +),
        // Of one shard, the queue itself, every cell claims; the plan shares out sixteen whether they are in use or not.
        shards: plan.layout.shards == 1 ? 1 : plan.shards.prefix(plan.layout.shards).count { $0 == number },
        budget: flow.budgets[number] ?? 0,
        desiredSlots: flow.desiredSlots[number])
    }
    (shards, isResharding) = (plan.layout.shards, plan.layout.next != nil)
  }

  /// In Prometheus's text format: the tier as a label, so that a graph shows which one holds.
  package var metrics: String {
    var text = ""
    func family(_ name: String, _ kind: String, _ help: String, _ samples: [(labels: String, value: Int)]) {
      text += "# HELP swarmscale_fleet_\(name) \(help)\n# TYPE swarmscale_fleet_\(name) \(kind)\n"
      for sample in samples { text += "swarmscale_fleet_\(name)\(sample.labels) \(sample.value)\n" }
    }
    family(
      "tier", "gauge", "1 for the tier by which the fleet is coordinated, 0 for the others.",
      FleetTier.allCases.map { (#"{tier="\#($0.name)"}"#, $0 == tier ? 1 : 0) })
    family("tier_changes_total", "counter", "Changes of the tier that this process has seen.", [("", tierChanges)])
    family("epoch", "gauge", "The leadership whose plan holds.", [("", Int(clamping: epoch))])
    family("leading", "gauge", "1 where this process leads the fleet.", [("", isLeading ? 1 : 0)])
    family("takeovers_total", "counter", "Times that this process took the lead.", [("", takeovers)])
    family("pods", "gauge", "Pods in the plan.", [("", pods)])
    family("agents", "gauge", "Agents in the plan.", [("", agents)])
    family(
      "cell_agents", "gauge", "Agents of each cell.", cells.map { (#"{cell="\#($0.number)"}"#, $0.agents) })
    family(
      "cell_desired_slots", "gauge", "Slots that each cell has work for.",
      cells.compactMap { cell in cell.desiredSlots.map { (#"{cell="\#(cell.number)"}"#, $0) } })
    family("shards", "gauge", "Shards of each queue.", [("", shards)])
    family("stolen_tasks_total", "counter", "Tasks that this process claimed from other cells.", [("", stolen)])
    family("refused_plans_total", "counter", "Plans of earlier leaderships that were refused.", [("", refusedPlans)])
    return text
  }

  /// For people: a line on the fleet, and one for each cell.
  package var table: String {
    var lines = [
      "tier \(tier.name), \(Self.count(agents, "agent")) in \(Self.count(pods, "pod")), \(Self.count(shards, "shard")) a queue"
        + (isResharding ? " (changing)" : ""),
      leader.isEmpty ? "nobody has led yet" : "led by \(leader), epoch \(epoch), plan \(version)",
    ]
    for cell in cells {
      lines.append(
        "cell \(cell.number): \(Self.count(cell.pods, "pod")), \(Self.count(cell.agents, "agent")), \(Self.count(cell.shards, "shard"))"
          + (cell.desiredSlots.map { ", work for \($0)" } ?? "") + (cell.head.isEmpty ? "" : ", head \(cell.head)"))
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func count(_ number: Int, _ what: String) -> String { "\(number) \(what)\(number == 1 ? "" : "s")" }
}
