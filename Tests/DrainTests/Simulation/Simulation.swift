import CoordinationProtocol
import Coordinator
import FleetCoordination
import KubernetesCore
import LocalAPI
import Logging
import Observability
import ScalingAPI
import ScalingDecision
import ScalingObservation
import SwarmCoordination
import Synchronization
import TestSupport

@testable import KubernetesRuntime
@testable import ScalingController

/// The controller's own passes over a `World`. Each request takes its time, in which the world goes on: what the controller
/// knows when it writes is never quite what is so.
final class Simulation: APITransport, TimeSource, FleetReports, FleetOrders {
  private let world: Mutex<World>
  private let podStore = InformerStore<Pod>(index: InformerLookup.indexPod)
  private let autoscalers = InformerStore<SwarmAutoscaler>(index: InformerLookup.indexAutoscaler)
  private let leader = Mutex(1)
  private let scenario: Scenario

  init(_ scenario: Scenario) {
    self.scenario = scenario
    world = Mutex(World(scenario, podStore: podStore, autoscalers: autoscalers))
  }

  func with<Value: Sendable>(_ body: (inout World) throws -> Value) rethrows -> Value {
    try world.withLock { world in try body(&world) }
  }

  // MARK: Running

  /// How a run ended.
  struct Outcome: Sendable {
    var tally: World.Tally
    /// The count that stands in the Deployment.
    var replicas: Int
    /// Workers that are left.
    var workers: Int
    /// How many of them still take no work.
    var draining: Int
    /// When the count had reached its goal for the last time; nil: it hasn't.
    var settledAt: Duration?
    /// How often the count was written.
    var writes: Int
  }

  /// Lets the fleet shrink, and everything befall it that its scenario says.
  func run() async throws -> Outcome {
    with { $0.advance(to: .seconds(30)) }
    let plan = planFaults()
    var next = Duration.seconds(30)
    var reconciler = makeReconciler()
    var settledAt: Duration?
    let end = plan.last + .seconds(1_200)
    while true {
      let now = with { world in
        world.advance(to: next, stoppingWhenWoken: world.coordinator != nil)
        world.isWoken = false
        return world.now
      }
      if now >= end { break }
      if let failover = plan.failover, now >= failover, leader.withLock({ $0 }) == 1 {
        try await changeLeader()
        reconciler = makeReconciler()
      }
      next = now + (try await pass(reconciler))
      let isDone = with { world in
        world.replicas == scenario.fallsTo && world.isQuiet
          && (world.workers.count == scenario.fallsTo || scenario.rolloutStands)
      }
      if isDone, now > plan.last {
        if settledAt == nil { settledAt = now }
        if now - (settledAt ?? now) > .seconds(45) { break }
      } else {
        settledAt = nil
      }
    }
    return with { world in
      Outcome(
        tally: world.tally, replicas: world.replicas, workers: world.workers.count,
        draining: world.workers.values.count { $0.pool.isDraining && $0.killedAt == nil }, settledAt: settledAt,
        writes: world.writes.count)
    }
  }

  private func pass(_ reconciler: AutoscalerReconciler) async throws -> Duration {
    switch scenario.method {
    case .write:
      with { world in
        // The HPA's sync period; it writes what the metric says.
        let demand = world.demand
        if world.replicas != demand {
          world.send(
            "PATCH", "/apis/apps/v1/namespaces/default/deployments/fleet/scale",
            ["spec": ["replicas": .int(Int64(demand))]], type: "application/merge-patch+json")
          world.writes.append((world.now, demand))
        }
      }
      return .seconds(15)
    case .drain, .drainWithoutWaiting:
      switch await reconciler.reconcile(ObjectKey(namespace: "default", name: "fleet")) {
      case .requeue(let after): return after
      case .retry(let after): return after ?? .seconds(1)
      case .done: throw TestFailure("the pass asked for no other")
      }
    }
  }

  private struct FaultPlan {
    var failover: Duration?
    /// When the last of them is over.
    var last = Duration.seconds(40)
  }

