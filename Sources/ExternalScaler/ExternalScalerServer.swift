import GRPCCore
import GRPCNIOTransportHTTP2
import KubernetesCore
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

  /// How long the end of connections may take; KEDA's side may be gone without a word.
  private static let farewell = Duration.seconds(2)

  /// Serves until graceful shutdown: streams end then within a second, since KEDA begins them anew.
  ///
  /// The server isn't cancelled for that: a stream that came in at that moment would find nobody who takes it, and SwiftNIO ends the
  /// process for that.
  package func run() async throws {
    let transportSecurity: HTTP2ServerTransport.Posix.TransportSecurity
    do {
      transportSecurity = try await cancelWhenGracefulShutdown {
        try await self.whenReady()
        return switch self.security {
        case .plaintext: .plaintext
        case .tls(let certificates): try .tls(certificateReloader: try await certificates())
        }
      }
    } catch is CancellationError { return }
    let transport = HTTP2ServerTransport.Posix(
      address: host.contains(":") ? .ipv6(host: host, port: port) : .ipv4(host: host, port: port),
      transportSecurity: transportSecurity,
      config: .defaults { config in
        config.rpc.maxRequestPayloadSize = Self.maximumRequest
        // KEDA keeps one connection for each trigger, and pings it.
        config.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
        config.connection.keepalive.clientBehavior.allowWithoutCalls = true
      })
    try await serve(GRPCServer(transport: transport, services: [service]))
  }

  private func serve(_ server: GRPCServer<HTTP2ServerTransport.Posix>) async throws {
    let (service, onListening) = (self.service, self.onListening)
    let (endings, ending) = AsyncStream.makeStream(of: Void.self)
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Bool.self) { group in
        group.addTask {
          do {
            try await server.serve()
          } catch {
            // A cancelled server says that its transport failed.
            if !Task.isCancelled { throw error }
          }
          return true
        }
        group.addTask {
          // A server that can't listen says why itself.
          guard let address = try? await server.listeningAddress else { return false }
          await onListening(address.ipv4?.port ?? address.ipv6?.port ?? 0)
          return false
        }
        group.addTask {
          for await _ in endings {}
          try? await service.time.sleep(for: Self.farewell)
          return true
        }
        defer { group.cancelAll() }
        // The address alone is no end.
        while let isEnd = try await group.next(), !isEnd {}
      }
    } onGracefulShutdown: {
      service.end()
      server.beginGracefulShutdown()
      ending.finish()
    }
  }
}
