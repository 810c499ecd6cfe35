import Foundation
import KubernetesClient
import KubernetesCore
import TestSupport
import Testing

@Suite("CurlTransport: TLS and credentials")
struct CurlTransportSecurityTests {
  @Test("A server whose authority isn't ours is refused, with the place to look at", arguments: ["other-ca.crt", nil])
  func wrongAuthority(authority: String?) async throws {
    try await TestServer.with { server in
      let configuration = try server.configuration(certificateAuthority: authority)
      try await withTransport(configuration) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
        #expect(error?.code == .tlsRejected)
        #expect(error?.message.hasPrefix("The certificate of \(configuration.server) isn't trusted: ") == true)
        #expect(error?.message.contains("in the test") == true)
      }
    }
  }

  @Test("With skipsVerification any certificate will do")
  func skipsVerification() async throws {
    try await TestServer.with { server in
      var configuration = try server.configuration(certificateAuthority: nil)
      configuration.tls.skipsVerification = true
      try await withTransport(configuration) { (transport) async throws in
        #expect(try await transport.send(APIRequest(path: "/echo")).head.status == 200)
      }
    }
  }

  @Test("The TLS server name is what is verified; the Host field stays the server's")
  func serverName() async throws {
    try await TestServer.with(.init(certificate: "named.pem")) { server in
      var configuration = try server.configuration()
      try await withTransport(configuration) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
        #expect(error?.code == .tlsRejected)
      }
      configuration.tls.serverName = "kubernetes.default.svc"
      try await withTransport(configuration) { (transport) async throws in
        let response = try await transport.send(APIRequest(path: "/echo"))
        #expect(String(decoding: response.body, as: UTF8.self).contains("\"host\": \"127.0.0.1:\(server.port)\""))
      }
    }
  }

  @Test("A server that wants a client certificate refuses us without, and knows us with one")
  func clientCertificate() async throws {
    try await TestServer.with(.init(requiresClientCertificate: true)) { server in
      try await withTransport(try server.configuration()) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/peer")) }
        // With TLS 1.3 the refusal comes after the handshake, as an alert in answer to the request.
        #expect(error?.code == .tlsRejected)
        #expect(error?.message.contains("Check the client certificate") == true)
      }
      let source = ClientCertificateSource(
        certificate: .data(try TestCertificates.bytes("client.crt")),
        key: .data(try TestCertificates.bytes("client.key")))
      try await withTransport(try server.configuration(clientCertificate: source)) { (transport) async throws in
        let response = try await transport.send(APIRequest(path: "/peer"))
        #expect(String(decoding: response.body, as: UTF8.self).contains("alice"))
      }
    }
  }

  @Test("Certificate files that change are used for the next request")
  func certificateRotation() async throws {
    let folder = try temporaryFolder()
    func install(_ name: String) throws {
      for kind in ["crt", "key"] {
        try Data(try TestCertificates.bytes("\(name).\(kind)")).write(to: URL(fileURLWithPath: "\(folder)/own.\(kind)"))
      }
    }
    let timeSource = ShiftableTimeSource()
    let source = ClientCertificateSource(certificate: .file("\(folder)/own.crt"), key: .file("\(folder)/own.key"))
    try await TestServer.with(.init(requiresClientCertificate: true)) { server in
      try install("client")
      let configuration = try server.configuration(clientCertificate: source)
      try await withTransport(configuration, timeSource: timeSource) { (transport) async throws in
        for (name, subject) in [("client", "alice"), ("client2", "bob")] {
          try install(name)
          timeSource.advance(by: .seconds(3))
          let response = try await transport.send(APIRequest(path: "/peer"))
          #expect(String(decoding: response.body, as: UTF8.self).contains(subject))
        }
        #expect(transport.statistics.connectionsOpened == 2)
      }
    }
  }

  @Test("A certificate that isn't PEM is refused before or while connecting, as our mistake")
  func brokenCertificate() async throws {
    try await TestServer.with { server in
      let source = ClientCertificateSource(certificate: .data(Array("nonsense".utf8)), key: .data([]))
      try await withTransport(try server.configuration(clientCertificate: source)) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
        #expect(error?.code == .tlsRejected)
        #expect(error?.message.contains("Check the client certificate") == true)
      }
    }
  }

  @Test(
    "After a 401 the token file is read at once, and the request sent again with the new token",
    arguments: [false, true])
  func tokenRotation(streams: Bool) async throws {
    let path = try temporaryFolder() + "/token"
    try Data("first\n".utf8).write(to: URL(fileURLWithPath: path))
    // Its time stands still: else the file is looked at after two seconds anyway, and no request is refused.
    let provider = TokenFileCredentialProvider(path: path, timeSource: ManualTimeSource())
    try await TestServer.with { server in
      try await withTransport(try server.configuration(), credentials: provider) { (transport) async throws in
        func status() async throws -> Int {
          streams
            ? try await transport.withStream(APIRequest(path: "/token")) { head, _ in head.status }
            : try await transport.send(APIRequest(path: "/token")).head.status
        }
        #expect(try await status() == 200)
        _ = try await transport.send(APIRequest(path: "/add-token", query: [.init("value", "second")]))
        // Nothing new in the file: the 401 stands, and the request isn't repeated.
        #expect(try await status() == 401)
        #expect(try await transport.noted("token", atLeast: 2) == 2)
        try Data("second\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try await status() == 200)
        #expect(try await transport.noted("token", atLeast: 4) == 4)
      }
    }
  }

  @Test(
    "A token file that is empty or missing is our mistake, and the message names the file", arguments: [true, false])
  func badTokenFile(exists: Bool) async throws {
    let path = try temporaryFolder() + "/token"
    if exists { try Data("\n".utf8).write(to: URL(fileURLWithPath: path)) }
    let provider = TokenFileCredentialProvider(path: path, timeSource: ShiftableTimeSource())
    let error = await #expect(throws: KubernetesError.self) { try await provider.current(forceRefresh: false) }
    #expect(error?.code == .misconfigured)
    #expect(error?.message.contains(path) == true)
  }

  @Test("A token of two lines never reaches the wire, nor any message")
  func tokenWithLineEnd() async throws {
    let provider = StaticCredentialProvider(Credential(authorization: .bearer(Secret("s3cret\r\nX-Evil: 1"))))
    try await TestServer.with { server in
      try await withTransport(try server.configuration(), credentials: provider) { (transport) async throws in
        let error = await #expect(throws: KubernetesError.self) { try await transport.send(APIRequest(path: "/echo")) }
        #expect(error?.code == .misconfigured)
        #expect(error?.message.contains("s3cret") == false)
      }
    }
  }

  @Test("Basic credentials and impersonation travel as header fields")
  func basicAndImpersonation() async throws {
    try await TestServer.with { server in
      var configuration = try server.configuration()
      configuration.impersonation = Impersonation(
        user: "jane", groups: ["dev", "ops"], extra: [.init(name: "acme.com/scope", values: ["all"])])
      let provider = StaticCredentialProvider(
        Credential(authorization: .basic(user: "Aladdin", password: Secret("open sesame"))))
      try await withTransport(configuration, credentials: provider) { (transport) async throws in
        let text = String(decoding: try await transport.send(APIRequest(path: "/echo")).body, as: UTF8.self)
        #expect(text.contains("\"authorization\": \"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\""))
        #expect(text.contains("\"impersonate-user\": \"jane\""))
        #expect(text.contains("\"impersonate-group\": \"dev, ops\""))
        #expect(text.contains("\"impersonate-extra-acme.com%2fscope\": \"all\""))
      }
    }
  }

  @Test("No description of a credential shows its secret")
  func redaction() {
    let secret = "s3cret"
    let credential = Credential(
      authorization: .bearer(Secret(secret)),
      clientCertificate: .init(certificate: Array(secret.utf8), key: Array(secret.utf8)))
    let configuration = ClusterConfiguration(
      server: "https://x", credentials: .basic(user: "u", password: Secret(secret)))
    #expect(!"\(credential) \(configuration)".contains(secret))
    #expect(!String(reflecting: Credentials.bearer(Secret(secret))).contains(secret))
    var dumped = ""
    dump(credential.authorization, to: &dumped)
    #expect(!dumped.contains(secret))
  }
}
