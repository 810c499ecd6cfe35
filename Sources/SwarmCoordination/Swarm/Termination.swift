import Logging
import UnixSignals

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// SIGTERM as the order to take no new work, for as long as a worker is in its fleet.
enum Termination {
  /// Closes `pool` on SIGTERM while `body` runs. What was done on SIGTERM before is done again afterwards.
  nonisolated(nonsending) static func closing<Result>(
    _ pool: AgentPool, _ logger: Logger, while body: () async throws -> Result
  ) async throws -> Result {
    var before = sigaction()
    sigaction(SIGTERM, nil, &before)
    let signals = await UnixSignalsSequence(trapping: .sigterm)
    defer { sigaction(SIGTERM, &before, nil) }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for await _ in signals {
          pool.close()
          logger.info("taking no new work: this worker is told to end", metadata: ["worker.busy": "\(pool.busy)"])
        }
      }
      defer { group.cancelAll() }
      return try await body()
    }
  }
}
