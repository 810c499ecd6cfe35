package import NIOCore

/// Publishes to streams in order from one task, with a bounded number of receipts outstanding: for bulk, where `publish` would wait for each.
///
/// After an error the pipeline is spent: what was sent since the last receipt may or may not be stored.
package struct PublishPipeline {
  private let jetStream: JetStream
  private let subscription: NATSSubscription
  private let inbox: String
  private let window: Int
  private var outstanding = 0
  private var serial: UInt64 = 0
  /// Receipts that have come.
  package private(set) var acknowledged = 0
  /// Of those, the ones that stored nothing because the message id was known.
  package private(set) var duplicates = 0

  package init(_ jetStream: JetStream, window: Int = 256) throws {
    self.jetStream = jetStream
    self.window = max(1, window)
    inbox = jetStream.client.makeInbox()
    subscription = try jetStream.client.subscribe(
      "\(inbox).*", queue: nil, limits: SubscriptionLimits(messages: max(1024, window * 2)), marksReconnects: true)
  }

  /// Sends one message, and waits for receipts while the window is full.
  package mutating func send(
    _ subject: String, _ payload: ByteBuffer, headers: NATSHeaders = [:], options: PublishOptions = PublishOptions()
  ) async throws {
    var headers = headers
    options.apply(to: &headers)
    while outstanding >= window { try await receive() }
    serial += 1
    try await jetStream.client.publish(subject, payload, headers: headers, reply: "\(inbox).\(serial)")
    outstanding += 1
  }

  /// Waits for all receipts and ends the pipeline.
  package mutating func finish() async throws {
    defer { cancel() }
    while outstanding > 0 { try await receive() }
  }

  /// Ends it without waiting.
  package func cancel() { subscription.unsubscribe() }

  private mutating func receive() async throws {
    let client = jetStream.client
    let until = client.eventLoop.now + .nanoseconds(jetStream.timeout.nanoseconds)
    guard let answers = try await subscription.queue.next(max: window, until: until, on: client.eventLoop) else {
      throw NATSError(.timeout, "\(outstanding) messages had no receipt in time; whether they are stored is unknown")
    }
    if answers.isEmpty {
      try Task.checkCancellation()
      throw NATSError.closed
    }
    for answer in answers {
      switch answer.status?.code {
      case NATSStatus.reconnected: if outstanding > 0 { throw NATSError.connectionLost }
      case NATSStatus.noResponders:
        throw NATSError(.noResponders, "no stream listens on the subject, or it has no leader")
      default:
        let ack = try PubAck(try JetStream.read(answer))
        acknowledged += 1
        duplicates += ack.isDuplicate ? 1 : 0
        outstanding -= 1
      }
    }
  }
}
