import CoordinationProtocol
import KubernetesCore
import KubernetesRuntime
import RateBudget
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport
import Testing

@testable import FleetCoordination

/// Two fleets and their budget on the real API server, with the coordinator that the controller leads; each worker is a pod's
/// link with the pod's own token. The minute that limits are about is a real one, so this takes some.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct CoordinatedFleetsTests {
  private static let limit = 1_200

  private static func spec(_ fleet: String) -> String {
    #"""
    {\#(deploymentReference(fleet)),"minReplicas":5,"maxReplicas":40,\#(immediateBehavior),"metrics":[
     {"type":"External","external":{"metric":{"name":"\#(fleet)-work"},"target":{"type":"AverageValue","averageValue":"1"}}},
     {"type":"APIRate","apiRate":{"budgetRef":{"name":"claude"}}}]}
    """#
  }

  private func setWork(_ fleet: String, _ amount: Int, _ namespace: TestNamespace) async throws {
    try await namespace.node.send(
      .put, "/external",
      #"{"namespace":"\#(namespace.name)","metric":"\#(fleet)-work","values":[{"value":"\#(amount)","labels":{}}]}"#)
  }

  private func prepare(_ namespace: TestNamespace) async throws {
    let name = namespace.name
    try await namespace.api.send(
      .post, "/api/v1/namespaces/\(name)/serviceaccounts", #"{"metadata":{"name":"worker"}}"#)
    try await namespace.api.send(
      .post, "/apis/swarmscale.dev/v1alpha1/namespaces/\(name)/apibudgets",
      #"""
      {"apiVersion":"swarmscale.dev/v1alpha1","kind":"APIBudget","metadata":{"name":"claude"},
       "spec":{"limits":{"requestsPerMinute":\#(Self.limit)}}}
      """#)
    for (fleet, count) in [("readers", 10), ("writers", 5)] {
      try await namespace.createDeployment(fleet, replicas: count, serviceAccount: "worker")
      try await setWork(fleet, count, namespace)
      try await namespace.createAutoscaler(fleet, spec: Self.spec(fleet))
    }
  }

  /// A fleet's load of requests as decisions see it, once `condition` holds.
  private func awaitLoad(
    _ what: String, of fleet: String, _ namespace: TestNamespace, _ coordinator: FleetCoordinator,
    _ condition: (BudgetReport.Load) -> Bool
  ) async throws -> BudgetReport.Load {
    let key = ObjectKey(namespace: namespace.name, name: fleet)
    do {
      return try await eventually(what, attempts: 1_500) {
        coordinator.budget("claude", of: key)?.loads.first { $0.dimension == .requests && condition($0) }
      }
    } catch let failure as TestFailure {
      throw TestFailure("\(failure); last: \(String(describing: coordinator.budget("claude", of: key)))")
    }
  }

  @Test("A step of demand grows one fleet to what the budget carries beside the other, and drained workers go first")
  func step() async throws {
    try await TestNamespace.with("coordinated") { namespace in
      try await prepare(namespace)
      let controller = try TestController(
        kubeconfig: namespace.state.kubeconfig, namespace: namespace.name, coordinates: true)
      let coordinator = try unwrap(controller.coordinator, "a coordinator")
      let readers = LinkedWorkers("readers", in: namespace, budget: "claude")
      let writers = LinkedWorkers("writers", in: namespace, budget: "claude")
      try await controller.run {
        try await withThrowingTaskGroup(of: Void.self) { group in
          let port = await coordinator.port
          group.addTask { try await readers.run(port: port) }
          group.addTask { try await writers.run(port: port) }
          group.addTask { try await self.check(namespace, controller, coordinator, readers, writers) }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
      #expect(readers.failures == [] && writers.failures == [], "no link breaks and every token is accepted")
    }
  }

  private func check(
    _ namespace: TestNamespace, _ controller: TestController, _ coordinator: FleetCoordinator,
    _ readers: LinkedWorkers, _ writers: LinkedWorkers
  ) async throws {
    // Ten workers' request a second has filled the minute: 15 workers use 75 % of the limit.
    _ = try await awaitLoad("a full minute", of: "readers", namespace, coordinator) { $0.sustained >= 570 }
    let mark = controller.mark
    try await setWork("readers", 20, namespace)
    // Each worker offers 60 a minute of the 900 that the writers leave: 13 are in the band of 85 to 95 %, 14 reach its end.
    _ = try await awaitLoad("the grown fleet's minute", of: "readers", namespace, coordinator) { $0.sustained >= 765 }
    try await controller.awaitPass("a pass that is held by the budget", since: controller.mark) { pass in
      pass.autoscaler.metadata.name == "readers" && pass.trouble == nil && !pass.hasWritten
    }
    let grown = try await namespace.replicas(of: "readers")
    #expect((13...14).contains(grown))
    let counts = controller.passes(of: "readers", since: mark).compactMap { $0.plan?.desiredReplicas }
    #expect(counts.allSatisfy { $0 <= 14 }, "never beyond what the budget carries: \(counts)")
    let others = try await namespace.replicas(of: "writers")
    #expect(others == 5, "the other fleet keeps its part")
    try await checkReasons(namespace, controller, workers: grown + others)

    try await setWork("readers", 10, namespace)
    try await controller.awaitSettled("readers", at: 10)
    _ = try await eventually("the pods to go") { readers.gone.count == grown - 10 ? true : nil }
    // Kubernetes heeds the deletion cost from 1.22 on; that it stands on the pods, and that they had drained, is ours.
    let victims = Set(controller.passes(of: "readers").filter(\.hasWritten).flatMap { $0.plan?.victims ?? [] })
    #expect(victims.count == grown - 10 && victims.isSubset(of: readers.drained))
    let costs = readers.costs
    for victim in victims.subtracting(readers.gone) { #expect(costs[victim] == "\(VictimSelection.victimCost)") }
    #expect(writers.gone.isEmpty && writers.drained.isEmpty)
  }

  /// The log, the conditions and the budget's status name the budget and its dimension.
  private func checkReasons(_ namespace: TestNamespace, _ controller: TestController, workers: Int) async throws {
    let line = try unwrap(
      controller.log.lines.last { $0.contains("readers") && $0.contains("limited by API budget") },
      "a log line that names the budget: \(controller.log.lines.suffix(20))")
    #expect(line.contains("requests"), "\(line)")
    let limited = try await eventually("the condition") {
      try await namespace.autoscaler("readers").status?.conditions?.first {
        $0.type == "ScalingLimited" && $0.reason == "APIBudget"
      }
    }
    #expect(limited.message?.contains("requests") == true, "\(limited.message ?? "")")
    let key = ObjectKey(namespace: namespace.name, name: "claude")
    let status = try await eventually("the budget's status", attempts: 1_500) {
      let status = try await namespace.api.client.get(APIBudget.self, key).status
      return status?.clients == Int32(workers) ? status : nil
    }
    #expect(status.summary?.hasPrefix("requests ") == true)
    #expect(status.conditions?.first { $0.type == "Admitting" }?.status?.known == .true)
    let requests = try unwrap(status.dimensions?.first { $0.name?.known == .requests }, "requests")
    #expect(requests.limit == Quantity(Int64(Self.limit)) && requests.source?.known == .spec)
    #expect((70...96).contains(requests.utilizationPercent ?? 0), "\(requests)")
  }
}
