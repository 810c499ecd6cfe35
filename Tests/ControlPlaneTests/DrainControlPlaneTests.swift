import ArgumentParser
import FleetCoordination
import KubernetesCore
import KubernetesRuntime
import ScalingController
import ScalingDecision
import TestSupport
import Testing

@testable import UserCommands

/// A scale-down from 30 to 10 with the real ReplicaSet controller, and the way of the HPA beside it. Work takes a tenth of
/// 30 to 120 s. The pods are the test node's; what works in each is the library's own pool, with a link to the leader.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct DrainControlPlaneTests {
  private static func spec(_ fleet: String) -> String {
    #"""
    {\#(deploymentReference(fleet)),"minReplicas":5,"maxReplicas":40,
     "behavior":{"scaleDown":{"stabilizationWindowSeconds":0,"tolerance":"0"}},"metrics":[
     {"type":"External","external":{"metric":{"name":"\#(fleet)-work"},"target":{"type":"AverageValue","averageValue":"1"}}}]}
    """#
  }

  private static func setWork(_ fleet: String, _ amount: Int, _ namespace: TestNamespace) async throws {
    try await namespace.node.send(
      .put, "/external",
      #"{"namespace":"\#(namespace.name)","metric":"\#(fleet)-work","values":[{"value":"\#(amount)","labels":{}}]}"#)
  }

  private static func controller(_ namespace: TestNamespace, _ name: String) throws -> TestController {
    let election = try #require(
      LeaderElection.Configuration(
        identity: name, leaseDuration: .seconds(6), renewDeadline: .seconds(4), retryPeriod: .seconds(1)))
    return try TestController(
      kubeconfig: namespace.state.kubeconfig, namespace: namespace.name,
      election: (ObjectKey(namespace: namespace.name, name: "leader"), election), instance: name, coordinates: true)
  }

  @Test("30 busy workers become 10, the leader changes on the way, and no work is lost; written as the HPA does, it is")
  func drain() async throws {
    try await TestNamespace.with("drain") { namespace in
      try await namespace.api.send(
        .post, "/api/v1/namespaces/\(namespace.name)/serviceaccounts", #"{"metadata":{"name":"worker"}}"#)
      for fleet in ["drained", "written"] {
        try await namespace.createDeployment(fleet, replicas: 30, serviceAccount: "worker")
      }
      try await Self.setWork("drained", 30, namespace)
      try await namespace.createAutoscaler("drained", spec: Self.spec("drained"))
      let drained = PoolWorkers("drained", in: namespace, demand: 30)
      let written = PoolWorkers("written", in: namespace, demand: 30)
      let first = try Self.controller(namespace, "first")
      let second = try Self.controller(namespace, "second")
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await drained.run() }
        group.addTask { try await written.run() }
        group.addTask {
          try await Self.scaleDown(namespace, first, second, drained, written)
        }
        defer { group.cancelAll() }
        try await group.next()
      }
      #expect(drained.removedBusy == [], "removed while at work: \(first.story)\n\(second.story)")
      #expect(drained.gone == 20)
      #expect(written.gone == 20 && !written.removedBusy.isEmpty, "the ReplicaSet doesn't know who works")
      print("drained: 20 removed, \(drained.removedBusy.count) at work; written: 20, \(written.removedBusy.count)")
    }
  }

  /// What `swarmscale drain --status` says of the fleet, once nothing has changed while it looked; it must be what is so.
  private static func status(_ namespace: TestNamespace) async throws -> DrainStatus? {
    func truth() async throws -> (pods: Set<String>, fleet: JSONValue?) {
      let base = "/apis/swarmscale.dev/v1alpha1/namespaces/\(namespace.name)/swarmautoscalers/drained"
      let fleet = try KubernetesJSON.parse(Array(try await namespace.api.send(.get, base).utf8))["status"]
      let text = try await namespace.api.send(
        .get, "/api/v1/namespaces/\(namespace.name)/pods?labelSelector=app=drained")
      let pods = try KubernetesJSON.parse(Array(text.utf8))["items"]?.arrayValue ?? []
      return (
        Set(
          pods.map { pod in
            let metadata = pod["metadata"]
            let isReady = pod[path: ["status", "conditions"]]?.arrayValue?.contains {
              $0["type"] == "Ready" && $0["status"] == "True"
            }
            let isMarked = metadata?["annotations"]?[Pod.deletionCostAnnotation] == "-1000"
            let state =
              metadata?["deletionTimestamp"] != nil
              ? "terminating" : isMarked ? "marked" : isReady == true ? "ready" : "unready"
            return "\(metadata?["name"]?.stringValue ?? "") \(state)"
          }), fleet
      )
    }
    let command = try DrainCommand.parse([
      "--status", "drained", "-n", namespace.name, "--kubeconfig", namespace.state.kubeconfig,
    ])
    let before = try await truth()
    let fleets = try await command.read()
    let after = try await truth()
    guard before.pods == after.pods, before.fleet == after.fleet else { return nil }
    #expect(fleets.count == 1)
    let fleet = try #require(fleets.first)
    #expect(Set(fleet.pods.map { "\($0.name) \($0.state)" }) == before.pods)
    #expect(fleet.replicas.map(Int64.init) == before.fleet?["currentReplicas"]?.intValue)
    #expect(fleet.desired.map(Int64.init) == before.fleet?["desiredReplicas"]?.intValue)
    let draining = before.fleet?["conditions"]?.arrayValue?.first { $0["type"] == "Draining" }
    #expect(fleet.isDraining == (draining?["status"] == "True"))
    #expect(!fleet.isDraining || fleet.message.hasSuffix(draining?["message"]?.stringValue ?? "-"))
    return fleet
  }

  private static func scaleDown(
    _ namespace: TestNamespace, _ first: TestController, _ second: TestController, _ drained: PoolWorkers,
    _ written: PoolWorkers
  ) async throws {
    try await first.run {
      drained.join(port: await (try unwrap(first.coordinator, "a coordinator")).port)
      // A new coordinator learns for a lease; then everybody works, and none has been removed.
      _ = try await eventually("everybody at work") { drained.busy == 30 && written.busy == 30 ? true : nil }
      try await first.awaitSettled("drained", at: 30)
      drained.setDemand(10)
      written.setDemand(10)
      try await setWork("drained", 10, namespace)
      try await namespace.setReplicas(of: "written", to: 10)
      let during = try await eventually("a drain, in the words of swarmscale drain --status") {
        try await status(namespace).flatMap { $0.isDraining ? $0 : nil }
      }
      #expect(during.desired == 10 && during.message.contains("busy workers drain"), "\(during)")
      #expect(
        DrainStatus.table([during]).contains { $0.hasPrefix("\(namespace.name)   drained") && $0.contains("True") })
      // The change of leaders comes when some are gone and others still drain.
      try await first.awaitPass("a first step down") { $0.hasWritten && ($0.plan?.write ?? 30) < 30 }
    }
    drained.leave()
    try await second.run {
      drained.join(port: await (try unwrap(second.coordinator, "a coordinator")).port)
      try await second.awaitSettled("drained", at: 10, attempts: 2_000)
      _ = try await eventually("the pods to go") { drained.gone == 20 && written.gone == 20 ? true : nil }
      _ = try await eventually("nobody left to drain") { drained.draining == 0 ? true : nil }
      let rest = try await eventually("a fleet at rest") {
        try await status(namespace).flatMap { $0.isDraining ? nil : $0 }
      }
      #expect(
        rest.replicas == 10 && rest.desired == 10 && rest.pods.count == 10
          && rest.pods.allSatisfy { $0.state != "marked" })
    }
  }
}
