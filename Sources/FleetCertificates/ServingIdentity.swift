import NIOCertificateReloading
package import NIOSSL
import Synchronization

/// The certificate that servers show, exchanged while they run: each handshake takes the newest, connections that are open go on.
package final class ServingIdentity: CertificateReloader {
  private struct State {
    var override = NIOSSLContextConfigurationOverride.noChanges
    var chain = ""
    var authorities: String?
    var waiters: [AsyncStream<Void>.Continuation] = []
  }

  private let state = Mutex(State())

  /// Makes one that has no certificate yet.
  package init() {}

  package var sslContextConfigurationOverride: NIOSSLContextConfigurationOverride { state.withLock { $0.override } }

  /// Whether there is a certificate.
  package var isReady: Bool { state.withLock { !$0.chain.isEmpty } }

  /// The authorities by which the certificate is known, PEM; nil: not known here.
  package var authorities: String? { state.withLock { $0.authorities } }

  /// Returns when there is a certificate; throws `CancellationError` when the task is cancelled before.
  package func whenReady() async throws {
    let (stream, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let isReady = state.withLock { state in
      if state.chain.isEmpty { state.waiters.append(signal) }
      return !state.chain.isEmpty
    }
    if isReady { return }
    for await _ in stream {}
    try Task.checkCancellation()
  }

  /// Shows another certificate from now on. Returns whether it is another one; throws when it can't be used.
  @discardableResult
  package func show(chain: String, key: String, authorities: String?) throws -> Bool {
    let isSame = state.withLock { state in
      state.authorities = authorities
      return state.chain == chain
    }
    if isSame { return false }
    var override = NIOSSLContextConfigurationOverride()
    override.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(chain.utf8)).map { .certificate($0) }
    override.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
    // A pair that doesn't fit would fail each handshake.
    _ = try NIOSSLContext(
      configuration: .makeServerConfiguration(
        certificateChain: override.certificateChain ?? [],
        privateKey: .privateKey(NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))))
    let waiters = state.withLock { state in
      state.override = override
      state.chain = chain
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.finish() }
    return true
  }
}
