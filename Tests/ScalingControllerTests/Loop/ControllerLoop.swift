import KubernetesCore
import Logging
import Observability
import ScalingAPI
import Synchronization
import TestSupport

@testable import KubernetesRuntime
@testable import ScalingController

/// The controller's own passes (observe, plan, execute, report) over a cluster in memory, in virtual time.
///
/// Everything between the API server and the decision is the real thing: discovery, sources, caches, the restored
/// state, the write with its precondition, the status patch. Informers and queue have tests of their own; here
/// each pass runs when the one before asked for it.
final class ControllerLoop {
  let time: LoopTime
  let cluster: FakeCluster
  /// Whether every pass is the first one of a new process.
  var restarts = false
  /// The pods at each moment, by the present count; ready and idle ones unless a test says otherwise.
  var pods: @Sendable (_ replicas: Int, _ now: Timestamp) -> [FakePod] = { replicas, _ in
    FakePod.ready(replicas, percent: nil)
  }
  private(set) var passes: [Pass] = []

  private let autoscalers = InformerStore<SwarmAutoscaler>(index: InformerLookup.indexAutoscaler)
  private let podStore = InformerStore<Pod>(index: InformerLookup.indexPod)
  private let seen = LastPass()
  private let reports: ScriptedReports?
  private var reconciler: AutoscalerReconciler

  private final class LastPass: Sendable {
    let pass = Mutex<Pass?>(nil)
  }

  /// Makes a cluster with `replicas` workers and an autoscaler `fleet` with the JSON of its spec.
  init(spec: String, replicas: Int, annotations: [String: String] = [:], reports: ScriptedReports? = nil) throws {
    self.reports = reports
    let time = LoopTime()
    self.time = time
    cluster = FakeCluster(replicas: replicas, time: time)
    reconciler = Self.makeReconciler(
      cluster, time, InformerLookup(autoscalers: autoscalers, pods: podStore), seen, reports)
    try cluster.apply("fleet", spec: spec, annotations: annotations)
  }

  private static func makeReconciler(
    _ cluster: FakeCluster, _ time: LoopTime, _ lookup: InformerLookup, _ seen: LastPass,
    _ reports: ScriptedReports?
  ) -> AutoscalerReconciler {
    let logger = Logger(label: "loop") { _ in SwiftLogNoOpLogHandler() }
    let client = APIClient(transport: cluster, time: time, random: { 0 })
    let settings = AutoscalerReconciler.Settings()
    let discovery = Discovery(client: client)
    let reporter = PassReporter(
      client: client,
      events: EventRecorder(
        transport: cluster, configuration: .init(component: settings.fieldManager), time: time, logger: logger),
      registry: MetricsRegistry(ControllerMetrics.families), time: time, logger: logger,
      fieldManager: settings.fieldManager, onPass: { pass in seen.pass.withLock { $0 = pass } })
    return AutoscalerReconciler(
      settings: settings, lookup: lookup,
      targets: ScaleTargets(client: client, discovery: discovery, fieldManager: settings.fieldManager),
      features: ServerFeatures(client: client, time: time),
      collector: MetricsCollector(
        podMetrics: PodMetricsSource(client: client, time: time, lifetime: .seconds(5)),
        adapters: MetricsAdapters(client: client, discovery: discovery),
        prometheus: PrometheusSource(factory: FakePrometheus(cluster: cluster), client: client),
        reports: reports, time: time),
      reports: reports,
      orders: reports.map { FleetOrderCarrier(orders: $0, client: client, fieldManager: settings.fieldManager) },
      memories: AutoscalerMemories(), reporter: reporter, time: time, mayAct: { true })
  }

  /// The controller's process ends, and another one begins: what it remembers is what the objects say.
  func restart() {
    reconciler = Self.makeReconciler(
      cluster, time, InformerLookup(autoscalers: autoscalers, pods: podStore), seen, reports)
  }

  /// Makes one pass, and moves time to when the next is due.
  @discardableResult
  func pass(over name: String = "fleet", movesTime: Bool = true) async throws -> Pass {
    if restarts { restart() }
    try refresh()
    let began = time.monotonicNow.sinceOrigin
    let outcome = await reconciler.reconcile(ObjectKey(namespace: "ns", name: name))
    let pass = try unwrap(seen.pass.withLock { $0.take() }, "a pass over \(name)")
    passes.append(pass)
    if let plan = pass.plan, pass.hasWritten { reports?.carryOut(plan) }
    guard movesTime else { return pass }
    switch outcome {
    case .requeue(let after): time.advance(to: time.monotonicNow.sinceOrigin + after)
    case .retry(let after): time.advance(to: time.monotonicNow.sinceOrigin + (after ?? .seconds(1)))
    case .done: break
    }
    guard time.monotonicNow.sinceOrigin > began else { throw TestFailure("the pass over \(name) asked for no other") }
    return pass
  }

  /// Makes passes until `moment` after the start.
  func run(until moment: Duration) async throws {
    while time.monotonicNow.sinceOrigin < moment { try await pass() }
  }

  /// Brings the caches to what the cluster has, as informers do.
  private func refresh() throws {
    let now = time.wallNow
    let present = pods(cluster.with { $0.replicas }, now)
    cluster.with { $0.pods = present }
    let replicas = self.replicas
    reports?.with { state in
      state.replicas = replicas
      state.now = now
    }
    podStore.beginList()
    for pod in present { _ = podStore.put(try pod.object(at: now)) }
    _ = podStore.finishList()
    autoscalers.beginList()
    for name in cluster.with({ $0.autoscalers.keys.sorted() }) {
      _ = autoscalers.put(try cluster.autoscaler(name))
    }
    _ = autoscalers.finishList()
  }

  // MARK: Looking

  /// Sets what a metric's source answers from now on.
  func set(_ name: String, _ source: FakeCluster.Source) { cluster.with { $0.sources[name] = source } }

  /// The count.
  var replicas: Int { cluster.with { $0.replicas } }

  /// The counts that were written.
  var writes: [Int] { cluster.with { $0.writes.map(\.replicas) } }

  /// When they were written, in seconds from the start.
  var writeTimes: [Int64] {
    cluster.with { $0.writes.map { ($0.at - LoopTime.start).components.seconds } }
  }

  /// A condition of the autoscaler as the server has it.
  func condition(_ type: String, of name: String = "fleet") throws -> (status: String, reason: String, message: String)?
  {
    try cluster.autoscaler(name).status?.conditions?.first { $0.type == type }
      .map { ($0.status?.text ?? "", $0.reason ?? "", $0.message ?? "") }
  }
}
