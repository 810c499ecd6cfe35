import KubernetesClient
import KubernetesCore
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// Parts of the control plane fail; after each the same controller goes on.
///
/// These tests break a control plane of their own.
@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(10)))
struct OutageFaultControlPlaneTests {
  private static let plane = TestControlPlane(options: [])

  private static var options: WebFleet.Options {
    var options = WebFleet.Options()
    options.plane = plane
    options.goesThroughFaults = false
    return options
  }

  private static func control(_ verb: String, _ arguments: String...) async throws {
    try await plane.run([verb, plane.folder] + arguments)
  }

  @Test("The API server is killed and comes back: the controller says what is wrong meanwhile and goes on")
  func apiServerKilled() async throws {
    try await WebFleet.with("server-killed", Self.options) { fleet in
      try await fleet.settlesAtFive()
      let mark = fleet.controller.mark
      try await Self.control("kill", "kube-apiserver")
      let pass = try await fleet.controller.awaitPass("a pass that fails", since: mark) { $0.trouble != nil }
      #expect(pass.trouble?.condition == .ableToScale)
      #expect(pass.trouble?.reason == "FailedGetScale")
      #expect(pass.trouble?.message.contains("can't read the scale of Deployment \(fleet.namespace.name)/web") == true)
      try await Self.control("start", "kube-apiserver")
      try await fleet.converges(at: 12)
      try await fleet.converges(at: 5)
    }
  }

  @Test("etcd stands still for a while: requests hang, then the controller goes on")
  func etcdPaused() async throws {
    try await WebFleet.with("etcd-paused", Self.options) { fleet in
      try await fleet.settlesAtFive()
      try await Self.control("pause", "etcd")
      // The reads of the API server go to etcd, so this one shows that the pause is real.
      let request = APIRequest(
        path: "/api/v1/namespaces/\(fleet.namespace.name)/configmaps/none", timeout: .seconds(2))
      let error = await #expect(throws: KubernetesError.self) {
        _ = try await fleet.namespace.api.transport.send(request)
      }
      #expect(error?.code == .timedOut)
      let writes = fleet.controller.passes(of: "web").filter(\.hasWritten).count
      try await fleet.namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
      let during = fleet.controller.passes(of: "web").filter(\.hasWritten).count
      #expect(during == writes)
      try await Self.control("resume", "etcd")
      try await fleet.converges(at: 12)
    }
  }

  @Test("The API server comes back without its memory: old versions answer 410 and the controller lists again")
  func compacted() async throws {
    try await WebFleet.with("compacted", Self.options) { fleet in
      try await fleet.settlesAtFive()
      #expect(fleet.controller.number(ControllerMetrics.relists, "pods") == 1)
      // Pods change after the last version that the autoscalers' watch has seen.
      try await fleet.converges(at: 12)
      try await Self.control("compact", "--restart")
      try await fleet.converges(at: 5)
      #expect(fleet.controller.number(ControllerMetrics.relists, "pods") >= 2)
      // The watch of the autoscalers works too: an edit is seen.
      let mark = fleet.controller.mark
      try await fleet.namespace.patchAutoscaler("web", #"{"spec":{"minReplicas":7}}"#)
      try await fleet.controller.awaitPass("the edit to be answered", since: mark) { $0.plan?.write == 7 }
    }
  }
}
