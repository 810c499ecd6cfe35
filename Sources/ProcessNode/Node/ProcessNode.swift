package import KubernetesCore
package import KubernetesRuntime
package import Logging
import ServiceLifecycle
import Synchronization

/// A Kubernetes node whose containers are child processes of this machine: no images, no isolation, no root.
///
/// It speaks the ordinary API and works with any API server; docs/process-node.md tells what of a pod it carries out and
/// what it can't. While it runs it owns its state folder. Nothing that it starts outlives it, however it ends.
package final class ProcessNode: Service {
  private let configuration: NodeConfiguration
  private let engine: PodEngine
  private let loop: DescriptorLoop
  private let informer: Informer<JSONInformerCodec<NodePod>>
  private let events: EventRecorder
  private let registration: NodeRegistration
  private let logger: Logger
  private let lock: FolderLock

  /// Makes a node; nothing is registered or started yet, but its folder is emptied and its own from now on.
  ///
  /// - Parameters:
  ///   - configuration: Name, limits, folder.
  ///   - client: How to reach the API server; its transport carries the watch too.
  ///   - environment: This process's environment, of which containers get the part that they may.
  ///   - watch: How the watch of pods recovers.
  package init(
    _ configuration: NodeConfiguration, client: APIClient, environment: [String: String],
    watch: WatchStateMachine.Configuration = WatchStateMachine.Configuration(maximumBackoff: .seconds(5)),
    logger: Logger
  ) throws {
    self.configuration = configuration
    self.logger = logger
    lock = try FolderLock(configuration.stateFolder)
    // Nothing is adopted: what an earlier life left here is dead, or dies just now.
    Files.remove("\(configuration.stateFolder)/pods")
    let machine = Machine()
    loop = try DescriptorLoop()
    events = EventRecorder(
      transport: client.transport,
      configuration: EventCorrelator.Configuration(component: "swarmscale-node", instance: configuration.name),
      time: client.time, logger: logger)
    let engine = PodEngine(
      configuration, client: client, loop: loop, events: events, environment: environment, machine: machine,
      logger: logger)
    self.engine = engine
    registration = NodeRegistration(configuration: configuration, machine: machine, client: client, logger: logger)
    let store = Mutex<InformerStore<NodePod>?>(nil)
    let box = StoreBox(store)
    informer = Informer(
      transport: client.transport, codec: JSONInformerCodec<NodePod>(),
      selection: .init(fieldSelector: "spec.nodeName=\(configuration.name)"), configuration: watch, time: client.time,
      logger: logger
    ) { notification in
      guard case .changed(let key, _) = notification, let store = box.store.withLock({ $0 }) else { return }
      let pod = store[key]
      engine.vanish(key, present: pod?.uid)
      if let pod { engine.observe(pod) }
    }
    box.store.withLock { $0 = informer.store }
  }

  /// The informer's store, which its handler reads and which exists only after it.
  private final class StoreBox: Sendable {
    let store: Mutex<InformerStore<NodePod>?>
    init(_ store: consuming Mutex<InformerStore<NodePod>?>) { self.store = store }
  }

  /// The number of pods that have something running.
  package var runningPods: Int {
    engine.state.withLock { $0.entries.values.filter { !$0.lifecycle.isFinished }.count }
  }

  /// Runs pods until graceful shutdown, upon which they get their grace period, or until cancelled, upon which they are
  /// killed. Either way nothing of them runs when this returns.
  package func run() async throws {
    let queues = engine.makeQueues()
    // The last is shut down first, and each only when those after it have ended: pods end while their status can still
    // be written.
    let services: [(String, any Service)] = [
      ("events", Stage { [events] in try await events.run() }),
      ("reports", Stage { await queues.reports.run() }),
      ("jobs", Stage { await queues.jobs.run() }),
      ("deadlines", Stage { [engine] in try await untilGracefulShutdown { try await engine.keepTime() } }),
      ("registration", registration),
      ("use", Stage { [self] in try await untilGracefulShutdown { try await self.sample() } }),
      ("pods", informer),
      (
        "end",
        Stage { [engine, configuration] in
          try await gracefulShutdown()
          try await engine.end(grace: configuration.shutdownGrace)
        }
      ),
    ]
    var settings = ServiceGroupConfiguration(
      services: services.map { name, service in
        .init(
          service: service, successTerminationBehavior: .ignore, failureTerminationBehavior: .cancelGroup,
          serviceName: "process-node \(name)")
      }, logger: logger)
    settings.cancellationSignals = []
    let result: Result<Void, any Error>
    do {
      try await ServiceGroup(configuration: settings).run()
      result = .success(())
    } catch {
      result = .failure(error)
    }
    // Closes every shim's socket, upon which it kills what it looks after, and waits for them.
    await loop.shutdown()
    Files.remove("\(configuration.stateFolder)/pods")
    lock.release()
    try result.get()
  }
}

extension ProcessNode {
  fileprivate func sample() async throws {
    while true {
      engine.sample()
      try await engine.time.sleep(for: configuration.samplingPeriod)
    }
  }
}

extension ProcessNode: PodLogSource, UsageSource {
  package func log(of pod: ObjectKey, _ options: PodLogOptions) throws(PodLogError) -> PodLog {
    try engine.log(of: pod, options)
  }

  package func podMetrics(namespace: String?) -> [PodMetricsSample] { engine.podMetrics(namespace: namespace) }

  package func nodeMetrics() -> NodeMetricsSample? { engine.nodeMetrics() }
}

/// A part of the node as a service.
private struct Stage: Service {
  let body: @Sendable () async throws -> Void

  func run() async throws { try await body() }
}

/// Runs `body` until graceful shutdown, which is no error.
private func untilGracefulShutdown(_ body: @escaping @Sendable () async throws -> Void) async throws {
  do {
    try await cancelWhenGracefulShutdown { try await body() }
  } catch is CancellationError where Task.isShuttingDownGracefully {
    return
  }
}
