import Hummingbird
import HummingbirdTLS
package import KubernetesCore
import KubernetesRuntime
import LocalAPI
package import Logging
import ServiceLifecycle

/// A Kubernetes API server with its controllers in one process, for one machine and for fast tests (docs/local-cluster.md).
///
/// It listens on loopback over TLS and wants a token, since whoever may create pods may start processes. Objects live in memory;
/// pods are run by a node that speaks the ordinary API, and whose logs and measurements come through the two sources.
package struct LocalCluster: Service {
  private let configuration: LocalClusterConfiguration
  private let logs: any ClusterLogSource
  private let usage: any ClusterUsageSource
  private let external: any ClusterExternalSource
  private let time: any TimeSource
  private let logger: Logger
  private let onListening: @Sendable (LocalClusterEndpoint) async -> Void

  /// Makes a cluster; `onListening` is told how to reach it once it accepts connections.
  package init(
    configuration: LocalClusterConfiguration = LocalClusterConfiguration(), logs: any ClusterLogSource = NoSources(),
    usage: any ClusterUsageSource = NoSources(), external: any ClusterExternalSource = NoSources(),
    time: any TimeSource, logger: Logger,
    onListening: @escaping @Sendable (LocalClusterEndpoint) async -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.logs = logs
    self.usage = usage
    self.external = external
    self.time = time
    self.logger = logger
    self.onListening = onListening
  }

  package func run() async throws {
    guard ["127.0.0.1", "::1", "localhost"].contains(configuration.host) else {
      throw LocalClusterError(
        "The local cluster listens on loopback only, not on \(configuration.host): whoever reaches it could start processes."
      )
    }
    let identity = try ServerIdentity(host: configuration.host)
    let snapshots = configuration.snapshotPath.map { SnapshotFile(path: $0, logger: logger) }
    let hub = try ClusterHub(
      limits: configuration.limits, snapshot: try snapshots?.read(), externalMetrics: external.names, time: time)
    let server = APIServer(
      hub: hub, identity: identity, configuration: configuration, logs: logs, usage: usage, external: external,
      time: time)
    let application = Application(
      responder: CallbackResponder<BasicRequestContext> { request, _ in await server.respond(to: request) },
      server: try .tls(.http1(), tlsConfiguration: identity.tls),
      configuration: .init(address: .hostname(configuration.host, port: configuration.port), serverName: nil),
      onServerRunning: { channel in await announce(identity, port: channel.localAddress?.port ?? 0) },
      logger: quiet(logger))
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          try await application.run()
          hub.close()
        }
        group.addTask { try await control(hub) }
        if let snapshots {
          group.addTask { try await snapshots.keep(hub, delay: configuration.snapshotDelay, time) }
        }
        defer { group.cancelAll() }
        do {
          for try await _ in group {}
        } catch is CancellationError {
          // The end of the program, not an error.
        }
      }
    } onGracefulShutdown: {
      hub.close()
    }
  }

  /// Hummingbird's own words are for whoever looks for faults in the server.
  private func quiet(_ logger: Logger) -> Logger {
    var logger = logger
    logger.logLevel = max(logger.logLevel, .warning)
    return logger
  }

  private func announce(_ identity: ServerIdentity, port: Int) async {
    let host = configuration.host == "::1" ? "[::1]" : configuration.host
    let server = "https://\(host):\(port)"
    let text = identity.kubeconfig(server: server)
    if let path = configuration.kubeconfigPath {
      do throws(LocalClusterError) {
        try PrivateFile.write(Array(text.utf8), to: path)
      } catch {
        logger.error("no kubeconfig", metadata: ["error": "\(error)"])
      }
    }
    await onListening(
      LocalClusterEndpoint(
        server: server, port: port, certificateAuthority: identity.authority, token: identity.token,
        kubeconfigText: text))
  }

  /// The controllers' loop: work, then sleep until something changes or is due.
  private func control(_ hub: ClusterHub) async throws {
    while !hub.isClosed {
      let pause = hub.settle()
      try await hub.controllers.wait(until: pause.map { time.monotonicNow + $0 }, time)
    }
  }
}
