import KubernetesCore

/// The bytes of the certificates and keys to use for the next connection.
struct TLSMaterial: Hashable, Sendable {
  /// The authorities' PEM; nil: those that the system trusts.
  var certificateAuthority: [UInt8]?
  /// Our certificate and key.
  var clientCertificate: Credential.ClientCertificate?
}

/// Reads the certificates of `TLSSettings`, again when their files change.
///
/// libcurl compares certificate bytes when it looks for a connection to reuse, so requests made after a rotation open
/// connections with the new certificate while those under way finish on the old.
final class TLSMaterialSource: Sendable {
  private enum Source: Sendable {
    case fixed([UInt8])
    case file(WatchedFile)

    init(_ source: PEMSource, purpose: String, timeSource: any TimeSource) {
      switch source {
      case .data(let bytes): self = .fixed(bytes)
      case .file(let path): self = .file(WatchedFile(path: path, purpose: purpose, timeSource: timeSource))
      }
    }

    func bytes() throws -> [UInt8] {
      switch self {
      case .fixed(let bytes): bytes
      case .file(let file): try file.contents()
      }
    }
  }

  private let authority: Source?
  private let certificate: Source?
  private let key: Source?

  /// Makes a source for `settings`; nothing is read yet.
  init(_ settings: TLSSettings, timeSource: any TimeSource) {
    authority = settings.certificateAuthority.map {
      Source($0, purpose: "the certificate authority", timeSource: timeSource)
    }
    certificate = settings.clientCertificate.map {
      Source($0.certificate, purpose: "the client certificate", timeSource: timeSource)
    }
    key = settings.clientCertificate.map { Source($0.key, purpose: "the client's private key", timeSource: timeSource) }
  }

  /// The material to use now; a certificate of `credential` takes the place of the configured one.
  func current(with credential: Credential) throws -> TLSMaterial {
    var material = TLSMaterial(certificateAuthority: try authority?.bytes(), clientCertificate: nil)
    if let own = credential.clientCertificate {
      material.clientCertificate = own
    } else if let certificate, let key {
      material.clientCertificate = Credential.ClientCertificate(
        certificate: try certificate.bytes(), key: try key.bytes())
    }
    return material
  }
}
