import Foundation
import KubernetesClient
import KubernetesCore
import KubernetesRuntime
import ScalingAPI
import TestSupport

/// A namespace of one test, with the verbs that tests need.
struct TestNamespace: Sendable {
  let name: String
  let plane: TestControlPlane
  let state: ControlPlaneState
  /// The API server, as an administrator and without faults.
  let api: TestConnection
  /// The test node's control endpoint.
  let node: TestConnection
  /// The fault proxy's control endpoint.
  let faults: TestConnection?

  /// Makes a namespace named after the test, runs `body`, and deletes the namespace.
  static func with<Result: Sendable>(
    _ name: String, plane: TestControlPlane = .shared, _ body: (TestNamespace) async throws -> Result
  ) async throws -> Result {
    let state = try await plane.state()
    let unique = "\(name)-\(String(UInt16.random(in: .min ... .max), radix: 16))"
    let namespace = TestNamespace(
      name: unique, plane: plane, state: state, api: try TestConnection(kubeconfig: state.kubeconfig),
      node: try TestConnection(ClusterConfiguration(server: state.controlURL)),
      faults: try state.faultControlURL.map { try TestConnection(ClusterConfiguration(server: $0)) })
    try await namespace.api.send(.post, "/api/v1/namespaces", #"{"metadata":{"name":"\#(unique)"}}"#)
    do {
      let result = try await body(namespace)
      try await namespace.tearDown()
      return result
    } catch {
      try? await namespace.tearDown()
      throw error
    }
  }

  private func tearDown() async throws {
    _ = try? await faults?.send(.delete, "/rules")
    _ = try? await node.send(.delete, "/faults")
    _ = try? await api.send(.delete, "/api/v1/namespaces/\(name)")
    await api.transport.shutdown()
    await node.transport.shutdown()
    await faults?.transport.shutdown()
  }

  // MARK: Objects

  /// Creates a Deployment of `replicas` pods labelled `app: NAME`.
  func createDeployment(
    _ deployment: String, replicas: Int, cpu: String? = "1", memory: String? = "100Mi", serviceAccount: String? = nil
  ) async throws {
    let account = serviceAccount.map { #""serviceAccountName":"\#($0)","# } ?? ""

    let requests = [cpu.map { #""cpu":"\#($0)""# }, memory.map { #""memory":"\#($0)""# }].compactMap { $0 }
    try await api.send(
      .post, "/apis/apps/v1/namespaces/\(name)/deployments",
      #"""
      {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"\#(deployment)"},"spec":{"replicas":\#(replicas),
       "selector":{"matchLabels":{"app":"\#(deployment)"}},
       "template":{"metadata":{"labels":{"app":"\#(deployment)"}},"spec":{\#(account)"nodeName":"test-node-0","terminationGracePeriodSeconds":0,
        "containers":[{"name":"main","image":"none","resources":{"requests":{\#(requests.joined(separator: ","))}}}]}}}}
      """#)
  }

  /// Creates an autoscaler from the JSON of its spec.
  @discardableResult
  func createAutoscaler(_ autoscaler: String, spec: String, annotations: String = "{}") async throws -> String {
    try await api.send(
      .post, "/apis/swarmscale.dev/v1alpha1/namespaces/\(name)/swarmautoscalers",
      #"{"apiVersion":"swarmscale.dev/v1alpha1","kind":"SwarmAutoscaler","metadata":{"name":"\#(autoscaler)","annotations":\#(annotations)},"spec":\#(spec)}"#
    )
  }

  /// Merges JSON into an autoscaler.
  func patchAutoscaler(_ autoscaler: String, _ patch: String) async throws {
    try await api.send(
      .patch, "/apis/swarmscale.dev/v1alpha1/namespaces/\(name)/swarmautoscalers/\(autoscaler)", patch)
  }

  /// An autoscaler as the server has it.
  func autoscaler(_ autoscaler: String) async throws -> SwarmAutoscaler {
    try await api.client.get(SwarmAutoscaler.self, ObjectKey(namespace: name, name: autoscaler))
  }

  /// `spec.replicas` of a Deployment.
  func replicas(of deployment: String) async throws -> Int {
    let gvr = GroupVersionResource(group: "apps", version: "v1", resource: "deployments")
    return Int(try await api.client.scale(of: gvr, ObjectKey(namespace: name, name: deployment)).replicas)
  }

  /// `metadata.generation` of a Deployment: how many times its spec has changed.
  func generation(of deployment: String) async throws -> Int64 {
    let text = try await api.send(.get, "/apis/apps/v1/namespaces/\(name)/deployments/\(deployment)")
    guard let generation = try JSONValue(parsing: Array(text.utf8))[path: ["metadata", "generation"]]?.intValue else {
      throw KubernetesError(.invalid, "the Deployment \(deployment) has no generation")
    }
    return generation
  }

  /// Sets `spec.replicas` of a Deployment by hand.
  func setReplicas(of deployment: String, to replicas: Int) async throws {
    try await api.send(
      .patch, "/apis/apps/v1/namespaces/\(name)/deployments/\(deployment)/scale?fieldManager=a-person",
      #"{"spec":{"replicas":\#(replicas)}}"#)
  }

  /// The events about an autoscaler, as `reason: message`.
  func events(about autoscaler: String) async throws -> [String] {
    var found: [String] = []
    try await api.client.list(CoreEvent.self, namespace: name) { page, _ in
      found += page.filter { $0.involvedObject.name == autoscaler && $0.involvedObject.kind == "SwarmAutoscaler" }
        .map { "\($0.reason): \($0.message)" }
    }
    return found
  }

  /// A token as a projected volume has it: bound to the pod, and for the coordinator only; nil: the pod is gone.
  func workerToken(_ pod: String, uid: String) async throws -> String? {
    let text = try? await api.send(
      .post, "/api/v1/namespaces/\(name)/serviceaccounts/worker/token",
      #"""
      {"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["swarmscale.dev"],
       "boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"\#(pod)","uid":"\#(uid)"}}}
      """#)
    guard let text else { return nil }
    return try JSONValue(parsing: Array(text.utf8))[path: ["status", "token"]]?.stringValue
  }

  // MARK: Load

  /// Sets what the pods labelled `app: NAME` use: amounts as the test node's control endpoint takes them.
  func setLoad(_ app: String, cpu: String? = nil, memory: String? = nil) async throws {
    let parts = [cpu.map { #""cpu":\#($0)"# }, memory.map { #""memory":\#($0)"# }].compactMap { $0 }
    try await node.send(
      .put, "/load", #"{"namespace":"\#(name)","selector":"app=\#(app)",\#(parts.joined(separator: ","))}"#)
  }

  /// A total that the ready pods share: `total("12")`.
  static func total(_ amount: String) -> String { #"{"total":"\#(amount)"}"# }
}
