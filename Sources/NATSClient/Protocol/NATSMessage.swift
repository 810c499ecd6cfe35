package import NIOCore

/// A message as it arrived.
package struct NATSMessage: Sendable, Hashable {
  /// What it was published to. For a message out of a stream: the subject that it was stored under, never the inbox of the pull.
  package var subject: String
  /// Where an answer or an acknowledgement goes.
  package var reply: String?
  /// Empty where it has none.
  package var headers: NATSHeaders
  /// A status of the server instead of a message, such as 503 without responders.
  package var status: NATSStatus?
  /// The payload. It shares storage with what was read beside it: copy what is kept for long.
  package var payload: ByteBuffer

  /// A message made up, for tests.
  package init(
    subject: String, reply: String? = nil, headers: NATSHeaders = [:], status: NATSStatus? = nil,
    payload: ByteBuffer = ByteBuffer()
  ) {
    self.subject = subject
    self.reply = reply
    self.headers = headers
    self.status = status
    self.payload = payload
  }

  /// The payload as text; bytes that aren't UTF-8 are replaced.
  package var text: String { String(buffer: payload) }

  /// What the message weighs in a bound: payload, headers and subjects.
  var size: Int {
    payload.readableBytes + subject.utf8.count + (reply?.utf8.count ?? 0)
      + (headers.isEmpty && status == nil ? 0 : headers.encodedSize)
  }
}

/// What a server sends.
package enum ServerOperation: Sendable, Hashable {
  /// The JSON of INFO: at the start, and whenever the cluster changes or the server is about to leave.
  case info(ByteBuffer)
  case ping
  case pong
  case ok
  /// The text between the quotes.
  case error(String)
  /// A message for the subscription with this id.
  case message(sid: UInt64, NATSMessage)
}

/// Bytes that no server of this protocol sends. The connection can't go on: where the next frame begins is unknown.
package enum NATSProtocolError: Error, Sendable, Hashable {
  /// A verb that isn't one of the protocol's.
  case unknownOperation
  /// A MSG or HMSG line with missing, surplus or non-numeric parts.
  case malformedArguments
  /// A header block that doesn't begin with `NATS/1.0` or has a line without a colon.
  case malformedHeaders
  /// A payload that isn't followed by CRLF.
  case missingTerminator
  /// A control line longer than the bound.
  case lineTooLong
  /// A payload longer than the bound.
  case payloadTooLarge(Int)
  /// INFO isn't a JSON object.
  case malformedInfo
  /// Something other than INFO came first, or bytes in the clear followed an INFO that asks for TLS.
  case unexpectedHandshake
}
