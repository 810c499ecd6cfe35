import KubernetesCore
import ScalingController
import ScalingDecision
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: hasControlPlane), .timeLimit(.minutes(5)))
struct MetricsControlPlaneTests {
  /// Scales a Deployment of 5 by one metric and expects `replicas`.
  private func scales(
    _ name: String, metric: String, to replicas: Int, _ setUp: (TestNamespace) async throws -> Void
  ) async throws {
    try await TestNamespace.with(name) { namespace in
      try await namespace.createDeployment("web", replicas: 5)
      try await setUp(namespace)
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(metric)],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        await controller.settles("web", at: replicas)
        let count = try await namespace.replicas(of: "web")
        #expect(count == replicas)
      }
    }
  }

  @Test("A Pods metric from custom.metrics.k8s.io scales: 90 requests a pod at 30 each, 15 pods")
  func podsMetric() async throws {
    let metric = #"""
      {"type":"Pods","pods":{"metric":{"name":"requests"},"target":{"type":"AverageValue","averageValue":"30"}}}
      """#
    try await scales("pods-metric", metric: metric, to: 15) { namespace in
      try await namespace.node.send(
        .put, "/custom",
        #"{"namespace":"\#(namespace.name)","metric":"requests","selector":"app=web","value":{"total":"450"}}"#)
    }
  }

  @Test("An Object metric from custom.metrics.k8s.io scales: 70 in a queue at 10 each, 7 pods")
  func objectMetric() async throws {
    let metric = #"""
      {"type":"Object","object":{"describedObject":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},
       "metric":{"name":"queue-length"},"target":{"type":"AverageValue","averageValue":"10"}}}
      """#
    try await scales("object-metric", metric: metric, to: 7) { namespace in
      try await namespace.node.send(
        .put, "/custom",
        #"{"namespace":"\#(namespace.name)","metric":"queue-length","resource":"deployments.apps","name":"web","value":"70"}"#
      )
    }
  }

  @Test("An External metric scales on the sum of its series: 60 and 30 at 10 each, 9 pods")
  func externalMetric() async throws {
    let metric = #"""
      {"type":"External","external":{"metric":{"name":"messages","selector":{"matchLabels":{"queue":"a"}}},
       "target":{"type":"AverageValue","averageValue":"10"}}}
      """#
    try await scales("external-metric", metric: metric, to: 9) { namespace in
      try await namespace.node.send(
        .put, "/external",
        #"""
        {"namespace":"\#(namespace.name)","metric":"messages","values":[
          {"value":"60","labels":{"queue":"a"}},{"value":"30","labels":{"queue":"a"}},{"value":"500","labels":{"queue":"b"}}]}
        """#)
    }
  }

  @Test("A ContainerResource metric looks at the named container only")
  func containerResource() async throws {
    let metric = #"""
      {"type":"ContainerResource","containerResource":{"name":"cpu","container":"main","target":{"type":"Band","lower":70,"upper":85}}}
      """#
    try await scales("container", metric: metric, to: 8) { namespace in
      try await namespace.setLoad("web", cpu: TestNamespace.total("6200m"))
    }
  }
}
