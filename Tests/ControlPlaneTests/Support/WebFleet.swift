import Foundation
import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import ScalingController
import ScalingDecision
import TestSupport
import Testing

/// A Deployment `web` of five workers of one core each, used to 78 %, and an autoscaler of the same name.
struct WebFleet: Sendable {
  let namespace: TestNamespace
  let controller: TestController

  /// How the controller of a fleet is set up.
  struct Options: Sendable {
    var plane = TestControlPlane.shared
    var goesThroughFaults = true
    var watch = WatchStateMachine.Configuration(maximumBackoff: .seconds(4))
    /// Runs before the controller starts, such as to set rules.
    var prepare: @Sendable (TestNamespace) async throws -> Void = { _ in }
    /// Makes another kubeconfig for the controller.
    var kubeconfig: (@Sendable (TestNamespace) throws -> String)?
  }

  /// Makes a fleet in a namespace of its own, starts a controller for it and runs `body`.
  static func with(
    _ name: String, _ options: Options = Options(), _ body: @escaping @Sendable (WebFleet) async throws -> Void
  ) async throws {
    try await TestNamespace.with(name, plane: options.plane) { namespace in
      try await create(in: namespace)
      try await options.prepare(namespace)
      let kubeconfig =
        try options.kubeconfig?(namespace)
        ?? (options.goesThroughFaults ? namespace.kubeconfigFaults : namespace.state.kubeconfig)
      let controller = try TestController(
        kubeconfig: kubeconfig, namespace: namespace.name, watch: options.watch, instance: "a")
      try await controller.run { try await body(WebFleet(namespace: namespace, controller: controller)) }
    }
  }

  /// Makes the Deployment and its autoscaler.
  static func create(in namespace: TestNamespace) async throws {
    try await namespace.createDeployment("web", replicas: 5)
    try await namespace.setLoad("web", cpu: TestNamespace.total("3900m"))
    try await namespace.createAutoscaler(
      "web", spec: "{\(deploymentReference("web")),\"metrics\":[\(band("cpu"))],\(immediateBehavior)}")
  }

  /// Waits until the controller is content with five workers, and has measured each of them.
  ///
  /// It's content with four of five that run, too: what comes next would then be decided with one that isn't measured yet
  /// and counts as idle, in two steps rather than one.
  func settlesAtFive() async throws {
    try await controller.awaitPass("web to settle at 5 workers, all of them measured") { pass in
      guard pass.isSettled("web", at: 5), let input = pass.input else { return false }
      guard case .workers(let usage)? = input.readings.first else { return false }
      let measured = Set(usage.samples.map(\.worker))
      return input.workers.count { $0.isReady && measured.contains($0.name) } == 5
    }
  }

  /// Changes the load so that `replicas` workers are right, and waits until the controller has come to that.
  ///
  /// 77.5 % of a core for each is the middle of the band, and leads to that count from any other.
  func converges(at replicas: Int, by controller: TestController? = nil) async throws {
    let controller = controller ?? self.controller
    let mark = controller.mark
    try await namespace.setLoad("web", cpu: TestNamespace.total("\(replicas * 775)m"))
    try await controller.awaitSettled("web", at: replicas, since: mark)
    let count = try await namespace.replicas(of: "web")
    #expect(count == replicas)
    let health = controller.service.notReadyReason
    #expect(health == nil)
  }

  /// The events about the autoscaler that are warnings of a failed request.
  func failures() async throws -> [String] {
    try await namespace.events(about: "web").filter { $0.hasPrefix("Failed") }
  }
}

/// A kubeconfig of a test's own.
enum TestKubeconfig {
  /// Writes a kubeconfig for the API server with the JSON of a user, and gives its path.
  static func write(_ namespace: TestNamespace, user: String) throws -> String {
    let path = namespace.plane.folder + "/kubeconfig-\(namespace.name)"
    let text = #"""
      {"apiVersion":"v1","kind":"Config","current-context":"test",
       "clusters":[{"name":"test","cluster":{"server":"\#(namespace.state.server)","certificate-authority":"\#(namespace.state.caFile)"}}],
       "users":[{"name":"test","user":\#(user)}],
       "contexts":[{"name":"test","context":{"cluster":"test","user":"test"}}]}
      """#
    try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    return path
  }
}
