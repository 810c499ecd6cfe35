package import CoordinationProtocol
package import Coordinator
package import KubernetesCore
import KubernetesRuntime
package import Logging
package import NIOCertificateReloading
package import Observability
import RateBudget
import ScalingAPI
package import ScalingController
package import ScalingDecision
package import ScalingObservation
import Synchronization

/// The coordinator as a part of the leading controller: it serves the workers' streams, follows the `APIBudget` objects,
/// writes their status, and supplies decisions with what workers and budgets report.
package final class FleetCoordinator: FleetReports, FleetOrders, LeaderTask {
  /// How it is run.
  package struct Configuration: Sendable {
    /// Where workers connect.
    package var server: CoordinatorServerConfiguration
    /// Gives certificates that are renewed while it runs, once there is one; nil: `server` says how it is secured.
    package var certificates: (@Sendable () async throws -> any CertificateReloader)?
    /// Serve only budgets of this namespace; nil for all.
    package var namespace: String?
    /// The name of this instance.
    package var instance: String
    /// Our name in `managedFields`.
    package var fieldManager: String
    /// How long workers' rights outlast the last message.
    package var lease: Duration
    /// Whether workers are pods of this cluster, so that one whose pod is gone is gone; not where everybody is believed.
    package var followsPods: Bool
    /// How often decisions and metrics are supplied anew.
    package var sampleEvery: Duration
    /// How often at most a status is written that only moved; a changed condition is written at once.
    package var statusEvery: Duration

    /// Makes a configuration with the defaults.
    package init(
      server: CoordinatorServerConfiguration, namespace: String? = nil, instance: String = "",
      fieldManager: String = "swarmscale-controller"
    ) {
      self.server = server
      self.namespace = namespace
      self.instance = instance
      self.fieldManager = fieldManager
      lease = .seconds(15)
      followsPods = true
      sampleEvery = .seconds(1)
      statusEvery = .seconds(15)
    }
  }

  private struct State {
    var engine: CoordinatorEngine?
    var snapshot: FleetSnapshot?
    var port: Int?
    var portWaiters: [CheckedContinuation<Int, Never>] = []
    /// The autoscalers with a drain that was answered, so that news of one is noticed.
    var answered: [String: Int] = [:]
    var written: [ObjectKey: (status: APIBudget.Status, at: MonotonicTime)] = [:]
    /// When a budget's status couldn't be written last.
    var failed: [ObjectKey: MonotonicTime] = [:]
    /// The budgets that have series.
    var measured: Set<ObjectKey> = []
  }

  private typealias BudgetInformer = Informer<JSONInformerCodec<APIBudget>>

  private let configuration: Configuration
  private let transport: any APITransport
  private let client: APIClient
  private let authenticator: any Authenticator
  private let registry: MetricsRegistry
  private let clock: any BudgetClock
  private let time: any TimeSource
  private let logger: Logger
  private let onSample: @Sendable (CoordinatorReport, [BudgetObject]) -> Void
  private let state = Mutex(State())
  private let sampleNow = KubernetesRuntime.Wakeup()

  /// Makes a coordinator; nothing runs before this process leads.
  ///
  /// `registry` was made with `CoordinationMetrics.families` among its families; `onSample` sees each look at the
  /// budgets, for the page.
  package init(
    _ configuration: Configuration, transport: any APITransport, authenticator: any Authenticator,
    registry: MetricsRegistry, clock: any BudgetClock, time: any TimeSource, logger: Logger,
    onSample: @escaping @Sendable (CoordinatorReport, [BudgetObject]) -> Void = { _, _ in }
  ) {
    self.configuration = configuration
    self.transport = transport
    client = APIClient(transport: transport, time: time)
    self.authenticator = authenticator
    self.registry = registry
    self.clock = clock
    self.time = time
    self.logger = logger
    self.onSample = onSample
  }

  // MARK: FleetReports

  package var isLearning: Bool { state.withLock { $0.snapshot?.isLearning ?? true } }

  package func activity(of autoscaler: ObjectKey) -> FleetActivityReport? {
    state.withLock { $0.snapshot }?.activity(of: autoscaler)
  }

  package func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport? {
    // Before the first look at the budgets all are being learned: growth waits, and nobody is told of a trouble.
    guard let snapshot = state.withLock({ $0.snapshot }) else { return BudgetReport(loads: [], isLearning: true) }
    return snapshot.budget(name, of: autoscaler)
  }

  // MARK: FleetOrders

  package func drain(_ pod: ObjectKey, timeout: Duration) async {
    await state.withLock { $0.engine }?.drain(namespace: pod.namespace, pod: pod.name, timeout: timeout)
    sampleNow.signal()
  }

  package func withdrawDrain(_ pod: ObjectKey) async {
    await state.withLock { $0.engine }?.withdrawDrain(namespace: pod.namespace, pod: pod.name)
    sampleNow.signal()
  }

  // MARK: LeaderTask

  /// The port at which workers are served; waits until they are.
  package var port: Int {
    get async {
      await withCheckedContinuation { continuation in
        let port = state.withLock { state -> Int? in
          if state.port == nil { state.portWaiters.append(continuation) }
          return state.port
        }
        if let port { continuation.resume(returning: port) }
      }
    }
  }

  package func lead(_ leadership: Leadership) async throws {
    let changed = KubernetesRuntime.Wakeup()
    let informer = BudgetInformer(
      transport: transport, codec: JSONInformerCodec(), selection: .init(namespace: configuration.namespace),
      time: time, logger: logger
    ) { _ in changed.signal() }
    defer { endLeading() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await informer.run() }
      group.addTask { try await self.coordinate(informer, changed, leadership) }
      defer { group.cancelAll() }
      // The informer returns when the process is asked to end; workers are served until the last pass is made.
      while try await group.next() != nil {}
    }
  }

  /// Who doesn't lead knows nothing, and shows nothing.
  private func endLeading() {
    let measured = state.withLock { state in
      let measured = state.measured
      state = State(portWaiters: state.portWaiters)
      return measured
    }
    for key in measured { removeSeries(of: key) }
    registry.set(CoordinationMetrics.workers, to: 0)
    registry.set(CoordinationMetrics.learning, to: 0)
  }

  private func removeSeries(of key: ObjectKey) {
    registry.removeSeries(withLabelPrefix: [key.namespace, key.name], of: CoordinationMetrics.families)
  }

  private func coordinate(
    _ informer: BudgetInformer, _ changed: KubernetesRuntime.Wakeup, _ leadership: Leadership
  ) async throws {
    await waitForBudgets(informer)
    let budgets = Self.budgets(informer)
    // Whoever coordinated before, workers may hold grants and shares of it: every coordinator begins by learning.
    let engine = CoordinatorEngine(
      state: CoordinatorState(
        configuration: coordinatorConfiguration(budgets),
        name: "\(configuration.instance)/\(UInt64.random(in: .min ... .max))", isSuccessor: true,
        seed: UInt64.random(in: .min ... .max), wall: clock.wall, now: clock.now), clock: clock)
    let server = try await makeServer(engine)
    state.withLock { $0.engine = engine }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.serve(server) }
      group.addTask { await self.announce(server) }
      group.addTask { try await self.follow(informer, changed, engine) }
      group.addTask { try await self.sample(informer, engine, leadership) }
      defer { group.cancelAll() }
      // `announce` is the only one that ends by itself.
      while try await group.next() != nil {}
    }
  }

  private func makeServer(_ engine: CoordinatorEngine) async throws -> CoordinatorServer {
    guard let certificates = configuration.certificates else {
      return CoordinatorServer(configuration.server, engine: engine, authenticator: authenticator, clock: clock)
    }
    return try CoordinatorServer(
      configuration.server, certificates: try await certificates(), engine: engine, authenticator: authenticator,
      clock: clock)
  }

  /// Waits until the budgets are listed, but not for ever: workers without a budget object are served as well.
  private func waitForBudgets(_ informer: BudgetInformer) async {
    let time = self.time
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await informer.waitForSync() }
      group.addTask { try? await time.sleep(for: .seconds(10)) }
      await group.next()
      group.cancelAll()
    }
    if !informer.hasSynced, !Task.isCancelled {
      let error = informer.metrics.lastError?.message ?? "the first list is still under way"
      logger.warning(
        "the API budgets can't be listed; limits are learned until they can", metadata: ["error": "\(error)"])
    }
  }

  private func serve(_ server: CoordinatorServer) async throws {
    do {
      try await server.run()
    } catch let error as CancellationError {
      throw error
    } catch {
      if Task.isCancelled { throw CancellationError() }
      let place = "\(configuration.server.host):\(configuration.server.port)"
      throw KubernetesError(
        .misconfigured,
        "the coordinator can't serve at \(place): \(error). Check that nothing else listens there "
          + "(--coordinator-listen), and that --coordinator-certificate and --coordinator-key name a pair in PEM that can be "
          + "read.")
    }
  }

  private func announce(_ server: CoordinatorServer) async {
    // A server that can't listen says why itself.
    guard let port = try? await server.port else { return }
    let waiters = state.withLock { state in
      state.port = port
      defer { state.portWaiters = [] }
      return state.portWaiters
    }
    for waiter in waiters { waiter.resume(returning: port) }
    logger.info("coordinating workers", metadata: [LogKey.address: "\(configuration.server.host):\(port)"])
  }

  private static func budgets(_ informer: BudgetInformer) -> [BudgetObject] {
    informer.store.objects().map(BudgetObject.init)
  }

  private func coordinatorConfiguration(_ budgets: [BudgetObject]) -> CoordinatorConfiguration {
    CoordinatorConfiguration(
      groups: BudgetObject.groups(of: budgets), defaults: BudgetConfiguration(prices: .published),
      lease: configuration.lease)
  }

  /// Tells the engine each change of the budgets; the same configuration again changes nothing (P21).
  private func follow(
    _ informer: BudgetInformer, _ changed: KubernetesRuntime.Wakeup, _ engine: CoordinatorEngine
  ) async throws {
    while true {
      try await changed.wait()
      let budgets = Self.budgets(informer)
      await engine.configure(coordinatorConfiguration(budgets))
      let known = Set(budgets.map(\.key))
      let gone = state.withLock { state in
        state.written = state.written.filter { known.contains($0.key) }
        state.failed = state.failed.filter { known.contains($0.key) }
        let gone = state.measured.subtracting(known)
        state.measured.subtract(gone)
        return gone
      }
      for key in gone { removeSeries(of: key) }
      sampleNow.signal()
    }
  }

  // MARK: Sampling

  private func sample(
    _ informer: BudgetInformer, _ engine: CoordinatorEngine, _ leadership: Leadership
  ) async throws {
    while true {
      await engine.followWallClock()
      let report = await engine.report()
      let budgets = Self.budgets(informer)
      let snapshot = FleetSnapshot(report, budgets: budgets, at: time.wallNow)
      let woken = state.withLock { state in
        state.snapshot = snapshot
        return Self.noteAnswers(report, &state.answered)
      }
      for key in woken { leadership.wake(key) }
      onSample(report, budgets)
      await forgetLost(report, engine, leadership)
      registry.set(CoordinationMetrics.workers, to: Double(report.workers.count(where: \.isConnected)))
      registry.set(CoordinationMetrics.learning, to: report.isLearning ? 1 : 0)
      for budget in budgets {
        let group = report.groups.first {
          $0.key.modelGroup == ResolvedBudget.modelGroup(of: budget.key) && $0.key.speed.isEmpty
        }
        if let group { measure(group.report, of: budget.key) }
        if leadership.mayAct() { await write(budget, group?.report) }
      }
      try await waitForNext()
    }
  }

  /// A lost worker's share is kept free, since it may be alive; not when its pod is gone.
  private func forgetLost(_ report: CoordinatorReport, _ engine: CoordinatorEngine, _ leadership: Leadership) async {
    guard configuration.followsPods else { return }
    let gone = report.workers.filter { worker in
      guard !worker.isConnected else { return false }
      let identity = worker.identity
      guard let uid = leadership.podUID(ObjectKey(namespace: identity.namespace, name: identity.pod)) else {
        return true
      }
      return !identity.uid.isEmpty && uid != identity.uid
    }
    if !gone.isEmpty { await engine.forgetLost(gone.map(\.identity.client)) }
  }

  private func waitForNext() async throws {
    let (time, sampleNow, pause) = (self.time, self.sampleNow, configuration.sampleEvery)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await time.sleep(for: pause) }
      group.addTask { try await sampleNow.wait() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// The autoscalers of workers that have answered a drain order since: their next step need not wait for a period.
  private static func noteAnswers(_ report: CoordinatorReport, _ answered: inout [String: Int]) -> [ObjectKey] {
    var counts: [String: Int] = [:]
    var keys: [String: ObjectKey] = [:]
    for worker in report.workers where worker.drain?.answer != nil {
      let identity = worker.identity
      // A worker that accepted and one that is drained count differently, so that the second answer is news as well.
      counts[identity.fleetName, default: 0] += worker.drain?.answer == .drained ? 100_001 : 1
      keys[identity.fleetName] = ObjectKey(namespace: identity.namespace, name: identity.fleet)
    }
    defer { answered = counts }
    return counts.keys.sorted().compactMap { answered[$0] != counts[$0] ? keys[$0] : nil }
  }

  private func measure(_ report: GroupReport, of key: ObjectKey) {
    state.withLock { _ = $0.measured.insert(key) }
    let labels = [key.namespace, key.name]
    for dimension in report.dimensions {
      let labels = labels + ["\(dimension.dimension)"]
      registry.set(CoordinationMetrics.limit, to: Double(dimension.limit), labels)
      registry.set(CoordinationMetrics.admitted, to: Double(dimension.admitted), labels)
      registry.set(CoordinationMetrics.waiting, to: Double(dimension.waiting), labels)
      registry.set(CoordinationMetrics.foreign, to: Double(dimension.foreign), labels)
      registry.set(CoordinationMetrics.utilization, to: Double(dimension.utilizationPPM) / 1e6, labels)
    }
    registry.set(CoordinationMetrics.queue, to: Double(report.waiting), labels)
    registry.set(CoordinationMetrics.wait, to: Double(report.queueWaitP95Milliseconds ?? 0) / 1e3, labels)
    for kind in RejectionKind.allCases where report.rejections.indices.contains(kind.rawValue) {
      registry.set(CoordinationMetrics.rejections, to: Double(report.rejections[kind.rawValue]), labels + ["\(kind)"])
    }
    registry.set(CoordinationMetrics.spent, to: Double(report.spentToday) / 1e6, labels)
    registry.set(CoordinationMetrics.clients, to: Double(report.clients), labels)
  }

  // MARK: Status

  /// Writes the status when it says something new: a condition at once, numbers now and then.
  private func write(_ budget: BudgetObject, _ report: GroupReport?) async {
    let now = time.monotonicNow
    let (written, failed) = state.withLock { ($0.written[budget.key], $0.failed[budget.key]) }
    if let failed, now - failed < configuration.statusEvery { return }
    var budget = budget
    // What we wrote last may not have come back by the watch yet.
    if let written { budget.object.status = written.status }
    let status = BudgetStatusReport.status(of: budget, report: report, now: time.wallNow)
    let old = budget.object.status
    guard status != old else { return }
    let isUrgent = Self.conditions(of: status) != Self.conditions(of: old)
    if !isUrgent, let written, now - written.at < configuration.statusEvery { return }
    do {
      // A first patch writes everything, also what another coordinator left behind.
      guard
        let patch = JSONValue.mergePatch(
          from: try KubernetesJSON.value(of: old ?? APIBudget.Status()), to: try KubernetesJSON.value(of: status))
      else { return }
      let request = try APIRequest.patch(
        APIBudget.resource, budget.key, .status, .merge(try KubernetesJSON.encode(JSONValue.object(["status": patch]))),
        WriteOptions(fieldManager: configuration.fieldManager, priority: .status))
      _ = try await client.raw(request)
      registry.increment(CoordinationMetrics.statusWrites, ["success"])
      state.withLock { state in
        state.written[budget.key] = (status, now)
        state.failed[budget.key] = nil
      }
      if isUrgent { tell(budget.key, status, old) }
    } catch let error as KubernetesError where error.code == .notFound {
      return
    } catch {
      registry.increment(CoordinationMetrics.statusWrites, ["failure"])
      state.withLock { $0.failed[budget.key] = now }
      logger.log(
        level: failed == nil ? .warning : .debug, "a budget's status can't be written; it is tried again",
        metadata: ["budget": "\(budget.key)", LogKey.error: "\(error)"])
    }
  }

  private static func conditions(of status: APIBudget.Status?) -> [[String]] {
    (status?.conditions ?? []).map { [$0.type ?? "", $0.status?.text ?? "", $0.reason ?? ""] }
      + [[String(status?.observedGeneration ?? 0)]]
  }

  /// One line for each condition that flipped.
  private func tell(_ key: ObjectKey, _ status: APIBudget.Status, _ old: APIBudget.Status?) {
    for condition in status.conditions ?? [] {
      let before = old?.conditions?.first { $0.type == condition.type }
      guard before?.status?.text != condition.status?.text || before?.reason != condition.reason,
        before != nil
          || condition.status?.text == (condition.type == BudgetStatusReport.ConditionType.saturated ? "True" : "False")
      else { continue }
      let isBad = condition.type != BudgetStatusReport.ConditionType.saturated && condition.status?.text == "False"
      logger.log(
        level: isBad ? .warning : .info,
        "budget \(key.name): \(condition.message ?? "")",
        metadata: ["budget": "\(key)", LogKey.reason: "\(condition.reason ?? "")"])
    }
  }
}
