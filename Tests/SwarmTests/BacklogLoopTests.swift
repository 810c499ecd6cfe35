import CoordinationEngine
import Coordinator
import FleetCoordination
import Foundation
import JetStreamEngine
import KubernetesCore
import LocalEngine
import Logging
import SQLiteEngine
import ScalingDecision
import ScalingObservation
import ServiceLifecycle
import SlowTests
import SwarmCoordination
import Synchronization
import TaskQueue
import TaskQueueServer
import Testing

import class NATSTestSupport.ServerProcess
import var NATSTestSupport.hasNATSServer

/// A queue, workers that take from it, the coordinator that hears of both, and the decision that follows: nothing in between is a stand-in.
@Suite(.alone, .serialized, .timeLimit(.minutes(10))) struct BacklogLoopTests {
  @Test(
    "A backlog on JetStream makes the fleet grow, an empty queue makes it shrink; a queue counts once, whoever tells of it",
    .enabled(if: hasNATSServer))
  func jetStream() async throws {
    let server = try ServerProcess()
    defer { server.remove() }
    try await server.start()
    let configuration = try JetStreamAddress(server.url).configuration(reading: { _ in nil }, file: { _ in nil })
    let engine = JetStreamEngine(configuration)
    // Owned: ended below.
    let running = Task { try? await engine.run() }
    let result = await Swift.Result { try await growsAndShrinks(engine.tasks, at: server.url) }
    await engine.close()
    await running.value
    try result.get()
  }

  @Test("A backlog in SQLite behind its server does the same")
  func sqlite() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("backlog-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let engine = try await SQLiteEngine.open(SQLiteEngine.Configuration(directory: folder.path, durability: .process))
    let logger = Logger(label: "queue") { _ in SwiftLogNoOpLogHandler() }
    let port = AsyncStream.makeStream(of: Int.self)
    let server = TaskQueueServer(engine: engine, logger: logger) { port.continuation.yield($0) }
    let services = ServiceGroup(services: [EngineService(engine), server], logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await services.run() }
      var ports = port.stream.makeAsyncIterator()
      let url = "http://127.0.0.1:\(await ports.next() ?? 0)"
      let result = await Swift.Result { try await growsAndShrinks(engine.tasks, at: url) }
      await services.triggerGracefulShutdown()
      try await group.waitForAll()
      try result.get()
    }
  }

  /// Forty tasks, two slots a worker, four tasks a worker as the target: one worker, then ten, then one.
  private func growsAndShrinks(_ tasks: any TaskEngine, at url: String) async throws {
    _ = try await tasks.submit((0..<40).map { NewTask(payload: Array("\($0)".utf8)) }, to: "q")
    try await withCoordinator { coordinator, port in
      let proceed = Gate()
      let variables = { @Sendable (pod: String) in
        podEnvironment(pod, coordinator: "http://127.0.0.1:\(port)").merging(["SWARMSCALE_TASKS": url]) { $1 }
      }
      try await withThrowingTaskGroup(of: Void.self) { pods in
        defer { pods.cancelAll() }
        var fleet = FleetLoop(coordinator: coordinator)
        var started = 0
        func start(_ count: Int) {
          for number in started..<count {
            pods.addTask { try await Self.worker(FleetLoop.pod(number), variables, proceed) }
          }
          started = count
        }
        start(1)
        try await fleet.hears(workers: 1, busy: 2, queued: 38)
        #expect(await fleet.decide() == 10)
        start(10)
        try await fleet.hears(workers: 10, busy: 20, queued: 20)
        #expect(await fleet.decide() == nil, "forty tasks are work for ten")
        proceed.open()
        try await fleet.hears(workers: 10, busy: 0, queued: 0)
        // Who is to leave is asked first, and says that it has nothing left.
        try await eventually {
          _ = await fleet.decide()
          return fleet.replicas == 1
        }
        #expect(try await tasks.statistics(of: "q")["q"]?.done == 40)
      }
    }
  }

  private static func worker(
    _ pod: String, _ variables: @Sendable (String) -> [String: String], _ proceed: Gate
  ) async throws {
    var configuration = try SwarmConfiguration(environment: variables(pod))
    configuration.slots = 2
    configuration.drainsOnTermination = false
    configuration.logger = Logger(label: "worker") { _ in SwiftLogNoOpLogHandler() }
    try await Swarm.join(configuration) { swarm in
      try await swarm.tasks("q").work { task in
        await proceed.wait()
        return task.payload
      }
    }
  }
}

