package import KubernetesCore
package import KubernetesRuntime
package import Logging
package import Observability
package import ScalingAPI
import ServiceLifecycle

/// The controller: informers, work queue, reconciler and event recorder, wired together and led by one leader.
///
/// Informers run on every replica, so that a new leader starts with warm caches; only the leader works on keys.
package final class ScalingControllerService: Service {
  /// What the command line, or a test, decides.
  package struct Configuration: Sendable {
    /// Serve only this namespace; nil for all.
    package var namespace: String?
    /// How many autoscalers are worked on at the same time.
    package var workers: Int
    /// What the reconciler goes by.
    package var settings: AutoscalerReconciler.Settings
    /// Leader election; nil to act without.
    package var election: (lease: ObjectKey, configuration: LeaderElection.Configuration)?
    /// How the informers watch.
    package var watch: WatchStateMachine.Configuration
    /// The name of this instance in events.
    package var instance: String

    /// Makes a configuration.
    package init(
      namespace: String? = nil, workers: Int = 8, settings: AutoscalerReconciler.Settings = .init(),
      election: (lease: ObjectKey, configuration: LeaderElection.Configuration)? = nil,
      watch: WatchStateMachine.Configuration = .init(), instance: String = ""
    ) {
      self.namespace = namespace
      self.workers = workers
      self.settings = settings
      self.election = election
      self.watch = watch
      self.instance = instance
    }
  }

  private typealias AutoscalerInformer = Informer<JSONInformerCodec<SwarmAutoscaler>>
  private typealias PodInformer = Informer<PodInformerCodec>

  private let configuration: Configuration
  private let autoscalers: AutoscalerInformer
  private let pods: PodInformer
  private let events: EventRecorder
  private let elector: LeaderElector?
  private let queues: LeaderQueue
  private let memories = AutoscalerMemories()
  private let prometheus: PrometheusSource
  private let registry: MetricsRegistry
  private let onSynced: @Sendable () -> Void
  private let logger: Logger
  private let leaderTasks: [any LeaderTask]
  private let makeReconciler: @Sendable (@escaping @Sendable () -> Bool) -> AutoscalerReconciler
  private let time: any TimeSource
  private let lookup: InformerLookup

  /// Wires the controller; nothing runs before `run()`.
  ///
  /// - Parameters:
  ///   - transport: Carries every request; it should order by priority.
  ///   - registry: Was made with `ControllerMetrics.families`.
  ///   - queryTransports: Makes the HTTP clients for Prometheus; nil: such metrics are unknown.
  ///   - reports: What a coordinator knows of budgets and workers; nil: none runs, and such metrics are unknown.
  ///   - orders: Who tells workers what a decision orders; nil: nobody can.
  ///   - leaderTasks: What else runs while this process leads.
  ///   - onSynced: Called once, when the caches are filled for the first time.
  ///   - onForget: Is told each autoscaler that is gone.
  ///   - onPass: Sees every pass.
  package init(
    transport: any APITransport, configuration: Configuration, registry: MetricsRegistry, time: any TimeSource,
    logger: Logger, queryTransports: (any QueryTransportFactory)? = nil,
    reports: (any FleetReports)? = nil, orders: (any FleetOrders)? = nil, leaderTasks: [any LeaderTask] = [],
    onSynced: @escaping @Sendable () -> Void = {},
    onForget: @escaping @Sendable (ObjectKey) -> Void = { _ in },
    onPass: @escaping @Sendable (Pass) -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.onSynced = onSynced
    self.registry = registry
    self.logger = logger
    self.time = time
    let client = APIClient(transport: transport, time: time)
    let queues = LeaderQueue()
    self.queues = queues
    autoscalers = AutoscalerInformer(
      transport: transport, codec: JSONInformerCodec(), selection: .init(namespace: configuration.namespace),
      configuration: configuration.watch, index: InformerLookup.indexAutoscaler, time: time, logger: logger
    ) { notification in
      queues.note(notification)
    }
    pods = PodInformer(
      transport: transport, codec: PodInformerCodec(), selection: .init(namespace: configuration.namespace),
      configuration: configuration.watch, index: InformerLookup.indexPod, time: time, logger: logger
    ) { _ in }
    events = EventRecorder(
      transport: transport,
      configuration: .init(component: configuration.settings.fieldManager, instance: configuration.instance),
      time: time, logger: logger)
    elector = configuration.election.map { election in
      LeaderElector(
        transport: transport, lease: election.lease, configuration: election.configuration, time: time, logger: logger)
    }
    let podStore = pods.store
    let lookup = InformerLookup(autoscalers: autoscalers.store, pods: podStore)
    queues.lookup = lookup
    self.lookup = lookup
    let reporter = PassReporter(
      client: client, events: events, registry: registry, time: time, logger: logger,
      fieldManager: configuration.settings.fieldManager, onPass: onPass, onForget: onForget)
    let discovery = Discovery(client: client)
    let prometheus = PrometheusSource(factory: queryTransports, client: client)
    self.prometheus = prometheus
    let collector = MetricsCollector(
      podMetrics: PodMetricsSource(
        client: client, time: time, lifetime: min(.seconds(5), configuration.settings.defaults.syncPeriod / 3),
        storedKey: { podStore.storedKey($0) }),
      adapters: MetricsAdapters(client: client, discovery: discovery), prometheus: prometheus,
      reports: reports, time: time)
    let targets = ScaleTargets(
      client: client, discovery: discovery, fieldManager: configuration.settings.fieldManager)
    let features = ServerFeatures(client: client, time: time)
    let carrier = orders.map {
      FleetOrderCarrier(orders: $0, client: client, fieldManager: configuration.settings.fieldManager)
    }
    self.leaderTasks = leaderTasks
    let memories = self.memories
    makeReconciler = { mayAct in
      AutoscalerReconciler(
        settings: configuration.settings, lookup: lookup, targets: targets, features: features, collector: collector,
        reports: reports, orders: carrier, memories: memories, reporter: reporter, time: time, mayAct: mayAct)
    }
    registry.onRender { [weak self] registry in self?.refresh(registry) }
  }

  // MARK: Health

  /// What is missing before this controller can do its job; nil when nothing is.
  package var notReadyReason: String? {
    if !autoscalers.hasSynced { return "autoscalers not listed yet: \(lastError(autoscalers.metrics))" }
    if !pods.hasSynced { return "pods not listed yet: \(lastError(pods.metrics))" }
    return nil
  }

  private func lastError(_ metrics: InformerMetrics) -> String {
    metrics.lastError?.message ?? "the first list is under way"
  }

  /// Whether this controller leads (always so without leader election).
  package var isLeader: Bool { elector?.isLeader ?? true }

  /// The identity of who leads, as far as this controller knows; empty: nobody, or there is no leader election.
  package var leaderIdentity: String { elector?.metrics.holder ?? "" }

  /// What the status of an autoscaler says of its last decision; nil: nothing.
  package func reason(of autoscaler: ObjectKey) -> String? { autoscalers.store[autoscaler]?.status?.reason }

  /// The autoscaler that scales a target, of those that were listed; nil: none does.
  package func autoscaler(scaling target: TargetIdentity) -> SwarmAutoscaler? { lookup.autoscaler(scaling: target) }

  /// The names of the autoscalers of a namespace that were listed, in no order.
  package func autoscalers(inNamespace namespace: String) -> [String] { lookup.autoscalerNames(inNamespace: namespace) }

  /// Returns when autoscalers and pods have been listed, or at graceful shutdown.
  package func whenSynced() async throws { try await waitForSync() }

  private func refresh(_ registry: MetricsRegistry) {
    registry.set(ControllerMetrics.leader, to: isLeader ? 1 : 0)
    for (name, metrics) in [("swarmautoscalers", autoscalers.metrics), ("pods", pods.metrics)] {
      registry.set(ControllerMetrics.cachedObjects, to: Double(metrics.objects), [name])
      registry.set(ControllerMetrics.watchRestarts, to: Double(max(0, metrics.watchStarts - 1)), [name])
      registry.set(ControllerMetrics.relists, to: Double(metrics.lists), [name])
    }
    guard let queue = queues.metrics else { return }
    registry.set(ControllerMetrics.queueDepth, to: Double(queue.depth))
    registry.set(
      ControllerMetrics.queueOldestSeconds, to: Double((queue.oldestWait ?? .zero).nanosecondsClamped) / 1e9)
  }

  // MARK: Run

  /// Runs until graceful shutdown or cancellation.
  package func run() async throws {
    let result = await withThrowingTaskGroup(of: Void.self) { group -> Result<Void, any Error> in
      group.addTask { try await self.autoscalers.run() }
      group.addTask { try await self.pods.run() }
      group.addTask { try await self.events.run() }
      group.addTask {
        try await self.waitForSync()
        if !Task.isShuttingDownGracefully { self.onSynced() }
      }
      group.addTask { try await self.act() }
      do {
        // At graceful shutdown each returns by itself; an error of one cancels the others.
        for try await _ in group {}
        return .success(())
      } catch {
        group.cancelAll()
        return .failure(error)
      }
    }
    await prometheus.shutdown()
    try result.get()
  }

  private func act() async throws {
    guard let elector else {
      try await lead { true }
      return
    }
    try await elector.run { leadership in
      try await self.lead { leadership.isValid }
    }
  }

  /// Returns when both caches have been filled, or at graceful shutdown.
  private func waitForSync() async throws {
    do {
      try await cancelWhenGracefulShutdown {
        try await self.autoscalers.waitForSync()
        try await self.pods.waitForSync()
      }
    } catch is CancellationError where Task.isShuttingDownGracefully {}
  }

  /// Works on keys for as long as this process leads.
  private func lead(_ mayAct: @escaping @Sendable () -> Bool) async throws {
    try await waitForSync()
    if Task.isShuttingDownGracefully { return }
    // What another leader has written since is in the objects, not in what we remember.
    memories.forgetAll()
    let reconciler = makeReconciler(mayAct)
    let runner = WorkQueueRunner<ObjectKey>(
      workers: configuration.workers,
      configuration: .init(maximumKeys: 100_000, backoff: Backoff(base: .seconds(1), cap: .seconds(30))),
      time: time, logger: logger
    ) { key in
      await reconciler.reconcile(key)
    }
    queues.begin(runner, keys: autoscalers.store.keys)
    defer { queues.end() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      let pods = self.pods.store
      let leadership = Leadership(mayAct: mayAct, wake: { runner.add($0) }, podUID: { pods[$0].map { "\($0.uid)" } })
      for task in leaderTasks { group.addTask { try await task.lead(leadership) } }
      group.addTask { await runner.run() }
      // A leader task ends by an error only, the queue with the leadership: either ends all.
      defer { group.cancelAll() }
      try await group.next()
    }
    try Task.checkCancellation()
  }
}
