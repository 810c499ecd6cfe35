package import CoordinationEngine
import CoordinationProtocol
import Logging
import RateBudget

/// A worker's membership in its fleet: agents in slots, Claude within the budget that all workers share, and tasks.
///
///     try await Swarm.join { swarm in
///       try await swarm.tasks("reviews").work { task in
///         try await swarm.claude.messages(task.payload).body
///       }
///     }
///
/// With `SWARMSCALE_COORDINATOR` the fleet's coordinator admits each request, and this worker's last share does while that
/// is away. Without it the worker is on its own, within limits that it learns from response headers.
public final class Swarm: Sendable {
  /// The places of this worker's agents.
  public let agents: AgentPool
  /// The Claude API, within the budget.
  public let claude: Claude
  private let link: CoordinatorLink?
  private let shared: SwarmEngine?
  private let messaging: SwarmMessages?
  private let worker: String
  private let outbox: String?
  private let logger: Logger

  private init(
    agents: AgentPool, claude: Claude, link: CoordinatorLink?, shared: SwarmEngine?, worker: String, outbox: String?,
    logger: Logger
  ) {
    self.outbox = outbox
    self.agents = agents
    self.claude = claude
    self.link = link
    self.shared = shared
    messaging = shared.map { SwarmMessages(engine: $0.engine, worker: worker, logger: logger) }
    self.worker = worker
    self.logger = logger
  }

  /// The queue of tasks with a name, at `SWARMSCALE_TASKS`.
  ///
  /// - Throws: `SwarmConfigurationError` when that isn't set.
  public func tasks(_ name: String) throws(SwarmConfigurationError) -> SwarmTasks {
    guard let shared else {
      throw SwarmConfigurationError(
        SwarmEnvironment.Variable.tasks, nil,
        "isn't set; set it to the URL of the task queue, such as http://127.0.0.1:8099 (`swarmscale local` sets it) or "
          + "nats://nats.swarm:4222")
    }
    return SwarmTasks(
      queue: name, worker: worker, link: shared.tasks, agents: agents, logger: logger, engine: shared.engine,
      outboxFolder: outbox)
  }

  /// What agents share beside tasks: state, blobs, counters, schedules, messages; nil without `SWARMSCALE_TASKS`.
  package var engine: (any CoordinationEngine)? { shared?.engine }

  /// Messages between this worker's agents and those of others.
  ///
  /// - Throws: `SwarmConfigurationError` when `SWARMSCALE_TASKS` isn't set.
  public var messages: SwarmMessages {
    get throws(SwarmConfigurationError) {
      guard let messaging else { throw Self.needsEngine("messages between agents") }
      return messaging
    }
  }

  /// Values that agents share, in a space of this name.
  ///
  /// - Throws: `SwarmConfigurationError` when `SWARMSCALE_TASKS` isn't set; `MessageError` for a name that can't be one.
  public func state(_ space: String) throws -> SharedState {
    guard let engine else { throw Self.needsEngine("shared state") }
    return try SharedState(space, store: engine.state)
  }

  private static func needsEngine(_ what: String) -> SwarmConfigurationError {
    SwarmConfigurationError(
      SwarmEnvironment.Variable.tasks, nil,
      "isn't set; \(what) needs it: the URL of the task queue, such as http://127.0.0.1:8099, or nats://nats.swarm:4222"
    )
  }

  /// What agents, memory and the ladder of degradation do, as text for Prometheus (docs/library.md).
  public func metrics() async -> String { await agents.metrics() }

  /// How the fleet that shares the engine stands: tier, leader, cells, in Prometheus's text format. Empty without NATS: workers behind a
  /// server (`http://`) are no fleet.
  public var fleetMetrics: String { shared?.fleetMetrics ?? "" }

  /// Whether the coordinator admits requests now; false: this worker's own share or learned limits do.
  public var isConnected: Bool { link?.isConnected ?? false }

  /// Joins by the environment of this process while `body` runs.
  ///
  /// - Throws: `SwarmConfigurationError`; what `body` throws.
  public nonisolated(nonsending) static func join<Result>(
    _ body: (Swarm) async throws -> Result
  ) async throws -> Result {
    try await join(SwarmConfiguration(), body)
  }

  /// Joins while `body` runs, and says goodbye when it ends, so that this worker's share is free for others at once.
  ///
  /// It doesn't wait for the coordinator: a worker works without it, too. On SIGTERM `agents` take no new work
  /// (`SwarmConfiguration.drainsOnTermination`): `AgentPool.work` returns when what was begun is done, and with it `body`
  /// and this. A cancelled task ends as well, but without the goodbye.
  ///
  /// - Throws: what `body` throws.
  public nonisolated(nonsending) static func join<Result>(
    _ configuration: SwarmConfiguration, _ body: (Swarm) async throws -> Result
  ) async throws -> Result {
    try await join(configuration, clock: SystemClock(), adjusting: { _ in }, body)
  }

  /// The same by any clock; `adjusting` changes how the coordinator is reached.
  package nonisolated(nonsending) static func join<Result>(
    _ configuration: SwarmConfiguration, clock: any CoordinationClock,
    adjusting: (inout LinkConfiguration) -> Void, _ body: (Swarm) async throws -> Result
  ) async throws -> Result {
    let environment = configuration.environment
    let client = UpstreamClient(try UpstreamAddress(configuration.upstream))
    let pool = AgentPool(slots: configuration.slots, clock: clock)
    let membership: SwarmMembership
    if var link = environment.link(readingToken: ProcessFacts.token) {
      adjusting(&link)
      membership = SwarmMembership(
        link: link, identity: environment.identity(incarnation: ProcessFacts.incarnation()), pool: pool, clock: clock,
        logger: configuration.logger)
    } else {
      membership = SwarmMembership(alone: BudgetPlan(), pool: pool, clock: clock, logger: configuration.logger)
    }
    let gateway = ClaudeGateway(
      configuration: .init(fleet: membership.fleet, client: membership.client, hold: configuration.hold),
      authority: membership.authority, client: client, clock: clock, onActivity: { pool.noteActivity() })
    pool.follow { gateway.activity }
    let worker = environment.pod.isEmpty ? ProcessFacts.hostName() : environment.pod
    let shared = try environment.tasks.map {
      try SwarmEngine(
        $0, reading: configuration.variable, file: ProcessFacts.token, pod: .init(worker, pool), clock: clock,
        logger: configuration.logger)
    }
    pool.manage(by: configuration.manager(of: pool, membership, gateway, clock, engine: shared?.engine))
    let swarm = Swarm(
      agents: pool, claude: Claude(gateway: gateway, headers: configuration.headers), link: membership.link,
      shared: shared, worker: worker, outbox: environment.outbox, logger: configuration.logger)
    let outcome: Swift.Result<Result, any Error>
    do {
      outcome = .success(
        try await membership.run {
          try await running(shared, swarm.messaging) {
            try await pool.tended {
              guard configuration.drainsOnTermination else { return try await body(swarm) }
              return try await Termination.closing(pool, configuration.logger) { try await body(swarm) }
            }
          }
        })
    } catch { outcome = .failure(error) }
    await client.shutDown()
    return try outcome.get()
  }

  private nonisolated(nonsending) static func running<Result>(
    _ engine: SwarmEngine?, _ messages: SwarmMessages?, _ body: () async throws -> Result
  ) async throws -> Result {
    guard let engine else { return try await body() }
    return try await engine.run {
      guard let messages else { return try await body() }
      return try await messages.run(while: body)
    }
  }
}
