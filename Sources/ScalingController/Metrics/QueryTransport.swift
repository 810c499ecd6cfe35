package import KubernetesCore

/// A server that answers metric queries, with what is needed to reach it.
package struct QueryServer: Hashable, Sendable, CustomStringConvertible {
  /// How requests authenticate.
  package enum Credentials: Hashable, Sendable {
    /// Not at all.
    case none
    /// By a bearer token.
    case bearer(String)
    /// By user name and password.
    case basic(user: String, password: String)
  }

  /// A certificate with its private key, both in PEM.
  package struct ClientCertificate: Hashable, Sendable {
    /// The certificate.
    package var certificate: [UInt8]
    /// The private key.
    package var key: [UInt8]
  }

  /// The base URL; it may have a path.
  package var address: String
  /// How requests authenticate.
  package var credentials = Credentials.none
  /// The authorities to trust, in PEM; nil: those of the system.
  package var certificateAuthority: [UInt8]?
  /// Our own certificate, if the server asks for one.
  package var clientCertificate: ClientCertificate?
  /// The name to expect in the certificate; nil: the URL's host.
  package var serverName: String?
  /// Whether any certificate is accepted.
  package var skipsVerification = false

  /// Names a server that needs nothing further.
  package init(address: String) { self.address = address }

  /// The address only: credentials must not reach a log.
  package var description: String { address }
}

/// Carries queries to one server: libcurl in production, a script in tests.
package protocol QueryTransport: Sendable {
  /// Sends `request` and collects the response, whatever its status; throws `KubernetesError` when there is none.
  func send(_ request: APIRequest) async throws -> APIResponse
  /// Ends all connections; nothing is sent afterwards.
  func shutdown() async
}

/// Makes transports; the one that knows the HTTP client stands outside this module.
package protocol QueryTransportFactory: Sendable {
  /// Makes a transport to `server`; throws `KubernetesError` when the address or a certificate can't be used.
  func makeTransport(for server: QueryServer) throws -> any QueryTransport
}
