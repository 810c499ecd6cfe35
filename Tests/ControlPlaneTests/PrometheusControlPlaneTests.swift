import Foundation
import KubernetesCore
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// A real Prometheus scales a real Deployment.
@Suite(.serialized, .enabled(if: hasPrometheus), .timeLimit(.minutes(5)))
struct PrometheusControlPlaneTests {
  /// How a query reaches Prometheus.
  private enum Way {
    /// Prometheus itself, with a password.
    case basic
    /// The front, with a token.
    case bearer
  }

  private struct Scene: Sendable {
    var namespace: TestNamespace
    var prometheus: TestPrometheus
    var controller: TestController

    /// Sets the queue's series and waits until the Deployment has followed.
    func follows(_ values: [Int?], to replicas: Int) async throws {
      let mark = controller.mark
      try await prometheus.setQueue(namespace.name, values)
      try await controller.awaitSettled("web", at: replicas, since: mark)
      let count = try await namespace.replicas(of: "web")
      #expect(count == replicas)
    }

    /// What the metric's last reading says of itself.
    func metric() async throws -> SwarmAutoscaler.MetricStatus? {
      try await namespace.autoscaler("web").status?.currentMetrics?.first
    }
  }

  private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

  private static func secret(_ namespace: TestNamespace, _ name: String, _ data: [String: String]) async throws {
    let entries = data.sorted { $0.key < $1.key }.map { #""\#($0.key)":"\#(base64($0.value))""# }
    let body = #"{"metadata":{"name":"\#(name)"},"data":{\#(entries.joined(separator: ","))}}"#
    do {
      try await namespace.api.send(.post, "/api/v1/namespaces/\(namespace.name)/secrets", body)
    } catch let error as KubernetesError where error.reason == "AlreadyExists" {
      try await namespace.api.send(.put, "/api/v1/namespaces/\(namespace.name)/secrets/\(name)", body)
    }
  }

  /// Makes a Deployment of five, scaled by a queue of ten for each worker, and runs `body` beside a controller.
  private static func with(
    _ name: String, _ way: Way = .basic, absent: String = "Hold", token: String? = nil,
    _ body: @escaping @Sendable (Scene) async throws -> Void
  ) async throws {
    try await TestNamespace.with(name) { namespace in
      let prometheus = try TestPrometheus.running()
      let description = prometheus.description
      try await secret(namespace, "authority", ["ca.crt": description.authority])
      switch way {
      case .basic:
        try await secret(namespace, "reader", ["username": description.user, "password": description.password + "\n"])
      case .bearer:
        try await secret(namespace, "reader", ["token": token ?? description.token])
      }
      try await namespace.createDeployment("web", replicas: 5)
      let query = #"queue_depth{fleet=\"\#(namespace.name)\"}"#
      let metric = #"""
        {"type":"Prometheus","prometheus":{"serverAddress":"\#(way == .basic ? description.server : description.front)",
         "query":"\#(query)","absent":"\#(absent)","target":{"type":"AverageValue","averageValue":"10"},
         "authentication":{"type":"\#(way == .basic ? "Basic" : "Bearer")","secretRef":{"name":"reader"}},
         "tls":{"caSecretRef":{"name":"authority"}}}}
        """#
      try await namespace.createAutoscaler(
        "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(metric)],\(immediateBehavior)}")
      let controller = try TestController(kubeconfig: namespace.state.kubeconfig, namespace: namespace.name)
      try await controller.run {
        try await body(Scene(namespace: namespace, prometheus: prometheus, controller: controller))
      }
    }
  }

  @Test("The sum of a query's series scales up and back, over TLS with a password")
  func upAndBack() async throws {
    try await Self.with("prometheus") { scene in
      try await scene.follows([80, 40], to: 12)
      let metric = try #require(try await scene.metric())
      #expect(metric.type?.text == "Prometheus")
      #expect(metric.proposal == 12)
      #expect(scene.controller.log.lines.contains { $0.contains("scaled web 5→12") && $0.contains("(120/10)") })
      try await scene.follows([80, 10], to: 9)
      try await scene.follows([35, 15], to: 5)
    }
  }

  @Test("A bearer token is sent; one that is wrong is told as that, and the right one is used without restart")
  func bearer() async throws {
    try await Self.with("prometheus-bearer", .bearer, token: "wrong") { scene in
      try await scene.prometheus.setQueue(scene.namespace.name, [110])
      let refused = try await eventually("a condition that tells of the refusal") {
        try await scene.namespace.autoscaler("web").status?.conditions?
          .first { $0.type == "ScalingActive" && $0.status?.text == "False" }
      }
      #expect(refused.reason == "FailedGetPrometheusMetric")
      #expect(refused.message?.contains("401") == true)
      #expect(scene.controller.log.lines.allSatisfy { !$0.contains("wrong") })
      try await Self.secret(scene.namespace, "reader", ["token": scene.prometheus.description.token])
      try await scene.controller.awaitSettled("web", at: 11)
    }
  }

  @Test(
    "A series that ends is held, taken for zero, or unknown, as asked",
    arguments: [("Hold", 9), ("Zero", 5), ("Fail", 9)])
  func absent(policy: String, replicas: Int) async throws {
    try await Self.with("prometheus-absent", absent: policy) { scene in
      try await scene.follows([90], to: 9)
      let mark = scene.controller.mark
      try await scene.prometheus.setQueue(scene.namespace.name, [nil])
      // Prometheus itself notices at its next scrape that the series has ended.
      try await scene.controller.awaitPass("three empty replies", since: mark) { _ in
        scene.controller.passes(of: "web", since: mark)
          .filter { $0.collected.first?.reading == .unavailable(.absent) }.count >= 3
      }
      try await scene.controller.awaitPass("the right count", since: mark) { pass in
        pass.plan?.currentReplicas == replicas && !pass.hasWritten
          && (policy == "Fail") == (pass.plan?.proposals.first?.replicas == nil)
      }
      // And on from there when it comes back.
      try await scene.follows([140], to: 14)
    }
  }

  @Test("Prometheus is killed and starts again: the count is held, the condition says why, and it goes on")
  func killed() async throws {
    try await Self.with("prometheus-killed") { scene in
      try await scene.follows([90], to: 9)
      let mark = scene.controller.mark
      try await scene.prometheus.kill()
      do {
        let failed = try await scene.controller.awaitPass("a pass without a number", since: mark) {
          $0.plan?.proposals.first?.replicas == nil
        }
        #expect(failed.collected.first?.failure?.contains(scene.prometheus.description.server) == true)
        let condition = try await eventually("the condition") {
          try await scene.namespace.autoscaler("web").status?.conditions?
            .first { $0.type == "ScalingActive" && $0.status?.text == "False" }
        }
        #expect(condition.reason == "FailedGetPrometheusMetric")
        let events = try await eventually("the event") {
          let events = try await scene.namespace.events(about: "web")
            // Before its series was set the query gave none, which is told too.
            .filter { $0.hasPrefix("FailedGetPrometheusMetric: ") && !$0.contains("no series") }
          return events.isEmpty ? nil : events
        }
        #expect(events.count == 1)
        // What would be 20, could it be read.
        try await scene.prometheus.setQueue(scene.namespace.name, [200])
        let later = scene.controller.mark
        try await scene.controller.awaitPass("three more passes", since: later) { _ in
          scene.controller.passes(of: "web", since: later).count >= 3
        }
        #expect(scene.controller.passes(of: "web", since: mark).allSatisfy { !$0.hasWritten })
      } catch {
        // Others use it after this test.
        try await scene.prometheus.start()
        throw error
      }
      try await scene.prometheus.start()
      try await scene.controller.awaitSettled("web", at: 20)
      _ = try await eventually("the condition to become true") {
        try await scene.namespace.autoscaler("web").status?.conditions?
          .first { $0.type == "ScalingActive" && $0.status?.text == "True" }
      }
    }
  }
}
