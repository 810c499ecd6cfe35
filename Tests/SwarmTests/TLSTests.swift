import CoordinationProtocol
import Coordinator
import Foundation
import SlowTests
import SwarmCoordination
import TestSupport
import Testing

/// The link over TLS, with an authority made for the test.
@Suite(.alone, .serialized, .timeLimit(.minutes(10))) struct TLSTests {
  /// Makes certificates: `server` for 127.0.0.1, `named` for kubernetes.default.svc alone, both by `ca`; `other-ca`.
  private static func withCertificates(_ body: (_ folder: String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("swarm-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("KubernetesClientTests/Support/make_certificates.sh")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = [script.path, folder.path]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    try await body(folder.path)
  }

  /// What the worker says of its coordinator; nil: it has joined.
  private static func trouble(_ port: Int, authorities: String, serverName: String?, token: String? = nil) async throws
    -> String?
  {
    var variables = podEnvironment("a", coordinator: "https://127.0.0.1:\(port)")
    variables["SWARMSCALE_CA_FILE"] = authorities
    variables["SWARMSCALE_COORDINATOR_SERVER_NAME"] = serverName
    variables["SWARMSCALE_TOKEN_FILE"] = token
    return try await Sidecar.with(variables) { pod in
      try await eventually { pod.isConnected || pod.log.text.contains("can't be reached") }
      return pod.isConnected ? nil : pod.log.text
    }
  }

  @Test("A certificate of the right authority and name is taken, others are named in the log with what to do")
  func certificates() async throws {
    try await Self.withCertificates { folder in
      func security(_ name: String) -> CoordinatorServerConfiguration.Security {
        .tls(certificateChain: "\(folder)/\(name).crt", privateKey: "\(folder)/\(name).key")
      }
      try await withCoordinator(security: security("server")) { _, port in
        #expect(try await Self.trouble(port, authorities: "\(folder)/ca.crt", serverName: nil) == nil)
        let name = "kubernetes.default.svc"
        #expect(try await Self.trouble(port, authorities: "\(folder)/ca.crt", serverName: name) == nil)
        let stranger = try await Self.trouble(port, authorities: "\(folder)/other-ca.crt", serverName: nil)
        #expect(
          stranger?.contains("isn't signed by an authority in \(folder)/other-ca.crt") == true, "\(stranger ?? "")")
      }
      try await withCoordinator(security: security("named")) { _, port in
        let unnamed = try await Self.trouble(port, authorities: "\(folder)/ca.crt", serverName: nil)
        #expect(unnamed?.contains("certificate isn't for 127.0.0.1") == true, "\(unnamed ?? "")")
        let wrong = try await Self.trouble(port, authorities: "\(folder)/ca.crt", serverName: "other.example")
        #expect(wrong?.contains("certificate isn't for other.example") == true, "\(wrong ?? "")")
        let right = try await Self.trouble(port, authorities: "\(folder)/ca.crt", serverName: "kubernetes.default.svc")
        #expect(right == nil)
      }
    }
  }

  @Test("The token is read at each connection, shown to the coordinator, and never logged")
  func token() async throws {
    struct OneToken: Authenticator {
      func authenticate(
        _ credential: PeerCredential, claiming identity: WorkerIdentity
      ) async throws(AuthenticationError) -> AuthenticatedPeer? {
        guard credential.token == "PLANTED-right" else { throw .refused("the token is unknown") }
        return AuthenticatedPeer(namespace: "team", pod: "a")
      }
    }
    try await Self.withCertificates { folder in
      let file = "\(folder)/token"
      try Data("PLANTED-wrong\n".utf8).write(to: URL(fileURLWithPath: file))
      var variables = podEnvironment("a", coordinator: "")
      variables["SWARMSCALE_CA_FILE"] = "\(folder)/ca.crt"
      variables["SWARMSCALE_TOKEN_FILE"] = file
      let server = CoordinatorServerConfiguration.Security.tls(
        certificateChain: "\(folder)/server.crt", privateKey: "\(folder)/server.key")
      try await withCoordinator(security: server, authenticator: OneToken()) { _, port in
        variables["SWARMSCALE_COORDINATOR"] = "https://127.0.0.1:\(port)"
        let log = try await Sidecar.with(variables) { pod in
          try await eventually { pod.log.text.contains("refuses this worker's token: the token is unknown") }
          try Data("PLANTED-right\n".utf8).write(to: URL(fileURLWithPath: file))
          try await eventually { pod.isConnected }
          return pod.log.text
        }
        #expect(!log.contains("PLANTED"))
      }
    }
  }
}
