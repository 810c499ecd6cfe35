package import NIOCore

/// The server's receipt: the message is stored, on a majority where the stream has replicas.
package struct PubAck: Sendable, Hashable {
  package var stream: String
  package var sequence: UInt64
  /// The message id was known: nothing was stored again.
  package var isDuplicate: Bool
  /// A counter's new value.
  package var value: String?
  /// Of an atomic batch: its id and how many messages it had.
  package var batch: String?
  package var count: Int?

  init(_ json: JSONValue) throws(NATSError) {
    guard let stream = json["stream"]?.string else {
      throw NATSError(
        .invalidAnswer, "a message was answered without a PubAck: does a responder listen on a stream's subject?")
    }
    self.stream = stream
    sequence = json["seq"]?.uint64 ?? 0
    isDuplicate = json["duplicate"]?.bool ?? false
    value = json["val"]?.string
    batch = json["batch"]?.string
    count = json["count"]?.int
  }
}

/// What a publish asks of the stream; each becomes a header.
package struct PublishOptions: Sendable, Hashable {
  /// Published again within the stream's window, it is stored once.
  package var messageID: String?
  package var expectedStream: String?
  package var expectedLastMessageID: String?
  /// Compare-and-set on the stream.
  package var expectedLastSequence: UInt64?
  /// Compare-and-set on the subject; 0: there is none yet.
  package var expectedLastSubjectSequence: UInt64?
  /// Whole seconds, at least one; the stream has to allow it.
  package var timeToLive: Duration?
  /// Adds to a counter's subject, such as `+1`.
  package var increment: Int?
  /// Stored now, published to `target` then.
  package var schedule: Schedule?

  /// When and where a scheduled message comes out.
  package struct Schedule: Sendable, Hashable {
    /// Since 1970, UTC.
    package var at: Duration
    package var target: String
    /// How long the published message lives.
    package var timeToLive: Duration?

    package init(at: Duration, target: String, timeToLive: Duration? = nil) {
      self.at = at
      self.target = target
      self.timeToLive = timeToLive
    }
  }

  package init(messageID: String? = nil) { self.messageID = messageID }

  /// Whether the message can be sent twice without being stored twice.
  var isRepeatable: Bool {
    messageID != nil || expectedLastSequence != nil || expectedLastSubjectSequence != nil
  }

  /// Puts them into headers, for messages that are sent without waiting for a receipt.
  package func apply(to headers: inout NATSHeaders) {
    if let messageID { headers["Nats-Msg-Id"] = messageID }
    if let expectedStream { headers["Nats-Expected-Stream"] = expectedStream }
    if let expectedLastMessageID { headers["Nats-Expected-Last-Msg-Id"] = expectedLastMessageID }
    if let expectedLastSequence { headers["Nats-Expected-Last-Sequence"] = "\(expectedLastSequence)" }
    if let sequence = expectedLastSubjectSequence { headers["Nats-Expected-Last-Subject-Sequence"] = "\(sequence)" }
    if let timeToLive { headers["Nats-TTL"] = Self.seconds(timeToLive) }
    if let increment { headers["Nats-Incr"] = increment < 0 ? "\(increment)" : "+\(increment)" }
    if let schedule {
      headers["Nats-Schedule"] = "@at \(RFC3339.text(sinceEpoch: schedule.at))"
      headers["Nats-Schedule-Target"] = schedule.target
      if let timeToLive = schedule.timeToLive { headers["Nats-Schedule-TTL"] = Self.seconds(timeToLive) }
    }
  }

  /// The server reads whole seconds and refuses less than one.
  static func seconds(_ duration: Duration) -> String {
    let (seconds, rest) = duration.components
    return "\(max(1, rest > 0 ? seconds + 1 : seconds))s"
  }
}

extension JetStream {
  /// Stores a message and returns its receipt.
  ///
  /// `retryingFor`: while a stream has no leader, or after a lost connection, it is sent again for this long; what may have been stored only where it
  /// has a message id or an expected sequence. (With an expected sequence a second try can fail with `wrongLastSequence` because the
  /// first one took effect.)
  @discardableResult
  package func publish(
    _ subject: String, _ payload: ByteBuffer = ByteBuffer(), headers: NATSHeaders = [:],
    options: PublishOptions = PublishOptions(), retryingFor: Duration = .zero
  ) async throws -> PubAck {
    var headers = headers
    options.apply(to: &headers)
    let end = client.eventLoop.now + .nanoseconds(retryingFor.nanoseconds)
    var wait = Duration.milliseconds(25)
    while true {
      do {
        let answer = try await client.request(subject, payload, headers: headers, timeout: timeout)
        return try PubAck(try Self.read(answer))
      } catch {
        guard client.eventLoop.now < end, Self.canRepeat(error, options) else { throw error }
      }
      try await client.pause(wait)
      wait = min(wait * 2, .milliseconds(400))
    }
  }

