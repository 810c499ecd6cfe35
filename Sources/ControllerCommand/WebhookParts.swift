import AdmissionWebhook
import ControllerServer
import FleetCertificates
import KubernetesCore
import KubernetesRuntime
import Logging
import MetricBridges
import NIOCertificateReloading
import Observability
import ScalingController
import ServiceLifecycle
import Synchronization
import WorkerEmbedding

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The certificates and the admission webhook of a controller: what flags say, as services.
struct WebhookParts {
  /// The controller's own certificate; without one of its own nobody shows it.
  let ownIdentity = ServingIdentity()
  private let webhookIdentity: ServingIdentity
  private let options: ControllerOptions
  private let namespace: String
  private let client: APIClient
  private let time: any TimeSource
  private let logger: Logger
  private let serverLogger: Logger
  private let serverVersion: ServerVersion
  private let listening = Listening()
  /// The authorities of `--worker-ca`; nil: none was named.
  private let workerAuthority: String?

  /// Prepares the parts; `namespace` is the controller's own. Throws `.misconfigured` when `--worker-ca` can't be read.
  init(
    _ options: ControllerOptions, namespace: String, client: APIClient, time: any TimeSource, logger: Logger,
    serverLogger: Logger
  ) throws {
    self.options = options
    self.namespace = namespace
    self.client = client
    self.time = time
    self.logger = logger
    self.serverLogger = serverLogger
    webhookIdentity = options.webhookCertificate == nil ? ownIdentity : ServingIdentity()
    serverVersion = ServerVersion(client: client, time: time, logger: logger)
    workerAuthority = try options.workerCa.map { path in
      do {
        return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
      } catch {
        throw KubernetesError(.misconfigured, "--worker-ca \(path) can't be read: \(error)")
      }
    }
  }

  /// The coordinator's certificates, once there are any; nil: flags say how it is secured.
  var coordinatorCertificates: (@Sendable () async throws -> any CertificateReloader)? {
    guard options.coordinatorUsesOwnCertificate else { return nil }
    let identity = ownIdentity
    return {
      try await identity.whenReady()
      return identity
    }
  }

  /// What is missing before API servers can be answered; nil: nothing, or there is no webhook.
  var notReadyReason: String? {
    guard options.webhookListen != nil, !listening.isListening else { return nil }
    return webhookIdentity.isReady
      ? "the webhook doesn't listen yet" : "the webhook has no certificate yet; the log says what keeps it"
  }

  /// What keeps certificates, and the webhook for the pods of `controller`'s autoscalers.
  func services(_ controller: ScalingControllerService, _ registry: MetricsRegistry) -> [any Service] {
    var services: [any Service] = []
    if options.keepsCertificates {
      services.append(
        CertificateKeeper(
          .init(
            secret: ObjectKey(namespace: namespace, name: options.certificateSecret), names: certificateNames,
            webhooks: options.webhookListen == nil || options.webhookCertificate != nil
              ? nil : options.webhookConfiguration,
            apiService: options.externalMetricsListen.map { _ in
              (ExternalMetricsAPI.serviceName, ObjectKey(namespace: namespace, name: options.bridgeService))
            }),
          client: client, identity: ownIdentity, time: time, logger: logger))
    }
    if let folder = options.certificateFolder {
      services.append(
        CertificateFiles(
          chain: "\(folder)/tls.crt", key: "\(folder)/tls.key", authorities: "\(folder)/ca.crt", identity: ownIdentity,
          time: time, logger: logger))
    }
    guard let listen = options.webhookListen else { return services }
    if let chain = options.webhookCertificate, let key = options.webhookKey {
      services.append(
        CertificateFiles(
          chain: chain, key: key, authorities: nil, identity: webhookIdentity, time: time, logger: logger))
    }
    services.append(ServerVersionService(version: serverVersion))
    services.append(server(listen, controller, registry))
    return services
  }

  /// The names by which API servers and workers call.
  private var certificateNames: Set<String> {
    var names = Set(options.certificateName)
    for service in [options.webhookService, options.coordinatorService]
      + (options.bridges ? [options.bridgeService] : [])
    {
      names.formUnion([
        "\(service).\(namespace).svc", "\(service).\(namespace).svc.cluster.local", "\(service).\(namespace)",
      ])
    }
    return names
  }

  private func server(
    _ listen: ListenAddress, _ controller: ScalingControllerService, _ registry: MetricsRegistry
  ) -> AdmissionServer {
    let webhook = AdmissionWebhook(configuration(controller))
    let (identity, version, listening, logger) = (webhookIdentity, serverVersion, self.listening, self.logger)
    return AdmissionServer(
      host: listen.host, port: listen.port, certificates: identity,
      whenReady: {
        try await identity.whenReady()
        // Who doesn't know the fleets, or what the server can do, would let pods pass that it should embed in.
        try await controller.whenSynced()
        try await version.whenKnown()
      }, maximumBody: AdmissionWebhook.maximumBody, logger: serverLogger,
      onListening: { port in
        listening.begin()
        logger.info("serving the admission webhook", metadata: [LogKey.address: "\(listen.host):\(port)"])
      }
    ) { path, body in
      do throws(KubernetesError) {
        let (review, outcome) = try webhook.answer(body, at: path)
        registry.increment(ControllerMetrics.admissions, [String(path.dropFirst()), outcome])
        return (200, review)
      } catch {
        return (error.code == .notFound ? 404 : 400, Array((error.message + "\n").utf8))
      }
    }
  }

  private func configuration(_ controller: ScalingControllerService) -> AdmissionWebhook.Configuration {
    var settings = EmbeddingSettings(image: options.sidecarImage)
    settings.coordinator =
      options.workerCoordinator
      ?? options.coordinatorListen.map { "https://\(options.coordinatorService).\(namespace).svc:\($0.port)" }
    let (identity, authority, isOwn) = (ownIdentity, workerAuthority, options.coordinatorUsesOwnCertificate)
    let version = serverVersion
    return AdmissionWebhook.Configuration(
      settings: { [settings] in
        var settings = settings
        settings.authority = authority ?? (isOwn ? identity.authorities : nil)
        return settings
      }, server: { version.current }, autoscaler: { controller.autoscaler(scaling: $0) }, namespace: options.namespace,
      // Who serves one namespace alone may run in it; its own pods are told apart by a label then.
      excludedNamespaces: options.namespace == namespace ? ["kube-system"] : ["kube-system", namespace])
  }
}

/// Whether the webhook listens.
private final class Listening: Sendable {
  private let state = Mutex(false)

  var isListening: Bool { state.withLock { $0 } }

  func begin() { state.withLock { $0 = true } }
}

/// Follows the API server's version as long as the controller runs.
private struct ServerVersionService: Service {
  let version: ServerVersion

  func run() async throws {
    do {
      try await cancelWhenGracefulShutdown { try await version.follow() }
    } catch is CancellationError {}
  }
}
