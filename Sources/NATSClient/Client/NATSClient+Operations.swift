package import NIOCore
import Synchronization

/// What tasks call.
extension NATSClient {
  // MARK: Publishing

  /// Sends a message. It returns when the message is in the client's buffer, and waits while that is full: the server's receipt is what `flush` tells.
  package func publish(
    _ subject: String, _ payload: ByteBuffer = ByteBuffer(), headers: NATSHeaders = [:], reply: String? = nil
  ) async throws {
    try check(subject, headers, reply)
    while true {
      let admission = try state.withLock { state throws(NATSError) in
        try state.publish(
          subject: subject, reply: reply, headers: headers, payload: payload, configuration: configuration)
      }
      switch admission {
      case .sent(let flush):
        flush?.scheduleFlush()
        return
      case .wait: try await waitForRoom()
      }
    }
  }

  /// Sends text.
  package func publish(
    _ subject: String, _ text: String, headers: NATSHeaders = [:], reply: String? = nil
  ) async throws {
    try await publish(subject, ByteBuffer(string: text), headers: headers, reply: reply)
  }

  /// Sends without waiting: for answers and acknowledgements, which are small and have to go out even when much else waits.
  func post(_ subject: String, _ payload: ByteBuffer, headers: NATSHeaders = [:]) throws(NATSError) {
    let admission = try state.withLock { state throws(NATSError) in
      try state.publish(
        subject: subject, reply: nil, headers: headers, payload: payload, configuration: configuration,
        ignoresHighWater: true)
    }
    if case .sent(let flush) = admission { flush?.scheduleFlush() }
  }

  /// As `post`, with a subject for the answer.
  func post(_ subject: String, _ payload: ByteBuffer, reply: String) throws(NATSError) {
    let admission = try state.withLock { state throws(NATSError) in
      try state.publish(
        subject: subject, reply: reply, headers: [:], payload: payload, configuration: configuration,
        ignoresHighWater: true)
    }
    if case .sent(let flush) = admission { flush?.scheduleFlush() }
  }

  private func check(_ subject: String, _ headers: NATSHeaders, _ reply: String?) throws(NATSError) {
    guard NATSSubject.isPublishable(subject) else {
      throw NATSError(.invalidSubject, "'\(subject)' is no subject to publish to: no wildcards, blanks or empty tokens")
    }
    if let reply, !NATSSubject.isPublishable(reply) {
      throw NATSError(.invalidSubject, "'\(reply)' is no subject for replies")
    }
    if !headers.isEmpty, let name = headers.invalidName {
      throw NATSError(.invalidHeader, "the header '\(name)' has a blank, a colon or a line break where none may be")
    }
  }

  private func waitForRoom() async throws {
    let id = state.withLock { state in
      state.out.nextWaiter += 1
      return state.out.nextWaiter
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isFree = state.withLock { state in
          if !state.isConnected || state.out.total <= configuration.outboundHighWater || Task.isCancelled {
            return true
          }
          state.out.waiters.append((id, continuation))
          return false
        }
        if isFree { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.out.waiters.firstIndex { $0.id == id }.map { state.out.waiters.remove(at: $0) }
      }
      waiter?.continuation.resume()
    }
    try Task.checkCancellation()
  }

