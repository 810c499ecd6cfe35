package import CoordinationProtocol
package import Logging
package import RateBudget
import Synchronization

/// A worker's place in the fleet: who grants, what it tells of itself, and the tasks behind both. The sidecar and `Swarm`
/// are built on it.
package final class SwarmMembership: Sendable {
  /// How long the goodbye to the coordinator may take.
  private static let goodbye = Duration.seconds(2)

  /// Who grants: the coordinator's link, or this process alone.
  package let authority: any BudgetAuthority
  /// What the worker does and may begin.
  package let pool: AgentPool
  /// The link to the coordinator; nil: the worker is on its own.
  package let link: CoordinatorLink?
  /// The name of this process in grant ids.
  package let client: String
  /// The fleet whose share requests come out of.
  package let fleet: String
  private let local: LocalAuthority?
  private let clock: any CoordinationClock
  private let logger: Logger
  private let lastTrouble = Mutex("")

  /// Joins the coordinator that the environment names.
  package init(
    link configuration: LinkConfiguration, identity: WorkerIdentity, pool: AgentPool, clock: any CoordinationClock,
    logger: Logger
  ) {
    let link = CoordinatorLink(
      identity: identity, configuration: configuration, clock: clock, seed: .random(in: .min ... .max),
      standingDrain: { pool.standingDrain }, onDrain: { pool.receive($0) })
    (self.link, authority, local) = (link, link, nil)
    (client, fleet) = (identity.client, identity.fleetName)
    (self.pool, self.clock, self.logger) = (pool, clock, logger)
  }

  /// Stays alone, with the budgets of a plan.
  package init(
    alone plan: BudgetPlan, fleet: String = "default", pool: AgentPool, clock: any CoordinationClock, logger: Logger
  ) {
    let local = LocalAuthority(plan: plan, clock: clock)
    (link, authority, self.local) = (nil, local, local)
    (client, self.fleet) = ("local", fleet)
    (self.pool, self.clock, self.logger) = (pool, clock, logger)
  }

  /// The budgets as this worker sees them, by key.
  package func reports() -> [(key: GroupKey, report: GroupReport)] { link?.reports() ?? local?.reports() ?? [] }

  private enum Ending {
    case link, background, time
  }

  /// Grants, and tells the coordinator what the worker does, while `body` runs; then says goodbye.
  package nonisolated(nonsending) func run<Result>(_ body: () async throws -> Result) async throws -> Result {
    try await withThrowingTaskGroup(of: Ending.self) { group in
      if let local {
        group.addTask {
          await local.run()
          return .background
        }
      }
      if let link {
        group.addTask {
          do { try await link.run { self.note($0, of: link) } } catch is CancellationError {}
          return .link
        }
        group.addTask { [pool] in
          do { try await pool.run(reportingTo: link) } catch is CancellationError {}
          return .background
        }
      }
      defer { group.cancelAll() }
      let outcome: Swift.Result<Result, any Error>
      do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
      pool.close()
      if let link {
        link.leave()
        group.addTask { [clock] in
          try await clock.sleep(until: clock.now + Self.goodbye)
          return .time
        }
        while let ending = try? await group.next(), ending == .background {}
      }
      return try outcome.get()
    }
  }

  /// A trouble that lasts is told once.
  private func note(_ error: any Error, of link: CoordinatorLink) {
    let text = link.explanation(of: error)
    let isNew = lastTrouble.withLock { last in
      defer { last = text }
      return last != text
    }
    logger.log(
      level: isNew ? .warning : .debug, "the coordinator can't be reached; going on at this worker's own share",
      metadata: ["coordinator": "\(link.place)", "error": "\(text)"])
  }
}
