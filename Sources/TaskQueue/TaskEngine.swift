/// What keeps tasks: in memory, in SQLite, in NATS JetStream. The verbs and their meaning are those of `TaskQueue`.
///
/// Errors are `TaskQueueError`s; whatever waits may also end by cancellation. `unavailable` says that the engine can't be reached: a
/// verb that ended so may have taken effect or not. All verbs can be said again: `submit` by its keys (without a key it may make a
/// second task), the others by their ticket.
package protocol TaskEngine: Sendable {
  /// What an acknowledged verb survives.
  var durability: Durability { get }
  /// Takes all of the tasks, or none.
  func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission]
  /// Hands out tasks; waits up to `wait` for the first.
  func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask]
  /// Renews a lease; gives its length.
  func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration
  /// Sets what the task's next claim begins with, in place of what the holder of the ticket began with or set last:
  /// `expected` is that one's step, nil where there was none. Refused with `checkpointConflict` when another is there.
  func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws
  /// Commits a result.
  func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion
  /// Ends an attempt without a result.
  func fail(_ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?) async throws -> FailureOutcome
  /// Hands a task back that was not begun, or that was stopped at a checkpoint: the attempt doesn't count.
  func release(_ ticket: TaskTicket) async throws
  /// Renews several leases in one call; an answer for each ticket, in their order.
  func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>]
  /// Commits several results in one call; an answer for each, in their order. Some may be refused while others are committed.
  func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>]
  /// Hands several tasks back in one call; an answer for each ticket, in their order.
  func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>]
  /// Gives a dead letter its attempts anew.
  func retry(_ id: TaskID) async throws
  /// Throws a dead letter away.
  func discard(_ id: TaskID) async throws
  /// A task.
  func record(_ id: TaskID) async throws -> TaskRecord
  /// Up to `maximum` tasks of a queue that are there, the oldest first.
  func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)]
  /// The counts of a queue, all zero for one that nobody has used; nil: of each queue there is, by name.
  func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics]
  /// What waits in a queue, cheaply enough to be asked by each worker every few seconds; nothing for one that nobody has used.
  func backlog(of queue: String) async throws -> TaskBacklog
  /// Ends all claims that wait, and lets none wait from now on: they get no tasks. For a server that ends.
  func endWaiting()
}

extension TaskEngine {
  /// Whether acknowledged tasks survive the end of the process.
  package var isDurable: Bool { durability > .memory }

  package func backlog(of queue: String) async throws -> TaskBacklog {
    let counts = try await statistics(of: queue)[queue] ?? TaskQueueStatistics()
    return TaskBacklog(waiting: counts.ready.reduce(0, +), oldest: counts.oldestPending)
  }

  /// Up to `maximum` dead letters of a queue, the oldest first.
  package func deadLetters(of queue: String, maximum: Int) async throws -> [(id: TaskID, record: TaskRecord)] {
    try await list(TaskListQuery(queue: queue, state: .dead, maximum: maximum))
  }

  // One by one, for engines that have no way to send several at once.

  package func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>] {
    try await each(tickets) { try await renew($0, lease: lease) }
  }

  package func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>] {
    try await each(results) { try await complete($0.ticket, result: $0.result) }
  }

  package func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>] {
    try await each(tickets) { try await release($0) }
  }

  private func each<Item, Answer>(
    _ items: [Item], _ body: (Item) async throws -> Answer
  ) async throws -> [Result<Answer, TaskQueueError>] {
    var answers: [Result<Answer, TaskQueueError>] = []
    for item in items {
      do {
        answers.append(.success(try await body(item)))
      } catch let error as TaskQueueError {
        answers.append(.failure(error))
      }
    }
    return answers
  }
}

/// What waits in a queue: the backlog to scale by.
package struct TaskBacklog: Hashable, Sendable {
  /// Tasks that could be claimed now.
  package var waiting: Int
  /// The age of the oldest of them; zero when none waits.
  package var oldest: Duration

  /// Puts it together.
  package init(waiting: Int, oldest: Duration) {
    self.waiting = waiting
    self.oldest = oldest
  }
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
  /// Of each lane the most tasks that the worker has room for; nil: each may have all of `maximum`.
  package var room: LaneCounts?

  /// Asks for tasks.
  package init(
    queue: String, worker: String, maximum: Int = 1, lease: Duration? = nil, room: LaneCounts? = nil
  ) {
    self.queue = queue
    self.worker = worker
    self.maximum = maximum
    self.lease = lease
    self.room = room
  }
}

/// A result to commit, of several.
package struct TaskResult: Hashable, Sendable {
  /// The claim that it comes from.
  package var ticket: TaskTicket
  /// The result.
  package var result: [UInt8]

  /// Puts a result together.
  package init(ticket: TaskTicket, result: [UInt8]) {
    self.ticket = ticket
    self.result = result
  }
}

/// Which tasks of a queue to look at.
package struct TaskListQuery: Hashable, Sendable {
  /// The queue.
  package var queue: String
  /// Only those in this state; nil: in any.
  package var state: TaskState.Name?
  /// Only those with a higher number: the last one of the page before.
  package var after: UInt64
  /// The most to give.
  package var maximum: Int

  /// Asks for a page.
  package init(queue: String, state: TaskState.Name? = nil, after: UInt64 = 0, maximum: Int = 100) {
    self.queue = queue
    self.state = state
    self.after = after
    self.maximum = maximum
  }
}
