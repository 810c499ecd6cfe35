import ControllerCommand
import KubernetesCore
import MetricBridges
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// What passes over autoscalers tell other autoscalers.
struct MetricBridgeTests {
  private let time = ManualTimeSource()

  private static func autoscaler(period: Int = 15, maxReplicas: Int = 100) -> SwarmAutoscaler {
    SwarmAutoscaler([
      "metadata": ["name": "web", "namespace": "fleet"],
      "spec": [
        "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "web"], "dryRun": true,
        "minReplicas": 2, "maxReplicas": .int(Int64(maxReplicas)), "syncPeriodSeconds": .int(Int64(period)),
      ],
    ])
  }

  /// A pass that finds `replicas` workers, all with work in hand.
  private func pass(_ autoscaler: SwarmAutoscaler, replicas: Int) throws -> Pass {
    var pass = Pass(autoscaler: autoscaler, now: time.wallNow)
    let compiled = try CompiledAutoscaler(autoscaler, defaults: .init(), limits: .init())
    let workers = (0..<replicas).map { index in
      WorkerObservation(
        name: "web-\(index)", readiness: .init(isReady: true, since: time.wallNow), createdAt: time.wallNow,
        startedAt: time.wallNow, activity: WorkerActivity(inFlight: 1))
    }
    let input = DecisionInput(
      now: time.wallNow, specReplicas: replicas, statusReplicas: replicas, workers: workers)
    pass.compiled = compiled
    pass.input = input
    pass.plan = ScalingDecision.decide(compiled.decision, DecisionState(), input)
    return pass
  }

  private func served(_ bridge: MetricBridge) -> [Int64]? {
    let answer = bridge.answer(.desiredReplicas, namespace: "fleet", selector: .everything)
    if case .values(let values) = answer { return values.map(\.value) }
    return nil
  }

  /// Runs `body` while a bridge leads that knows of one autoscaler.
  private func lead(
    mayAct: @escaping @Sendable () -> Bool = { true }, _ body: (MetricBridge) async throws -> Void
  ) async throws {
    let bridge = MetricBridge(hasBudgets: false, time: time)
    bridge.attach { namespace in namespace == "fleet" ? ["web"] : [] }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          try await bridge.lead(Leadership(mayAct: mayAct, wake: { _ in }, podUID: { _ in nil }))
        } catch is CancellationError {}
      }
      await time.waitForSleepers(count: 1)
      try await body(bridge)
      group.cancelAll()
      try await group.waitForAll()
    }
    #expect(served(bridge) == nil, "who leads no more has no number")
  }

  @Test("A dry run's decision is served as it stands in the status, also where work in hand would hold a write")
  func decision() async throws {
    try await lead { bridge in
      #expect(served(bridge) == nil, "nothing is decided yet")
      bridge.observe(try pass(Self.autoscaler(maxReplicas: 5), replicas: 8))
      #expect(served(bridge) == [5])
      bridge.observe(try pass(Self.autoscaler(), replicas: 1))
      #expect(served(bridge) == [2])
      #expect(bridge.answer(.desiredReplicas, namespace: "other", selector: .everything) == .values([]))
    }
  }

  @Test("A pass in trouble takes the number away, and so does time without a pass")
  func trouble() async throws {
    try await lead { bridge in
      bridge.observe(try pass(Self.autoscaler(period: 20), replicas: 1))
      time.advance(by: .seconds(59))
      #expect(served(bridge) == [2])
      time.advance(by: .seconds(1))
      #expect(served(bridge) == nil)
      bridge.observe(try pass(Self.autoscaler(), replicas: 1))
      #expect(served(bridge) == [2])
      var failed = try pass(Self.autoscaler(), replicas: 1)
      failed.trouble = Trouble(.ableToScale, "FailedGetScale", "the Deployment web is gone")
      bridge.observe(failed)
      let answer = bridge.answer(.desiredReplicas, namespace: "fleet", selector: .everything)
      #expect(answer == .unavailable("no decision for the SwarmAutoscaler web: the Deployment web is gone"))
      bridge.observe(try pass(Self.autoscaler(), replicas: 1))
      bridge.forget(ObjectKey(namespace: "fleet", name: "web"))
      #expect(served(bridge) == nil)
    }
  }

  @Test("Who couldn't renew the lease serves nothing, although it hasn't ended yet")
  func lostLease() async throws {
    let lost = Gate()
    try await lead(mayAct: { !lost.isOpen }) { bridge in
      bridge.observe(try pass(Self.autoscaler(), replicas: 1))
      #expect(served(bridge) == [2])
      lost.open()
      #expect(served(bridge) == nil)
    }
  }
}
