package import KubernetesCore
package import KubernetesRuntime
package import Logging
package import NIOSSL
import ServiceLifecycle
import SwiftASN1
import Synchronization
import X509

/// Whom to believe that it is the cluster's API server: the certificates by which its aggregation layer passes requests on.
///
/// Every cluster writes them into one ConfigMap. An API server has checked a request's user and their rights before it passes it on, so
/// that who shows such a certificate asks for somebody who may.
package final class FrontProxyAuthority: Service {
  /// Where the cluster says it.
  package static let configMap = ObjectKey(namespace: "kube-system", name: "extension-apiserver-authentication")
  private static let configMaps = GroupVersionResource(group: "", version: "v1", resource: "configmaps")
  private static let authoritiesField = "requestheader-client-ca-file"
  private static let namesField = "requestheader-allowed-names"

  private struct Trust: Hashable {
    var authorities: [Certificate] = []
    /// The common names that are believed; empty: every one.
    var names: Set<String> = []
  }

  private let client: APIClient
  private let interval: Duration
  private let time: any TimeSource
  private let logger: Logger
  private let trust = Mutex(Trust())

  /// Makes one that believes nobody yet. The ConfigMap is read every `interval`: an authority is replaced long before it is used up.
  package init(client: APIClient, interval: Duration = .seconds(60), time: any TimeSource, logger: Logger) {
    self.client = client
    self.interval = interval
    self.time = time
    self.logger = logger
  }

  /// Whether somebody would be believed.
  package var isReady: Bool { trust.withLock { !$0.authorities.isEmpty } }

  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await self.follow() }
    } catch is CancellationError {}
  }

  private func follow() async throws {
    var lastTrouble = ""
    while true {
      var pause = interval
      do {
        if try await look() { logger.info("the aggregation layer's authorities are known") }
        lastTrouble = ""
      } catch let error as CancellationError {
        throw error
      } catch {
        try Task.checkCancellation()
        // Told once, not every few seconds. Whom it believed before it goes on to believe.
        if "\(error)" != lastTrouble {
          lastTrouble = "\(error)"
          logger.warning(
            "who passes requests on for API servers can't be read; it is tried again",
            metadata: ["error": "\(error)", "configmap": "\(Self.configMap)"])
        }
        pause = min(interval, .seconds(5))
      }
      try await time.sleep(for: pause)
    }
  }

  /// Reads the ConfigMap once. Returns whether it says something new; throws `.misconfigured` when it names nobody.
  @discardableResult
  package func look() async throws -> Bool {
    let data = try await client.send(.get(Self.configMaps, Self.configMap), as: JSONValue.self)["data"]
    var found = Trust()
    let pem = data?[Self.authoritiesField]?.stringValue ?? ""
    found.authorities = try PEMDocument.parseMultiple(pemString: pem).map { try Certificate(pemDocument: $0) }
    guard !found.authorities.isEmpty else {
      throw KubernetesError(
        .misconfigured,
        "the ConfigMap \(Self.configMap) has no \(Self.authoritiesField): the API servers run without an aggregation layer "
          + "(--requestheader-client-ca-file)")
    }
    // A list of names as JSON in a text.
    let names = try KubernetesJSON.parse(Array((data?[Self.namesField]?.stringValue ?? "[]").utf8))
    found.names = Set((names.arrayValue ?? []).compactMap(\.stringValue))
    return trust.withLock { trust in
      defer { trust = found }
      return trust != found
    }
  }

  /// Whether the chain that a client showed, its own certificate first, is one of the aggregation layer's and good now.
  package func believes(_ chain: [NIOSSLCertificate]) async -> Bool {
    let trust = self.trust.withLock { $0 }
    guard !trust.authorities.isEmpty, let leaf = chain.first,
      let certificate = Self.certificate(leaf), Self.isForClients(certificate),
      trust.names.isEmpty || !trust.names.isDisjoint(with: Self.commonNames(certificate))
    else { return false }
    var verifier = Verifier(rootCertificates: CertificateStore(trust.authorities)) {
      RFC5280Policy()
    }
    let intermediates = CertificateStore(chain.dropFirst().compactMap(Self.certificate))
    if case .validCertificate = await verifier.validate(leaf: certificate, intermediates: intermediates) { return true }
    return false
  }

  private static func certificate(_ certificate: NIOSSLCertificate) -> Certificate? {
    guard let bytes = try? certificate.toDERBytes() else { return nil }
    return try? Certificate(derEncoded: bytes)
  }

  /// As Go's verification asks for it: a certificate that names uses must name this one.
  private static func isForClients(_ certificate: Certificate) -> Bool {
    guard let usage = try? certificate.extensions.extendedKeyUsage else { return true }
    return usage.contains(.clientAuth) || usage.contains(.any)
  }

  private static func commonNames(_ certificate: Certificate) -> Set<String> {
    Set(
      certificate.subject.flatMap { $0 }.filter { $0.type == .RDNAttributeType.commonName }
        .compactMap { String($0.value) })
  }
}
