import AgentRuntime
import CoordinationCore
import CoordinationEngine
import PayloadCompression
import RateBudget

extension SwarmConfiguration {
  /// What manages a worker's agents and memory, by what can be measured here. `engine`: where large states go, if there is one.
  func manager(
    of pool: AgentPool, _ membership: SwarmMembership, _ gateway: ClaudeGateway, _ clock: any CoordinationClock,
    engine: (any CoordinationEngine)? = nil
  ) -> AgentManager {
    let time = AgentTime(clock: clock)
    let pod = environment.pod.isEmpty ? ProcessFacts.hostName() : environment.pod
    let services = engine.map {
      AgentServices(
        engine: $0, owner: "\(pod)-\(ProcessFacts.incarnation())", policy: collection, clock: time, logger: logger)
    }
    var causes: [DegradationCause: @Sendable () -> Int] = [
      .drain: { [weak pool] in pool?.drainPercent ?? 0 },
      .outbox: { [weak pool] in pool?.outboxes.fillPercent ?? 0 },
      // What recent 429s have taken off the target.
      .budget: {
        let targets = membership.reports().flatMap { $0.report.dimensions.map(\.targetPercent) }
        return targets.min().map { Int(max(0, 100 - $0)) } ?? 0
      },
      .breakers: {
        let open = gateway.openBreakers
        return open * 100 / max(1, open, membership.reports().count)
      },
    ]
    if let services { causes[.engine] = { services.silence } }
    let resources = ResourceManager(
      inputs: ResourceInputs(
        group: ControlGroup(reading: ProcessFacts.text), memoryLimit: memory, processors: ProcessFacts.processors,
        causes: causes),
      clock: time, logger: logger)
    return AgentManager(
      resources: resources, parking: ParkingLot(codec: PayloadCodec(), store: services?.holdings.parkedStates),
      services: services, clock: time, logger: logger, verdict: AgentPool.verdict)
  }
}

/// The library's clock as that of its agents.
private struct AgentTime: AgentClock {
  let clock: any CoordinationClock

  var now: Duration { clock.now - .zero }
  func sleep(until time: Duration) async throws { try await clock.sleep(until: .zero + time) }
}