  /// Waits until the server has had everything that was published before: PING and its PONG. Before a connection it waits for one.
  package func flush() async throws {
    let id = state.withLock { state in
      state.nextFlush += 1
      return state.nextFlush
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: ClientState.Pong) in
        let (refusal, flush) = state.withLock { state -> ((any Error)?, Link?) in
          if state.machine.isEnded { return (state.machine.failure ?? NATSError.closed, nil) }
          if Task.isCancelled { return (CancellationError(), nil) }
          state.ping(.flush(id, continuation))
          return (nil, state.scheduleFlush())
        }
        if let refusal { continuation.resume(throwing: refusal) }
        flush?.scheduleFlush()
      }
    } onCancel: {
      let waiter = state.withLock { state -> ClientState.Pong? in
        for at in state.pongs.indices {
          if case .flush(id, let waiter) = state.pongs[at] {
            // Its PONG still comes: the place in the line stays.
            state.pongs[at] = .flush(id, nil)
            return waiter
          }
        }
        for at in state.leavingPongs.indices {
          if case .flush(id, let waiter) = state.leavingPongs[at] {
            state.leavingPongs[at] = .flush(id, nil)
            return waiter
          }
        }
        return nil
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  // MARK: Requests

  /// Sends a message and returns the first answer. Any number can be under way at once over the one connection.
  ///
  /// - Throws: `noResponders` at once where nobody listens; `timeout`; `connectionLost`; `CancellationError`.
  package func request(
    _ subject: String, _ payload: ByteBuffer = ByteBuffer(), headers: NATSHeaders = [:], timeout: Duration? = nil
  ) async throws -> NATSMessage {
    try check(subject, headers, nil)
    return try await ask(subject, payload, headers: headers, timeout: timeout)
  }

  /// A request whose subject is known to be good: the API's may hold a filter with wildcards.
  func ask(
    _ subject: String, _ payload: ByteBuffer, headers: NATSHeaders = [:], timeout: Duration?
  ) async throws -> NATSMessage {
    if state.withLock({ $0.isConnected && $0.out.total > configuration.outboundHighWater }) { try await waitForRoom() }
    let id = state.withLock { state in
      state.ensureReplies()
      return state.requests.makeID()
    }
    let wait = (timeout ?? configuration.requestTimeout).nanoseconds
    let message = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: ClientState.Answer) in
        begin(id, continuation, subject, payload, headers, deadline: eventLoop.now + .nanoseconds(wait))
      }
    } onCancel: {
      state.withLock { $0.requests.take(id) }?.resume(throwing: CancellationError())
    }
    if message.status?.code == NATSStatus.noResponders {
      throw NATSError(.noResponders, "nobody listens on \(subject)")
    }
    return message
  }

  private func begin(
    _ id: UInt64, _ continuation: ClientState.Answer, _ subject: String, _ payload: ByteBuffer, _ headers: NATSHeaders,
    deadline: NIODeadline
  ) {
    let (refusal, flush, timer) = state.withLock { state -> ((any Error)?, Link?, NIODeadline?) in
      if Task.isCancelled { return (CancellationError(), nil, nil) }
      do throws(NATSError) {
        let admission = try state.publish(
          subject: subject, reply: "\(state.inboxPrefix).\(id)", headers: headers, payload: payload,
          configuration: configuration, ignoresHighWater: true)
        state.requests.insert(id, continuation, deadline: deadline)
        var timer: NIODeadline?
        if state.timerDeadline.map({ deadline < $0 }) ?? true {
          state.timerDeadline = deadline
          timer = deadline
        }
        if case .sent(let flush) = admission { return (nil, flush, timer) }
        return (nil, nil, timer)
      } catch {
        return (error, nil, nil)
      }
    }
    if let refusal { continuation.resume(throwing: refusal) }
    flush?.scheduleFlush()
    if let timer { eventLoop.scheduleTask(deadline: timer) { self.expireRequests(timer) } }
  }

  // MARK: Subscriptions

  /// Subscribes; before a connection it takes effect with it. Messages that others publish after a `flush` that follows are sure to arrive.
  package func subscribe(
    _ subject: String, queue: String? = nil, limits: SubscriptionLimits = SubscriptionLimits()
  ) throws -> NATSSubscription {
    try subscribe(subject, queue: queue, limits: limits, marksReconnects: false)
  }

  /// As above; `marksReconnects` puts a message with the status `NATSStatus.reconnected` between those of two connections.
  package func subscribe(
    _ subject: String, queue group: String?, limits: SubscriptionLimits, marksReconnects: Bool
  ) throws(NATSError) -> NATSSubscription {
    guard NATSSubject.isSubscribable(subject) else {
      throw NATSError(
        .invalidSubject, "'\(subject)' is no subject to subscribe to: blanks, empty tokens or a > before the end")
    }
    if let group, !NATSSubject.isPublishable(group) {
      throw NATSError(.invalidSubject, "'\(group)' is no name of a queue group")
    }
    let queue = SubscriptionQueue(limits, marksReconnects: marksReconnects)
    let (sid, flush) = try state.withLock { state throws(NATSError) in
      guard !state.machine.isEnded, !state.isDraining else { throw state.machine.failure ?? .closed }
      let sid = state.registry.add(subject: subject, queue: group, sink: .queue(queue))
      // Without a connection the registry is enough: the next one is told.
      guard state.isConnected else { return (sid, nil as Link?) }
      ProtocolEncoder.subscribe(sid: sid, subject: subject, queue: group, into: &state.out.pending)
      return (sid, state.scheduleFlush())
    }
    flush?.scheduleFlush()
    return NATSSubscription(subject: subject, sid: sid, queue: queue, client: self)
  }

  /// An inbox of this client's that nobody else has.
  package func makeInbox() -> String {
    state.withLock { "\($0.inboxPrefix)x.\($0.requests.makeID())" }
  }

  func unsubscribe(_ sid: UInt64, after maximum: Int?) {
    let (ended, flush) = state.withLock { state -> (SubscriptionQueue?, Link?) in
      var ended: ClientState.Sink?
      var count: Int?
      if let maximum, maximum > 0 {
        guard let (remaining, entry) = state.registry.limit(sid, to: maximum) else { return (nil, nil) }
        if remaining == nil { ended = entry.sink }
        count = remaining
      } else {
        guard let entry = state.registry.remove(sid) else { return (nil, nil) }
        ended = entry.sink
      }
      if state.isConnected { ProtocolEncoder.unsubscribe(sid: sid, after: count, into: &state.out.pending) }
      let flush = state.scheduleFlush()
      if case .queue(let queue)? = ended { return (queue, flush) }
      return (nil, flush)
    }
    ended?.finish()
    flush?.scheduleFlush()
  }

  func unsubscribe(_ sid: UInt64, error: NATSError, queue: SubscriptionQueue) {
    // First, since unsubscribing finishes it without an error.
    queue.finish(error)
    unsubscribe(sid, after: nil)
  }

  /// Waits on the client's event loop.
  ///
  /// - Throws: `CancellationError`.
  package func pause(_ duration: Duration) async throws {
    let gate = Attention()
    await withTaskCancellationHandler {
      await gate.wait(until: eventLoop.now + .nanoseconds(duration.nanoseconds), on: eventLoop)
    } onCancel: {
      gate.signal()
    }
    try Task.checkCancellation()
  }

  /// Answers a request.
  package func respond(to message: NATSMessage, _ payload: ByteBuffer, headers: NATSHeaders = [:]) async throws {
    guard let reply = message.reply else { throw NATSError(.invalidArgument, "the message asks for no answer") }
    try await publish(reply, payload, headers: headers)
  }
}
