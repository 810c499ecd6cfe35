package import KubernetesCore
import Synchronization

/// What proves to the server who we are, valid now.
package struct Credential: Hashable, Sendable {
  /// What to send as `Authorization`.
  package enum Authorization: Hashable, Sendable {
    /// A bearer token.
    case bearer(Secret)
    /// User name and password.
    case basic(user: String, password: Secret)
  }

  /// Our certificate and private key in PEM.
  package struct ClientCertificate: Hashable, Sendable, CustomStringConvertible {
    /// The certificate's PEM.
    package var certificate: [UInt8]
    /// The private key's PEM.
    package var key: [UInt8]

    /// Makes a pair of certificate and key.
    package init(certificate: [UInt8], key: [UInt8]) {
      self.certificate = certificate
      self.key = key
    }

    package var description: String { "<client certificate>" }
  }

  /// The header, if any.
  package var authorization: Authorization?
  /// The client certificate, if any; it takes the place of the configured one.
  package var clientCertificate: ClientCertificate?

  /// Makes a credential.
  package init(authorization: Authorization? = nil, clientCertificate: ClientCertificate? = nil) {
    self.authorization = authorization
    self.clientCertificate = clientCertificate
  }
}

/// Gives the credential to use now; renews what expires.
package protocol CredentialProvider: Sendable {
  /// The credential to use now.
  ///
  /// - Parameter forceRefresh: The server has just answered 401: read or ask anew, whatever is cached.
  func current(forceRefresh: Bool) async throws -> Credential
}

/// A credential that never changes.
package struct StaticCredentialProvider: CredentialProvider {
  /// The credential.
  package let credential: Credential

  /// Makes a provider of one fixed credential.
  package init(_ credential: Credential = Credential()) {
    self.credential = credential
  }

  package func current(forceRefresh: Bool) async throws -> Credential { credential }
}

/// A bearer token in a file that somebody else replaces before the token expires (a projected service account token).
package final class TokenFileCredentialProvider: CredentialProvider {
  private let file: WatchedFile

  /// Makes a provider that reads the token from the file at `path`.
  package init(path: String, timeSource: any TimeSource) {
    self.file = WatchedFile(path: path, purpose: "the bearer token", timeSource: timeSource)
  }

  package func current(forceRefresh: Bool) async throws -> Credential {
    let token = trimmedASCIIWhitespace(String(decoding: try file.contents(forceRefresh: forceRefresh), as: UTF8.self))
    guard !token.isEmpty else {
      throw KubernetesError(
        .misconfigured,
        "The token file \(file.path) is empty. Write the bearer token into it, or check that the projected volume "
          + "with the service account token is mounted.")
    }
    return Credential(authorization: .bearer(Secret(token)))
  }
}
