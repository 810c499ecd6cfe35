import KubernetesCore
import LocalAPI
import Testing

@Suite("The local cluster's controllers")
struct ControllerTests {
  private let deployments = "/apis/apps/v1/namespaces/default/deployments"

  @Test("A rolling update never leaves its bounds, and ends with the new template alone", arguments: [1, 3, 10, 25])
  func rollsWithinBounds(replicas: Int64) {
    var cluster = Cluster()
    cluster.addNode(pods: 100)
    cluster.send("POST", deployments, Cluster.deployment("web", replicas: replicas))
    cluster.settle()
    while cluster.runPods() {}
    cluster.send(
      "PATCH", "\(deployments)/web", Cluster.deployment("web", replicas: replicas, version: "2"),
      type: "application/merge-patch+json")
    cluster.settle()
    // Defaults: 25 % more, rounded up; 25 % fewer, rounded down.
    let most = replicas + (replicas + 3) / 4
    let least = replicas - replicas / 4
    var steps = 0
    repeat {
      let active = cluster.pods().filter(PodFacts.isActive)
      #expect(active.count <= most)
      #expect(active.count(where: PodFacts.isReady) >= least)
      steps += 1
    } while cluster.runPods() && steps < 200
    let images = cluster.pods().map { $0[path: ["spec", "containers", "0", "image"]]?.stringValue }
    #expect(images == Array(repeating: "worker:2", count: Int(replicas)))
    let status = cluster.send("GET", "\(deployments)/web").document["status"]
    #expect(status?["updatedReplicas"]?.intValue == replicas)
    #expect(status?["unavailableReplicas"] == nil)
    let progressing = status?["conditions"]?.arrayValue?.first { $0["type"] == "Progressing" }
    #expect(progressing?["reason"] == "NewReplicaSetAvailable")
  }

  @Test("Pods beyond the node's room wait, and move up when room is made")
  func schedulesWithinRoom() {
    var cluster = Cluster()
    cluster.addNode(pods: 2)
    cluster.send("POST", deployments, Cluster.deployment("web", replicas: 3))
    cluster.settle()
    #expect(cluster.pods().count { !PodFacts.node($0).isEmpty } == 2)
    let waiting = cluster.pods().first { PodFacts.node($0).isEmpty }
    let condition = waiting?[path: ["status", "conditions", "0"]]
    #expect(condition?["reason"] == "Unschedulable")
    #expect(condition?["message"] == "0/1 nodes are available: 1 Too many pods.")
    cluster.send(
      "PATCH", "/api/v1/nodes/local/status", ["status": ["allocatable": ["pods": "3"]]],
      type: "application/merge-patch+json")
    cluster.settle()
    #expect(cluster.pods().allSatisfy { PodFacts.node($0) == "local" })
  }

  @Test("A rollout that makes no progress is said to have failed when its deadline has passed")
  func progressDeadline() throws {
    var cluster = Cluster()
    var deployment = Cluster.deployment("web", replicas: 1)
    deployment["spec"]?["progressDeadlineSeconds"] = 30
    cluster.send("POST", deployments, deployment)
    cluster.settle()
    #expect(try #require(cluster.deadline) <= cluster.now + .seconds(31))
    cluster.now = cluster.now + .seconds(31)
    cluster.settle()
    let conditions = cluster.send("GET", "\(deployments)/web").document[path: ["status", "conditions"]]?.arrayValue
    #expect(conditions?.first { $0["type"] == "Progressing" }?["reason"] == "ProgressDeadlineExceeded")
  }

  @Test("A pod counts as available only after minReadySeconds, without anything else happening")
  func minReadySeconds() {
    var cluster = Cluster()
    cluster.addNode(pods: 10)
    var deployment = Cluster.deployment("web", replicas: 2)
    deployment["spec"]?["minReadySeconds"] = 10
    cluster.send("POST", deployments, deployment)
    cluster.settle()
    while cluster.runPods() {}
    #expect(cluster.send("GET", "\(deployments)/web").document[path: ["status", "availableReplicas"]] == nil)
    cluster.now = cluster.now + .seconds(10)
    cluster.settle()
    #expect(cluster.send("GET", "\(deployments)/web").document[path: ["status", "availableReplicas"]] == 2)
  }

