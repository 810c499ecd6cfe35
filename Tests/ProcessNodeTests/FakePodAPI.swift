import KubernetesCore
import KubernetesRuntime
import Synchronization
import TestSupport

/// The part of the API server that a node uses, in memory: pods with a watch, status patches and deletion; ConfigMaps,
/// Secrets and tokens to read. It can go down and come back.
final class FakePodAPI: APITransport {
  private struct Waiter {
    var name: String
    var condition: @Sendable (JSONValue?) -> Bool
    var continuation: CheckedContinuation<JSONValue?, Never>
  }

  private struct State {
    var version = 1
    var pods: [String: JSONValue] = [:]
    var objects: [String: JSONValue] = [:]
    var watchers: [ScriptedStream] = []
    var waiters: [Waiter] = []
    var isDown = false
    var tokens = 0
    var writes: [String: JSONValue] = [:]
  }

  private let state = Mutex(State())

  /// The last thing written to a path other than a pod's.
  func written(_ path: String) -> JSONValue? { state.withLock { $0.writes[path] } }

  /// Puts a ConfigMap (`configmaps/NAME`) or Secret (`secrets/NAME`).
  func put(_ path: String, _ object: JSONValue) {
    state.withLock { $0.objects["/api/v1/namespaces/ns/" + path] = object }
  }

  /// Creates a pod from the JSON of its spec, bound to the node `test`.
  func create(_ name: String, _ spec: String, annotations: JSONValue = [:]) throws {
    var spec = try JSONValue(parsing: Array(spec.utf8))
    spec["nodeName"] = "test"
    let pod: JSONValue = [
      "apiVersion": "v1", "kind": "Pod",
      "metadata": [
        "name": .string(name), "namespace": "ns", "uid": .string("uid-\(name)-\(UInt32.random(in: .min ... .max))"),
        "labels": ["app": "test"], "annotations": annotations,
      ],
      "spec": spec, "status": ["phase": "Pending"],
    ]
    change(name, pod, "ADDED")
  }