  /// Stores a message if the subject's last one still has this sequence (0: there is none). After a lost answer it is sent again, and known
  /// again by a message id; only where another writer came behind it in the meantime is it refused although it was stored.
  ///
  /// - Throws: `JetStreamError.isWrongSequence`; `NATSError` where it is unknown whether it was stored.
  package func compareAndSet(
    stream: String, _ subject: String, _ payload: ByteBuffer, headers: NATSHeaders = [:], expected: UInt64,
    timeToLive: Duration? = nil, retryingFor: Duration = .zero
  ) async throws -> UInt64 {
    let messageID = client.makeInbox()
    var options = PublishOptions(messageID: messageID)
    options.expectedLastSubjectSequence = expected
    options.timeToLive = timeToLive
    let end = client.eventLoop.now + .nanoseconds(retryingFor.nanoseconds)
    var wait = Duration.milliseconds(25)
    var isUncertain = false
    while true {
      do {
        return try await publish(subject, payload, headers: headers, options: options).sequence
      } catch let error as JetStreamError where error.isWrongSequence {
        // The server compares before it looks for message ids.
        if isUncertain, let sequence = try await stored(stream, subject, messageID: messageID) { return sequence }
        throw error
      } catch {
        guard client.eventLoop.now < end, Self.canRepeat(error, options) else { throw error }
        isUncertain = true
      }
      try await client.pause(wait)
      wait = min(wait * 2, .milliseconds(400))
    }
  }

  /// The sequence of a subject's last message, if that has this id.
  func stored(_ stream: String, _ subject: String, messageID: String) async throws -> UInt64? {
    guard let last = try await message(stream, .last(subject: subject)),
      last.message.headers["Nats-Msg-Id"] == messageID
    else { return nil }
    return last.sequence
  }

  private static func canRepeat(_ error: any Error, _ options: PublishOptions) -> Bool {
    let disposition = (error as? NATSError)?.disposition ?? (error as? JetStreamError)?.disposition
    return disposition == .retry || (disposition == .retryIfIdempotent && options.isRepeatable)
  }

  /// One message of an atomic batch.
  package struct BatchEntry: Sendable {
    package var subject: String
    package var payload: ByteBuffer
    package var headers: NATSHeaders
    package var options: PublishOptions

    package init(
      _ subject: String, _ payload: ByteBuffer, headers: NATSHeaders = [:], options: PublishOptions = PublishOptions()
    ) {
      self.subject = subject
      self.payload = payload
      self.headers = headers
      self.options = options
    }
  }

  /// Stores all of the messages, of one stream, or none (ADR-50; at most 1,000, and the stream has to allow it).
  @discardableResult
  package func publishAtomically(_ entries: [BatchEntry]) async throws -> PubAck {
    guard !entries.isEmpty, entries.count <= 1000 else {
      throw NATSError(.invalidArgument, "an atomic batch has from 1 to 1000 messages")
    }
    let batch = String(client.makeInbox().split(separator: ".").joined(separator: "-").suffix(64))
    for (index, entry) in entries.enumerated() {
      var headers = entry.headers
      entry.options.apply(to: &headers)
      headers["Nats-Batch-Id"] = batch
      headers["Nats-Batch-Sequence"] = "\(index + 1)"
      if index == entries.count - 1 {
        headers["Nats-Batch-Commit"] = "1"
        let answer = try await client.request(entry.subject, entry.payload, headers: headers, timeout: timeout)
        return try PubAck(try Self.read(answer))
      } else if index == 0 {
        // The answer to the first one says whether the stream takes batches at all.
        let answer = try await client.request(entry.subject, entry.payload, headers: headers, timeout: timeout)
        if answer.payload.readableBytes > 0 { _ = try Self.read(answer) }
      } else {
        try await client.publish(entry.subject, entry.payload, headers: headers)
      }
    }
    throw NATSError(.invalidAnswer, "an atomic batch ended without its receipt")
  }
}
