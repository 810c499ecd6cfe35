/// Carries requests to a Kubernetes API server: libcurl in production, a script in tests.
///
/// A transport adds the server's address, TLS and credentials. It doesn't retry and doesn't interpret status codes:
/// a response with status 500 is a response. It throws `KubernetesError` for failures of the connection and
/// `CancellationError` when the calling task is cancelled.
package protocol APITransport: Sendable {
  /// Sends `request` and collects the whole response.
  func send(_ request: APIRequest) async throws -> APIResponse

  /// Sends `request` and hands the response to `body` while it still arrives.
  ///
  /// The connection's stream is closed when `body` returns or throws, however much of it was read.
  func withStream<Result: Sendable>(
    _ request: APIRequest,
    _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result
}
