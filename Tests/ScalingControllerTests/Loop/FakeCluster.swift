import KubernetesCore
import ScalingAPI
import Synchronization
import TestSupport

@testable import ScalingController

/// An API server with one scale target, `ns/fleet`, in memory; metrics come from a script.
///
/// It holds to what decisions rely on: resource versions as preconditions, managed fields by writer, merge patches of
/// status. A request that it doesn't know is a 404, which fails the test that makes it.
final class FakeCluster: APITransport {
  /// How a metric's source answers.
  enum Source: Sendable {
    /// With a number.
    case number(String)
    /// With no series.
    case empty
    /// With another status and body.
    case answer(Int, String)
    /// Not at all.
    case refused
  }

  /// A write of the scale.
  struct Write: Hashable, Sendable {
    var at: Timestamp
    var replicas: Int
  }

  struct State {
    var version = 1
    var replicas: Int
    var scaleVersion = 1
    var manager = "kubectl"
    var managedAt = LoopTime.start
    var autoscalers: [String: JSONValue] = [:]
    var pods: [FakePod] = []
    /// Whether `metrics.k8s.io` answers.
    var hasPodMetrics = true
    /// The external metrics and the Prometheus queries, by name.
    var sources: [String: Source] = [:]
    var writes: [Write] = []
    /// The deletion costs of pods by name, as they were patched.
    var costs: [String: String] = [:]
    /// Whether pods may be patched.
    var refusesPodPatches = false
    var statusWrites = 0
    /// How many requests came.
    var requests = 0
    /// Whether status writes fail, as when the process is killed before them.
    var losesStatus = false
  }

  private let state: Mutex<State>
  private let time: LoopTime

  init(replicas: Int, time: LoopTime) {
    state = Mutex(State(replicas: replicas))
    self.time = time
  }

  /// Reads or changes the cluster as its users do.
  func with<Value: Sendable>(_ body: (inout State) throws -> Value) rethrows -> Value {
    try state.withLock { state in try body(&state) }
  }

  /// Creates an autoscaler or changes its spec, as `kubectl apply` would: the generation counts up.
  func apply(_ name: String, spec: String, annotations: [String: String] = [:]) throws {
    let spec = try KubernetesJSON.decode(JSONValue.self, from: Array(spec.utf8))
    let created = time.wallNow.rfc3339
    with { state in
      state.version += 1
      let old = state.autoscalers[name]
      let generation = (old?[path: ["metadata", "generation"]]?.intValue ?? 0) + 1
      var object: [String: JSONValue] = [
        "apiVersion": "swarmscale.dev/v1alpha1", "kind": "SwarmAutoscaler", "spec": spec,
        "metadata": [
          "name": .string(name), "namespace": "ns", "uid": .string("uid-\(name)"), "generation": .int(generation),
          "resourceVersion": .string("\(state.version)"),
          "creationTimestamp": old?[path: ["metadata", "creationTimestamp"]] ?? .string(created),
          "annotations": .object(annotations.mapValues { .string($0) }),
        ],
      ]
      object["status"] = old?["status"]
      state.autoscalers[name] = .object(object)
    }
  }

  /// Sets the count as another writer than the controller.
  func setReplicas(_ replicas: Int, by manager: String) {
    let now = time.wallNow
    with { state in
      state.replicas = replicas
      state.scaleVersion += 1
      state.manager = manager
      state.managedAt = now
    }
  }

  /// An autoscaler as the server has it.
  func autoscaler(_ name: String = "fleet") throws -> SwarmAutoscaler {
    SwarmAutoscaler(try unwrap(with { $0.autoscalers[name] }, "the autoscaler \(name)"))
  }

  /// The cluster's time in seconds since 1970.
  var now: Int64 { time.wallNow.secondsSinceEpoch }

  // MARK: Requests

