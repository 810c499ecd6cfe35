import ControllerCommand
import CoordinationProtocol
import Coordinator
import FleetCoordination
import KubernetesClient
import KubernetesCore
import KubernetesRuntime
import Logging
import Observability
import ScalingAPI
import ScalingController
import ScalingDecision
import ServiceLifecycle
import Synchronization
import TestSupport

/// A controller in this process, with a short sync period, whose passes tests can await.
final class TestController: Sendable {
  let service: ScalingControllerService
  let registry = MetricsRegistry(ControllerMetrics.families + CoordinationMetrics.families)
  /// The coordinator of workers, when there is one.
  let coordinator: FleetCoordinator?
  let transport: CurlTransport
  let log = RecordingLog()
  private let passes = Mutex<(all: [Pass], waiters: [Waiter])>(([], []))

  private struct Waiter {
    var predicate: @Sendable (Pass) -> Bool
    var continuation: CheckedContinuation<Pass, Never>
  }

  private final class PassSink: Sendable {
    let handler = Mutex<(@Sendable (Pass) -> Void)?>(nil)
  }

  init(
    kubeconfig: String, context: String? = nil, namespace: String,
    syncPeriod: Duration = .seconds(1),
    election: (lease: ObjectKey, configuration: LeaderElection.Configuration)? = nil,
    watch: WatchStateMachine.Configuration = .init(), instance: String = "test", coordinates: Bool = false
  ) throws {
    let time = SystemTimeSource()
    let cluster = try KubeconfigLoader.load(kubeconfig, context)
    transport = try CurlTransport(
      configuration: cluster,
      credentials: KubeconfigLoader.credentials(cluster, time), userAgent: "swarmscale-controller/test-\(instance)",
      timeSource: time)
    var defaults = ResolvedAutoscaler.Defaults()
    defaults.syncPeriod = syncPeriod
    let sink = PassSink()
    let log = self.log
    let logger = Logger(label: "controller") { _ in RecordingLogHandler(log: log) }
    let prioritizing = PrioritizingTransport(transport, timeSource: time)
    coordinator =
      coordinates
      ? FleetCoordinator(
        .init(server: .init(port: 0, security: .plaintext), namespace: namespace, instance: instance),
        transport: prioritizing,
        authenticator: TokenReviewAuthenticator(client: APIClient(transport: prioritizing, time: time), time: time),
        registry: registry, clock: SystemBudgetClock(), time: time, logger: logger)
      : nil
    service = ScalingControllerService(
      transport: prioritizing,
      configuration: .init(
        namespace: namespace, workers: 4,
        settings: .init(
          defaults: defaults, limits: DecisionLimits(cpuInitializationPeriod: .zero, initialReadinessDelay: .zero)),
        election: election, watch: watch, instance: instance),
      registry: registry, time: time, logger: logger,
      queryTransports: CurlQueryTransports(userAgent: "swarmscale-controller/test-\(instance)", time: time),
      reports: coordinator, orders: coordinator, leaderTasks: coordinator.map { [$0] } ?? [],
      onPass: { pass in
        let handler = sink.handler.withLock { $0 }
        handler?(pass)
      })
    sink.handler.withLock { handler in
      handler = { [weak self] pass in self?.took(pass) }
    }
  }

  /// Runs the controller while `body` runs, and ends it in good order.
  func run<Result: Sendable>(_ body: @escaping @Sendable () async throws -> Result) async throws -> Result {
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: service)], logger: Logger(label: "group") { _ in SwiftLogNoOpLogHandler() }))
    return try await withThrowingTaskGroup(of: Result?.self) { tasks in
      tasks.addTask {
        try await group.run()
        return nil
      }
      tasks.addTask {
        do {
          let result = try await body()
          await group.triggerGracefulShutdown()
          return result
        } catch {
          await group.triggerGracefulShutdown()
          throw error
        }
      }
      var result: Result?
      while let next = try await tasks.next() { if let next { result = next } }
      await self.transport.shutdown()
      return try unwrap(result, "the controller ended before the test")
    }
  }

  private func took(_ pass: Pass) {
    let due = passes.withLock { passes -> [Waiter] in
      passes.all.append(pass)
      let due = passes.waiters.filter { $0.predicate(pass) }
      passes.waiters.removeAll { $0.predicate(pass) }
      return due
    }
    for waiter in due { waiter.continuation.resume(returning: pass) }
  }

  /// All passes so far.
  var all: [Pass] { passes.withLock { $0.all } }

  /// The next pass, or one of those since `mark` passes, that satisfies `predicate`.
  @discardableResult
  func pass(since mark: Int? = nil, where predicate: @escaping @Sendable (Pass) -> Bool) async -> Pass {
    await withCheckedContinuation { continuation in
      let found = passes.withLock { passes -> Pass? in
        if let mark, let found = passes.all.dropFirst(mark).first(where: predicate) { return found }
        passes.waiters.append(Waiter(predicate: predicate, continuation: continuation))
        return nil
      }
      if let found { continuation.resume(returning: found) }
    }
  }

  /// The next pass in which `autoscaler`'s target stands at `replicas` and stays there.
  @discardableResult
  func settles(_ autoscaler: String, at replicas: Int) async -> Pass {
    await pass(since: 0) { pass in
      pass.autoscaler.metadata.name == autoscaler && pass.trouble == nil && !pass.hasWritten
        && pass.plan?.currentReplicas == replicas && pass.plan?.desiredReplicas == replicas
    }
  }

  /// How many passes there have been.
  var mark: Int { passes.withLock { $0.all.count } }
}

/// Collects log lines.
final class RecordingLog: Sendable {
  private let stored = Mutex<[(at: Timestamp, line: String)]>([])

  var lines: [String] { stored.withLock { $0.map(\.line) } }

  /// When each line that contains `text` was written, in order.
  func times(of text: String) -> [Timestamp] {
    stored.withLock { $0.filter { $0.line.contains(text) }.map(\.at) }
  }

  func append(_ line: String) {
    let now = SystemTimeSource().wallNow
    stored.withLock { $0.append((now, line)) }
  }
}

struct RecordingLogHandler: LogHandler {
  let log: RecordingLog
  var metadata: Logger.Metadata = [:]
  var logLevel: Logger.Level = .info

  init(log: RecordingLog) { self.log = log }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    log.append("\(event.level.rawValue) \(event.message) \(event.metadata?.description ?? "")")
  }
}
