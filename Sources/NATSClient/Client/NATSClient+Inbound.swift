import Logging
import NIOCore
import Synchronization

/// What the links call, on the event loop.
extension NATSClient {
  /// What is left to do when the lock is free again.
  private struct Work {
    var deliveries: [(queue: SubscriptionQueue, messages: [NATSMessage], isLast: Bool, sid: UInt64)] = []
    var answers: [(ClientState.Answer, NATSMessage)] = []
    var pongs: [ClientState.Pong] = []
    var ended: [(SubscriptionQueue, NATSError?)] = []
    var isDrained = false
    var isMoved = false
    var flush: Link?
    var wantsAttention = false
    var failure: NATSError?
    var warnings: [String] = []
  }

  // MARK: Coming and going

  /// A handshake is done.
  func ready(_ link: Link, _ info: ServerInfo) {
    let (activation, marked, move) = state.withLock { state in
      let activation = state.machine.ready(link.id, info: info)
      switch activation {
      case .discard: return (activation, [SubscriptionQueue](), nil as (Link, ByteBuffer, ByteBuffer)?)
      case .activate:
        state.link = link
        state.info = info
        state.statistics.connects += 1
        return (activation, Self.introduce(&state, withReplies: true), nil)
      case .move:
        state.statistics.connects += 1
        state.statistics.lameDuckMoves += 1
        return (activation, [], Self.beginMove(to: link, info, &state))
      }
    }
    logger.debug("connected", metadata: ["nats.server": "\(link.endpoint)", "nats.serverName": "\(info.serverName)"])
    mark(marked)
    if let (old, greeting, farewell) = move {
      link.send(greeting)
      old.send(farewell)
      // The old server may die before it answers; its loss ends the move as well.
      eventLoop.scheduleTask(in: .seconds(2)) { self.finishMove(old) }
    } else if activation == .discard {
      link.fail(.closed)
    } else {
      link.flush()
    }
    signal()
  }

  private func mark(_ queues: [SubscriptionQueue]) {
    let mark = NATSMessage(subject: "", status: NATSStatus(code: NATSStatus.reconnected, description: "Reconnected"))
    for queue in queues { _ = queue.deliver([mark], from: 0, resume: {}) }
  }

  /// Puts what the client wants before all that waits. Returns the queues that get a mark.
  private static func introduce(_ state: inout ClientState, withReplies: Bool) -> [SubscriptionQueue] {
    var buffer = ByteBuffer()
    state.registry.resubscribe(into: &buffer) { entry in
      if case .replies = entry.sink { withReplies } else { true }
    }
    // SUB and UNSUB that still waited may come twice: the server ignores a SUB with an id that it has.
    buffer.writeImmutableBuffer(state.out.pending)
    state.out.pending = buffer
    state.out.inFlight = 0
    state.out.isFlushScheduled = false
    return state.registry.entries.values.compactMap { entry in
      if case .queue(let queue) = entry.sink, queue.marksReconnects { queue } else { nil }
    }
  }

  /// Leaves a server that is about to go. Answers are awaited on both connections (each is taken once); the other subscriptions first end on the
  /// old one, with a PING behind them, and begin on the new one with its PONG: nothing comes twice, and the gap is one round trip.
  private static func beginMove(
    to link: Link, _ info: ServerInfo, _ state: inout ClientState
  ) -> (Link, ByteBuffer, ByteBuffer)? {
    guard let old = state.link else { return nil }
    state.leaving = old
    state.link = link
    state.info = info
    var greeting = ByteBuffer()
    state.registry.resubscribe(into: &greeting) { entry in
      if case .replies = entry.sink { true } else { false }
    }
    // What waits still goes the old way, whole frames, before the farewell.
    var farewell = state.out.pending
    state.out.pending = ByteBuffer()
    state.out.pendingPings = 0
    for (sid, entry) in state.registry.entries {
      if case .queue = entry.sink { ProtocolEncoder.unsubscribe(sid: sid, into: &farewell) }
    }
    ProtocolEncoder.ping(into: &farewell)
    state.leavingPongs = state.pongs + [.leave]
    state.pongs = []
    return (old, greeting, farewell)
  }

