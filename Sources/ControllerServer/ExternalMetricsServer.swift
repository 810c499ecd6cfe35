import Hummingbird
import HummingbirdTLS
package import Logging
package import NIOCertificateReloading
import NIOCore
package import NIOSSL
import ServiceLifecycle

/// Serves an aggregated API over HTTPS to whoever shows a certificate of the cluster's aggregation layer; nobody else gets a
/// connection. Each handshake takes the newest certificate of its own, and asks anew whom to believe.
package struct ExternalMetricsServer: Service {
  /// An answer: status, and a body in JSON.
  package typealias Answer =
    @Sendable (_ method: String, _ path: String, _ labelSelector: String?) -> (
      status: Int, body: [UInt8]
    )

  private let host: String
  private let port: Int
  private let certificates: any CertificateReloader
  private let whenReady: @Sendable () async throws -> Void
  private let believes: @Sendable ([NIOSSLCertificate]) async -> Bool
  private let answer: Answer
  private let logger: Logger
  private let onListening: @Sendable (Int) async -> Void

  /// Makes a server on `host:port` (port 0 picks a free one) that begins once `whenReady` returns, when `certificates` has one.
  /// `believes` is asked about the chain that each client shows.
  package init(
    host: String, port: Int, certificates: any CertificateReloader,
    whenReady: @escaping @Sendable () async throws -> Void,
    believes: @escaping @Sendable ([NIOSSLCertificate]) async -> Bool, logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }, answer: @escaping Answer
  ) {
    self.host = host
    self.port = port
    self.certificates = certificates
    self.whenReady = whenReady
    self.believes = believes
    self.logger = logger
    self.onListening = onListening
    self.answer = answer
  }

  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.whenReady() }
    } catch is CancellationError { return }
    var tls = try Self.configuration(certificates)
    tls.minimumTLSVersion = .tlsv12
    tls.applicationProtocols = ["http/1.1"]
    // A certificate is asked for and must come; whose it may be is for the callback alone.
    tls.certificateVerification = .noHostnameVerification
    let (answer, believes, onListening) = (self.answer, self.believes, self.onListening)
    let application = Application(
      responder: CallbackResponder<BasicRequestContext> { request, _ in
        let selector = request.uri.queryParameters["labelSelector"].map(String.init)
        let (status, bytes) = answer(request.method.rawValue, request.uri.path, selector)
        return Response(
          status: .init(code: status), headers: [.contentType: "application/json"],
          body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
      },
      server: try .tls(
        .http1(),
        configuration: .init(tlsConfiguration: tls) { chain in await believes(chain) ? .certificateVerified : .failed }),
      configuration: .init(address: .hostname(host, port: port), serverName: "swarmscale"),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) }, logger: logger)
    try await application.run()
  }

  private static func configuration(_ certificates: some CertificateReloader) throws -> TLSConfiguration {
    try .makeServerConfiguration(certificateReloader: certificates)
  }
}
