/// Why an exchange with the API broke off, where the network itself doesn't say.
enum UpstreamError: Error, Hashable, Sendable {
  /// The connection ended before the answer did.
  case connectionClosed
  /// TLS wasn't agreed upon within the time to connect.
  case handshakeTimeout
  /// The API wants to speak another protocol, which nobody has asked for.
  case protocolSwitched
  /// This program is ending.
  case shutDown
}
