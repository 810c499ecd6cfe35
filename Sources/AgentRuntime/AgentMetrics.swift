import CoordinationCore
package import Observability
package import PayloadCompression

/// The metrics of a pod's agents, its memory and its collector.
package enum AgentMetrics {
  private static let prefix = "swarmscale_agents_"

  /// Everything that is exported.
  package static let families: [MetricsRegistry.Family] = [
    .init(prefix + "count", .gauge, labels: ["stage"], help: "Agents; stage is spawned, running, waiting or parked."),
    .init(prefix + "spawned_total", .counter, help: "Agents that were begun."),
    .init(
      prefix + "ended_total", .counter, labels: ["outcome"],
      help: "Agents that ended; outcome is committed, failed or handed_back."),
    .init(prefix + "refused_total", .counter, help: "Agents that weren't begun: left alone, or too many."),
    .init(prefix + "ejected_total", .counter, help: "Agents that were left alone because they failed again and again."),
    .init(prefix + "pool_opened_total", .counter, help: "How often so many agents failed that none was begun."),
    .init(prefix + "pool_open", .gauge, help: "1 while no agent is begun because so many fail."),
    .init(prefix + "unparked_total", .counter, help: "Agents that waited with their state in memory: no room to park."),
    .init(prefix + "unreleased_total", .counter, help: "Things that couldn't be released when an agent ended."),
    .init(prefix + "parked_state_bytes", .gauge, help: "Bytes of parked states before they were packed."),
    .init(prefix + "parked_resident_bytes", .gauge, help: "Bytes of packed states in memory."),
    .init(prefix + "parked_stored", .gauge, help: "Parked states in the engine."),
    .init(
      prefix + "memory_limit_bytes", .gauge, help: "Bytes that the worker may use; absent where there is no limit."),
    .init(prefix + "memory_used_bytes", .gauge, help: "Bytes that it uses and can't give back."),
    .init(prefix + "memory_reserved_bytes", .gauge, help: "Bytes that are expected of the agents that run."),
    .init(prefix + "cpu_used_ratio", .gauge, help: "CPU in use, as a part of what the worker may use."),
    .init(prefix + "admission_waiting", .gauge, help: "Agents that wait until memory and CPU allow them."),
    .init(
      prefix + "admission_waits_total", .counter, labels: ["reason"],
      help: "Agents that had to wait; reason is memory, cpu, degraded or bulk."),
    .init(
      prefix + "degradation_rung", .gauge,
      help: "0 normal, 1 bulk is shed, 2 batches are halved, 3 no new tasks, 4 steps are finished, 5 agents are parked."
    ),
    .init(
      prefix + "degradation_moves_total", .counter, labels: ["rung"], help: "Moves of the ladder to each rung."),
    .init(prefix + "outbox_results", .gauge, help: "Results that the task queue doesn't have yet."),
    .init(prefix + "outbox_fill_ratio", .gauge, help: "How full the fullest outbox is, 0 to 1."),
    .init(
      prefix + "outbox_settled_total", .counter, labels: ["outcome"],
      help: "Results that left an outbox; outcome is delivered or refused."),
    .init(prefix + "outbox_disk_failures_total", .counter, help: "Times that the disk took no result."),
    .init(prefix + "collector_leading", .gauge, help: "1 while this worker collects for all of them."),
    .init(
      prefix + "collector_known", .gauge, labels: ["kind"],
      help: "What the collector knows of; kind is references, blobs, resources or owners."),
    .init(
      prefix + "collector_deleted_total", .counter, labels: ["kind"],
      help: "What it has deleted; kind is blobs, keys or resources."),
  ]

  /// Results on their way to the task queue.
  package struct Results: Hashable, Sendable {
    /// Results that the queue doesn't have yet.
    package var waiting = 0
    /// How full the fullest outbox is, in percent.
    package var fillPercent = 0
    /// Results that the queue has, and those that it refused for good.
    package var (delivered, refused) = (0, 0)
    /// Times that the disk took no result.
    package var diskFailures = 0

    /// None.
    package init() {}
  }

  /// The text for Prometheus. `collector`: nil where there is no engine.
  package static func text(
    _ agents: AgentManager.Statistics, _ resources: ResourceManager.Statistics, parked: ParkingLot.Statistics,
    collector: Collector.Statistics? = nil, results: Results = Results()
  ) -> String {
    let registry = MetricsRegistry(families)
    func set(_ name: String, _ value: Int, _ labels: String...) {
      registry.set(prefix + name, to: Double(value), labels)
    }
    for stage in AgentTable.Stage.allCases { set("count", agents.stages[stage] ?? 0, stage.rawValue) }
    set("spawned_total", agents.counts.spawned)
    set("ended_total", agents.counts.committed, "committed")
    set("ended_total", agents.counts.failed, "failed")
    set("ended_total", agents.counts.handedBack, "handed_back")
    set("refused_total", agents.counts.refused)
    set("ejected_total", agents.counts.ejected)
    set("pool_opened_total", agents.counts.opened)
    set("pool_open", agents.isOpen ? 1 : 0)
    set("unparked_total", agents.unparked)
    set("unreleased_total", agents.unreleased)
    set("parked_state_bytes", parked.stateBytes)
    set("parked_resident_bytes", parked.residentBytes)
    set("parked_stored", parked.stored)
    if let limit = resources.measurement.limit { set("memory_limit_bytes", limit) }
    if let used = resources.measurement.used { set("memory_used_bytes", used) }
    set("memory_reserved_bytes", resources.reserved)
    if let cpu = resources.measurement.cpu { registry.set(prefix + "cpu_used_ratio", to: Double(cpu) / 100, []) }
    set("admission_waiting", resources.waiting)
    for reason in AdmissionControl.Reason.allCases {
      set("admission_waits_total", resources.waits[reason] ?? 0, reason.rawValue)
    }
    set("degradation_rung", resources.rung.rawValue)
    for rung in DegradationRung.allCases { set("degradation_moves_total", resources.moves[rung] ?? 0, "\(rung)") }
    set("outbox_results", results.waiting)
    registry.set(prefix + "outbox_fill_ratio", to: Double(results.fillPercent) / 100, [])
    set("outbox_settled_total", results.delivered, "delivered")
    set("outbox_settled_total", results.refused, "refused")
    set("outbox_disk_failures_total", results.diskFailures)
    if let collector { note(collector, set: { set($0, $1, $2) }, leading: { set("collector_leading", $0) }) }
    return registry.render()
  }

  private static func note(
    _ collector: Collector.Statistics, set: (String, Int, String) -> Void, leading: (Int) -> Void
  ) {
    leading(collector.isLeading ? 1 : 0)
    set("collector_known", collector.references, "references")
    set("collector_known", collector.blobs, "blobs")
    set("collector_known", collector.resources, "resources")
    set("collector_known", collector.owners, "owners")
    set("collector_deleted_total", collector.deletedBlobs, "blobs")
    set("collector_deleted_total", collector.deletedKeys, "keys")
    set("collector_deleted_total", collector.reaped, "resources")
  }
}
