import CoordinationEngine
import NATSClient
import NIOCore
import Synchronization
package import TaskQueue

/// What the holder of a ticket says.
extension JetStreamTasks {
  private struct Change {
    var record: StoredRecord
    var held: HeldTokens.Held?
    var handle: QueueHandle
  }

  /// Changes the record of a held task, by compare-and-set on what this engine knows of it; after a conflict on what is there.
  ///
  /// `isDone`: nothing is to be changed, what was to be said is said already.
  private func change(
    _ ticket: TaskTicket, timeToLive: Duration? = nil, deadline: NIODeadline? = nil,
    isDone: (StoredRecord) -> Bool = { _ in false },
    body: (StoredRecord, HeldTokens.Held?) async throws -> [UInt8] = { _, _ in [] },
    _ mutate: (inout StoredRecord) throws -> Void
  ) async throws -> Change? {
    let handle = try await found(ticket.id)
    let item = held[ticket]
    var known = item.map { ($0.record, $0.revision) }
    for _ in 0..<20 {
      if known == nil {
        guard let stored = try await stored(ticket.id.number, handle), stored.record.state != .discarded else {
          throw TaskQueueError.unknownTask("\(ticket.id)")
        }
        known = (stored.record, stored.revision)
      }
      guard let (record, revision) = known else { break }
      known = nil
      if isDone(record) { return nil }
      let now = EngineLink.wall
      // Also when the lease has run out: nobody has claimed it since, which would have changed the epoch.
      guard record.state == .leased, record.epoch == ticket.epoch else {
        handle.counts.withLock { $0.stale += 1 }
        throw TaskQueueError.staleTicket(ticket, currentEpoch: record.epoch, state: record.name(at: now))
      }
      var new = record
      try mutate(&new)
      if new == record { return Change(record: record, held: item, handle: handle) }
      let bytes = try await body(new, item)
      guard
        let written = try await write(
          ticket.id.number, new, bytes, expected: revision, timeToLive: timeToLive, handle)
      else { continue }
      if new.state == .leased {
        held.update(ticket, new, revision: written, deadline: deadline)
      } else {
        _ = held.remove(ticket)
      }
      return Change(record: new, held: item, handle: handle)
    }
    throw EngineLink.Away(text: "the record of task \(ticket.id) changes all the time; say it again")
  }

