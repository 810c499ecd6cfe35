package import KubernetesCore
package import Logging
import ServiceLifecycle

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Shows a certificate that somebody else keeps in files (cert-manager, for one), and follows its changes.
package struct CertificateFiles: Service {
  private let chain: String
  private let key: String
  private let authorities: String?
  private let identity: ServingIdentity
  private let interval: Duration
  private let time: any TimeSource
  private let logger: Logger

  /// Follows the files of a certificate chain, its key, and of the authorities that pods are told (nil: none). They are looked at
  /// every `interval`: the kubelet exchanges the files of a Secret within a minute.
  package init(
    chain: String, key: String, authorities: String?, identity: ServingIdentity, interval: Duration = .seconds(10),
    time: any TimeSource, logger: Logger
  ) {
    self.chain = chain
    self.key = key
    self.authorities = authorities
    self.identity = identity
    self.interval = interval
    self.time = time
    self.logger = logger
  }

  package func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await follow() }
    } catch is CancellationError {}
  }

  private func follow() async throws {
    var lastTrouble = ""
    while true {
      do throws(KubernetesError) {
        if try look() { logger.info("serving with a new certificate", metadata: ["file": "\(chain)"]) }
        lastTrouble = ""
      } catch {
        // A pair may be half exchanged; the one of before goes on.
        if error.message != lastTrouble {
          logger.warning("the certificate can't be read; it is tried again", metadata: ["error": "\(error.message)"])
        }
        lastTrouble = error.message
      }
      try await time.sleep(for: interval)
    }
  }

  /// Looks once. Returns whether there is a new certificate; throws `.misconfigured` naming the file that can't be used.
  @discardableResult
  package func look() throws(KubernetesError) -> Bool {
    let (chainText, keyText) = (try text(chain), try text(key))
    let authorityText = try authorities.map { path throws(KubernetesError) in try text(path) }
    do {
      return try identity.show(chain: chainText, key: keyText, authorities: authorityText)
    } catch {
      throw KubernetesError(.misconfigured, "\(chain) and \(key) are no certificate with its key, in PEM: \(error)")
    }
  }

  private func text(_ path: String) throws(KubernetesError) -> String {
    do {
      return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
    } catch {
      throw KubernetesError(.misconfigured, "\(path) can't be read: \(error)")
    }
  }
}