/// The autoscaler of the fleet `team/reviewers`: what the coordinator knows, as a decision sees it.
private struct FleetLoop {
  let coordinator: CoordinatorEngine
  var state = DecisionState()
  private var pods = [Self.pod(0)]
  var replicas: Int { pods.count }
  private var costs: [String: Int32] = [:]
  var now = Timestamp(secondsSinceEpoch: 1_790_000_000)
  private static let spec = DecisionSpec(
    minReplicas: 1, maxReplicas: 100,
    metrics: [MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: 4_000))], behavior: .immediate)
  private static let key = ObjectKey(namespace: "team", name: "reviewers")

  init(coordinator: CoordinatorEngine) { self.coordinator = coordinator }

  static func pod(_ number: Int) -> String { "w-\(number)" }

  /// Waits until the coordinator has heard this of the fleet.
  func hears(workers: Int, busy: Int, queued: Int) async throws {
    try await eventually {
      guard let fleet = await coordinator.report().fleets.first else { return false }
      return fleet.reporting == workers && fleet.busy == busy && fleet.queued == queued
    }
  }

  /// Decides once, and has the orders carried out; the count that is written, nil: none.
  mutating func decide() async -> Int? {
    let activity = FleetSnapshot(await coordinator.report(), budgets: [], at: now).activity(of: Self.key)
    let workers = pods.map { pod in
      WorkerObservation(
        name: pod, phase: .running, isDeleting: false,
        readiness: .init(isReady: true, since: now - .seconds(60)),
        createdAt: now - .seconds(60), startedAt: now - .seconds(60), isScheduled: true,
        requests: WorkerRequests(podCPU: 1_000, podMemory: 1_000, containers: []),
        activity: activity?.workers[pod]?.activity, deletionCost: costs[pod] ?? 0)
    }
    let reading = activity?.backlog.map { MetricReading.backlog($0) } ?? .unavailable(.notYetRead)
    let plan = ScalingDecision.decide(
      Self.spec, state,
      DecisionInput(
        now: now, specReplicas: replicas, statusReplicas: replicas, workers: workers, readings: [reading],
        completedWork: activity?.completedWork))
    state = plan.state
    now = now + .seconds(15)
    for order in plan.orders {
      switch order {
      case .drain(let worker): await coordinator.drain(namespace: "team", pod: worker, timeout: .seconds(600))
      case .undrain(let worker): await coordinator.withdrawDrain(namespace: "team", pod: worker)
      case .setDeletionCost(let worker, let cost): costs[worker] = cost
      }
    }
    if let write = plan.write {
      if write < pods.count { pods.removeAll { plan.victims.contains($0) } }
      while pods.count < write { pods.append(Self.pod(pods.count)) }
    }
    return plan.write
  }
}

/// Closed until it is opened.
private final class Gate: Sendable {
  private let state = Mutex<(isOpen: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

  func open() {
    let waiters = state.withLock { state in
      defer { state = (true, []) }
      return state.waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let isOpen = state.withLock { state in
        if !state.isOpen { state.waiters.append(continuation) }
        return state.isOpen
      }
      if isOpen { continuation.resume() }
    }
  }
}

extension Swift.Result where Failure == any Error {
  fileprivate init(_ body: () async throws -> Success) async {
    do { self = .success(try await body()) } catch { self = .failure(error) }
  }
}
