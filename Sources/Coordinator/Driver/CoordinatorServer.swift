package import CoordinationProtocol
import GRPCCore
import GRPCNIOTransportHTTP2
package import NIOCertificateReloading
import RateBudget

/// How a coordinator's server listens.
package struct CoordinatorServerConfiguration: Hashable, Sendable {
  /// How the connection is secured.
  package enum Security: Hashable, Sendable {
    /// Not at all: for one machine and for tests.
    case plaintext
    /// TLS by files in PEM.
    case tls(certificateChain: String, privateKey: String)
  }

  /// The address to listen at, IPv4 or IPv6.
  package var host: String
  /// The port; 0: any that is free.
  package var port: Int
  /// How the connection is secured.
  package var security: Security

  /// Makes a configuration.
  package init(host: String = "127.0.0.1", port: Int, security: Security) {
    self.host = host
    self.port = port
    self.security = security
  }
}

/// Serves an engine's service over HTTP/2.
package final class CoordinatorServer: Sendable {
  private let server: GRPCServer<HTTP2ServerTransport.Posix>
  private let engine: CoordinatorEngine
  private let clock: any BudgetClock

  /// Makes a server; it listens once `run` is called.
  package convenience init(
    _ configuration: CoordinatorServerConfiguration, engine: CoordinatorEngine,
    authenticator: any Authenticator, clock: any BudgetClock
  ) {
    let security: HTTP2ServerTransport.Posix.TransportSecurity =
      switch configuration.security {
      case .plaintext: .plaintext
      case .tls(let chain, let key):
        .tls(
          certificateChain: [.file(path: chain, format: .pem)], privateKey: .file(path: key, format: .pem))
      }
    self.init(configuration, security, engine: engine, authenticator: authenticator, clock: clock)
  }

  /// The same with certificates that are renewed meanwhile: each handshake takes the newest one. They stand in for the
  /// configuration's security.
  ///
  /// - Throws: There is no certificate yet.
  package convenience init(
    _ configuration: CoordinatorServerConfiguration, certificates: any CertificateReloader,
    engine: CoordinatorEngine, authenticator: any Authenticator, clock: any BudgetClock
  ) throws {
    self.init(
      configuration, try .tls(certificateReloader: certificates), engine: engine, authenticator: authenticator,
      clock: clock)
  }

  private init(
    _ configuration: CoordinatorServerConfiguration, _ security: HTTP2ServerTransport.Posix.TransportSecurity,
    engine: CoordinatorEngine, authenticator: any Authenticator, clock: any BudgetClock
  ) {
    self.engine = engine
    self.clock = clock
    let isIPv6 = configuration.host.contains(":")
    let transport = HTTP2ServerTransport.Posix(
      address: isIPv6
        ? .ipv6(host: configuration.host, port: configuration.port)
        : .ipv4(host: configuration.host, port: configuration.port),
      transportSecurity: security,
      config: .defaults { config in
        config.rpc.maxRequestPayloadSize = ProtocolLimits.messageBytes
        config.http2.maxConcurrentStreams = 8
        // Workers ping to notice a coordinator whose machine is gone.
        config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(1)
        config.connection.keepalive.clientBehavior.allowWithoutCalls = true
        // And the coordinator pings to notice a worker whose machine is gone.
        config.connection.keepalive.time = .seconds(30)
        config.connection.keepalive.timeout = .seconds(10)
      })
    server = GRPCServer(
      transport: transport,
      services: [CoordinatorService(engine: engine, authenticator: authenticator, clock: clock)])
  }

  /// The port that it listens at; waits until it does.
  package var port: Int {
    get async throws {
      let address = try await server.listeningAddress
      return address?.ipv4?.port ?? address?.ipv6?.port ?? 0
    }
  }

  /// How long the end of connections may take; one whose machine is gone doesn't answer.
  private static let farewell = Duration.seconds(2)

  /// Serves, and grants, until the task is cancelled: streams end at once then, and workers go on at their shares.
  ///
  /// The server isn't cancelled with it: a stream that came in at that moment would find nobody who takes it, and SwiftNIO
  /// ends the process for that. It takes no new ones, ends those that it has, and then returns by itself.
  package func run() async throws {
    // Owned: the group below ends with it.
    let serving = Task { try await server.serve() }
    let outcome = await withTaskGroup(of: Result<Void, any Error>.self) { group in
      group.addTask {
        // Also when it fails: nobody would grant.
        let result = await Result { try await self.engine.run() }
        self.server.beginGracefulShutdown()
        await self.engine.endStreams()
        return result
      }
      group.addTask { await serving.result }
      let first = await group.next() ?? .success(())
      // Owned: cancelled when the group is empty. Inside it, it would be cancelled before it has begun.
      let patience = Task { [clock] in
        try await clock.sleep(until: clock.now + Self.farewell)
        serving.cancel()
      }
      group.cancelAll()
      await group.waitForAll()
      patience.cancel()
      return first
    }
    try outcome.get()
  }
}

extension Result where Failure == any Error {
  /// What comes of `body`.
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
