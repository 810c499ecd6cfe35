import KubernetesCore
import KubernetesRuntime
import ScalingController
import ScalingDecision
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(5)))
struct MetricsControlPlaneTests {
  /// Scales a Deployment of 5 by one metric: for each number that `set` sets, it must come to the count beside it.
  private func scales(
    _ name: String, metric: String, _ steps: [(number: Int, replicas: Int)],
    _ set: @escaping @Sendable (TestNamespace, Int) async throws -> Void
  ) async throws {
    try await TestNamespace.with(name) { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(metric)],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        for step in steps {
          let mark = controller.mark
          try await set(namespace, step.number)
          try await controller.awaitSettled("web", at: step.replicas, since: mark)
          let count = try await namespace.replicas(of: "web")
          #expect(count == step.replicas)
        }
      }
    }
  }

  @Test("A Pods metric from custom.metrics.k8s.io scales up and back: 30 requests a pod")
  func podsMetric() async throws {
    let metric = #"""
      {"type":"Pods","pods":{"metric":{"name":"requests"},"target":{"type":"AverageValue","averageValue":"30"}}}
      """#
    try await scales("pods-metric", metric: metric, [(450, 15), (240, 8)]) { namespace, number in
      try await namespace.node.send(
        .put, "/custom",
        #"{"namespace":"\#(namespace.name)","metric":"requests","selector":"app=web","value":{"total":"\#(number)"}}"#)
    }
  }

  @Test("An Object metric from custom.metrics.k8s.io scales up and back: 10 of a queue for each pod")
  func objectMetric() async throws {
    let metric = #"""
      {"type":"Object","object":{"describedObject":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},
       "metric":{"name":"queue-length"},"target":{"type":"AverageValue","averageValue":"10"}}}
      """#
    try await scales("object-metric", metric: metric, [(70, 7), (50, 5), (120, 12)]) { namespace, number in
      try await namespace.node.send(
        .put, "/custom",
        #"{"namespace":"\#(namespace.name)","metric":"queue-length","resource":"deployments.apps","name":"web","value":"\#(number)"}"#
      )
    }
  }

  @Test("An External metric scales on the sum of its series, up and back")
  func externalMetric() async throws {
    let metric = #"""
      {"type":"External","external":{"metric":{"name":"messages","selector":{"matchLabels":{"queue":"a"}}},
       "target":{"type":"AverageValue","averageValue":"10"}}}
      """#
    try await scales("external-metric", metric: metric, [(60, 9), (30, 6)]) { namespace, number in
      try await namespace.node.send(
        .put, "/external",
        #"""
        {"namespace":"\#(namespace.name)","metric":"messages","values":[
          {"value":"\#(number)","labels":{"queue":"a"}},{"value":"30","labels":{"queue":"a"}},{"value":"500","labels":{"queue":"b"}}]}
        """#)
    }
  }

  @Test("A ContainerResource metric looks at the named container only")
  func containerResource() async throws {
    let metric = #"""
      {"type":"ContainerResource","containerResource":{"name":"cpu","container":"main","target":{"type":"Band","lower":70,"upper":85}}}
      """#
    try await scales("container", metric: metric, [(6200, 8), (3900, 5)]) { namespace, number in
      try await namespace.setLoad("web", cpu: TestNamespace.total("\(number)m"))
    }
  }

  @Test("A schedule holds its count while its hours last, and lets go when they are over")
  func schedule() async throws {
    // Hours around the present one, in a time zone of many.
    @Sendable func metric(from first: Int, to last: Int) -> String {
      func cron(_ offset: Int) -> String {
        let moment = SystemTimeSource().wallNow.secondsSinceEpoch + Int64(offset * 3600)
        return "\(moment / 60 % 60) \((moment / 3600 + 9) % 24) * * *"
      }
      return
        #"{"type":"Schedule","schedule":{"timeZone":"Asia/Tokyo","start":"\#(cron(first))","end":"\#(cron(last))","replicas":8}}"#
    }
    try await TestNamespace.with("schedule") { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await namespace.createAutoscaler(
        "web",
        spec: "{\(deploymentReference("web")),\"metrics\":[\(metric(from: -2, to: 3))],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        try await controller.awaitSettled("web", at: 8)
        let mark = controller.mark
        try await namespace.patchAutoscaler("web", #"{"spec":{"metrics":[\#(metric(from: 3, to: 5))]}}"#)
        try await controller.awaitSettled("web", at: 5, since: mark)
        let count = try await namespace.replicas(of: "web")
        #expect(count == 5)
      }
    }
  }
}
