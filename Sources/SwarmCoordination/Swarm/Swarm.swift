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
  private let queue: TaskQueueLink?
  private let worker: String
  private let logger: Logger

  private init(
    agents: AgentPool, claude: Claude, link: CoordinatorLink?, queue: TaskQueueLink?, worker: String, logger: Logger
  ) {
    self.agents = agents
    self.claude = claude
    self.link = link
    self.queue = queue
    self.worker = worker
    self.logger = logger
  }

  /// The queue of tasks with a name, at `SWARMSCALE_TASKS`.
  ///
  /// - Throws: `SwarmConfigurationError` when that isn't set.
  public func tasks(_ name: String) throws(SwarmConfigurationError) -> SwarmTasks {
    guard let queue else {
      throw SwarmConfigurationError(
        SwarmEnvironment.Variable.tasks, nil,
        "isn't set; set it to the URL of the task queue, such as http://127.0.0.1:8099 (`swarmscale local` sets it)")
    }
    return SwarmTasks(queue: name, worker: worker, link: queue, agents: agents, logger: logger)
  }

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
    let queue = environment.tasks.map { TaskQueueLink($0, clock: clock) }
    let swarm = Swarm(
      agents: pool, claude: Claude(gateway: gateway, headers: configuration.headers), link: membership.link,
      queue: queue, worker: environment.pod.isEmpty ? ProcessFacts.hostName() : environment.pod,
      logger: configuration.logger)
    let outcome: Swift.Result<Result, any Error>
    do {
      outcome = .success(
        try await membership.run {
          guard configuration.drainsOnTermination else { return try await body(swarm) }
          return try await Termination.closing(pool, configuration.logger) { try await body(swarm) }
        })
    } catch { outcome = .failure(error) }
    await client.shutDown()
    await queue?.shutDown()
    return try outcome.get()
  }
}
