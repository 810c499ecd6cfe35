import ControllerServer
import ExternalScaler
import FleetCertificates
import KubernetesCore
import KubernetesRuntime
import Logging
import MetricBridges
import Observability
import ScalingController
import ServiceLifecycle

/// The bridges to other autoscalers: what flags say, as services.
struct BridgeParts {
  /// What the bridges tell.
  let bridge: MetricBridge
  private let options: ControllerOptions
  private let pod: ObjectKey?
  private let client: APIClient
  private let registry: MetricsRegistry
  private let time: any TimeSource
  private let logger: Logger
  private let serverLogger: Logger

  /// Prepares the parts; nil when no flag asks for a bridge. `namespace` is the controller's own, and `pod` its pod's name, if it
  /// runs in one. `registry` was made with `BridgeMetrics.families` among its families.
  init?(
    _ options: ControllerOptions, namespace: String, pod: String?, client: APIClient, registry: MetricsRegistry,
    time: any TimeSource, logger: Logger, serverLogger: Logger
  ) {
    guard options.bridges else { return nil }
    self.options = options
    self.pod = pod.map { ObjectKey(namespace: namespace, name: $0) }
    self.client = client
    self.registry = registry
    self.time = time
    self.logger = logger
    self.serverLogger = serverLogger
    bridge = MetricBridge(hasBudgets: options.coordinatorListen != nil, time: time)
  }

  /// What runs while this process leads.
  var leaderTasks: [(any LeaderTask)?] {
    [
      bridge,
      pod.map {
        LeaderLabel(pod: $0, value: options.leaderElectionName, client: client, time: time, logger: logger)
      },
    ]
  }

  /// The servers; `identity` is the controller's own certificate. Every replica runs them, whether it leads or not.
  func services(_ identity: ServingIdentity) -> [any Service] {
    var services: [any Service] = []
    if let listen = options.externalMetricsListen {
      let authority = FrontProxyAuthority(client: client, time: time, logger: logger)
      services += [authority, externalMetrics(listen, identity, authority)]
    }
    if let listen = options.kedaListen { services.append(externalScaler(listen, identity)) }
    return services
  }

  private func externalMetrics(
    _ listen: ListenAddress, _ identity: ServingIdentity, _ authority: FrontProxyAuthority
  ) -> ExternalMetricsServer {
    let (bridge, registry, logger) = (self.bridge, self.registry, self.logger)
    return ExternalMetricsServer(
      host: listen.host, port: listen.port, certificates: identity, whenReady: { try await identity.whenReady() },
      believes: { chain in
        let isBelieved = await authority.believes(chain)
        if !isBelieved { registry.increment(BridgeMetrics.requests, ["external_metrics", "refused"]) }
        return isBelieved
      }, logger: serverLogger,
      onListening: { port in
        logger.info("serving external metrics", metadata: [LogKey.address: "\(listen.host):\(port)"])
      }
    ) { method, path, selector in
      let response = bridge.respond(method, path, labelSelector: selector)
      let outcome = [200: "served", 503: "unavailable"][response.status] ?? "invalid"
      registry.increment(BridgeMetrics.requests, ["external_metrics", outcome])
      return (response.status, response.body.text)
    }
  }

  private func externalScaler(_ listen: ListenAddress, _ identity: ServingIdentity) -> ExternalScalerServer {
    let (registry, logger) = (self.registry, self.logger)
    return ExternalScalerServer(
      host: listen.host, port: listen.port,
      security: options.kedaTls
        ? .tls({
          try await identity.whenReady()
          return identity
        }) : .plaintext,
      service: ExternalScalerService(source: bridge, time: time) { outcome in
        registry.increment(BridgeMetrics.requests, ["keda", outcome.rawValue])
      },
      onListening: { port in
        logger.info("serving KEDA's external scaler", metadata: [LogKey.address: "\(listen.host):\(port)"])
      })
  }
}
