/// What went wrong between this client and the servers.
package struct NATSError: Error, Sendable, CustomStringConvertible {
  /// Kinds to switch on.
  package enum Code: Sendable, Hashable {
    /// The client has ended, or was never started and is gone.
    case closed
    /// The connection broke after this may have been sent: whether it took effect is unknown.
    case connectionLost
    /// No connection within the bound.
    case connectTimeout
    /// No connection could be made to any server, and the configured attempts are used up.
    case noServers
    /// The server refuses the credentials.
    case authenticationFailed
    /// TLS couldn't be established, or was asked for and isn't offered.
    case tlsFailed
    /// The server broke the protocol.
    case protocolViolation
    /// The server closed the connection and said why.
    case serverError
    /// The user may not publish to, or subscribe to, this subject.
    case permissionDenied
    case invalidSubject
    case invalidHeader
    /// The server understands no headers.
    case headersUnsupported
    /// Larger than the server's `max_payload`.
    case payloadTooLarge
    /// Not connected, and the buffer for that time is full.
    case reconnectBufferFull
    /// No answer in time: whether the request took effect is unknown.
    case timeout
    /// Nobody listens on the request's subject.
    case noResponders
    /// A subscription's consumer was too slow for its policy.
    case slowConsumer
    /// An answer that isn't what the API promises.
    case invalidAnswer
    /// Something that the caller passed can't be used.
    case invalidArgument
  }

  /// What a caller can do.
  package enum Disposition: Sendable, Hashable {
    /// Nothing was sent: trying again is safe, after a moment.
    case retry
    /// It may have taken effect: try again only what may happen twice, or carries a message id.
    case retryIfIdempotent
    /// Trying again changes nothing.
    case terminal
  }

  package var code: Code
  package var message: String
  /// What caused it, where another error did.
  package var cause: (any Error)?

  package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.cause = cause
  }

  package var disposition: Disposition {
    switch code {
    case .connectTimeout, .noServers, .reconnectBufferFull, .noResponders: .retry
    case .connectionLost, .timeout, .serverError, .protocolViolation: .retryIfIdempotent
    case .closed, .authenticationFailed, .tlsFailed, .permissionDenied, .invalidSubject, .invalidHeader,
      .headersUnsupported, .payloadTooLarge, .slowConsumer, .invalidAnswer, .invalidArgument:
      .terminal
    }
  }

  package var description: String {
    "NATS: \(message)" + (cause.map { " (\($0))" } ?? "")
  }

  static let closed = NATSError(.closed, "the client is closed; make a new one")
  static let connectionLost = NATSError(
    .connectionLost, "the connection was lost; whether the request took effect is unknown")
}
