import Crypto
import NIOSSL
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The certificate and the token of one run: made anew each time, kept in memory and in the kubeconfig only.
struct ServerIdentity: Sendable {
  /// The authority's certificate as PEM.
  let authority: String
  /// The administrator's bearer token.
  let token: String
  /// What the server shows to clients.
  let tls: TLSConfiguration

  /// How long a certificate is good: longer than anybody leaves the command running.
  private static let lifetime: TimeInterval = 365 * 24 * 3_600

  init(host: String) throws {
    let now = Date()
    let authorityKey = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let authorityName = try DistinguishedName { CommonName("Swarmscale local cluster") }
    let authority = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: authorityKey.publicKey,
      // Clocks of containers and virtual machines lag behind now and then.
      notValidBefore: now - 3_600, notValidAfter: now + Self.lifetime, issuer: authorityName, subject: authorityName,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
      },
      issuerPrivateKey: authorityKey)
    let key = P256.Signing.PrivateKey()
    let addresses = [[127, 0, 0, 1], Array(repeating: UInt8(0), count: 15) + [1]]
    let names: [GeneralName] =
      [.dnsName("localhost")] + addresses.map { .ipAddress(ASN1OctetString(contentBytes: $0[...])) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: Certificate.PrivateKey(key).publicKey,
      notValidBefore: now - 3_600, notValidAfter: now + Self.lifetime, issuer: authorityName,
      subject: try DistinguishedName { CommonName("local-cluster") }, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames(names)
      },
      issuerPrivateKey: authorityKey)
    self.authority = try authority.serializeAsPEM().pemString
    let bytes = SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
    token = bytes.map { byte in
      let text = String(byte, radix: 16)
      return text.count == 1 ? "0" + text : text
    }.joined()
    var serializer = DER.Serializer()
    try certificate.serialize(into: &serializer)
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: [.certificate(try NIOSSLCertificate(bytes: serializer.serializedBytes, format: .der))],
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der)))
    tls.minimumTLSVersion = .tlsv12
    tls.applicationProtocols = ["http/1.1"]
    self.tls = tls
  }

  /// Whether a client's token is this one, in a time that tells nothing about it.
  func accepts(_ other: String) -> Bool {
    let (own, shown) = (Array(token.utf8), Array(other.utf8))
    guard own.count == shown.count else { return false }
    return zip(own, shown).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  /// A kubeconfig for kubectl and for the controller.
  func kubeconfig(server: String) -> String {
    let data = Data(authority.utf8).base64EncodedString()
    return """
      # Written by the local cluster; good while it runs. The token lets its bearer start processes: keep it to yourself.
      apiVersion: v1
      kind: Config
      clusters:
      - name: local
        cluster:
          server: \(server)
          certificate-authority-data: \(data)
      users:
      - name: local
        user:
          token: \(token)
      contexts:
      - name: local
        context:
          cluster: local
          user: local
          namespace: default
      current-context: local

      """
  }
}