  @Test("The controllers come to rest: a second step without a change does nothing")
  func comesToRest() {
    var cluster = Cluster()
    cluster.addNode(pods: 10)
    cluster.send("POST", deployments, Cluster.deployment("web", replicas: 4))
    cluster.settle()
    while cluster.runPods() {}
    let version = cluster.state.store.version
    cluster.settle()
    #expect(cluster.state.store.version == version)
  }

  @Test("Events go after an hour")
  func eventsExpire() {
    var cluster = Cluster()
    cluster.send("POST", deployments, Cluster.deployment("web", replicas: 1))
    cluster.settle()
    #expect(cluster.state.store.count("events") > 0)
    cluster.now = cluster.now + .seconds(3_601)
    cluster.settle()
    #expect(cluster.state.store.count("events") == 0)
  }

  @Test("Pods of a node that is deleted go without its word")
  func lostNode() {
    var cluster = Cluster()
    cluster.addNode(pods: 10)
    cluster.send("POST", deployments, Cluster.deployment("web", replicas: 2))
    cluster.settle()
    while cluster.runPods() {}
    cluster.send("DELETE", "/api/v1/nodes/local")
    cluster.settle()
    #expect(cluster.pods().allSatisfy { PodFacts.node($0).isEmpty })
    #expect(cluster.pods().count == 2)
  }
}

@Suite("The order in which pods are given up")
struct VictimRankTests {
  private static let now = Timestamp(secondsSinceEpoch: 1_800_000_000)

  private static func pod(
    node: String = "n", phase: String = "Running", readyFor: Int64? = 1_000, cost: String? = nil, restarts: Int64 = 0,
    age: Int64 = 1_000, uid: String = "a"
  ) -> JSONValue {
    var metadata: JSONValue = [
      "uid": .string(uid), "creationTimestamp": .string((now - .seconds(age)).rfc3339),
    ]
    if let cost { metadata["annotations"] = ["controller.kubernetes.io/pod-deletion-cost": .string(cost)] }
    var status: JSONValue = ["phase": .string(phase), "containerStatuses": [["restartCount": .int(restarts)]]]
    if let readyFor {
      status["conditions"] = [
        ["type": "Ready", "status": "True", "lastTransitionTime": .string((now - .seconds(readyFor)).rfc3339)]
      ]
    }
    return ["metadata": metadata, "spec": node.isEmpty ? [:] : ["nodeName": .string(node)], "status": status]
  }

  /// Each pair: the first goes before the second.
  static let pairs: [(String, JSONValue, JSONValue)] = [
    ("unassigned before assigned", pod(node: "", cost: "9"), pod(cost: "-9")),
    ("pending before running", pod(phase: "Pending", readyFor: nil, cost: "9"), pod(readyFor: nil)),
    ("not ready before ready", pod(readyFor: nil, cost: "9"), pod(cost: "-9")),
    ("cheap before costly", pod(cost: "-1"), pod()),
    ("plain before costly", pod(), pod(cost: "1")),
    ("a cost that is no number is none", pod(cost: "+5"), pod(cost: "1")),
    ("ready for a short time before a long one", pod(readyFor: 10), pod(readyFor: 1_000)),
    ("within one order of magnitude the uid tells", pod(readyFor: 1_000, uid: "a"), pod(readyFor: 900, uid: "b")),
    ("restarted before not", pod(restarts: 2), pod(restarts: 1)),
    ("young before old", pod(age: 10), pod(age: 5_000)),
  ]

  @Test("One pod goes before another", arguments: pairs)
  func order(title: String, first: JSONValue, second: JSONValue) {
    let ranks = (VictimRank(first, neighbours: 1, now: Self.now), VictimRank(second, neighbours: 1, now: Self.now))
    #expect(ranks.0 < ranks.1, "\(title)")
    #expect(!(ranks.1 < ranks.0), "\(title), the other way round")
  }

  @Test("On a fuller node a pod goes first")
  func neighbours() {
    #expect(VictimRank(Self.pod(), neighbours: 3, now: Self.now) < VictimRank(Self.pod(), neighbours: 1, now: Self.now))
  }
}
