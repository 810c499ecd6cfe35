import Foundation
import NATSTestSupport
import NIOCore
import Synchronization
import Testing

@testable import NATSClient

extension NATSServerTests {
  /// Connections that break anywhere, by seeds.
  @Suite struct Faults {
    @Test(
      "Over connections that break in the middle of frames every call ends, nothing acknowledged is lost, nothing is stored twice, a reader sees all in order",
      arguments: [(1, 15_000), (2, 30_000), (3, 100_000)] as [(UInt64, Int)])
    func breaks(seed: UInt64, maximumBytes: Int) async throws {
      try await withServer { server in
        let proxy = try await FaultProxy(to: server.port, seed: seed, maximumBytes: maximumBytes)
        var configuration = try NATSConfiguration(urls: [proxy.url])
        configuration.reconnectBase = .milliseconds(1)
        configuration.reconnectLimit = .milliseconds(10)
        configuration.followsDiscoveredServers = false
        try await withNATSClient(configuration) { client in
          let jetStream = JetStream(client, timeout: .seconds(1))
          _ = try await eventually {
            try await jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s.>"]))
          }
          let total = 8 * 40
          try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
              let reader = OrderedConsumer(jetStream, stream: "S", batch: 20, heartbeat: .milliseconds(200))
              var seen: [String: Int] = [:]
              var last: UInt64 = 0
              _ = try await eventually { try await reader.begin() }
              while seen.count < total {
                for message in try await reader.nextBatch() {
                  seen[message.text, default: 0] += 1
                  #expect(message.metadata.streamSequence == last + 1)
                  last = message.metadata.streamSequence
                }
              }
              #expect(seen.values.allSatisfy { $0 == 1 })
              await reader.stop()
            }
            for task in 0..<8 {
              group.addTask {
                for number in 0..<40 {
                  let id = "\(task)-\(number)"
                  try await jetStream.publish(
                    "s.\(task)", bytes(id), options: PublishOptions(messageID: id), retryingFor: .seconds(240))
                }
              }
            }
            try await group.waitForAll()
          }
          #expect(proxy.breaks > 0)
          proxy.calm()
          try await client.flush()
          #expect(try await jetStream.streamInfo("S").messages == UInt64(total))
          #expect(client.state.withLock { $0.requests.count } == 0)
        }
        try await proxy.close()
      }
    }

    @Test(
      "A compare-and-set whose answer was lost is known again by its message id; one that another writer won is refused"
    )
    func repeatedCompareAndSet() async throws {
      try await withClient { client, _ in
        let jetStream = JetStream(client)
        _ = try await jetStream.createStream(StreamConfiguration(name: "S", subjects: ["s.>"]))
        var options = PublishOptions(messageID: "once")
        options.expectedLastSubjectSequence = 0
        let first = try await jetStream.publish("s.a", bytes("1"), options: options)
        // The server looks at the sequence before the message id: alone the repetition is refused.
        await #expect { try await jetStream.publish("s.a", bytes("1"), options: options) } throws: {
          ($0 as? JetStreamError)?.isWrongSequence == true
        }
        #expect(try await jetStream.stored("S", "s.a", messageID: "once") == first.sequence)
        #expect(try await jetStream.stored("S", "s.a", messageID: "another") == nil)
        let second = try await jetStream.compareAndSet(stream: "S", "s.a", bytes("2"), expected: first.sequence)
        await #expect {
          try await jetStream.compareAndSet(stream: "S", "s.a", bytes("3"), expected: first.sequence)
        } throws: {
          ($0 as? JetStreamError)?.isWrongSequence == true
        }
        #expect(try await jetStream.message("S", .last(subject: "s.a"))?.sequence == second)
      }
    }
  }

  /// TLS with certificates of an authority of the test's own.
  @Suite struct TLS {
    private static func makeCertificates(in folder: URL) throws {
      let script = """
        set -e; cd "$1"
        authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt"; }
        leaf() {
          openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
          printf '%s' "$2" > "$1.ext"
          openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt"
        }
        authority ca; authority other
        leaf server "subjectAltName=IP:127.0.0.1,DNS:localhost"
        leaf named "subjectAltName=DNS:elsewhere.example"
        leaf client "extendedKeyUsage=clientAuth"
        """
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/bash")
      process.arguments = ["-c", script, "certificates", folder.path]
      process.standardError = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      try #require(process.terminationStatus == 0, "openssl is needed")
    }

    private func withTLSServer(
      _ certificate: String = "server", _ extra: String = "", settings: String = "",
      _ body: (ServerProcess, NATSConfiguration, String) async throws -> Void
    ) async throws {
      let server = try ServerProcess(
        jetStream: false,
        settings: """
          tls { cert_file: "$FOLDER/\(certificate).crt", key_file: "$FOLDER/\(certificate).key", ca_file: "$FOLDER/ca.crt"\(extra) }
          \(settings)
          """)
      defer { server.remove() }
      try Self.makeCertificates(in: server.folder)
      try await server.start()
      var configuration = NATSConfiguration(servers: [NATSEndpoint(host: "127.0.0.1", port: server.port)])
      configuration.tls = NATSTLS(roots: .file("\(server.folder.path)/ca.crt"))
      configuration.reconnectBase = .milliseconds(1)
      configuration.maximumAttempts = 2
      try await body(server, configuration, server.folder.path)
    }

    private func talk(_ configuration: NATSConfiguration) async throws {
      try await withNATSClient(configuration) { client in
        let subscription = try client.subscribe("s")
        // More than a TLS record.
        let payload = ByteBuffer(repeating: 0x61, count: 100_000)
        try await client.publish("s", payload)
        #expect(try await subscription.next()?.payload == payload)
      }
    }

    private func isRefused(_ configuration: NATSConfiguration) async {
      await #expect { try await withNATSClient(configuration) { try await $0.flush() } } throws: {
        let error = $0 as? NATSError
        return error?.code == .noServers && (error?.cause as? NATSError)?.code == .tlsFailed
      }
    }

    @Test("Over TLS behind INFO, with each kind of credentials")
    func credentials() async throws {
      let nkey = try NKey(seed: NKey.makeSeed(.user))
      let cases: [(String, NATSAuthentication)] = [
        ("", .none), ("authorization { user: u, password: secret }", .userPassword(user: "u", password: "secret")),
        ("authorization { token: secret }", .token("secret")),
        ("authorization { users: [ { nkey: \(nkey.publicKey) } ] }", .nkey(nkey)),
      ]
      for (settings, authentication) in cases {
        try await withTLSServer(settings: settings) { _, configuration, _ in
          var configuration = configuration
          configuration.authentication = authentication
          try await talk(configuration)
        }
      }
    }

    @Test("TLS before INFO, and a client's own certificate")
    func variants() async throws {
      try await withTLSServer("server", ", handshake_first: true") { _, configuration, _ in
        var configuration = configuration
        configuration.tls?.handshakeFirst = true
        try await talk(configuration)
      }
      try await withTLSServer("server", ", verify: true") { _, configuration, folder in
        var configuration = configuration
        configuration.tls?.certificate = ("\(folder)/client.crt", "\(folder)/client.key")
        try await talk(configuration)
      }
    }

    @Test(
      "An unknown authority, and a certificate of another name, are refused; a server without TLS too where TLS was asked for"
    )
    func refusals() async throws {
      try await withTLSServer { _, configuration, folder in
        var configuration = configuration
        configuration.tls = NATSTLS(roots: .file("\(folder)/other.crt"))
        await isRefused(configuration)
        configuration.tls = NATSTLS()
        await isRefused(configuration)
      }
      try await withTLSServer("named") { _, configuration, _ in await isRefused(configuration) }
      try await withServer(jetStream: false) { server in
        var configuration = try NATSConfiguration(urls: ["tls://127.0.0.1:\(server.port)"])
        configuration.maximumAttempts = 1
        await isRefused(configuration)
      }
    }
  }
}