  func send(_ request: APIRequest) async throws -> APIResponse {
    with { $0.requests += 1 }
    let path = request.path
    let scale = "/apis/apps/v1/namespaces/ns/deployments/fleet/scale"
    switch (request.method, path) {
    case (.get, "/apis/apps/v1"): return json(Self.discovery)
    case (.get, "/version"): return json(#"{"major":"1","minor":"34","gitVersion":"v1.34.1"}"#)
    case (.get, scale): return json(with(Self.scaleText))
    // Further targets, for tests with many autoscalers: they look like the first and are only read.
    case (.get, _) where path.hasPrefix("/apis/apps/v1/namespaces/ns/deployments/fleet-") && path.hasSuffix("/scale"):
      return json(with(Self.scaleText))
    case (.put, scale): return try writeScale(request)
    case (.get, "/apis/apps/v1/namespaces/ns/deployments/fleet"): return json(with(Self.metadataText))
    case (.get, "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods"): return podMetrics()
    case (.get, _) where path.hasPrefix("/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/"):
      return try external(String(path.split(separator: "/").last ?? ""))
    case (.patch, _) where path.hasSuffix("/status"):
      return try patchStatus(String(path.split(separator: "/").dropLast().last ?? ""), request)
    case (.patch, _) where path.hasPrefix("/api/v1/namespaces/ns/pods/"):
      return try patchPod(String(path.split(separator: "/").last ?? ""), request)
    default: return failure(404, "NotFound", "\(request.method.rawValue) \(path) isn't served here")
    }
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    throw KubernetesError(.misconfigured, "nothing is watched in these tests")
  }

  private func json(_ text: String) -> APIResponse {
    APIResponse(
      head: APIResponseHead(status: 200, headers: [.init("Content-Type", "application/json")]), body: Array(text.utf8))
  }

  private func failure(_ code: Int, _ reason: String, _ message: String) -> APIResponse {
    var response = json(
      #"{"kind":"Status","apiVersion":"v1","status":"Failure","code":\#(code),"reason":"\#(reason)","message":"\#(message)"}"#
    )
    response.head.status = code
    return response
  }

  private static let discovery = #"""
    {"kind":"APIResourceList","groupVersion":"apps/v1","resources":[
      {"name":"deployments","namespaced":true,"kind":"Deployment","verbs":["get","update"]},
      {"name":"deployments/scale","namespaced":true,"kind":"Scale","group":"autoscaling","version":"v1","verbs":["get","update"]}]}
    """#

  private static func scaleText(_ state: inout State) -> String {
    #"""
    {"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"fleet","namespace":"ns","resourceVersion":"\#(state.scaleVersion)"},
     "spec":{"replicas":\#(state.replicas)},"status":{"replicas":\#(state.replicas),"selector":"app=fleet"}}
    """#
  }

  private static func metadataText(_ state: inout State) -> String {
    #"""
    {"metadata":{"name":"fleet","namespace":"ns","managedFields":[{"manager":"\#(state.manager)","operation":"Update",
      "time":"\#(state.managedAt.rfc3339)","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}}]}}
    """#
  }

  private func writeScale(_ request: APIRequest) throws -> APIResponse {
    let scale = try KubernetesJSON.decode(Scale.self, from: request.body ?? [])
    let manager = request.query.first { $0.name == "fieldManager" }?.value ?? "unknown"
    let now = time.wallNow
    let isCurrent = with { state in
      guard scale.metadata.resourceVersion == "\(state.scaleVersion)" else { return false }
      state.replicas = Int(scale.replicas)
      state.scaleVersion += 1
      state.manager = manager
      state.managedAt = now
      state.writes.append(Write(at: now, replicas: Int(scale.replicas)))
      return true
    }
    return isCurrent ? json(with(Self.scaleText)) : failure(409, "Conflict", "the object has been modified")
  }

  private func patchPod(_ name: String, _ request: APIRequest) throws -> APIResponse {
    let patch = try KubernetesJSON.decode(JSONValue.self, from: request.body ?? [])
    let cost = patch[path: ["metadata", "annotations", Pod.deletionCostAnnotation]]?.stringValue
    let isRefused = with { state in
      if !state.refusesPodPatches { state.costs[name] = cost }
      return state.refusesPodPatches
    }
    return isRefused ? failure(403, "Forbidden", "pods is forbidden") : json(#"{"kind":"Pod","apiVersion":"v1"}"#)
  }

  private func podMetrics() -> APIResponse {
    let now = time.wallNow
    let items = with { state in state.hasPodMetrics ? state.pods.compactMap { $0.metrics(at: now) } : nil }
    guard let items else { return failure(404, "NotFound", "the server could not find the requested resource") }
    return json(#"{"kind":"PodMetricsList","items":[\#(items.joined(separator: ","))]}"#)
  }

  private func external(_ metric: String) throws -> APIResponse {
    switch with({ $0.sources[metric] }) {
    case .number(let value):
      return json(
        #"{"items":[{"metricName":"\#(metric)","metricLabels":{},"timestamp":"\#(time.wallNow.rfc3339)","value":"\#(value)"}]}"#
      )
    case .empty: return json(#"{"items":[]}"#)
    case .answer(let status, let body):
      return APIResponse(head: APIResponseHead(status: status), body: Array(body.utf8))
    case .refused: throw KubernetesError(.unreachable, "connection refused (scripted)")
    case nil: return failure(404, "NotFound", "no such metric")
    }
  }

  private func patchStatus(_ name: String, _ request: APIRequest) throws -> APIResponse {
    if with({ $0.losesStatus }) { throw KubernetesError(.unreachable, "the process was killed (scripted)") }
    let patch = try KubernetesJSON.decode(JSONValue.self, from: request.body ?? [])
    let text = try with { state -> String in
      guard let old = state.autoscalers[name] else { return "{}" }
      state.version += 1
      state.statusWrites += 1
      let new = old.applyingMergePatch(patch)
        .applyingMergePatch(["metadata": ["resourceVersion": .string("\(state.version)")]])
      state.autoscalers[name] = new
      return String(decoding: try KubernetesJSON.encode(new), as: UTF8.self)
    }
    return json(text)
  }
}

/// Answers Prometheus queries from the cluster's script; a query is the name of its source.
struct FakePrometheus: QueryTransportFactory, QueryTransport {
  let cluster: FakeCluster

  func makeTransport(for server: QueryServer) throws -> any QueryTransport { self }

  func shutdown() async {}

  func send(_ request: APIRequest) async throws -> APIResponse {
    let query = request.query.first { $0.name == "query" }?.value ?? ""
    var status = 200
    let body: String
    switch cluster.with({ $0.sources[query] }) {
    case .number(let value):
      body =
        #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[\#(cluster.now),"\#(value)"]}]}}"#
    case .empty: body = #"{"status":"success","data":{"resultType":"vector","result":[]}}"#
    case .answer(let code, let text):
      status = code
      body = text
    case .refused, nil: throw KubernetesError(.unreachable, "connection refused (scripted)")
    }
    return APIResponse(head: APIResponseHead(status: status), body: Array(body.utf8))
  }
}
