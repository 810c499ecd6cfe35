import CoordinationEngine
import Synchronization
import TaskQueue

/// A local engine's queues.
struct LocalTasks: TaskEngine {
  let engine: LocalEngine

  var durability: Durability { engine.durability }

  func endWaiting() { engine.endWaiting() }

  func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    try await change(queue) { queue, now throws(TaskQueueError) in try queue.submit(tasks, now: now) }
  }

  // MARK: Claiming

  func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    let deadline = engine.now + wait
    let claimed = try await claimNow(request).tasks
    guard claimed.isEmpty, wait > .zero else { return claimed }
    let (id, signal) = engine.beginWaiting(request.queue)
    defer { engine.stopWaiting(request.queue, id) }
    while true {
      let claimed = try await claimNow(request)
      guard claimed.tasks.isEmpty, engine.now < deadline, engine.mayWait else { return claimed.tasks }
      // Leases that run out and back-offs that end give tasks too; of many who wait one looks after that.
      let next = engine.isFirst(id, request.queue) ? claimed.next.map { min(deadline, $0) } ?? deadline : deadline
      try await engine.wait(signal, until: next)
    }
  }

  private func claimNow(_ request: ClaimRequest) async throws -> (tasks: [ClaimedTask], next: Duration?) {
    try await change(request.queue) { queue, now throws(TaskQueueError) in
      let tasks = try queue.claim(
        worker: request.worker, maximum: request.maximum, lease: request.lease, room: request.room, now: now)
      return (tasks, queue.nextDeadline)
    }
  }

  // MARK: Steps

  func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    try await change(ticket.id) { queue, now throws(TaskQueueError) in try queue.renew(ticket, lease: lease, now: now) }
  }

  func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    try await change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.checkpoint(ticket, head, replacing: expected, now: now)
    }
  }

  func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    try await change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.complete(ticket, result: result, now: now)
    }
  }

  func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?
  ) async throws -> FailureOutcome {
    let jitter = UInt32.random(in: 0 ... .max)
    return try await change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.fail(ticket, reason: reason, isRetryable: isRetryable, delay: delay, jitter: jitter, now: now)
    }
  }

  func release(_ ticket: TaskTicket) async throws {
    try await change(ticket.id) { queue, now throws(TaskQueueError) in try queue.release(ticket, now: now) }
  }

  func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>] {
    try await each(tickets, \.id) { queue, ticket, now throws(TaskQueueError) in
      try queue.renew(ticket, lease: lease, now: now)
    }
  }

  func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>] {
    try await each(results, \.ticket.id) { queue, result, now throws(TaskQueueError) in
      try queue.complete(result.ticket, result: result.result, now: now)
    }
  }

  func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>] {
    try await each(tickets, \.id) { queue, ticket, now throws(TaskQueueError) in try queue.release(ticket, now: now) }
  }

  // MARK: Dead letters

  func retry(_ id: TaskID) async throws {
    try await change(id) { queue, now throws(TaskQueueError) in try queue.retry(id, now: now) }
  }

  func discard(_ id: TaskID) async throws {
    try await change(id) { queue, now throws(TaskQueueError) in try queue.discard(id, now: now) }
  }

  // MARK: Looking

  func record(_ id: TaskID) async throws -> TaskRecord {
    try await change(id) { queue, now throws(TaskQueueError) in
      queue.expire(now: now)
      return try queue.record(id)
    }
  }

  func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    let limit = engine.settings.tasks.listedTasks
    guard (1...limit).contains(query.maximum) else {
      throw TaskQueueError.invalid("limit: 1 to \(limit), not \(query.maximum)")
    }
    return try await perform { core, now in
      // Looking at a queue doesn't make it.
      guard core.queues.contains(query.queue) else { return [] }
      return try core.queues.change(query.queue) { queue throws(TaskQueueError) in
        queue.expire(now: now)
        return queue.list(state: query.state, after: query.after, maximum: query.maximum)
      }
    }
  }

  func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    try await perform { core, now in
      var result: [String: TaskQueueStatistics] = [:]
      for name in queue.map({ [$0] }) ?? core.queues.names {
        let exists = core.queues.contains(name)
        result[name] =
          exists
          ? try core.queues.change(name) { queue throws(TaskQueueError) in queue.statistics(now: now) }
          : TaskQueueStatistics()
      }
      return result
    }
  }

  // MARK: Changes

  private func change<Answer: Sendable>(
    _ name: String, _ body: (inout TaskQueue, Duration) throws(TaskQueueError) -> Answer
  ) async throws -> Answer {
    try await perform([name]) { core, now in
      try core.queues.change(name) { queue throws(TaskQueueError) in try body(&queue, now) }
    }
  }

  private func change<Answer: Sendable>(
    _ id: TaskID, _ body: (inout TaskQueue, Duration) throws(TaskQueueError) -> Answer
  ) async throws -> Answer {
    try await perform([id.queue]) { core, now in
      try core.queues.change(of: id) { queue throws(TaskQueueError) in try body(&queue, now) }
    }
  }

  /// Does something for each item at once: one lock, one commit.
  private func each<Item, Answer: Sendable>(
    _ items: [Item], _ id: (Item) -> TaskID,
    _ body: (inout TaskQueue, Item, Duration) throws(TaskQueueError) -> Answer
  ) async throws -> [Result<Answer, TaskQueueError>] {
    let queues = Set(items.map { id($0).queue })
    return try await perform(queues) { core, now in
      items.map { item in
        Result { () throws(TaskQueueError) in
          try core.queues.change(of: id(item)) { queue throws(TaskQueueError) in try body(&queue, item, now) }
        }
      }
    }
  }

  /// As the engine's, with an engine that can't write in the words of queues.
  func perform<Answer: Sendable>(
    _ queues: Set<String> = [], _ body: (inout EngineCore, Duration) throws -> Answer
  ) async throws -> Answer {
    do {
      return try await engine.perform(queues: queues, body)
    } catch let error as EngineError {
      throw TaskQueueError.unavailable("\(error)")
    }
  }
}