  /// Asks for a pod's deletion, as a client does.
  func delete(_ name: String, grace: Int64 = 5) {
    guard var pod = state.withLock({ $0.pods[name] }) else { return }
    pod["metadata"]?["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pod["metadata"]?["deletionGracePeriodSeconds"] = .int(grace)
    change(name, pod, "MODIFIED")
  }

  /// Takes the server down (every request fails, streams break) or up again.
  func setDown(_ isDown: Bool) {
    let watchers = state.withLock { state in
      state.isDown = isDown
      defer { if isDown { state.watchers = [] } }
      return isDown ? state.watchers : []
    }
    for watcher in watchers { watcher.fail(Self.unreachable) }
  }

  /// Suspends until a pod (nil: gone) satisfies a condition, and gives it.
  @discardableResult
  func pod(_ name: String, until condition: @escaping @Sendable (JSONValue?) -> Bool) async -> JSONValue? {
    await withCheckedContinuation { continuation in
      let now = state.withLock { state -> JSONValue?? in
        if condition(state.pods[name]) { return .some(state.pods[name]) }
        state.waiters.append(Waiter(name: name, condition: condition, continuation: continuation))
        return nil
      }
      if let now { continuation.resume(returning: now) }
    }
  }

  /// Suspends until a container's state in the status satisfies a condition, and gives its status.
  @discardableResult
  func container(_ name: String, _ container: String = "main", until condition: @escaping @Sendable (JSONValue) -> Bool)
    async -> JSONValue
  {
    let pod = await pod(name) { pod in pod.map { condition(Self.status($0, container)) } ?? false }
    return pod.map { Self.status($0, container) } ?? .null
  }

  static func status(_ pod: JSONValue, _ container: String) -> JSONValue {
    let status = pod["status"] ?? [:]
    let all =
      (status["initContainerStatuses"]?.arrayValue ?? []) + (status["containerStatuses"]?.arrayValue ?? [])
    return all.first { $0["name"]?.stringValue == container } ?? [:]
  }

  private static let unreachable = KubernetesError(.unreachable, "down")

  private func change(_ name: String, _ pod: JSONValue?, _ type: String) {
    let (watchers, frame, woken) = state.withLock { state in
      state.version += 1
      var seen = pod ?? state.pods[name] ?? [:]
      seen["metadata"]?["resourceVersion"] = .string(String(state.version))
      state.pods[name] = pod == nil ? nil : seen
      let woken = state.waiters.filter { $0.name == name && $0.condition(state.pods[name]) }
      state.waiters.removeAll { $0.name == name && $0.condition(state.pods[name]) }
      let frame: JSONValue = ["type": .string(type), "object": seen]
      return (state.watchers, frame.text + [10], woken.map { ($0.continuation, pod == nil ? nil : seen) })
    }
    for watcher in watchers { watcher.send(frame) }
    for (continuation, pod) in woken { continuation.resume(returning: pod) }
  }

  // MARK: Transport

  func send(_ request: APIRequest) async throws -> APIResponse {
    if state.withLock({ $0.isDown }) { throw Self.unreachable }
    let parts = request.path.split(separator: "/").map(String.init)
    let body = try request.body.map { try JSONValue(parsing: $0) } ?? .null
    if request.path == "/api/v1/pods" { return list() }
    if parts.count >= 6, parts[4] == "pods" { return try pod(request.method, parts[5], body) }
    if request.path.hasSuffix("/token") { return token() }
    if request.method == .get {
      return state.withLock({ $0.objects[request.path] }).map { Self.answer(200, $0) } ?? Self.answer(404, Self.failure)
    }
    state.withLock { $0.writes[request.path] = body }
    return Self.answer(201, body)
  }

  private static let failure: JSONValue = ["kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404]

  private static func answer(_ status: Int, _ body: JSONValue) -> APIResponse {
    APIResponse(head: APIResponseHead(status: status), body: body.text)
  }

  private func list() -> APIResponse {
    state.withLock { state in
      Self.answer(
        200,
        [
          "metadata": ["resourceVersion": .string(String(state.version))],
          "items": .array(state.pods.sorted { $0.key < $1.key }.map(\.value)),
        ])
    }
  }

  private func token() -> APIResponse {
    let number = state.withLock { state in
      state.tokens += 1
      return state.tokens
    }
    return Self.answer(
      201, ["status": ["token": .string("token-\(number)"), "expirationTimestamp": "2026-01-01T01:00:00Z"]])
  }

  private func pod(_ method: APIRequest.Method, _ name: String, _ body: JSONValue) throws -> APIResponse {
    guard let pod = state.withLock({ $0.pods[name] }) else { return Self.answer(404, Self.failure) }
    let asked = body[path: ["metadata", "uid"]] ?? body[path: ["preconditions", "uid"]]
    if let asked, asked != pod[path: ["metadata", "uid"]] {
      return Self.answer(409, ["kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409])
    }
    if method == .delete {
      change(name, nil, "DELETED")
      return Self.answer(200, pod)
    }
    let patched = pod.applyingMergePatch(["status": body["status"] ?? [:]])
    change(name, patched, "MODIFIED")
    return Self.answer(200, patched)
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    let stream = ScriptedStream()
    let since = request.query.first { $0.name == "resourceVersion" }.flatMap { Int($0.value) } ?? 0
    let missed = try state.withLock { state -> [JSONValue] in
      if state.isDown { throw Self.unreachable }
      state.watchers.append(stream)
      return state.pods.values.filter { pod in
        pod[path: ["metadata", "resourceVersion"]]?.stringValue.flatMap { Int($0) }.map { $0 > since } ?? false
      }
    }
    for pod in missed { stream.send((["type": "MODIFIED", "object": pod] as JSONValue).text + [10]) }
    return try await body(stream.head, APIByteStream { try await stream.next() })
  }
}
