package import ArgumentParser
import ControllerServer
import CoordinationProtocol
import Coordinator
import FleetCoordination
import KubernetesClient
import KubernetesConfiguration
import KubernetesCore
import KubernetesRuntime
import Logging
import Observability
import ScalingAPI
import ScalingController
import ScalingDecision
import ServiceLifecycle
import StatusPage
import UnixSignals

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The controller's command: parses flags, wires the parts, runs them until SIGTERM or SIGINT.
package struct ControllerCommand: AsyncParsableCommand {
  package static let configuration: CommandConfiguration = configuration(
    named: "controller", usedAs: "swarmscale controller")

  /// What help says of the controller, as a subcommand and as a program of its own.
  package static func configuration(named name: String, usedAs usage: String) -> CommandConfiguration {
    CommandConfiguration(
      commandName: name,
      abstract: "Watch SwarmAutoscaler objects and scale their targets.",
      discussion: """
        Finds the cluster through --kubeconfig, else $KUBECONFIG, else the pod's service account, else ~/.kube/config. \
        Writes one log line for each change of size and each change of the reasons, to standard error. SIGTERM and \
        SIGINT end it in good order with exit code 0; 64 means that the command line is wrong, 78 that the \
        configuration is, 69 that it can't go on. Lengths of time are written 15s, 5m, 1h30m or 500ms.

        Try it beside a cluster:
          kubectl apply -k manifests/crd
          \(usage) --kubeconfig ~/.kube/config --no-leader-election
          kubectl apply -f examples/basic.yaml && kubectl get swa -w
        """,
      version: swarmscaleVersion)
  }

  @OptionGroup package var options: ControllerOptions

  /// Makes the command.
  package init() {}

  /// Makes the command with options that another command has parsed.
  package init(options: ControllerOptions) {
    self.options = options
  }

  package func run() async throws {
    ProcessMemory.keepHeapSmall()
    CoreDumps.disable()
    let time = SystemTimeSource()
    let logger = makeLogger(time)
    do {
      try await run(time, logger)
    } catch let error as KubernetesError where error.code == .misconfigured {
      logger.error("the configuration can't be used", metadata: [LogKey.error: "\(error.message)"])
      throw ExitCode(78)
    } catch let error as ExitCode {
      throw error
    } catch {
      logger.error("the controller ends", metadata: [LogKey.error: "\(error)"])
      throw ExitCode(69)
    }
  }

  /// Our name in `managedFields`. Servers before 1.22 take it from the user agent where `/scale` is written, so both
  /// are the same.
  private static let fieldManager = "swarmscale-controller"

  private func makeLogger(_ time: SystemTimeSource) -> Logger {
    let (format, level) = (options.logFormat, options.logLevel.level)
    return Logger(label: "swarmscale") { label in
      StructuredLogHandler(label: label, format: format, level: level) { time.wallNow.rfc3339Micro }
    }
  }

  private func run(_ time: SystemTimeSource, _ logger: Logger) async throws {
    let environment = ProcessInfo.processInfo.environment
    let cluster = try loadClusterConfiguration(
      explicitPath: options.kubeconfig, context: options.context, environment: environment)
    let transport = try CurlTransport(
      configuration: cluster,
      credentials: credentialProvider(for: cluster, environment: environment, timeSource: time),
      userAgent: "\(Self.fieldManager)/\(swarmscaleVersion)", timeSource: time)
    let registry = MetricsRegistry(
      ControllerMetrics.families + (options.coordinatorListen == nil ? [] : CoordinationMetrics.families)
        + (options.bridges ? BridgeMetrics.families : []))
    registry.onRender { registry in Self.refresh(registry, transport.statistics) }
    let decisionLog = try options.decisionLog.map {
      try DecisionLog(path: $0, program: swarmscaleVersion, logger: logger)
    }
    let prioritizing = PrioritizingTransport(transport, timeSource: time)
    let configuration = try self.configuration(cluster, environment)
    let page = options.page ? makePage(configuration.instance, time) : nil
    let webhook = try WebhookParts(
      options, namespace: ownNamespace(cluster, environment), client: APIClient(transport: prioritizing, time: time),
      time: time, logger: logger, serverLogger: logger.atMost(.notice))
    let bridges = BridgeParts(
      options, namespace: ownNamespace(cluster, environment), pod: environment["POD_NAME"],
      client: APIClient(transport: prioritizing, time: time), registry: registry, time: time, logger: logger,
      serverLogger: logger.atMost(.notice))
    let coordinator = options.coordinatorListen.map {
      makeCoordinator(at: $0, prioritizing, configuration.instance, registry, time, logger, page, webhook, bridges)
    }
    let leaderTasks: [(any LeaderTask)?] =
      [coordinator, page.map { PageLeadership(page: $0, time: time) }] + (bridges?.leaderTasks ?? [])
    let controller = ScalingControllerService(
      transport: prioritizing, configuration: configuration, registry: registry, time: time, logger: logger,
      queryTransports: CurlQueryTransports(userAgent: "swarmscale/\(swarmscaleVersion)", time: time),
      reports: coordinator, orders: coordinator, leaderTasks: leaderTasks.compactMap { $0 },
      onSynced: { ProcessMemory.releaseStartPages() },
      onForget: { key in
        page?.forget(key)
        bridges?.bridge.forget(key)
      }
    ) { pass in
      decisionLog?.append(pass)
      page?.observe(pass)
      bridges?.bridge.observe(pass)
    }
    page?.attach(to: controller, reports: coordinator)
    bridges?.bridge.attach { [weak controller] in controller?.autoscalers(inNamespace: $0) ?? [] }
    let server = makeServer(controller, webhook, registry, page, logger)
    logger.info(
      "starting",
      metadata: [LogKey.version: "\(swarmscaleVersion)", LogKey.address: "\(cluster.server)"])
    let group = ServiceGroup(
      configuration: .init(
        services: [
          .init(service: server, failureTerminationBehavior: .gracefullyShutdownGroup)
        ]
          + (webhook.services(controller, registry) + (bridges?.services(webhook.ownIdentity) ?? [])).map {
            .init(
              service: $0, successTerminationBehavior: .ignore, failureTerminationBehavior: .gracefullyShutdownGroup)
          } + [.init(service: controller, successTerminationBehavior: .gracefullyShutdownGroup)],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger.atMost(.notice)))
    try await group.run()
    await transport.shutdown()
    logger.info("stopped")
  }

  private func makeServer(
    _ controller: ScalingControllerService, _ webhook: WebhookParts, _ registry: MetricsRegistry, _ page: StatusPage?,
    _ logger: Logger
  ) -> ControllerServer {
    ControllerServer(
      endpoints: ControllerServerEndpoints(
        liveness: { .ok },
        readiness: { (controller.notReadyReason ?? webhook.notReadyReason).map { .failing($0) } ?? .ok },
        metrics: { registry.render() }), page: page,
      host: options.listen.host, port: options.listen.port, logger: logger.atMost(.notice),
      onListening: { port in
        logger.info(
          options.page ? "serving the page, health and metrics" : "serving health and metrics",
          metadata: [LogKey.address: "\(options.listen.host):\(port)"])
      })
  }

  private func makePage(_ instance: String, _ time: SystemTimeSource) -> StatusPage {
    StatusPage(.init(program: "swarmscale \(swarmscaleVersion)", instance: instance), time: time)
  }

  private func makeCoordinator(
    at address: ListenAddress, _ transport: PrioritizingTransport, _ instance: String, _ registry: MetricsRegistry,
    _ time: SystemTimeSource, _ logger: Logger, _ page: StatusPage?, _ webhook: WebhookParts, _ bridges: BridgeParts?
  ) -> FleetCoordinator {
    let security: CoordinatorServerConfiguration.Security =
      if let chain = options.coordinatorCertificate, let key = options.coordinatorKey {
        .tls(certificateChain: chain, privateKey: key)
      } else { .plaintext }
    let host = address.host == "localhost" ? "127.0.0.1" : address.host
    let authenticator: any Authenticator =
      switch options.coordinatorAuthentication {
      case .tokenReview:
        TokenReviewAuthenticator(client: APIClient(transport: transport, time: time), time: time)
      case .trust: TrustingAuthenticator()
      }
    var configuration = FleetCoordinator.Configuration(
      server: CoordinatorServerConfiguration(host: host, port: address.port, security: security),
      namespace: options.namespace, instance: instance, fieldManager: Self.fieldManager)
    configuration.certificates = webhook.coordinatorCertificates
    configuration.followsPods = options.coordinatorAuthentication == .tokenReview
    return FleetCoordinator(
      configuration, transport: transport, authenticator: authenticator, registry: registry, clock: SystemBudgetClock(),
      time: time, logger: logger
    ) { report, budgets in
      page?.observe(BudgetSample.samples(of: report, budgets))
      bridges?.bridge.observe(report, budgets)
    }
  }

  private func configuration(
    _ cluster: ClusterConfiguration, _ environment: [String: String]
  ) throws -> ScalingControllerService.Configuration {
    var defaults = ResolvedAutoscaler.Defaults()
    defaults.syncPeriod = options.syncPeriod.duration
    defaults.downscaleStabilization = options.downscaleStabilization.duration
    do {
      defaults.tolerance = try Quantity(options.tolerance)
    } catch {
      throw KubernetesError(.misconfigured, "--tolerance \(options.tolerance): \(error)")
    }
    let limits = DecisionLimits(
      cpuInitializationPeriod: options.cpuInitializationPeriod.duration,
      initialReadinessDelay: options.initialReadinessDelay.duration)
    let instance = environment["POD_NAME"] ?? ProcessInfo.processInfo.hostName
    return ScalingControllerService.Configuration(
      namespace: options.namespace, workers: options.concurrentSyncs,
      settings: .init(defaults: defaults, limits: limits, fieldManager: Self.fieldManager),
      election: options.leaderElection ? try election(cluster, environment, instance) : nil, instance: instance)
  }

  private func election(
    _ cluster: ClusterConfiguration, _ environment: [String: String], _ instance: String
  ) throws -> (lease: ObjectKey, configuration: LeaderElection.Configuration) {
    let namespace = ownNamespace(cluster, environment)
    // The process id and a random part tell two runs on one host apart.
    let identity = "\(instance)_\(UInt32.random(in: .min ... .max))"
    guard
      let configuration = LeaderElection.Configuration(
        identity: identity, leaseDuration: options.leaseDuration.duration,
        renewDeadline: options.renewDeadline.duration, retryPeriod: options.retryPeriod.duration)
    else {
      throw KubernetesError(
        .misconfigured, "the lease durations don't fit: --retry-period < --renew-deadline < --lease-duration is needed")
    }
    return (ObjectKey(namespace: namespace, name: options.leaderElectionName), configuration)
  }

  /// The namespace of the Lease and of the certificates.
  private func ownNamespace(_ cluster: ClusterConfiguration, _ environment: [String: String]) -> String {
    options.leaderElectionNamespace ?? environment["POD_NAMESPACE"] ?? cluster.defaultNamespace
  }

  private static func refresh(_ registry: MetricsRegistry, _ statistics: CurlTransportStatistics) {
    registry.set(ControllerMetrics.apiInFlight, to: Double(statistics.streamsInFlight), ["watch"])
    registry.set(
      ControllerMetrics.apiInFlight, to: Double(statistics.requestsInFlight - statistics.streamsInFlight), ["request"])
    registry.set(ControllerMetrics.apiConnections, to: Double(statistics.connectionsOpened))
    for (index, count) in statistics.responsesByClass.enumerated() {
      registry.set(ControllerMetrics.apiRequests, to: Double(count), ["\(index + 1)xx"])
    }
    registry.set(ControllerMetrics.apiRequests, to: Double(statistics.failures), ["failed"])
  }
}

extension Logger {
  /// This logger, silent below `level` unless it's more verbose on purpose.
  fileprivate func atMost(_ level: Logger.Level) -> Logger {
    var logger = self
    if logLevel >= .info { logger.logLevel = max(logLevel, level) }
    return logger
  }
}
