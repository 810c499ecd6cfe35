package import KubernetesCore

/// The order in which a ReplicaSet gives up pods (`ActivePodsWithRanks` of Kubernetes 1.22 and later): the first go first.
package struct VictimRank: Comparable {
  private let isAssigned: Bool
  private let phase: Int
  private let isReady: Bool
  private let cost: Int64
  private let neighbours: Int
  private let readyTime: Timestamp?
  private let restarts: Int64
  private let sidecarRestarts: Int64
  private let creationTime: Timestamp?
  private let uid: String
  private let now: Timestamp

  /// Ranks a pod; `neighbours` counts the active pods of its family on its node.
  package init(_ pod: JSONValue, neighbours: Int, now: Timestamp) {
    isAssigned = !PodFacts.node(pod).isEmpty
    phase = ["Pending": 0, "Unknown": 1, "Running": 2][PodFacts.phase(pod)] ?? 0
    isReady = PodFacts.isReady(pod)
    cost = Self.cost(pod)
    self.neighbours = neighbours
    readyTime = PodFacts.readyTime(pod)
    restarts = Self.most(PodFacts.containerStatuses(pod))
    sidecarRestarts = Self.most(PodFacts.sidecarStatuses(pod))
    creationTime = PodFacts.creationTime(pod)
    uid = Owners.uid(of: pod)
    self.now = now
  }

  /// The annotation's number; 0 where it is none. Go refuses a leading plus and zeros, so that two texts never mean one number.
  private static func cost(_ pod: JSONValue) -> Int64 {
    let text = pod[path: ["metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"]]?.stringValue ?? ""
    guard let value = Int32(text), String(value) == text else { return 0 }
    return Int64(value)
  }

  private static func most(_ statuses: [JSONValue]) -> Int64 {
    statuses.map { $0["restartCount"]?.intValue ?? 0 }.max() ?? 0
  }

  package static func < (lhs: VictimRank, rhs: VictimRank) -> Bool {
    if lhs.isAssigned != rhs.isAssigned { return !lhs.isAssigned }
    if lhs.phase != rhs.phase { return lhs.phase < rhs.phase }
    if lhs.isReady != rhs.isReady { return !lhs.isReady }
    if lhs.cost != rhs.cost { return lhs.cost < rhs.cost }
    if lhs.neighbours != rhs.neighbours { return lhs.neighbours > rhs.neighbours }
    if lhs.isReady, lhs.readyTime != rhs.readyTime {
      return isYounger(lhs.readyTime, rhs.readyTime, lhs, rhs)
    }
    if lhs.restarts != rhs.restarts { return lhs.restarts > rhs.restarts }
    if lhs.sidecarRestarts != rhs.sidecarRestarts { return lhs.sidecarRestarts > rhs.sidecarRestarts }
    if lhs.creationTime != rhs.creationTime { return isYounger(lhs.creationTime, rhs.creationTime, lhs, rhs) }
    return false
  }

  /// Ages are compared by their order of magnitude, and within one by uid, so that not always the youngest goes.
  private static func isYounger(
    _ left: Timestamp?, _ right: Timestamp?, _ lhs: VictimRank, _ rhs: VictimRank
  ) -> Bool {
    guard let left, let right else { return left == nil }
    let (leftRank, rightRank) = (magnitude(lhs.now - left), magnitude(rhs.now - right))
    return leftRank == rightRank ? lhs.uid < rhs.uid : leftRank < rightRank
  }

  /// The binary logarithm of an age in nanoseconds, rounded down; -1 for none.
  private static func magnitude(_ age: Duration) -> Int {
    let nanoseconds = age.nanosecondsClamped
    return nanoseconds > 0 ? 63 - nanoseconds.leadingZeroBitCount : -1
  }
}
