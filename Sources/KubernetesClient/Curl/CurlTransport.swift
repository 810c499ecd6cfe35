package import KubernetesCore

/// Carries requests to a Kubernetes API server with libcurl: one thread, connections shared by all requests, HTTP/2
/// where the server offers it.
///
/// A request answered with 401 is sent once more if the credential, read or asked anew, differs from the one refused.
/// Redirects aren't followed: they would carry the credentials elsewhere. Call `shutdown()` before letting it go.
package final class CurlTransport: APITransport {
  /// Bounds of a transport; the defaults suit one cluster.
  package struct Limits: Hashable, Sendable {
    /// The most connections for requests that aren't streams; over HTTP/2 one carries a hundred requests or more.
    package var connections = 32
    /// The longest time for setting up a connection (name, TCP, TLS).
    package var connectTimeout = Duration.seconds(10)
    /// The most bytes of header lines in a response.
    package var headerBytes = 64 << 10
    /// How many bytes of a stream wait for a slow consumer before the connection stops receiving.
    package var streamHighWaterBytes = 1 << 20
    /// How many libcurl handles are kept for the next requests.
    package var idleHandles = 64

    /// Makes the default bounds.
    package init() {}
  }

  private let encoder: RequestEncoder
  private let tls: TLSMaterialSource
  private let credentials: any CredentialProvider
  private let limits: Limits
  private let loop: CurlLoop

  /// Makes a transport to the cluster of `configuration` and starts its thread; nothing is connected yet.
  ///
  /// - Parameters:
  ///   - configuration: The server, TLS and proxy; its `credentials` only say what `credentials` was made from.
  ///   - credentials: Gives the credential for each request.
  ///   - userAgent: `swarmscale/VERSION`.
  ///   - timeSource: Monotonic time for deadlines and for how often files are checked.
  ///   - limits: Bounds.
  package init(
    configuration: ClusterConfiguration, credentials: any CredentialProvider, userAgent: String,
    timeSource: any TimeSource, limits: Limits = Limits()
  ) throws {
    encoder = try RequestEncoder(configuration: configuration, userAgent: userAgent)
    tls = TLSMaterialSource(configuration.tls, timeSource: timeSource)
    self.credentials = credentials
    self.limits = limits
    loop = try CurlLoop(
      settings: CurlWorker.Settings(
        timeSource: timeSource, server: encoder.address.description, origin: configuration.origin,
        skipsVerification: configuration.tls.skipsVerification, proxyURL: configuration.proxyURL, limits: limits))
  }

  deinit {
    loop.stop()
    loop.detach()
  }

  /// Ends every transfer with an error and the thread with them; later requests fail at once.
  package func shutdown() async {
    loop.stop()
    await loop.waitUntilStopped()
  }

  /// What the transport has done so far.
  package var statistics: CurlTransportStatistics { loop.statistics }

  package func send(_ request: APIRequest) async throws -> APIResponse {
    let credential = try await credentials.current(forceRefresh: false)
    let response = try await send(request, with: credential)
    guard response.head.status == 401, let renewed = try await renewed(credential) else { return response }
    return try await send(request, with: renewed)
  }

  package func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    let credential = try await credentials.current(forceRefresh: false)
    var (transfer, head) = try await openStream(request, with: credential)
    if head.status == 401 {
      do {
        if let renewed = try await renewed(credential) {
          transfer.abandon()
          (transfer, head) = try await openStream(request, with: renewed)
        }
      } catch {
        transfer.abandon()
        throw error
      }
    }
    let opened = transfer
    defer { opened.abandon() }
    return try await body(head, APIByteStream { try await opened.nextBytes() })
  }

  private func renewed(_ refused: Credential) async throws -> Credential? {
    let credential = try await credentials.current(forceRefresh: true)
    return credential == refused ? nil : credential
  }

  private func send(_ request: APIRequest, with credential: Credential) async throws -> APIResponse {
    let transfer = try start(request, .collect(maximumBytes: request.maximumResponseBytes), credential)
    guard case .response(let response) = try await transfer.next() else {
      throw KubernetesError(.malformedResponse, "\(encoder.address) sent no response.")
    }
    return response
  }

  private func openStream(
    _ request: APIRequest, with credential: Credential
  ) async throws -> (Transfer, APIResponseHead) {
    let transfer = try start(request, .stream(highWaterBytes: limits.streamHighWaterBytes), credential)
    do {
      guard case .head(let head) = try await transfer.next() else {
        throw KubernetesError(.malformedResponse, "\(encoder.address) sent no response.")
      }
      return (transfer, head)
    } catch {
      transfer.abandon()
      throw error
    }
  }

  private func start(_ request: APIRequest, _ mode: TransferMode, _ credential: Credential) throws -> Transfer {
    let prepared = try encoder.prepare(
      request, mode: mode, credential: credential, tls: try tls.current(with: credential))
    let transfer = Transfer(id: loop.makeID(), request: prepared, loop: loop)
    try loop.start(transfer)
    return transfer
  }
}
