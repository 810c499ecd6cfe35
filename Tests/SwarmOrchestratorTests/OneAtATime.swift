import Dispatch

/// Runs tasks one after the other: a task that yields comes back when all others that could run have run. With it a test's clock knows when everybody
/// is done.
final class OneAtATime: TaskExecutor {
  /// The one in which a test runs.
  @TaskLocal static var current: OneAtATime?

  private let queue = DispatchQueue(label: "one at a time")

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}

/// Runs a body with all that it starts one after the other.
func oneAtATime<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
  let executor = OneAtATime()
  return try await OneAtATime.$current.withValue(executor) {
    try await withTaskExecutorPreference(executor) { try await body() }
  }
}
