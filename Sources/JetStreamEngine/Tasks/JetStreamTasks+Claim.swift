import CoordinationEngine
import Logging
import NATSClient
import NIOCore
package import TaskQueue

extension JetStreamTasks {
  package func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    // What the rules refuse is refused by an empty queue too.
    _ = try check(request.queue) { rules throws(TaskQueueError) in
      try rules.claim(
        worker: request.worker, maximum: request.maximum, lease: request.lease, room: request.room, now: .zero)
    }
    return try await link.queue(request.queue) {
      let handle = try await queue(request.queue)
      return try await claim(request, handle, until: link.client.eventLoop.now + .nanoseconds(wait.nanoseconds))
    }
  }

  private func claim(_ request: ClaimRequest, _ handle: QueueHandle, until deadline: NIODeadline) async throws
    -> [ClaimedTask]
  {
    var room = request.room ?? LaneCounts(all: request.maximum)
    var claimed: [ClaimedTask] = []
    var waited: JetStreamMessage?
    while true {
      var tokens = waited.map { [$0] } ?? []
      waited = nil
      if let token = tokens.first, let lane = TaskLane(name: token.metadata.consumer) { room[lane] -= 1 }
      do {
        let more = request.maximum - claimed.count - tokens.count
        if more > 0 {
          let open = room
          tokens += try await link.patiently { try await handle.take(more, room: open) }
        }
      } catch  where !tokens.isEmpty || !claimed.isEmpty {
        // What is there is worked on.
      }
      let (came, isAlone) = (tokens, claimed.isEmpty)
      // Owned: awaited here, bounded by the patience. Broken off in the middle, a claim that nobody has would last for its lease.
      let new = try await Task { try await self.settle(came, request, handle, isLast: isAlone) }.value
      for task in new { room[task.lane] -= 1 }
      claimed += new
      if Task.isCancelled { return try await giveUp(claimed) }
      // Tokens that led to no task (copies, results that are there already) are no reason to come back with nothing.
      if !tokens.isEmpty, claimed.isEmpty { continue }
      if !claimed.isEmpty || link.client.eventLoop.now >= deadline || isWaitingEnded { return claimed }
      let open = room
      waited = await handle.intake.wait(room: open, until: deadline)
      if Task.isCancelled {
        try? waited?.nak()
        throw CancellationError()
      }
      if waited == nil { return claimed }
      if let waited, let lane = TaskLane(name: waited.metadata.consumer) { room[lane] += 1 }
    }
  }

  /// Whoever was cancelled gets nothing: others can have it at once.
  private func giveUp(_ claimed: [ClaimedTask]) async throws -> [ClaimedTask] {
    // Owned: awaited here, bounded by the patience. Calls of a cancelled task are cancelled.
    _ = try? await Task { try await self.release(claimed.map(\.ticket)) }.value
    throw CancellationError()
  }

  /// Makes claims of tokens, all at once; gives them in the tokens' order.
  private func settle(
    _ tokens: [JetStreamMessage], _ request: ClaimRequest, _ handle: QueueHandle, isLast: Bool
  ) async throws -> [ClaimedTask] {
    let results = await withTaskGroup(of: (Int, Result<ClaimedTask?, any Error>).self) { group in
      for (index, token) in tokens.enumerated() {
        group.addTask {
          do {
            return (index, .success(try await self.settle(token, request, handle)))
          } catch {
            try? token.nak()
            return (index, .failure(error))
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.map(\.1)
    }
    let claimed = results.compactMap { try? $0.get() }
    if claimed.isEmpty, isLast, let failure = results.first(where: { if case .failure = $0 { true } else { false } }) {
      _ = try failure.get()
    }
    return claimed
  }

  private enum Verdict {
    /// This claim begins.
    case claim(StoredRecord)
    /// It has had its attempts.
    case dead(StoredRecord)
    /// Somebody else has it until then.
    case later(Duration)
    /// Nothing is to be done for this token; where `repair` is set, its successor may be missing.
    case drop(repair: StoredRecord?)
  }

  /// What a token is worth beside what its task's record says.
  private func judge(
    _ token: JetStreamMessage, _ fresh: StoredRecord, _ record: StoredRecord?, now: Duration
  ) -> Verdict {
    guard var record else { return begin(fresh) }
    if record.turn > fresh.turn {
      return .drop(repair: record.state == .ready || record.state == .delayed ? record : nil)
    }
    if record.turn < fresh.turn {
      // Put in by `retry`, which ended before it could say so in the record.
      guard record.state == .dead else { return .drop(repair: nil) }
      record.turn = fresh.turn
      record.attempts = 0
      return begin(record)
    }
    switch record.state {
    case .done, .dead, .discarded: return .drop(repair: nil)
    case .ready, .delayed: return begin(record)
    case .leased:
      if record.token != token.metadata.streamSequence { return .drop(repair: nil) }
      if record.until > now { return .later(record.until - now) }
      record.expired += 1
      record.lastFailure =
        "the lease of \(record.worker) ran out: it ended without a word, or didn't renew the lease"
      return begin(record)
    }
  }

  private func begin(_ record: StoredRecord) -> Verdict {
    record.attempts < record.maximumAttempts ?? link.configuration.retries.attempts ? .claim(record) : .dead(record)
  }

  /// Makes a claim of a token; nil where it led to none.
  private func settle(_ token: JetStreamMessage, _ request: ClaimRequest, _ handle: QueueHandle) async throws
    -> ClaimedTask?
  {
    guard let number = token.subject.split(separator: ".").last.flatMap({ UInt64($0) }),
      let fresh = StoredRecord(token.headers)
    else {
      try token.term(reason: "no task of this engine")
      return nil
    }
    let payload: [UInt8]
    do {
      payload = try PackedBody.unpack(token.payload, token.headers)
    } catch {
      // A newer worker may be able to: this one leaves it alone for a while.
      logger.error("a task can't be read", metadata: ["task": "\(handle.name)-\(number)", "error": "\(error)"])
      try token.nak(delay: link.configuration.ackWait)
      return nil
    }
    var isConsistent = configurationIsSingle
    for _ in 0..<10 {
      let now = EngineLink.wall
      let stored = try await stored(number, handle, consistent: !isConsistent)
      isConsistent = false
      switch judge(token, fresh, stored?.record, now: now) {
      case .drop(let successor):
        if let successor { try await publishToken(number, successor, payload, handle.name) }
        try token.ack()
        return nil
      case .later(let pause):
        try token.nak(delay: pause + .milliseconds(1))
        return nil
      case .dead(var record):
        record.state = .dead
        if try await write(number, record, payload, expected: stored?.revision ?? 0, handle) != nil {
          try token.ack()
          return nil
        }
      case .claim(var record):
        let lease = request.lease ?? link.configuration.retries.lease
        record.epoch += 1
        record.attempts += 1
        record.state = .leased
        record.worker = request.worker
        record.until = now + lease
        record.token = token.metadata.streamSequence
        let deadline = link.client.eventLoop.now + .nanoseconds(lease.nanoseconds)
        guard let revision = try await write(number, record, [], expected: stored?.revision ?? 0, handle) else {
          continue
        }
        let ticket = TaskTicket(
          id: TaskID(queue: handle.name, instance: handle.instance, number: number), epoch: record.epoch)
        held.insert(
          ticket, .init(token: token, record: record, revision: revision, payload: payload, deadline: deadline))
        return ClaimedTask(
          ticket: ticket, lane: record.lane, key: record.key, payload: payload, attempt: record.attempts, lease: lease,
          age: max(.zero, now - record.submitted), checkpoint: record.checkpoint)
      }
    }
    throw EngineLink.Away(text: "the record of task \(number) changes all the time; claim again")
  }

  /// Whether any answer is the leader's.
  private var configurationIsSingle: Bool { link.configuration.replicas == 1 }

  /// Writes a record if nobody else has; nil where somebody has.
  func write(
    _ number: UInt64, _ record: StoredRecord, _ body: [UInt8], expected: UInt64, timeToLive: Duration? = nil,
    _ handle: QueueHandle
  ) async throws -> UInt64? {
    let (payload, headers) = PackedBody.pack(body, record.headers)
    do {
      return try await link.jetStream.compareAndSet(
        stream: link.layout.recordStream(handle.name), link.layout.recordSubject(handle.name, number),
        payload, headers: headers, expected: expected, timeToLive: timeToLive,
        retryingFor: link.configuration.patience)
    } catch let error as JetStreamError where error.isWrongSequence {
      return nil
    }
  }
}
