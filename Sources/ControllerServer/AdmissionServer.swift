import Hummingbird
import HummingbirdTLS
package import Logging
package import NIOCertificateReloading
import NIOCore
import NIOSSL
import ServiceLifecycle

/// Serves admission reviews over HTTPS. Each handshake takes the newest certificate, so that a renewal drops no connection.
package struct AdmissionServer: Service {
  /// An answer: status and body.
  package typealias Answer = @Sendable (_ path: String, _ body: [UInt8]) -> (status: Int, body: [UInt8])

  private let host: String
  private let port: Int
  private let certificates: any CertificateReloader
  private let whenReady: @Sendable () async throws -> Void
  private let maximumBody: Int
  private let answer: Answer
  private let logger: Logger
  private let onListening: @Sendable (Int) async -> Void

  /// Makes a server on `host:port` (port 0 picks a free one) that begins once `whenReady` returns, when `certificates` has one.
  /// Bodies above `maximumBody` bytes are refused.
  package init(
    host: String, port: Int, certificates: any CertificateReloader,
    whenReady: @escaping @Sendable () async throws -> Void, maximumBody: Int, logger: Logger,
    onListening: @escaping @Sendable (Int) async -> Void = { _ in }, answer: @escaping Answer
  ) {
    self.host = host
    self.port = port
    self.certificates = certificates
    self.whenReady = whenReady
    self.maximumBody = maximumBody
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
    let (answer, maximumBody, onListening) = (self.answer, self.maximumBody, self.onListening)
    let router = Router()
    router.post("**") { request, _ in
      let body: ByteBuffer
      do {
        body = try await request.body.collect(upTo: maximumBody)
      } catch is NIOTooManyBytesError {
        throw HTTPError(.contentTooLarge)
      }
      let (status, bytes) = answer(request.uri.path, Array(buffer: body))
      return Response(
        status: .init(code: status),
        headers: [.contentType: status == 200 ? "application/json" : "text/plain; charset=utf-8"],
        body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }
    let application = Application(
      router: router, server: try .tls(.http1(), tlsConfiguration: tls),
      configuration: .init(address: .hostname(host, port: port), serverName: "swarmscale"),
      onServerRunning: { channel in await onListening(channel.localAddress?.port ?? 0) }, logger: logger)
    try await application.run()
  }

  private static func configuration(_ certificates: some CertificateReloader) throws -> TLSConfiguration {
    try .makeServerConfiguration(certificateReloader: certificates)
  }
}
