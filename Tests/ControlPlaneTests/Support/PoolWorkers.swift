import CoordinationProtocol
import KubernetesCore
import RateBudget
import SwarmCoordination
import Synchronization
import TestSupport

/// The workers of one Deployment: in each running pod the library's pool with one slot, which takes work as long as there is
/// some, and a link to the coordinator while there is one. Who is drained becomes unready, as its sidecar's probe would make it.
final class PoolWorkers: Sendable {
  private struct Worker {
    var pool: AgentPool
    var isReady = true
  }

  private struct State {
    var demand: Int
    var inHand = 0
    var workers: [String: Worker] = [:]
    var removedBusy: [String] = []
    var gone = 0
    var port: Int?
    /// Counts the leaders, so that links of before end.
    var leader = 0
  }

  private let namespace: TestNamespace
  private let app: String
  private let state: Mutex<State>
  private let clock = SystemClock()

  /// Workers labelled `app: NAME` with so much to do at once.
  init(_ app: String, in namespace: TestNamespace, demand: Int) {
    self.app = app
    self.namespace = namespace
    state = Mutex(State(demand: demand))
  }

  /// The pods that were removed while they worked.
  var removedBusy: [String] { state.withLock { $0.removedBusy } }
  /// How many pods were there once, and are no more.
  var gone: Int { state.withLock { $0.gone } }
  /// How many work.
  var busy: Int { state.withLock { $0.workers.values.count { $0.pool.busy > 0 } } }
  /// How many take no work.
  var draining: Int { state.withLock { $0.workers.values.count { $0.pool.isDraining } } }

  func setDemand(_ demand: Int) { state.withLock { $0.demand = demand } }

  /// The coordinator listens there.
  func join(port: Int) { state.withLock { $0.port = port } }

  /// The coordinator is gone.
  func leave() {
    state.withLock { state in
      state.port = nil
      state.leader += 1
    }
  }

  /// Follows the pods until the task is cancelled.
  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      while true {
        let pods = try await pods()
        let removed = state.withLock { state -> [Worker] in
          let names = state.workers.keys.filter { pods[$0] == nil }
          for name in names where (state.workers[name]?.pool.busy ?? 0) > 0 { state.removedBusy.append(name) }
          state.gone += names.count
          return names.compactMap { state.workers.removeValue(forKey: $0) }
        }
        for worker in removed { worker.pool.close() }
        for (pod, uid) in pods where state.withLock({ $0.workers[pod] == nil }) {
          let pool = AgentPool(slots: 1, clock: clock)
          state.withLock { $0.workers[pod] = Worker(pool: pool) }
          group.addTask { try await self.work(pool) }
          group.addTask { try await self.link(pool, pod, uid) }
        }
        try await probe()
        try await clock.sleep(until: clock.now + .milliseconds(100))
      }
    }
  }

  /// What the kubelet does with the answer of `/readyz`.
  private func probe() async throws {
    let changed = state.withLock { state in
      state.workers.keys.sorted().filter { name in
        guard let worker = state.workers[name], worker.isReady == worker.pool.isDrained else { return false }
        state.workers[name]?.isReady.toggle()
        return true
      }
    }
    for name in changed {
      let action = state.withLock { $0.workers[name]?.isReady == true } ? "ready" : "unready"
      _ = try? await namespace.node.send(
        .post, "/pods", #"{"namespace":"\#(namespace.name)","name":"\#(name)","action":"\#(action)"}"#)
    }
  }

  private func pods() async throws -> [String: String] {
    let text = try await namespace.api.send(
      .get, "/api/v1/namespaces/\(namespace.name)/pods?labelSelector=app=\(app)")
    var pods: [String: String] = [:]
    for item in try JSONValue(parsing: Array(text.utf8))["items"]?.arrayValue ?? [] {
      guard item[path: ["status", "phase"]] == "Running", item[path: ["metadata", "deletionTimestamp"]] == nil,
        let name = item[path: ["metadata", "name"]]?.stringValue,
        let uid = item[path: ["metadata", "uid"]]?.stringValue
      else { continue }
      pods[name] = uid
    }
    return pods
  }

  /// Takes work while there is some to be had.
  private func work(_ pool: AgentPool) async throws {
    try await pool.work(
      taking: {
        while true {
          let isTaken = self.state.withLock { state in
            guard state.inHand < state.demand else { return false }
            state.inHand += 1
            return true
          }
          if isTaken { return Int.random(in: 3_000...12_000) }
          try await self.clock.sleep(until: self.clock.now + .milliseconds(.random(in: 50...400)))
        }
      },
      { length in
        defer { self.state.withLock { $0.inHand -= 1 } }
        try await self.clock.sleep(until: self.clock.now + .milliseconds(length))
      })
  }

  /// A link to each leader in turn, until the pod is gone.
  private func link(_ pool: AgentPool, _ pod: String, _ uid: String) async throws {
    while state.withLock({ $0.workers[pod] != nil }) {
      guard let (port, leader) = state.withLock({ state in state.port.map { ($0, state.leader) } }) else {
        try await clock.sleep(until: clock.now + .milliseconds(100))
        continue
      }
      let token = try await namespace.workerToken(pod, uid: uid)
      guard let token else { return }
      let link = CoordinatorLink(
        identity: WorkerIdentity(namespace: namespace.name, pod: pod, uid: uid, fleet: app, incarnation: "1"),
        configuration: LinkConfiguration(host: "127.0.0.1", port: port, security: .plaintext, token: { token }),
        clock: clock, seed: .random(in: .min ... .max), standingDrain: { pool.standingDrain },
        onDrain: { pool.receive($0) })
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await link.run { _ in } }
        group.addTask { try await pool.run(reportingTo: link) }
        group.addTask {
          while self.state.withLock({ $0.leader == leader && $0.workers[pod] != nil }) {
            try await self.clock.sleep(until: self.clock.now + .milliseconds(100))
          }
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    }
  }
}
