package import KubernetesCore
import KubernetesRuntime
import Synchronization
package import TaskQueue

/// Queues in this process's memory: they are gone with it. For one machine and for tests.
package final class MemoryTaskEngine: TaskEngine {
  private struct Shared {
    var queues: TaskQueues
    /// Who waits for tasks, by queue.
    var waiters: [String: [UInt64: Wakeup]] = [:]
    var nextWaiter: UInt64 = 0
    var generator = SystemRandomNumberGenerator()
    var isClosed = false
  }

  private let shared: Mutex<Shared>
  private let time: any TimeSource

  /// Makes an engine without queues.
  package init(
    limits: TaskQueueLimits = TaskQueueLimits(), policy: TaskRetryPolicy = TaskRetryPolicy(), time: any TimeSource
  ) {
    // 40 bits: no two runs that a worker could take for one another share them.
    let instance = String(UInt64.random(in: 0..<(1 << 40)), radix: 36)
    shared = Mutex(Shared(queues: TaskQueues(instance: instance, limits: limits, policy: policy)))
    self.time = time
  }

  package var durability: Durability { .memory }

  /// Ends all waiting: they get no tasks.
  package func close() {
    let waiting = shared.withLock { shared in
      shared.isClosed = true
      return shared.waiters.values.flatMap(\.values)
    }
    for waiter in waiting { waiter.signal() }
  }

  package func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    try change(queue) { queue, now throws(TaskQueueError) in try queue.submit(tasks, now: now) }
  }

  package func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    let deadline = time.monotonicNow + wait
    let claimed = try claimNow(request)
    guard claimed.tasks.isEmpty, wait > .zero else { return claimed.tasks }
    let wakeup = Wakeup()
    let id = shared.withLock { shared in
      shared.nextWaiter += 1
      shared.waiters[request.queue, default: [:]][shared.nextWaiter] = wakeup
      return shared.nextWaiter
    }
    defer {
      shared.withLock { shared in
        shared.waiters[request.queue]?[id] = nil
        if shared.waiters[request.queue]?.isEmpty == true { shared.waiters[request.queue] = nil }
      }
    }
    while true {
      let claimed = try claimNow(request)
      guard claimed.tasks.isEmpty, time.monotonicNow < deadline, !shared.withLock({ $0.isClosed }) else {
        return claimed.tasks
      }
      // Leases that run out and back-offs that end give tasks too.
      let next = claimed.next.map { min(deadline, MonotonicTime(sinceOrigin: $0)) } ?? deadline
      try await wakeup.wait(until: next, time)
    }
  }

  private func claimNow(_ request: ClaimRequest) throws(TaskQueueError) -> (tasks: [ClaimedTask], next: Duration?) {
    try change(request.queue) { queue, now throws(TaskQueueError) in
      let tasks = try queue.claim(
        worker: request.worker, maximum: request.maximum, lease: request.lease, now: now)
      return (tasks, queue.nextDeadline)
    }
  }

  package func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    try change(ticket.id) { queue, now throws(TaskQueueError) in try queue.renew(ticket, lease: lease, now: now) }
  }

  package func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    try change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.complete(ticket, result: result, now: now)
    }
  }

  package func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?
  ) async throws -> FailureOutcome {
    let jitter = shared.withLock { UInt32.random(in: 0 ... .max, using: &$0.generator) }
    return try change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.fail(ticket, reason: reason, isRetryable: isRetryable, delay: delay, jitter: jitter, now: now)
    }
  }

  package func release(_ ticket: TaskTicket) async throws {
    try change(ticket.id) { queue, now throws(TaskQueueError) in try queue.release(ticket, now: now) }
  }

  package func retry(_ id: TaskID) async throws {
    try change(id) { queue, now throws(TaskQueueError) in try queue.retry(id, now: now) }
  }

  package func discard(_ id: TaskID) async throws {
    try change(id) { queue, now throws(TaskQueueError) in try queue.discard(id, now: now) }
  }

  package func record(_ id: TaskID) async throws -> TaskRecord {
    try change(id) { queue, now throws(TaskQueueError) in
      queue.expire(now: now)
      return try queue.record(id)
    }
  }

  package func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    shared.withLock {
      $0.queues.queue(query.queue)?.list(state: query.state, after: query.after, maximum: query.maximum) ?? []
    }
  }

  package func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    try change(ticket.id) { queue, now throws(TaskQueueError) in
      try queue.checkpoint(ticket, head, replacing: expected, now: now)
    }
  }

  package func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    let names = queue.map { [$0] } ?? shared.withLock { $0.queues.names }
    var result: [String: TaskQueueStatistics] = [:]
    for name in names {
      // Looking at a queue doesn't make it.
      let exists = shared.withLock { $0.queues.queue(name) != nil }
      result[name] =
        exists ? try change(name) { queue, now in queue.statistics(now: now) } : TaskQueueStatistics()
    }
    return result
  }

  // MARK: Changes

  private func change<Result: Sendable>(
    _ name: String, _ body: @Sendable (inout TaskQueue, Duration) throws(TaskQueueError) -> Result
  ) throws(TaskQueueError) -> Result {
    let now = time.monotonicNow.sinceOrigin
    var woken: [Wakeup] = []
    defer { for waiter in woken { waiter.signal() } }
    return try shared.withLock { shared throws(TaskQueueError) in
      try shared.queues.change(name) { queue throws(TaskQueueError) in
        let before = queue.nextDeadline
        defer {
          // Waiters sleep until the deadline that they saw; an earlier one is news.
          let isEarlier = queue.nextDeadline.map { next in before.map { next < $0 } ?? true } ?? false
          if queue.claimable > 0 || isEarlier { woken = shared.waiters[name].map { Array($0.values) } ?? [] }
        }
        return try body(&queue, now)
      }
    }
  }

  private func change<Result: Sendable>(
    _ id: TaskID, _ body: @Sendable (inout TaskQueue, Duration) throws(TaskQueueError) -> Result
  ) throws(TaskQueueError) -> Result {
    guard shared.withLock({ $0.queues.queue(id.queue) != nil }) else { throw .unknownTask("\(id)") }
    return try change(id.queue, body)
  }
}
