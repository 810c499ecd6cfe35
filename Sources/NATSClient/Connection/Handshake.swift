package import NIOCore

/// The first words with a server, as a value: INFO, perhaps TLS, CONNECT and PING, PONG.
package struct Handshake: Sendable {
  package enum Action: Sendable, Equatable {
    case startTLS
    /// CONNECT and PING.
    case send(ByteBuffer)
    case ready(ServerInfo)
    case none
  }

  private enum State {
    /// Exits: `securing`, `confirming`.
    case awaitingInfo
    /// Exits: `confirming` (by `secured`).
    case securing(ServerInfo)
    /// Exits: `done`.
    case confirming(ServerInfo)
    case done
  }

  private let configuration: NATSConfiguration
  private let endpoint: NATSEndpoint
  private var isSecure: Bool
  private var state = State.awaitingInfo

  /// At the start of a connection; `isSecure`: TLS came first.
  package init(_ configuration: NATSConfiguration, endpoint: NATSEndpoint, isSecure: Bool) {
    self.configuration = configuration
    self.endpoint = endpoint
    self.isSecure = isSecure
  }

  /// Takes one operation.
  package mutating func received(_ operation: ServerOperation) throws(NATSError) -> Action {
    switch (state, operation) {
    case (.awaitingInfo, .info(let json)):
      let info: ServerInfo
      do throws(NATSProtocolError) {
        info = try ServerInfo(parsing: json)
      } catch {
        throw NATSError(.protocolViolation, "\(endpoint) sent an INFO that can't be read", cause: error)
      }
      if isSecure { return try confirm(info) }
      if info.requiresTLS || endpoint.requiresTLS || configuration.tls != nil {
        guard info.offersTLS else {
          throw NATSError(
            .tlsFailed, "\(endpoint) offers no TLS; configure it there, or use nats:// without a TLS setting")
        }
        state = .securing(info)
        return .startTLS
      }
      return try confirm(info)
    case (.confirming(let info), .pong):
      state = .done
      return .ready(info)
    case (.confirming, .info(let json)):
      // The server may send INFO again once it knows the account.
      if let info = try? ServerInfo(parsing: json) { state = .confirming(info) }
      return .none
    case (.confirming, .ok), (.confirming, .ping): return .none
    case (_, .error(let text)): throw Self.error(text, endpoint: endpoint)
    default:
      throw NATSError(
        .protocolViolation, "\(endpoint) didn't begin like a NATS server; is the port right?",
        cause: NATSProtocolError.unexpectedHandshake)
    }
  }

  /// TLS stands.
  package mutating func secured() throws(NATSError) -> Action {
    isSecure = true
    guard case .securing(let info) = state else { return .none }
    return try confirm(info)
  }

  private mutating func confirm(_ info: ServerInfo) throws(NATSError) -> Action {
    state = .confirming(info)
    var buffer = ByteBuffer()
    ProtocolEncoder.connect(try options(info), into: &buffer)
    ProtocolEncoder.ping(into: &buffer)
    return .send(buffer)
  }

  private func options(_ info: ServerInfo) throws(NATSError) -> JSONValue {
    var options: JSONValue = [
      "verbose": false, "pedantic": false, "tls_required": .bool(isSecure), "name": .string(configuration.name),
      "lang": "swift", "version": "1", "protocol": 1, "echo": true, "headers": true, "no_responders": true,
    ]
    func signature(_ key: NKey) throws(NATSError) -> JSONValue {
      guard let nonce = info.nonce else {
        throw NATSError(.authenticationFailed, "\(endpoint) asks for no signature: it knows no nkeys")
      }
      do {
        return .string(try key.sign(nonce))
      } catch {
        throw NATSError(.authenticationFailed, "the nonce of \(endpoint) couldn't be signed", cause: error)
      }
    }
    switch configuration.authentication {
    case .none: break
    case .userPassword(let user, let password):
      options["user"] = .string(user)
      options["pass"] = .string(password)
    case .token(let token): options["auth_token"] = .string(token)
    case .nkey(let key):
      options["nkey"] = .string(key.publicKey)
      options["sig"] = try signature(key)
    case .jwt(let jwt, let key):
      options["jwt"] = .string(jwt)
      options["nkey"] = .string(key.publicKey)
      options["sig"] = try signature(key)
    }
    return options
  }

  /// What an -ERR means that ends a connection.
  package static func error(_ text: String, endpoint: NATSEndpoint) -> NATSError {
    let lowered = text.lowercased()
    if lowered.contains("authorization") || lowered.contains("authentication") || lowered.contains("user jwt") {
      return NATSError(
        .authenticationFailed, "\(endpoint) refuses the credentials (\(text)); check user, password, token or nkey")
    }
    if lowered.contains("maximum payload") {
      return NATSError(.payloadTooLarge, "\(endpoint): \(text)")
    }
    return NATSError(.serverError, "\(endpoint) closed the connection: \(text)")
  }
}