extension LocalEngine {
  /// The engine's time.
  var now: Duration { shared.withLock { $0.base } + clock.now }

  /// How many claims of a queue wait for tasks.
  package func waiting(in queue: String) -> Int { shared.withLock { $0.waiters[queue]?.count ?? 0 } }

  /// Whether a claim may wait.
  var mayWait: Bool { shared.withLock { !$0.isEnding && !$0.isClosed } }

  /// Puts somebody at the end of those who wait for a queue's tasks.
  func beginWaiting(_ queue: String) -> (id: UInt64, signal: Signal) {
    let (id, signal) = (makeID(), Signal())
    shared.withLock { $0.waiters[queue, default: []].append((id, signal)) }
    return (id, signal)
  }

  /// Takes somebody out; whoever is first then looks, in case the signal was for the one who leaves.
  func stopWaiting(_ queue: String, _ id: UInt64) {
    let signals = shared.withLock { shared in
      let wasFirst = shared.waiters[queue]?.first?.id == id
      shared.waiters[queue]?.removeAll { $0.id == id }
      if shared.waiters[queue]?.isEmpty == true { shared.waiters[queue] = nil }
      return shared.wakened(queue, hasEarlierDeadline: wasFirst)
    }
    for signal in signals { signal.signal() }
  }

  func isFirst(_ id: UInt64, _ queue: String) -> Bool {
    shared.withLock { $0.waiters[queue]?.first?.id == id }
  }

  /// Waits for a signal, until a time of the engine.
  func wait(_ signal: Signal, until deadline: Duration) async throws {
    let base = shared.withLock { $0.base }
    try await signal.wait(until: deadline - base, clock)
  }
}