  private func planFaults() -> FaultPlan {
    with { world in
      var plan = FaultPlan()
      var fall = world.draw(1_000...15_000)
      if scenario.rolloutStands {
        world.schedule(.action { $0.beginRollout(World.brokenImage) }, in: .zero)
        // Longer than it takes the controller to see that it stands, or shorter.
        fall += world.draw(300_000...900_000)
        world.schedule(.action { $0.isRolloutStuck = true }, in: fall)
      }
      world.schedule(.action { world in world.demand = world.scenario.fallsTo }, in: fall)
      if scenario.faults.contains(.failover) { plan.failover = world.now + fall + world.draw(1_000...90_000) }
      if scenario.faults.contains(.rollout) {
        let at = fall + world.draw(-10_000...80_000)
        world.schedule(.action { world in world.beginRollout() }, in: max(at, .zero))
      }
      if scenario.faults.contains(.unready) {
        for _ in 0..<8 {
          let length = world.draw(5_000...60_000)
          world.schedule(.action { world in world.makeUnready(for: length) }, in: fall + world.draw(0...100_000))
        }
      }
      if scenario.faults.contains(.conflicts) {
        for _ in 0..<10 { world.schedule(.action { $0.conflicts += 1 }, in: fall + world.draw(0...100_000)) }
      }
      plan.last = world.now + fall + .seconds(100)
      if scenario.faults.contains(.demandReturns) {
        let back = fall + world.draw(10_000...60_000)
        let again = back + world.draw(20_000...60_000)
        let amount = Int.random(in: 15...30, using: &world.random)
        world.schedule(.action { $0.demand = amount }, in: back)
        world.schedule(.action { world in world.demand = world.scenario.fallsTo }, in: again)
        plan.last = world.now + again + .seconds(5)
      }
      return plan
    }
  }

  /// The leader dies; another one takes over after a while.
  private func changeLeader() async throws {
    leader.withLock { $0 += 1 }
    with { world in
      world.endCoordinator()
      let pause = world.draw(500...20_000)
      world.advance(to: world.now + pause)
      world.newCoordinator(isSuccessor: true)
    }
  }

  private func makeReconciler() -> AutoscalerReconciler {
    let logger = Logger(label: "drain") { _ in SwiftLogNoOpLogHandler() }
    let client = APIClient(transport: self, time: self, random: { 0 })
    let settings = AutoscalerReconciler.Settings()
    let discovery = Discovery(client: client)
    let number = leader.withLock { $0 }
    return AutoscalerReconciler(
      settings: settings, lookup: InformerLookup(autoscalers: autoscalers, pods: podStore),
      targets: ScaleTargets(client: client, discovery: discovery, fieldManager: settings.fieldManager),
      features: ServerFeatures(client: client, time: self),
      collector: MetricsCollector(
        podMetrics: PodMetricsSource(client: client, time: self, lifetime: .seconds(5)),
        adapters: MetricsAdapters(client: client, discovery: discovery),
        prometheus: PrometheusSource(factory: NoQueries(), client: client), reports: self, time: self),
      reports: self,
      orders: FleetOrderCarrier(orders: self, client: client, fieldManager: settings.fieldManager),
      memories: AutoscalerMemories(),
      reporter: PassReporter(
        client: client,
        events: EventRecorder(
          transport: self, configuration: .init(component: settings.fieldManager), time: self, logger: logger),
        registry: MetricsRegistry(ControllerMetrics.families), time: self, logger: logger,
        fieldManager: settings.fieldManager),
      time: self, mayAct: { self.leader.withLock { $0 } == number })
  }

  // MARK: Time

  var wallNow: Timestamp { with { $0.wall } }
  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: with { $0.now }) }
  func sleep(until deadline: MonotonicTime) async throws { with { $0.advance(to: deadline.sinceOrigin) } }

  // MARK: Requests

  func send(_ request: APIRequest) async throws -> APIResponse {
    let (status, document) = with { world in
      world.advance(to: world.now + world.draw(1...60))
      let answer = world.receive(request)
      world.advance(to: world.now + world.draw(1...60))
      return answer
    }
    return APIResponse(
      head: APIResponseHead(status: status, headers: [.init("Content-Type", "application/json")]), body: document.text)
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    throw KubernetesError(.misconfigured, "nothing is watched here")
  }

  // MARK: Reports and orders

  var isLearning: Bool { with { $0.snapshot?.isLearning ?? true } }

  func activity(of autoscaler: ObjectKey) -> FleetActivityReport? {
    var report = with { $0.snapshot }?.activity(of: autoscaler)
    guard scenario.method == .drainWithoutWaiting else { return report }
    for name in report?.workers.keys.sorted() ?? [] {
      guard let worker = report?.workers[name], !worker.activity.isBusy else { continue }
      report?.workers[name]?.activity.drain = .acknowledged(since: worker.at)
    }
    return report
  }

  func budget(_ name: String, of autoscaler: ObjectKey) -> BudgetReport? { nil }

  func drain(_ pod: ObjectKey, timeout: Duration) async {
    with { world in
      world.order { $0.drain(namespace: pod.namespace, pod: pod.name, timeout: timeout, now: $1) }
    }
  }

  func withdrawDrain(_ pod: ObjectKey) async {
    with { world in world.order { $0.withdrawDrain(namespace: pod.namespace, pod: pod.name, now: $1) } }
  }
}

/// No metric asks for a query.
private struct NoQueries: QueryTransportFactory {
  func makeTransport(for server: QueryServer) throws -> any QueryTransport {
    throw KubernetesError(.misconfigured, "nothing is queried here")
  }
}
