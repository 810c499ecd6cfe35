import CoordinationProtocol
import Foundation
import KubernetesCore
import RateBudget
import SwarmCoordination
import Synchronization
import TestSupport

/// The workers of one Deployment: a link to the coordinator for each pod that runs, with the pod's own projected token,
/// over which it asks for a grant each second, as long as the pod exists.
///
/// A worker has nothing in hand but that request, so it answers an order to drain at once.
final class LinkedWorkers: Sendable {
  private struct State {
    var drained: Set<String> = []
    var gone: Set<String> = []
    var failures: [String] = []
    var grants = 0
    var costs: [String: String] = [:]
  }

  private let namespace: TestNamespace
  private let app: String
  private let group: GroupKey
  private let state = Mutex(State())

  /// Workers labelled `app: NAME` that draw from the budget called `budget`.
  init(_ app: String, in namespace: TestNamespace, budget: String) {
    self.app = app
    self.namespace = namespace
    group = GroupKey(organization: "", modelGroup: "\(namespace.name)/\(budget)")
  }

  /// The pods that were told to drain.
  var drained: Set<String> { state.withLock { $0.drained } }
  /// The pods that were there once, and are no more.
  var gone: Set<String> { state.withLock { $0.gone } }
  /// What went wrong with links.
  var failures: [String] { state.withLock { $0.failures } }
  /// The pods' deletion costs, as they were seen last.
  var costs: [String: String] { state.withLock { $0.costs } }
  /// How many requests were granted.
  var grants: Int { state.withLock { $0.grants } }

  /// Follows the pods until the task is cancelled.
  func run(port: Int) async throws {
    let clock = SystemClock()
    try await withThrowingTaskGroup(of: Void.self) { group in
      var running: [String: Canceller] = [:]
      while true {
        let pods = try await pods()
        for pod in running.keys where pods[pod] == nil {
          running.removeValue(forKey: pod)?.cancel()
          state.withLock { _ = $0.gone.insert(pod) }
        }
        for (pod, uid) in pods where running[pod] == nil {
          let canceller = Canceller()
          running[pod] = canceller
          group.addTask {
            do {
              try await canceller.run { try await self.work(pod, uid: uid, port: port, clock) }
            } catch is CancellationError {
            } catch {
              self.state.withLock { $0.failures.append("\(pod): \(error)") }
            }
          }
        }
        try await clock.sleep(until: clock.now + .seconds(1))
      }
    }
  }

  /// The running pods' uids by name.
  private func pods() async throws -> [String: String] {
    var pods: [String: String] = [:]
    let text = try await namespace.api.send(
      .get, "/api/v1/namespaces/\(namespace.name)/pods?labelSelector=app=\(app)")
    for item in try JSONValue(parsing: Array(text.utf8))["items"]?.arrayValue ?? [] {
      guard item[path: ["status", "phase"]]?.stringValue == "Running",
        item[path: ["metadata", "deletionTimestamp"]] == nil,
        let name = item[path: ["metadata", "name"]]?.stringValue,
        let uid = item[path: ["metadata", "uid"]]?.stringValue
      else { continue }
      pods[name] = uid
      let cost = item[path: ["metadata", "annotations", Pod.deletionCostAnnotation]]?.stringValue
      state.withLock { $0.costs[name] = cost }
    }
    return pods
  }

  private func work(_ pod: String, uid: String, port: Int, _ clock: SystemClock) async throws {
    let token = try unwrap(try await namespace.workerToken(pod, uid: uid), "no token in the answer")
    let identity = WorkerIdentity(
      namespace: namespace.name, pod: pod, uid: uid, fleet: app, incarnation: "\(UInt32.random(in: 0 ... .max))")
    let (orders, ordering) = AsyncStream<DrainOrder>.makeStream()
    let link = CoordinatorLink(
      identity: identity,
      configuration: LinkConfiguration(host: "127.0.0.1", port: port, security: .plaintext, token: { token }),
      clock: clock, seed: UInt64.random(in: 0 ... .max), onDrain: { ordering.yield($0) })
    link.report(WorkerActivity(slots: 1))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await link.run { error in self.state.withLock { $0.failures.append("\(pod): \(error)") } }
      }
      group.addTask {
        for await order in orders where !order.isWithdrawn {
          self.state.withLock { _ = $0.drained.insert(pod) }
          link.answer(order, .drained)
          // As the sidecar's readiness probe does: before 1.22 nothing else tells a ReplicaSet who has drained.
          _ = try? await self.namespace.node.send(
            .post, "/pods", #"{"namespace":"\#(self.namespace.name)","name":"\#(pod)","action":"unready"}"#)
        }
      }
      group.addTask { try await self.ask(link, identity, clock) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  /// A request each second, whatever became of those before: what a fleet with more to do than it may does.
  private func ask(_ link: CoordinatorLink, _ identity: WorkerIdentity, _ clock: SystemClock) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in UInt64(1)... {
        let request = AdmissionRequest(
          group: self.group,
          grant: GrantRequest(
            id: GrantID(client: identity.client, number: number), fleet: identity.fleetName,
            estimate: Estimate(input: 10, expectedOutput: 10), deadline: clock.now + .seconds(300),
            model: "claude-sonnet-5"))
        group.addTask {
          guard let admission = try? await link.acquire(request) else { return }
          self.state.withLock { $0.grants += 1 }
          link.settle(admission, usage: Usage(input: 10, output: 10), isFinal: true)
        }
        try await clock.sleep(until: clock.now + .seconds(1))
      }
    }
  }
}

/// Ends one task of a group.
private final class Canceller: Sendable {
  private let ended = Gate()

  func cancel() { ended.open() }

  /// Runs `body` until it ends or `cancel` is called.
  func run(_ body: @escaping @Sendable () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await body() }
      group.addTask { try await self.ended.wait() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
