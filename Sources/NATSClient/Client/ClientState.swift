import NIOCore

/// All of a client that tasks and the event loop share; behind one lock. It does no I/O: its answers say what to do after the unlock.
struct ClientState {
  enum Sink: Sendable {
    case queue(SubscriptionQueue)
    /// The inbox of all requests.
    case replies
  }

  typealias Answer = CheckedContinuation<NATSMessage, any Error>
  typealias Pong = CheckedContinuation<Void, any Error>

  /// Why a PING was sent.
  enum Ping {
    case watchdog
    /// `flush`; the waiter is gone when it was cancelled.
    case flush(UInt64, Pong?)
    /// The last one before the end.
    case drain
    /// The last one of a link that is being left.
    case leave
  }

  var machine: ConnectionMachine
  var registry = SubscriptionRegistry<Sink>()
  var requests = RequestTable<Answer>()
  /// Who waits for the PONGs of the link in use, in order.
  var pongs: [Ping] = []
  /// The same for the link that is being left.
  var leavingPongs: [Ping] = []
  var nextFlush: UInt64 = 1
  var link: Link?
  var info: ServerInfo?
  /// The link that is being left; its PONG ends the move.
  var leaving: Link?
  var dialing: Link?
  var out = Outbound()
  var inboxPrefix: String
  var hasReplySubscription = false
  var timerDeadline: NIODeadline?
  var isDraining = false
  /// `drain` came during a move: what waits would be lost on neither connection, so the move comes first.
  var drainsAfterMove = false
  var statistics = NATSStatistics()
  var didRun = false
}

/// Bytes on their way to the socket.
struct Outbound {
  /// Whole frames that were not handed to a channel yet.
  var pending = ByteBuffer()
  /// Bytes that a channel has.
  var inFlight = 0
  var isFlushScheduled = false
  var spare = ByteBuffer()
  /// PINGs among `pending`.
  var pendingPings = 0
  var waiters: [(id: UInt64, continuation: CheckedContinuation<Void, Never>)] = []
  var nextWaiter: UInt64 = 1

  var total: Int { pending.readableBytes + inFlight }

  /// What a flush writes; nil: nothing, or the channel still has the previous part.
  mutating func take() -> ByteBuffer? {
    isFlushScheduled = false
    guard inFlight == 0, pending.readableBytes > 0 else { return nil }
    let chunk = pending
    inFlight = chunk.readableBytes
    pendingPings = 0
    pending = spare
    spare = ByteBuffer()
    pending.clear()
    return chunk
  }

  /// A part was written. The buffer is used again unless it grew large.
  mutating func written(_ chunk: ByteBuffer) {
    inFlight = 0
    if chunk.capacity <= 1024 * 1024 { spare = chunk }
  }

  mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
    defer { waiters = [] }
    return waiters.map(\.continuation)
  }
}

/// What has happened since the client was made.
package struct NATSStatistics: Sendable, Hashable {
  package var connects = 0
  package var messagesIn = 0
  package var messagesOut = 0
  package var bytesIn = 0
  package var bytesOut = 0
  /// Moves away from a server that announced its end.
  package var lameDuckMoves = 0
}

extension ClientState {
  /// Whether bytes may travel now.
  var isConnected: Bool { link != nil && leaving == nil }

  enum Admission {
    case sent(flush: Link?)
    /// The way to the socket is full.
    case wait
  }

  /// Checks and encodes one message.
  mutating func publish(
    subject: String, reply: String?, headers: NATSHeaders, payload: ByteBuffer, configuration: NATSConfiguration,
    ignoresHighWater: Bool = false
  ) throws(NATSError) -> Admission {
    guard !machine.isEnded else { throw machine.failure ?? .closed }
    let size = ProtocolEncoder.estimatedSize(
      subject: subject, reply: reply, headers: headers, payload: payload.readableBytes)
    if let info {
      let weight = payload.readableBytes + (headers.isEmpty ? 0 : headers.encodedSize)
      guard weight <= info.maximumPayload else {
        throw NATSError(
          .payloadTooLarge,
          "\(weight) bytes are more than the server's max_payload of \(info.maximumPayload); split the message or use the object store"
        )
      }
      guard headers.isEmpty || info.headers else {
        throw NATSError(.headersUnsupported, "the server understands no headers")
      }
    }
    if isConnected {
      if out.total > configuration.outboundHighWater, !ignoresHighWater { return .wait }
    } else if out.pending.readableBytes + size > configuration.reconnectBufferBytes {
      throw NATSError(
        .reconnectBufferFull,
        "not connected, and \(out.pending.readableBytes) bytes are waiting already; try again when the client is connected"
      )
    }
    ProtocolEncoder.publish(subject: subject, reply: reply, headers: headers, payload: payload, into: &out.pending)
    statistics.messagesOut += 1
    statistics.bytesOut += payload.readableBytes
    return .sent(flush: scheduleFlush())
  }

  /// The link whose event loop has to flush; nil: it will anyhow.
  mutating func scheduleFlush() -> Link? {
    guard isConnected, !out.isFlushScheduled else { return nil }
    // A write that is under way flushes what follows when it is done.
    guard out.inFlight == 0 else { return nil }
    out.isFlushScheduled = true
    return link
  }

  /// Appends a PING and notes for whom.
  mutating func ping(_ reason: Ping) {
    ProtocolEncoder.ping(into: &out.pending)
    out.pendingPings += 1
    pongs.append(reason)
  }

  /// The subscription that all answers come to. It is made with the first request.
  mutating func ensureReplies() {
    guard !hasReplySubscription else { return }
    hasReplySubscription = true
    let subject = "\(inboxPrefix).*"
    let sid = registry.add(subject: subject, queue: nil, sink: .replies)
    if link != nil { ProtocolEncoder.subscribe(sid: sid, subject: subject, queue: nil, into: &out.pending) }
  }

  /// The request that an inbox's last token names.
  func requestID(_ subject: String) -> UInt64? {
    guard subject.utf8.count > inboxPrefix.utf8.count + 1 else { return nil }
    return parseDecimal(subject.utf8.dropFirst(inboxPrefix.utf8.count + 1))
  }
}
