import Crypto
import Foundation
import KubernetesCore
import KubernetesRuntime
import Logging
import NIOSSL
import SwiftASN1
import Synchronization
import TestSupport
import Testing
import X509

@testable import FleetCertificates

/// Whom the server of external metrics believes, by certificates of every kind.
struct FrontProxyAuthorityTests {
  /// A key with its certificate.
  private struct Identity {
    var certificate: Certificate
    var key: Certificate.PrivateKey

    /// What NIO hands over of it.
    var shown: NIOSSLCertificate {
      get throws {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return try NIOSSLCertificate(bytes: serializer.serializedBytes, format: .der)
      }
    }
  }

  private static func identity(
    _ name: String, signedBy signer: Identity? = nil, isAuthority: Bool = false, usage: [ExtendedKeyUsage.Usage]? = nil,
    from: TimeInterval = -3_600, to: TimeInterval = 3_600
  ) throws -> Identity {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let subject = try DistinguishedName { CommonName(name) }
    let certificate = try Certificate(
      version: .v3, serialNumber: .init(), publicKey: key.publicKey, notValidBefore: Date(timeIntervalSinceNow: from),
      notValidAfter: Date(timeIntervalSinceNow: to), issuer: signer?.certificate.subject ?? subject, subject: subject,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(
          isAuthority
            ? BasicConstraints.isCertificateAuthority(maxPathLength: nil) : BasicConstraints.notCertificateAuthority)
        if let usage { try ExtendedKeyUsage(usage) }
      },
      issuerPrivateKey: signer?.key ?? key)
    return Identity(certificate: certificate, key: key)
  }

  /// An API server that has the ConfigMap, or hasn't.
  private final class Server: APITransport {
    let data: Mutex<JSONValue?>
    init(_ data: JSONValue?) { self.data = Mutex(data) }

    func send(_ request: APIRequest) async throws -> APIResponse {
      #expect(request.path == "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
      let data = self.data.withLock { $0 }
      let body: JSONValue =
        data.map { ["data": $0] } ?? ["kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403]
      return APIResponse(
        head: APIResponseHead(
          status: data == nil ? 403 : 200, headers: [.init("Content-Type", "application/json")]), body: body.text)
    }

    func withStream<Result: Sendable>(
      _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
    ) async throws -> Result { throw KubernetesError(.notSupported, "no streams here") }
  }

  private static func data(_ authorities: [Identity], names: String?) throws -> JSONValue {
    var data: [String: JSONValue] = [
      "client-ca-file": "another",
      "requestheader-client-ca-file": .string(
        try authorities.map { try $0.certificate.serializeAsPEM().pemString + "\n" }.joined()),
    ]
    data["requestheader-allowed-names"] = names.map { .string($0) }
    return .object(data)
  }

  private static func authority(_ server: Server) -> FrontProxyAuthority {
    let time = ManualTimeSource()
    return FrontProxyAuthority(
      client: APIClient(transport: server, time: time), time: time,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test("Only a client certificate of the authority, of an allowed name and good now, is believed")
  func chains() async throws {
    let root = try Self.identity("front-proxy-ca", isAuthority: true)
    let other = try Self.identity("front-proxy-ca", isAuthority: true)
    let middle = try Self.identity("middle", signedBy: root, isAuthority: true)
    let good = try Self.identity("front-proxy-client", signedBy: root, usage: [.clientAuth])
    let authority = Self.authority(Server(try Self.data([root], names: #"["front-proxy-client","aggregator"]"#)))
    #expect(await !authority.believes([try good.shown]), "nobody is believed before the ConfigMap was read")
    #expect(try await authority.look())
    #expect(try await !authority.look(), "the same again is no news")
    let below = try Self.identity("aggregator", signedBy: middle, usage: [.clientAuth])
    let cases: [(String, [Identity], Bool)] = [
      ("the client", [good], true), ("another allowed name", [try Self.identity("aggregator", signedBy: root)], true),
      ("another name", [try Self.identity("somebody", signedBy: root, usage: [.clientAuth])], false),
      ("another authority of the same name", [try Self.identity("front-proxy-client", signedBy: other)], false),
      ("its own authority", [try Self.identity("front-proxy-client")], false),
      ("a server's", [try Self.identity("front-proxy-client", signedBy: root, usage: [.serverAuth])], false),
      ("one that has ended", [try Self.identity("front-proxy-client", signedBy: root, to: -60)], false),
      ("one to come", [try Self.identity("front-proxy-client", signedBy: root, from: 60)], false),
      ("one that isn't an authority's", [try Self.identity("aggregator", signedBy: good), good], false),
      ("a chain", [below, middle], true), ("a chain with a gap", [below], false), ("none", [], false),
    ]
    for (name, chain, isBelieved) in cases {
      #expect(await authority.believes(try chain.map { try $0.shown }) == isBelieved, "\(name)")
    }
  }

  @Test("Authorities are exchanged while it runs, and no names means every name")
  func rotation() async throws {
    let (old, new) = (try Self.identity("ca", isAuthority: true), try Self.identity("ca", isAuthority: true))
    let server = Server(try Self.data([old], names: "[]"))
    let authority = Self.authority(server)
    try await authority.look()
    let shown = try (
      old: Self.identity("any", signedBy: old).shown, new: Self.identity("any", signedBy: new).shown
    )
    #expect(await authority.believes([shown.old]))
    #expect(await !authority.believes([shown.new]))
    server.data.withLock { $0 = try? Self.data([new, old], names: nil) }
    #expect(try await authority.look())
    #expect(await authority.believes([shown.old]))
    #expect(await authority.believes([shown.new]))
    server.data.withLock { $0 = nil }
    await #expect(throws: KubernetesError.self) { try await authority.look() }
    #expect(await authority.believes([shown.new]), "what can't be read changes nothing")
  }

  @Test("A cluster without an aggregation layer is told so")
  func none() async throws {
    let error = await #expect(throws: KubernetesError.self) { try await Self.authority(Server([:])).look() }
    #expect(error?.message.contains("--requestheader-client-ca-file") == true)
  }
}
