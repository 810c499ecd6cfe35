package import NIOCore

/// What the reply subject of a stream's message says of it: `$JS.ACK.…` in both of its forms.
package struct MessageMetadata: Sendable, Hashable {
  package var domain: String?
  package var stream: String
  package var consumer: String
  /// 1 at the first delivery.
  package var deliveries: Int
  package var streamSequence: UInt64
  package var consumerSequence: UInt64
  /// When it was stored, in nanoseconds since 1970.
  package var timestamp: UInt64
  /// Messages behind it that weren't delivered yet.
  package var pending: UInt64

  /// Reads `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<consumer sequence>.<time>.<pending>`, or, from 11 tokens on,
  /// `$JS.ACK.<domain or _>.<account>.<stream>…<pending>[.<random>]`. Nil: it is neither.
  package init?(reply: String) {
    let tokens = reply.utf8.split(separator: 0x2E, maxSplits: 20, omittingEmptySubsequences: false)
    guard tokens.count == 9 || tokens.count >= 11, tokens[0].elementsEqual("$JS".utf8),
      tokens[1].elementsEqual("ACK".utf8)
    else { return nil }
    let first = tokens.count == 9 ? 2 : 4
    if first == 4 {
      let name = String(Substring(tokens[2]))
      domain = name == "_" ? nil : name
    }
    stream = String(Substring(tokens[first]))
    consumer = String(Substring(tokens[first + 1]))
    func number(_ offset: Int) -> UInt64? { UInt64(Substring(tokens[first + offset])) }
    guard let deliveries = number(2), let sequence = number(3), let consumerSequence = number(4),
      let timestamp = number(5), let pending = number(6), deliveries <= UInt64(Int.max)
    else { return nil }
    self.deliveries = Int(deliveries)
    streamSequence = sequence
    self.consumerSequence = consumerSequence
    self.timestamp = timestamp
    self.pending = pending
  }
}

/// A message of a stream, to be acknowledged.
package struct JetStreamMessage: Sendable {
  package let message: NATSMessage
  package let metadata: MessageMetadata
  let client: NATSClient

  package var subject: String { message.subject }
  package var headers: NATSHeaders { message.headers }
  package var payload: ByteBuffer { message.payload }
  package var text: String { message.text }

  /// Nil where the message didn't come from a consumer.
  package init?(_ message: NATSMessage, client: NATSClient) {
    guard let reply = message.reply, let metadata = MessageMetadata(reply: reply) else { return nil }
    self.message = message
    self.metadata = metadata
    self.client = client
  }

  /// Done. Whether the server has heard it isn't known: see `ackAndWait`.
  package func ack() throws { try answer("+ACK") }

  /// Done, and the server has confirmed it.
  package func ackAndWait(timeout: Duration? = nil) async throws {
    _ = try await client.request(reply, ByteBuffer(string: "+ACK"), timeout: timeout)
  }

  /// Not done: deliver it again, now or after a while. (On a consumer with a `backoff` list the server adds its first step to the delay.)
  package func nak(delay: Duration? = nil) throws {
    if let delay {
      try answer("-NAK \((["delay": .duration(delay)] as JSONValue).text)")
    } else {
      try answer("-NAK")
    }
  }

  /// Never deliver it again.
  package func term(reason: String? = nil) throws { try answer(reason.map { "+TERM \($0)" } ?? "+TERM") }

  /// Still at it: the wait for an acknowledgement begins anew.
  package func inProgress() throws { try answer("+WPI") }

  private var reply: String { message.reply ?? "" }

  private func answer(_ text: String) throws { try client.post(reply, ByteBuffer(string: text)) }
}
