import CoordinationAPI
package import CoordinationEngine
import JetStreamEngine
package import Logging
import RateBudget
package import SwarmOrchestrator

/// The engine at `SWARMSCALE_TASKS` as this process has it: the link for tasks, and the engine itself.
package final class SwarmEngine: Sendable {
  /// How long what was handed back may take on its way when the process ends.
  private static let goodbye = Duration.seconds(2)

  /// What agents share.
  package let engine: any CoordinationEngine
  /// Queues of tasks.
  package let tasks: TaskQueueLink
  /// This process's part in the fleet that shares the engine: its place, and the lead when it is elected; nil without pod, and behind a server, which shards nothing.
  package let fleet: FleetSession?
  /// How the fleet stands, in Prometheus's text format; empty where there is none.
  package var fleetMetrics: String { fleet?.status.metrics ?? "" }
  private let address: EngineAddress
  private let clock: any CoordinationClock
  private let logger: Logger

  /// Who this process is to the fleet that shares the engine.
  package struct Pod: Sendable {
    var name: String
    var facts: @Sendable () -> PodFacts

    /// A pod by its name, with the slots of a pool.
    package init(_ name: String, _ pool: AgentPool) {
      self.name = name
      facts = {
        // No limit of slots counts as what is at work.
        var facts = PodFacts(slots: max(pool.slots, pool.busy, 1), busy: pool.busy)
        facts.isDraining = pool.isDraining
        return facts
      }
    }
  }

  /// Makes an engine, or the link to its server; it connects once `run` runs. Credentials are read here, once.
  ///
  /// - Throws: `SwarmConfigurationError` when a variable that belongs to the address can't be used.
  package init(
    _ address: EngineAddress, reading variable: (String) -> String?, file read: (String) -> String?,
    pod: Pod? = nil, clock: any CoordinationClock, logger: Logger
  ) throws(SwarmConfigurationError) {
    switch address {
    case .server(let server):
      engine = RemoteEngine(server, clock: clock)
      fleet = nil
      tasks = TaskQueueLink(server, clock: clock)
    case .nats(let servers):
      do throws(JetStreamAddress.Invalid) {
        let engine = JetStreamEngine(try servers.configuration(reading: variable, file: read), logger: logger)
        self.engine = engine
        // The time of day tells one start of a pod from the next.
        fleet = pod.map { pod in
          FleetSession(
            pod: pod.name, incarnation: UInt64(max(1, clock.wall.milliseconds)), engine: engine, logger: logger,
            facts: pod.facts)
        }
        tasks = TaskQueueLink(TaskAPI(engine: fleet?.tasks ?? engine.tasks), at: "\(servers)", clock: clock)
      } catch {
        throw SwarmConfigurationError(error.variable ?? SwarmEnvironment.Variable.tasks, nil, error.problem)
      }
    }
    (self.address, self.clock, self.logger) = (address, clock, logger)
  }

  /// Keeps the engine going while `body` runs; then hands back what is held, and lets go of connections.
  package nonisolated(nonsending) func run<Result>(_ body: () async throws -> Result) async throws -> Result {
    let outcome: Swift.Result<Result, any Error>
    // Owned: ended and awaited below. Not a child of this task: a worker that is cancelled hands its tasks back over this connection.
    let running = Task { [self] in
      do { try await engine.run() } catch is CancellationError {} catch {
        logger.error("the engine has ended", metadata: ["engine": "\(address)", "error": "\(error)"])
      }
    }
    // Owned: ended and awaited below, while the connection is still there for the goodbye.
    let joined = Task { [fleet] in await fleet?.run() }
    do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
    joined.cancel()
    await joined.value
    await fleet?.leave()
    await engine.close()
    await tasks.shutDown()
    // Owned: ended below.
    let limit = Task { [clock] in
      try? await clock.sleep(until: clock.now + Self.goodbye)
      running.cancel()
    }
    await running.value
    limit.cancel()
    return try outcome.get()
  }
}
