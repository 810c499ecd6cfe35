import CoordinationProtocol
import KubernetesCore
import LocalAPI
import RateBudget
import SwarmCoordination

extension World {
  private static let scale = "/apis/apps/v1/namespaces/default/deployments/fleet/scale"

  /// The count that stands in the Deployment.
  var replicas: Int {
    let key = StoreKey(storage: "deployments", namespace: "default", name: "fleet")
    return Int(cluster.store[key]?[path: ["spec", "replicas"]]?.intValue ?? 0)
  }

  /// Whether nobody is on the way out, nobody drains and all probes succeed.
  var isQuiet: Bool { workers.values.allSatisfy { $0.killedAt == nil && $0.isReady && !$0.pool.isDraining } }

  /// Answers a request of the controller.
  mutating func receive(_ request: APIRequest) -> (status: Int, document: JSONValue) {
    if request.path == "/version" {
      let minor = scenario.heedsDeletionCost ? "34" : "20"
      return (200, ["major": "1", "minor": .string(minor), "gitVersion": .string("v1.\(minor).2")])
    }
    if request.path.hasPrefix("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/") {
      let value: JSONValue = [
        "metricName": "tasks", "metricLabels": [:], "timestamp": .string(wall.rfc3339),
        "value": .string("\(demand)"),
      ]
      return (200, ["items": [value]])
    }
    if request.method == .put, request.path == Self.scale, conflicts > 0 {
      conflicts -= 1
      send(
        "PATCH", "/apis/apps/v1/namespaces/default/deployments/fleet",
        ["metadata": ["annotations": ["touched": .string("\(now)")]]], type: "application/merge-patch+json")
    }
    if request.method == .patch, request.path.hasPrefix("/api/v1/"), !scenario.heedsDeletionCost {
      // Kept by the server, but its controllers don't look at it.
      return (200, ["kind": "Pod", "apiVersion": "v1"])
    }
    var call = APICall(request.method.rawValue, request.path)
    call.query = request.query.map { ($0.name, $0.value) }
    for header in request.headers {
      switch header.name.lowercased() {
      case "content-type": call.contentType = header.value
      case "accept": call.accept = header.value
      default: break
      }
    }
    call.userAgent = "swarmscale-controller/1"
    call.body = request.body ?? []
    let result = answer(call)
    if request.method == .put, request.path == Self.scale, result.status == 200 {
      writes.append((now, replicas))
    }
    return result
  }

  // MARK: Faults

  /// Another version of the workers is rolled out.
  mutating func beginRollout(_ image: String = "worker:2") {
    send(
      "PATCH", "/apis/apps/v1/namespaces/default/deployments/fleet",
      ["spec": ["template": ["spec": ["containers": [["name": "main", "image": .string(image)]]]]]],
      type: "application/strategic-merge-patch+json")
  }

  /// One worker's probe fails for a while.
  mutating func makeUnready(for length: Duration) {
    guard let name = workers.keys.sorted().randomElement(using: &random) else { return }
    workers[name]?.unreadyUntil = now + length
  }
}

extension World.Worker {
  /// What the worker says when it joins.
  func hello(pod: String, now: BudgetTime) -> WorkerHello {
    WorkerHello(
      identity: WorkerIdentity(namespace: "default", pod: pod, uid: uid, fleet: "fleet", incarnation: "1"),
      activity: pool.lastActivity, drain: pool.standingDrain(ClaudeGateway.Activity(), now: now))
  }
}
