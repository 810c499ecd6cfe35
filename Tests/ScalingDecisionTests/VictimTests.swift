import KubernetesCore
import Testing

@testable import ScalingDecision

@Suite("Who goes first")
struct VictimTests {
  private let drained = WorkerActivity(inFlight: 0, drain: .acknowledged(since: start - .seconds(10)))

  private func busy(_ inFlight: Int = 1, minutes: Int = 10) -> WorkerActivity {
    WorkerActivity(inFlight: inFlight, slots: 10, oldestWorkAt: start - .seconds(minutes * 60))
  }

  private func plan(_ workers: [WorkerObservation], goal: Int, replicas: Int? = nil, timeout: Duration? = nil) -> Plan {
    var spec = DecisionSpec.plain([.external()], min: 1)
    spec.drain.timeout = timeout
    return decideOnce(spec, replicas: replicas ?? workers.count, [.asking(goal)], workers: workers)
  }

  private func drainOrders(_ plan: Plan) -> [String] {
    plan.orders.compactMap { if case .drain(let worker) = $0 { worker } else { nil } }
  }

  @Test("Pods that don't exist yet go before anybody who works")
  func unborn() {
    let workers = (0..<7).map { Fleet.worker($0, activity: busy()) }
    #expect(plan(workers, goal: 7, replicas: 10).write == 7)
    #expect(plan(workers, goal: 6, replicas: 10).write == 7)
    #expect(drainOrders(plan(workers, goal: 6, replicas: 10)).count == 1)
  }

  @Test("Kubernetes' order: without a node, pending, unknown, not ready, ready")
  func tiers() {
    let workers = [
      Fleet.worker(0, activity: drained), Fleet.worker(1, isReady: false, activity: drained),
      Fleet.worker(2, phase: .unknown, isReady: false, activity: drained),
      Fleet.worker(3, phase: .pending, isReady: false),
      Fleet.worker(4, phase: .pending, isReady: false, isScheduled: false),
    ]
    #expect(plan(workers, goal: 1).victims == [4, 3, 2, 1].map(Fleet.name))
  }

  @Test("Among busy workers those with the least and then the oldest work drain first")
  func leastWork() {
    let workers = [
      Fleet.worker(0, activity: busy(3)), Fleet.worker(1, activity: busy(1, minutes: 5)),
      Fleet.worker(2, activity: busy(1, minutes: 50)), Fleet.worker(3, activity: busy(2)),
    ]
    #expect(drainOrders(plan(workers, goal: 3)) == [Fleet.name(2)])
    #expect(Set(drainOrders(plan(workers, goal: 2))) == [Fleet.name(1), Fleet.name(2)])
    #expect(Set(drainOrders(plan(workers, goal: 1))) == [Fleet.name(1), Fleet.name(2), Fleet.name(3)])
  }

  @Test("A shield holds back those of later tiers only")
  func shieldedTier() {
    let notReady = [
      Fleet.worker(0, isReady: false, activity: busy()), Fleet.worker(1, isReady: false, activity: drained),
    ]
    let plan = plan(notReady + (2..<6).map { Fleet.worker($0, activity: drained) }, goal: 2)
    #expect(plan.victims == [Fleet.name(1)])
    #expect(plan.write == 5)
    #expect(plan.reasons.contains(.shieldedByNotReady(worker: Fleet.name(0))))
  }

  @Test("Deletion costs are set where they are wrong: victims lowest, the rest by the age of their work in doublings")
  func costs() {
    let workers = [
      Fleet.worker(0, activity: drained, deletionCost: -1000), Fleet.worker(1, activity: drained),
      Fleet.worker(2, activity: busy(minutes: 0)), Fleet.worker(3, activity: busy(minutes: 8)),
      Fleet.worker(4, activity: busy(minutes: 8), deletionCost: 140),
      Fleet.worker(5, activity: busy(), deletionCost: 500),
      Fleet.worker(6, activity: WorkerActivity(inFlight: 0), deletionCost: -999),
      Fleet.worker(7, activity: WorkerActivity(inFlight: 0), deletionCost: -1000),
    ]
    let plan = plan(workers, goal: 6)
    #expect(plan.victims == [0, 1].map(Fleet.name))
    #expect(
      plan.orders == [
        .setDeletionCost(worker: Fleet.name(1), cost: -1000), .setDeletionCost(worker: Fleet.name(7), cost: 0),
        .setDeletionCost(worker: Fleet.name(3), cost: 140), .setDeletionCost(worker: Fleet.name(2), cost: 100),
      ])
  }

  @Test("A worker that need no longer go takes work again, also while others go")
  func undrain() {
    let workers = (0..<6).map { Fleet.worker($0, activity: drained) }
    let plan = plan(workers, goal: 4)
    #expect(plan.victims == [0, 1].map(Fleet.name))
    #expect(
      plan.orders.filter { if case .undrain = $0 { true } else { false } }
        == (2..<6).map { .undrain(worker: Fleet.name($0)) })
  }

  @Test("The plan names when the first drain runs out of time")
  func firstTimeout() {
    func draining(_ seconds: Int) -> WorkerActivity {
      WorkerActivity(inFlight: 1, drain: .ordered(since: start - .seconds(seconds)))
    }
    let workers = [
      Fleet.worker(0, activity: draining(500)), Fleet.worker(1, activity: draining(900)),
      Fleet.worker(2, activity: draining(100)), Fleet.worker(3, activity: busy()),
    ]
    #expect(plan(workers, goal: 1, timeout: .seconds(1000)).nextDeadline == start + .seconds(100))
  }

  @Test("A readiness of Unknown isn't False: its CPU counts once the worker is old enough")
  func unknownReadiness() {
    var workers = Fleet.ready(10)
    let begun = start - .seconds(3600)
    for index in 0..<5 {
      workers[index].readiness = .init(isReady: false, since: begun + .seconds(5), isUnknown: true)
    }
    let counted = decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(workers, percent: 95)], workers: workers)
    #expect(counted.proposals[0].observed == .utilization(usageMilli: 9500, requestsMilli: 10_000))
    for index in 0..<5 { workers[index].readiness?.isUnknown = false }
    let apart = decideOnce(.plain([.cpuBand]), replicas: 10, [Fleet.cpu(workers, percent: 95)], workers: workers)
    #expect(apart.proposals[0].observed == .utilization(usageMilli: 4750, requestsMilli: 5000))
  }
}