  package func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    let lease = lease ?? link.configuration.retries.lease
    guard link.configuration.taskLimits.lease.contains(lease) else {
      throw TaskQueueError.invalid(
        "leaseSeconds: \(link.configuration.taskLimits.lease.lowerBound.components.seconds) to "
          + "\(link.configuration.taskLimits.lease.upperBound.components.seconds)")
    }
    return try await link.queue(ticket.id.queue) {
      let deadline = link.client.eventLoop.now + .nanoseconds(lease.nanoseconds)
      let until = EngineLink.wall + lease
      let change = try await change(ticket, deadline: deadline) { $0.until = until }
      try? change?.held?.token.inProgress()
      return lease
    }
  }

  package func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>] {
    try await together(tickets) { try await self.renew($0, lease: lease) }
  }

  package func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>] {
    try await together(results) { try await self.complete($0.ticket, result: $0.result) }
  }

  package func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>] {
    try await together(tickets) { try await self.release($0) }
  }

  /// Says several things at once: they leave in one write, and their answers come together.
  private func together<Item: Sendable, Answer: Sendable>(
    _ items: [Item], _ body: @escaping @Sendable (Item) async throws -> Answer
  ) async throws -> [Result<Answer, TaskQueueError>] {
    try await withThrowingTaskGroup(of: (Int, Result<Answer, TaskQueueError>).self) { group in
      for (index, item) in items.enumerated() {
        group.addTask {
          do {
            return (index, .success(try await body(item)))
          } catch let error as TaskQueueError {
            return (index, .failure(error))
          }
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
  }

  package func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    let limit = link.configuration.taskLimits.checkpointBytes
    guard head.reference.count <= limit else {
      throw TaskQueueError.tooLarge(what: "checkpoint's reference", bytes: head.reference.count, limit: limit)
    }
    try await link.queue(ticket.id.queue) {
      _ = try await change(ticket) { record in
        // The same again: the answer was lost.
        if record.checkpoint == head { return }
        guard record.checkpoint?.step == expected else {
          throw TaskQueueError.checkpointConflict(ticket.id, expected: expected, current: record.checkpoint?.step)
        }
        guard head.step > expected ?? 0 || expected == nil else {
          throw TaskQueueError.invalid("step: each checkpoint has a higher one than the one before, \(expected ?? 0)")
        }
        record.checkpoint = head
      }
    }
  }

  package func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    let limit = link.configuration.taskLimits.resultBytes
    guard result.count <= limit else {
      throw TaskQueueError.tooLarge(what: "result", bytes: result.count, limit: limit)
    }
    return try await link.queue(ticket.id.queue) {
      let now = EngineLink.wall
      let remembered = link.configuration.remembered
      let change = try await change(
        ticket, timeToLive: remembered, isDone: { $0.state == .done && $0.epoch == ticket.epoch },
        body: { _, _ in result }
      ) { record in
        record.state = .done
        record.checkpoint = nil
        record.finished = now
      }
      guard let change else { return .alreadyCommitted }
      // Where it is lost, the token comes again, and is dropped for the result that is there.
      try? change.held?.token.ack()
      if let hash = change.record.keyHash {
        // The key goes with the record. Where this is lost the key stays, which costs its bytes.
        var options = PublishOptions()
        options.timeToLive = remembered
        var headers = NATSHeaders()
        options.apply(to: &headers)
        try? await link.client.publish(
          link.layout.keySubject(ticket.id.queue, hash), "\(ticket.id.number)", headers: headers)
      }
      return .committed
    }
  }

  package func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?
  ) async throws -> FailureOutcome {
    let policy = link.configuration.retries
    if let delay, !(.zero...policy.longestDelay).contains(delay) {
      throw TaskQueueError.invalid("delaySeconds: 0 to \(policy.longestDelay.components.seconds)")
    }
    let reason = String(reason.prefix(link.configuration.taskLimits.reasonCharacters))
    let jitter = jitter()
    return try await link.queue(ticket.id.queue) {
      let handle = try await found(ticket.id)
      let payload = try await payload(ticket, handle)
      var pause = Duration.zero
      let change = try await change(
        ticket, body: { record, _ in record.state == .dead ? payload : [] }
      ) { record in
        record.failures += 1
        record.lastFailure = reason
        guard isRetryable, record.attempts < record.maximumAttempts ?? policy.attempts else {
          record.state = .dead
          return
        }
        pause = delay ?? policy.delay(after: record.attempts, jitter: jitter)
        record.state = .delayed
        record.until = EngineLink.wall + pause
        record.turn += 1
      }
      guard let change else { return .dead }
      // First the successor, then the token's end: what happens between the two makes a copy, never a loss.
      if change.record.state == .delayed {
        try await publishToken(ticket.id.number, change.record, payload, handle.name)
      }
      try? change.held?.token.ack()
      return change.record.state == .dead ? .dead : .retried(after: pause)
    }
  }

  /// The payload of a held task: of a claim of an earlier engine from its token.
  private func payload(_ ticket: TaskTicket, _ handle: QueueHandle) async throws -> [UInt8] {
    if let item = held[ticket] { return item.payload }
    return try await token(ticket.id.number, handle)?.payload ?? []
  }

  package func release(_ ticket: TaskTicket) async throws {
    try await link.queue(ticket.id.queue) {
      let handle = try await found(ticket.id)
      let isOurs = held[ticket] != nil
      let payload = isOurs ? [] : try await payload(ticket, handle)
      let change = try await change(ticket) { record in
        record.attempts -= 1
        record.released += 1
        record.state = .ready
        if !isOurs { record.turn += 1 }
      }
      guard let change else { return }
      if isOurs, let token = change.held?.token {
        try? token.nak()
      } else {
        // The token of an earlier engine's claim is out of reach: another one takes its place.
        try await publishToken(ticket.id.number, change.record, payload, handle.name)
      }
    }
  }

  // MARK: Dead letters

  private func dead(
    _ id: TaskID
  ) async throws -> (handle: QueueHandle, record: StoredRecord, revision: UInt64, payload: [UInt8]) {
    let handle = try await found(id)
    guard let stored = try await stored(id.number, handle), stored.record.state != .discarded else {
      throw TaskQueueError.unknownTask("\(id)")
    }
    guard stored.record.state == .dead else {
      throw TaskQueueError.wrongState(id, is: stored.record.name(at: EngineLink.wall), needs: .dead)
    }
    return (handle, stored.record, stored.revision, stored.body)
  }

  package func retry(_ id: TaskID) async throws {
    try await link.queue(id.queue) {
      let (handle, record, revision, payload) = try await dead(id)
      var new = record
      new.turn += 1
      new.attempts = 0
      new.state = .ready
      // First the token: whoever meets it takes it for what it says, also when this ends here.
      try await publishToken(id.number, new, payload, handle.name)
      _ = try await write(id.number, new, [], expected: revision, handle)
    }
  }

  package func discard(_ id: TaskID) async throws {
    try await link.queue(id.queue) {
      let (handle, record, revision, _) = try await dead(id)
      var new = record
      new.state = .discarded
      guard
        try await write(
          id.number, new, [], expected: revision, timeToLive: link.configuration.remembered, handle) != nil
      else { throw TaskQueueError.wrongState(id, is: .ready, needs: .dead) }
      if let hash = record.keyHash {
        try await link.patiently {
          try await link.jetStream.purgeStream(
            link.layout.recordStream(handle.name), subject: link.layout.keySubject(handle.name, hash))
        }
      }
    }
  }
}
