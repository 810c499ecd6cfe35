/// What keeps tasks: in memory, and later in SQLite or NATS JetStream. The verbs and their meaning are those of `TaskQueue`.
///
/// Errors are `TaskQueueError`s; `claim` may also end by cancellation.
package protocol TaskEngine: Sendable {
  /// Whether acknowledged tasks survive the end of the process.
  var isDurable: Bool { get }
  /// Takes all of the tasks, or none.
  func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission]
  /// Hands out tasks; waits up to `wait` for the first.
  func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask]
  /// Renews a lease; gives its length.
  func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration
  /// Commits a result.
  func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion
  /// Ends an attempt without a result.
  func fail(_ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?) async throws -> FailureOutcome
  /// Hands a task back that was not begun.
  func release(_ ticket: TaskTicket) async throws
  /// Gives a dead letter its attempts anew.
  func retry(_ id: TaskID) async throws
  /// Throws a dead letter away.
  func discard(_ id: TaskID) async throws
  /// A task.
  func record(_ id: TaskID) async throws -> TaskRecord
  /// Up to `maximum` dead letters of a queue, the oldest first.
  func deadLetters(of queue: String, maximum: Int) async throws -> [(id: TaskID, record: TaskRecord)]
  /// The counts of a queue, all zero for one that nobody has used; nil: of each queue there is, by name.
  func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics]
}

/// What a worker asks for.
package struct ClaimRequest: Hashable, Sendable {
  /// The queue.
  package var queue: String
  /// Who asks, such as a pod's name.
  package var worker: String
  /// The most tasks to hand out.
  package var maximum: Int
  /// How long the tasks may be held without renewal; nil: the queue's policy.
  package var lease: Duration?

  /// Asks for tasks.
  package init(queue: String, worker: String, maximum: Int = 1, lease: Duration? = nil) {
    self.queue = queue
    self.worker = worker
    self.maximum = maximum
    self.lease = lease
  }
}
