import KubernetesCore
import LocalAPI

/// A cluster whose clock and randomness the test owns.
struct Cluster {
  private(set) var state: ClusterState
  private var generator = Seeded(state: 42)
  /// The time; moved by the test.
  var now = Timestamp(secondsSinceEpoch: 1_800_000_000)
  /// What the controllers asked to be woken at, after the last `settle`.
  private(set) var deadline: Timestamp?

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ state >> 29
    }
  }

  init(limits: ClusterState.Limits = ClusterState.Limits()) {
    state = ClusterState(limits: limits, at: now, using: &generator)
    settle()
  }

  /// Resumes from another cluster's snapshot.
  init?(snapshot: JSONValue) {
    guard let state = ClusterState(snapshot: snapshot, at: now, using: &generator) else { return nil }
    self.state = state
  }

  /// Status and document of a request.
  @discardableResult
  mutating func send(
    _ method: String, _ path: String, _ body: JSONValue? = nil, type: String = "application/json",
    query: [(name: String, value: String)] = [], accept: String = "application/json"
  ) -> (status: Int, document: JSONValue) {
    let call = APICall(
      method, path, query: query, accept: accept, contentType: type, userAgent: "tests/1", body: body?.text ?? [])
    switch state.respond(to: call, at: now, using: &generator) {
    case .document(let status, let document, _): return (status, document)
    case .text(let status, let text): return (status, .string(text))
    case .watch, .log, .metrics, .external: return (200, .null)
    }
  }

  /// The watch that a request opens; nil when it is refused.
  mutating func watch(_ path: String, query: [(name: String, value: String)] = []) -> WatchRequest? {
    let call = APICall("GET", path, query: query + [(name: "watch", value: "true")])
    guard case .watch(let watch) = state.respond(to: call, at: now, using: &generator) else { return nil }
    return watch
  }

  mutating func settle() { deadline = state.settle(at: now, using: &generator) }

  mutating func compact() { state.compact() }

  // MARK: Parts

  static func deployment(_ name: String, replicas: Int64, strategy: JSONValue? = nil, version: String = "1")
    -> JSONValue
  {
    var json: JSONValue = [
      "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": .string(name)],
      "spec": [
        "replicas": .int(replicas), "selector": ["matchLabels": ["app": .string(name)]],
        "template": [
          "metadata": ["labels": ["app": .string(name)]],
          "spec": ["containers": [["name": "main", "image": .string("worker:\(version)")]]],
        ],
      ],
    ]
    json["spec"]?["strategy"] = strategy
    return json
  }

  /// Adds a ready node with room for so many pods.
  mutating func addNode(pods: Int) {
    send(
      "POST", "/api/v1/nodes",
      [
        "apiVersion": "v1", "kind": "Node", "metadata": ["name": "local"],
        "status": [
          "allocatable": ["pods": .string("\(pods)")], "conditions": [["type": "Ready", "status": "True"]],
        ],
      ])
    settle()
  }

  /// The pods of the default namespace.
  mutating func pods() -> [JSONValue] {
    send("GET", "/api/v1/namespaces/default/pods").document["items"]?.arrayValue ?? []
  }

  /// Plays the node: runs what is bound and confirms what ends; true when there was something to do.
  mutating func runPods() -> Bool {
    var isBusy = false
    for pod in pods() {
      let path = "/api/v1/namespaces/default/pods/\(pod[path: ["metadata", "name"]]?.stringValue ?? "")"
      if PodFacts.isDeleting(pod) {
        send("DELETE", path, ["gracePeriodSeconds": 0])
        isBusy = true
      } else if !PodFacts.node(pod).isEmpty, PodFacts.phase(pod) == "Pending" {
        send(
          "PATCH", "\(path)/status",
          [
            "status": [
              "phase": "Running",
              "conditions": [["type": "Ready", "status": "True", "lastTransitionTime": .string(now.rfc3339)]],
            ]
          ], type: "application/strategic-merge-patch+json")
        isBusy = true
      }
    }
    settle()
    return isBusy
  }
}