  private func finishMove(_ old: Link) {
    let (marked, link, lost, rooms, wasDrained) = state.withLock { state in
      guard state.leaving === old else {
        return ([SubscriptionQueue](), nil as Link?, [ClientState.Pong](), [CheckedContinuation<Void, Never>](), false)
      }
      state.leaving = nil
      state.machine.moved()
      let lost = state.leavingPongs.compactMap { ping -> ClientState.Pong? in
        if case .flush(_, let waiter) = ping { waiter } else { nil }
      }
      state.leavingPongs = []
      let marked = Self.introduce(&state, withReplies: false)
      return (marked, state.link, lost, state.out.takeWaiters(), state.drainsAfterMove)
    }
    guard let link else { return }
    mark(marked)
    for waiter in lost { waiter.resume(throwing: NATSError.connectionLost) }
    for room in rooms { room.resume() }
    link.flush()
    old.fail(.closed)
    if wasDrained { drain() }
    logger.debug("left a server that announced its end", metadata: ["nats.server": "\(old.endpoint)"])
    signal()
  }

  /// A link is gone.
  func closed(_ link: Link, _ error: NATSError) {
    let (loss, answers, pongs, rooms, old) = state.withLock { state in
      let loss = state.machine.lost(link.id, error)
      guard loss == .current else {
        return (
          loss, [ClientState.Answer](), [ClientState.Ping](), [CheckedContinuation<Void, Never>](), nil as Link?
        )
      }
      state.link = nil
      let old = state.leaving
      state.leaving = nil
      state.out.inFlight = 0
      state.out.isFlushScheduled = false
      // PINGs that weren't handed over are sent on the next connection, so their PONGs will come.
      let waiting = min(state.out.pendingPings, state.pongs.count)
      let pongs = state.leavingPongs + state.pongs.dropLast(waiting)
      state.pongs = Array(state.pongs.suffix(waiting))
      state.leavingPongs = []
      if state.isDraining { state.machine.stop() }
      return (loss, state.requests.takeAll(), pongs, state.out.takeWaiters(), old)
    }
    old?.fail(.closed)
    if loss == .moved { finishMove(link) }
    for answer in answers { answer.resume(throwing: NATSError.connectionLost) }
    for case .flush(_, let waiter?) in pongs { waiter.resume(throwing: NATSError.connectionLost) }
    for room in rooms { room.resume() }
    if loss == .current {
      logger.debug(
        "connection lost", metadata: ["nats.server": "\(link.endpoint)", "nats.error": "\(error)"])
    }
    signal()
  }

  // MARK: Reading

  /// Operations after the handshake.
  func received(_ link: Link, _ operations: ArraySlice<ServerOperation>) {
    let work = state.withLock { sort(operations, from: link, &$0) }
    for delivery in work.deliveries {
      let result = delivery.queue.deliver(delivery.messages[...], from: link.id, resume: { link.resume() })
      switch result {
      case .accepted: break
      case .pause: link.pause()
      case .tooSlow:
        unsubscribe(
          delivery.sid,
          error: NATSError(
            .slowConsumer,
            "messages came faster than they were taken, and \(delivery.queue.limits.messages) were waiting"),
          queue: delivery.queue)
      }
      if delivery.isLast { delivery.queue.finish() }
    }
    for (answer, message) in work.answers { answer.resume(returning: message) }
    for pong in work.pongs { pong.resume() }
    for (queue, error) in work.ended { queue.finish(error) }
    for warning in work.warnings {
      logger.warning("server error", metadata: ["nats.server": "\(link.endpoint)", "nats.error": "\(warning)"])
    }
    work.flush?.flush()
    if work.isMoved { finishMove(link) }
    if work.isDrained { stop() }
    if let failure = work.failure { link.fail(failure) }
    if work.wantsAttention { signal() }
  }

  private func sort(
    _ operations: ArraySlice<ServerOperation>, from link: Link, _ state: inout ClientState
  ) -> Work {
    var work = Work()
    state.machine.heard(link.id)
    var at = operations.startIndex
    while at < operations.endIndex {
      switch operations[at] {
      case .message(let sid, _):
        // A run of messages of one subscription costs one look-up and one lock.
        var run: [NATSMessage] = []
        while at < operations.endIndex, case .message(sid, let message) = operations[at] {
          run.append(message)
          at += 1
        }
        take(sid, run, &state, &work)
        continue
      case .ping:
        if state.link === link, state.leaving == nil {
          ProtocolEncoder.pong(into: &state.out.pending)
          work.flush = state.scheduleFlush()
        } else {
          link.send(ByteBuffer(string: "PONG\r\n"))
        }
      case .pong: pong(link, &state, &work)
      case .info(let json): inform(json, link, &state, &work)
      case .error(let text): complain(text, link, &state, &work)
      case .ok: break
      }
      at += 1
    }
    return work
  }

