import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// Behaviour without windows and limits, so that a step of load shows at once.
let immediateBehavior = #"""
  "behavior":{"scaleUp":{"stabilizationWindowSeconds":0,"policies":[{"type":"Percent","value":1000,"periodSeconds":1}]},
   "scaleDown":{"stabilizationWindowSeconds":0,"policies":[{"type":"Percent","value":100,"periodSeconds":1}]}}
  """#

func deploymentReference(_ name: String) -> String {
  #""scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"\#(name)"}"#
}

/// A band narrow enough that one count alone is in it: readings from the middle of a change may lead elsewhere for a
/// pass, as these tests have no window, and must lead back.
func band(_ resource: String) -> String {
  #"{"type":"Resource","resource":{"name":"\#(resource)","target":{"type":"Band","lower":75,"upper":80}}}"#
}

@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(5)))
struct ScalingControlPlaneTests {
  @Test("A step of CPU load takes a Deployment from 5 to the right count and back")
  func cpuStep() async throws {
    try await TestNamespace.with("cpu-step") { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await namespace.setLoad("web", cpu: TestNamespace.total("3900m"))
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.settles("web", at: 5)
        // 9.3 cores in the band's middle of 77.5 % of one core each: 12 workers.
        try await namespace.setLoad("web", cpu: TestNamespace.total("9300m"))
        await controller.settles("web", at: 12)
        let count12 = try await namespace.replicas(of: "web")
        #expect(count12 == 12)
        let status = try #require(try await namespace.autoscaler("web").status)
        #expect(status.currentReplicas == 12)
        #expect(status.observedGeneration == 1)
        #expect(status.lastScaleTime != nil)
        // A reading that falls into the change of the load may give a step of its own on the way up, and its use is any.
        let line = try #require(controller.log.lines.first { $0.contains("scaled web") && $0.contains("→12: ") })
        #expect(line.contains("cpu wants 12 (") && line.contains("% of 75–80)"), "\(line)")
        #expect(try await namespace.events(about: "web").contains { $0.hasPrefix("SuccessfulRescale: New size: 12") })
        try await namespace.setLoad("web", cpu: TestNamespace.total("1"))
        let mark = controller.mark
        await controller.pass(since: mark) { $0.plan?.currentReplicas == 5 && !$0.hasWritten }
        let count5 = try await namespace.replicas(of: "web")
        #expect(count5 == 5)
      }
    }
  }

  @Test("A step of memory takes a Deployment to the right count")
  func memoryStep() async throws {
    try await TestNamespace.with("memory-step") { namespace in
      try await namespace.createDeployment("cache", replicas: 5)
      try await namespace.setLoad("cache", memory: TestNamespace.total("775Mi"))
      try await namespace.createAutoscaler(
        "cache", spec: "{\(deploymentReference("cache")),\"metrics\":[\(band("memory"))],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.settles("cache", at: 10)
        let count10 = try await namespace.replicas(of: "cache")
        #expect(count10 == 10)
      }
    }
  }

  @Test("The API server accepts the status of a schedule, within its hours and outside of them")
  func scheduleStatus() async throws {
    try await TestNamespace.with("schedule") { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      // From each minute to the next leap day; from a leap day to the next minute.
      let hours = { (start: String, end: String) in
        #"{"type":"Schedule","schedule":{"start":"\#(start)","end":"\#(end)","replicas":7}}"#
      }
      let (always, never) = (hours("* * * * *", "0 0 29 2 *"), hours("0 0 29 2 *", "* * * * *"))
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(always),\(never)]}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.settles("web", at: 7)
        let metrics = try await eventually("the status") {
          try await namespace.autoscaler("web").status?.currentMetrics
        }
        #expect(metrics.map { $0.schedule?.active } == [true, false])
        #expect(!controller.log.lines.contains { $0.contains("status not written") })
      }
    }
  }

  @Test("Without metrics in the spec CPU and memory are held in the band 70–85, and what nobody reports is no trouble")
  func defaultMetrics() async throws {
    try await TestNamespace.with("defaults") { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await namespace.setLoad("web", cpu: TestNamespace.total("6200m"), memory: TestNamespace.total("100Mi"))
      try await namespace.createAutoscaler("web", spec: "{\(deploymentReference("web")),\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        let settled = await controller.settles("web", at: 8)
        #expect(settled.compiled?.resolved.maxReplicas == 100)
        #expect(!controller.log.lines.contains { $0.hasPrefix("warning") })
        let conditions = try await namespace.autoscaler("web").status?.conditions ?? []
        #expect(conditions.contains { $0.type == "ScalingActive" && $0.status?.text == "True" })
      }
    }
  }

  @Test("An autoscaling/v2 spec works unchanged, its target counted like the HPA's")
  func hpaSpec() async throws {
    try await TestNamespace.with("hpa-spec") { namespace in
      try await namespace.createDeployment("api", replicas: 3)
      try await namespace.setLoad("api", cpu: TestNamespace.total("3"))
      try await namespace.createAutoscaler(
        "api",
        spec:
          "{\(deploymentReference("api")),\"minReplicas\":2,\"maxReplicas\":10,\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]}"
      )
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        // 3 cores at 50 % of one core each: 6; the default policy allows 4 more pods or 100 % in 15 s.
        await controller.settles("api", at: 6)
        let count6 = try await namespace.replicas(of: "api")
        #expect(count6 == 6)
      }
    }
  }

  @Test("Edits of min and max take effect at once, also while the metrics API is down")
  func boundsWithoutMetrics() async throws {
    try await TestNamespace.with("bounds") { namespace in
      try await namespace.createDeployment("web", replicas: 6)
      try await namespace.setLoad("web", cpu: #""775m""#)
      try await namespace.createAutoscaler(
        "web",
        spec: "{\(deploymentReference("web")),\"minReplicas\":5,\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      // With a sync period of ten minutes only the edit itself can cause the pass.
      let controller = try TestController(
        kubeconfig: namespace.state.kubeconfig, namespace: namespace.name, syncPeriod: .seconds(600))
      try await controller.run {
        await controller.pass(since: 0) { $0.plan != nil }
        try await namespace.node.send(.put, "/faults", #"{"metrics":{"status":503}}"#)
        var mark = controller.mark
        try await namespace.patchAutoscaler("web", #"{"spec":{"minReplicas":9}}"#)
        await controller.pass(since: mark) { $0.hasWritten && $0.plan?.write == 9 }
        let count9 = try await namespace.replicas(of: "web")
        #expect(count9 == 9)
        mark = controller.mark
        try await namespace.patchAutoscaler("web", #"{"spec":{"minReplicas":2,"maxReplicas":4}}"#)
        await controller.pass(since: mark) { $0.hasWritten && $0.plan?.write == 4 }
        let count4 = try await namespace.replicas(of: "web")
        #expect(count4 == 4)
      }
    }
  }

  @Test("Replicas that are set by hand are seen and answered")
  func manualChange() async throws {
    try await TestNamespace.with("manual") { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await namespace.setLoad("web", cpu: TestNamespace.total("3900m"))
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.settles("web", at: 5)
        let mark = controller.mark
        try await namespace.setReplicas(of: "web", to: 20)
        let seen = await controller.pass(since: mark) { $0.plan?.currentReplicas == 20 }
        // Servers before 1.22 name the writer of a scale by its user agent.
        #expect(["a-person", "swarmscale-tests"].contains(seen.input?.foreignWriter?.manager))
        await controller.pass(since: mark) { $0.plan?.currentReplicas == 5 && !$0.hasWritten }
        let count5 = try await namespace.replicas(of: "web")
        #expect(count5 == 5)
      }
    }
  }

  @Test("A custom resource with a scale subresource is scaled like a Deployment")
  func customResource() async throws {
    try await TestNamespace.with("crd") { namespace in
      let fleets = try await Fleets.install(namespace)
      try await fleets.create("crew", replicas: 5)
      try await namespace.setLoad("crew", cpu: TestNamespace.total("9300m"))
      try await namespace.createAutoscaler(
        "crew",
        spec:
          "{\"scaleTargetRef\":{\"apiVersion\":\"test.swarmscale.dev/v1\",\"kind\":\"Fleet\",\"name\":\"crew\"},\"metrics\":[\(band("cpu"))],\(immediateBehavior)}"
      )
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.pass(since: 0) { $0.hasWritten && $0.plan?.write == 12 }
        try await fleets.follow("crew")
        await controller.settles("crew", at: 12)
        try await namespace.setLoad("crew", cpu: TestNamespace.total("1"))
        let mark = controller.mark
        await controller.pass(since: mark) { $0.hasWritten && $0.plan?.write == 5 }
        let count5 = try await fleets.replicas(of: "crew")
        #expect(count5 == 5)
      }
    }
  }
}

/// A custom resource with `/scale`, whose controller is played by a Deployment of the same name.
struct Fleets: Sendable {
  let namespace: TestNamespace

  static func install(_ namespace: TestNamespace) async throws -> Fleets {
    let definition = #"""
      {"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"fleets.test.swarmscale.dev"},
       "spec":{"group":"test.swarmscale.dev","scope":"Namespaced","names":{"plural":"fleets","singular":"fleet","kind":"Fleet"},
        "versions":[{"name":"v1","served":true,"storage":true,
         "schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}},
         "subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas","labelSelectorPath":".status.selector"}}}]}}
      """#
    do {
      try await namespace.api.send(.post, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    } catch let error as KubernetesError where error.reason == "AlreadyExists" {}
    let result = try await runTool(
      "/usr/bin/env",
      [
        "kubectl", "--kubeconfig", namespace.state.kubeconfig, "wait", "--for=condition=Established",
        "crd/fleets.test.swarmscale.dev", "--timeout=60s",
      ])
    guard result.status == 0 else { throw TestFailure(result.err) }
    return Fleets(namespace: namespace)
  }

  private func path(_ name: String, _ subresource: String = "") -> String {
    "/apis/test.swarmscale.dev/v1/namespaces/\(namespace.name)/fleets/\(name)\(subresource)"
  }

  func create(_ name: String, replicas: Int) async throws {
    try await namespace.api.send(
      .post, "/apis/test.swarmscale.dev/v1/namespaces/\(namespace.name)/fleets",
      #"{"apiVersion":"test.swarmscale.dev/v1","kind":"Fleet","metadata":{"name":"\#(name)"},"spec":{"replicas":\#(replicas)}}"#
    )
    try await namespace.api.send(
      .patch, path(name, "/status"), #"{"status":{"replicas":\#(replicas),"selector":"app=\#(name)"}}"#)
    try await namespace.createDeployment(name, replicas: replicas)
  }

  /// Brings the pods to the count that the fleet's spec asks for, as its controller would.
  func follow(_ name: String) async throws {
    let replicas = try await replicas(of: name)
    try await namespace.setReplicas(of: name, to: replicas)
    try await namespace.api.send(.patch, path(name, "/status"), #"{"status":{"replicas":\#(replicas)}}"#)
  }

  func replicas(of name: String) async throws -> Int {
    let gvr = GroupVersionResource(group: "test.swarmscale.dev", version: "v1", resource: "fleets")
    return Int(try await namespace.api.client.scale(of: gvr, ObjectKey(namespace: namespace.name, name: name)).replicas)
  }
}
