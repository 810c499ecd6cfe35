import Synchronization

/// What an engine does beside its verbs, such as following a stream: started by verbs, run by `run()`.
final class EngineJobs: Sendable {
  typealias Job = @Sendable () async -> Void

  private let stream: AsyncStream<Job>
  private let continuation: AsyncStream<Job>.Continuation

  init() {
    // Each queue has two at most.
    (stream, continuation) = AsyncStream.makeStream(of: Job.self, bufferingPolicy: .bufferingOldest(4096))
  }

  /// Starts a job as soon as `run()` runs.
  func start(_ job: @escaping Job) throws {
    if case .dropped = continuation.yield(job) {
      throw EngineLink.Away(text: "the engine isn't running, and too much waits for it")
    }
  }

  func end() { continuation.finish() }

  /// Runs jobs until `end`, or until the task is cancelled.
  func run() async {
    await withDiscardingTaskGroup { group in
      for await job in stream { group.addTask { await job() } }
      group.cancelAll()
    }
  }
}