  private func take(_ sid: UInt64, _ run: [NATSMessage], _ state: inout ClientState, _ work: inout Work) {
    guard let (sink, accepted, isLast) = state.registry.delivered(sid, count: run.count) else { return }
    state.statistics.messagesIn += accepted
    switch sink {
    case .queue(let queue):
      work.deliveries.append((queue, accepted == run.count ? run : Array(run.prefix(accepted)), isLast, sid))
    case .replies:
      for message in run {
        guard let id = state.requestID(message.subject), let answer = state.requests.take(id) else { continue }
        work.answers.append((answer, message))
      }
    }
  }

  private func pong(_ link: Link, _ state: inout ClientState, _ work: inout Work) {
    let ping: ClientState.Ping
    if state.leaving === link {
      guard !state.leavingPongs.isEmpty else { return }
      ping = state.leavingPongs.removeFirst()
    } else {
      guard !state.pongs.isEmpty else { return }
      ping = state.pongs.removeFirst()
    }
    switch ping {
    case .watchdog: break
    case .flush(_, let waiter): if let waiter { work.pongs.append(waiter) }
    case .leave: work.isMoved = true
    case .drain: work.isDrained = true
    }
  }

  private func inform(_ json: ByteBuffer, _ link: Link, _ state: inout ClientState, _ work: inout Work) {
    guard let info = try? ServerInfo(parsing: json) else { return }
    if state.link === link { state.info = info }
    if state.machine.updated(link.id, info: info) {
      logger.debug("the server announced its end", metadata: ["nats.server": "\(link.endpoint)"])
    }
    // Even without a lame duck: new servers may be where to go.
    work.wantsAttention = true
  }

  private func complain(_ text: String, _ link: Link, _ state: inout ClientState, _ work: inout Work) {
    let lowered = text.lowercased()
    if lowered.hasPrefix("permissions violation") {
      work.warnings.append(text)
      let parts = text.split(separator: "\"", omittingEmptySubsequences: false)
      guard lowered.contains("for subscription"), parts.count > 1 else { return }
      for (sid, entry) in state.registry.entries where entry.subject == parts[1] {
        _ = state.registry.remove(sid)
        if case .queue(let queue) = entry.sink {
          work.ended.append((queue, NATSError(.permissionDenied, "the server refuses a subscription: \(text)")))
        }
      }
    } else if lowered.hasPrefix("invalid") {
      work.warnings.append(text)
    } else {
      work.failure = Handshake.error(text, endpoint: link.endpoint)
    }
  }

  // MARK: Watchdog, writing, deadlines

  func tick(_ link: Link) {
    let (tick, flush) = state.withLock { state in
      let tick = state.machine.tick(link.id)
      guard tick == .ping, state.isConnected else { return (tick, nil as Link?) }
      state.ping(.watchdog)
      return (tick, state.scheduleFlush())
    }
    if tick == .stale {
      link.fail(
        NATSError(.connectionLost, "\(link.endpoint) didn't answer \(configuration.maximumPingsOutstanding) PINGs"))
    }
    flush?.flush()
  }

  func takeOutbound(_ link: Link) -> ByteBuffer? {
    state.withLock { state in
      guard state.link === link, state.leaving == nil else { return nil }
      return state.out.take()
    }
  }

  /// A part reached the kernel. Returns the next one.
  func wrote(_ link: Link, _ chunk: ByteBuffer) -> ByteBuffer? {
    let (next, rooms) = state.withLock { state in
      guard state.link === link, state.leaving == nil else {
        return (nil as ByteBuffer?, [CheckedContinuation<Void, Never>]())
      }
      state.statistics.bytesOut += chunk.readableBytes
      state.out.written(chunk)
      let rooms =
        state.out.waiters.isEmpty || state.out.total * 2 > configuration.outboundHighWater
        ? [] : state.out.takeWaiters()
      return (state.out.take(), rooms)
    }
    for room in rooms { room.resume() }
    return next
  }

  /// Requests whose time is up.
  func expireRequests(_ deadline: NIODeadline) {
    let (expired, next) = state.withLock { state in
      let expired = state.requests.expire(now: eventLoop.now)
      // An earlier timer has taken this one's place: it goes on, or there would be ever more of them.
      guard state.timerDeadline == deadline else { return (expired, nil as NIODeadline?) }
      state.timerDeadline = state.requests.nextDeadline
      return (expired, state.timerDeadline)
    }
    for answer in expired {
      answer.resume(
        throwing: NATSError(.timeout, "no answer in time; whether the request took effect is unknown"))
    }
    if let next { eventLoop.scheduleTask(deadline: next) { self.expireRequests(next) } }
  }
}
