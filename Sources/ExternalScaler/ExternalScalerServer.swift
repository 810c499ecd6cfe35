import GRPCCore
import GRPCNIOTransportHTTP2
package import NIOCertificateReloading
import ServiceLifecycle

/// Serves the external scaler over HTTP/2, with TLS or without.
package struct ExternalScalerServer: Service {
  /// How connections are secured.
  package enum Security: Sendable {
    /// Not at all: KEDA's own default, and what `/metrics` has. The numbers are counts and rates.
    case plaintext
    /// TLS by certificates that are renewed meanwhile, once there is one.
    case tls(@Sendable () async throws -> any CertificateReloader)
  }

  private let host: String
  private let port: Int
  private let security: Security
  private let service: ExternalScalerService
  private let whenReady: @Sendable () async throws -> Void
  private let onListening: @Sendable (Int) async -> Void

  /// The longest request that is read; a trigger's settings are a few hundred bytes.
  package static let maximumRequest = 65_536

  /// Makes a server on `host:port` (port 0 picks a free one) that begins once `whenReady` returns; `onListening` is told the port.
  package init(
    host: String, port: Int, security: Security, service: ExternalScalerService,
    whenReady: @escaping @Sendable () async throws -> Void = {},
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }
  ) {
    self.host = host == "localhost" ? "127.0.0.1" : host
    self.port = port
    self.security = security
    self.service = service
    self.whenReady = whenReady
    self.onListening = onListening
  }

  /// Serves until graceful shutdown or cancellation; streams end at once then, since KEDA begins them anew.
  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown {
        try await self.whenReady()
        try await self.serve()
      }
    } catch is CancellationError {}
  }

  private func serve() async throws {
    let security: HTTP2ServerTransport.Posix.TransportSecurity =
      switch self.security {
      case .plaintext: .plaintext
      case .tls(let certificates): try .tls(certificateReloader: try await certificates())
      }
    let transport = HTTP2ServerTransport.Posix(
      address: host.contains(":") ? .ipv6(host: host, port: port) : .ipv4(host: host, port: port),
      transportSecurity: security,
      config: .defaults { config in
        config.rpc.maxRequestPayloadSize = Self.maximumRequest
        // KEDA keeps one connection for each trigger, and pings it.
        config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
        config.connection.keepalive.clientBehavior.allowWithoutCalls = true
      })
    let server = GRPCServer(transport: transport, services: [service])
    let onListening = self.onListening
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          try await server.serve()
        } catch {
          // A cancelled server says that its transport failed.
          if Task.isCancelled { throw CancellationError() }
          throw error
        }
      }
      group.addTask {
        // A server that can't listen says why itself.
        guard let address = try? await server.listeningAddress else { return }
        await onListening(address.ipv4?.port ?? address.ipv6?.port ?? 0)
      }
      defer { group.cancelAll() }
      while try await group.next() != nil {}
    }
    try Task.checkCancellation()
  }
}
