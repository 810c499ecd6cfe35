import KubernetesCore
import ScalingAPI

/// What the cluster says about a fleet's drain: the autoscaler's conditions, and its pods as Kubernetes will remove them.
struct DrainStatus: Hashable, Codable {
  /// One pod.
  struct Pod: Hashable, Codable {
    /// Its name.
    var name: String
    /// `terminating`, `marked` (given up: the least deletion cost), `unready` or `ready`.
    var state: String
    /// Its deletion cost; absent: none.
    var deletionCost: Int32?
  }

  /// The deletion cost of pods that are given up (`VictimSelection.victimCost`).
  private static let victimCost: Int32 = -1000

  /// The autoscaler's namespace.
  var namespace: String
  /// The autoscaler's name.
  var name: String
  /// The count as it stands.
  var replicas: Int32?
  /// The count that is wanted.
  var desired: Int32?
  /// Whether workers drain.
  var isDraining: Bool
  /// Why, in the words of the condition.
  var message: String
  /// Why a shrink may hit work; absent: it doesn't.
  var exposure: String?
  /// The pods, those that go first at the top.
  var pods: [Pod]

  /// Reads it off the objects.
  init(_ autoscaler: SwarmAutoscaler, pods: [KubernetesCore.Pod]) {
    namespace = autoscaler.metadata.namespace
    name = autoscaler.metadata.name
    replicas = autoscaler.status?.currentReplicas
    desired = autoscaler.status?.desiredReplicas
    func condition(_ type: String) -> SwarmAutoscaler.Condition? {
      autoscaler.status?.conditions?.first { $0.type == type && $0.status?.text == "True" }
    }
    let draining = condition(ScalingGroup.ConditionType.draining)
    isDraining = draining != nil
    message = draining.map { "\($0.reason ?? ""): \($0.message ?? "")" } ?? ""
    exposure = condition(ScalingGroup.ConditionType.workExposed).map { "\($0.reason ?? ""): \($0.message ?? "")" }
    let rows = pods.filter { !$0.isFinished }.map { pod -> Pod in
      let isMarked = (pod.deletionCost ?? 0) <= Self.victimCost
      let state = pod.isTerminating ? "terminating" : isMarked ? "marked" : pod.isReady ? "ready" : "unready"
      return Pod(name: pod.key.name, state: state, deletionCost: pod.deletionCost)
    }
    let order = ["terminating", "marked", "unready", "ready"]
    self.pods = rows.sorted {
      (order.firstIndex(of: $0.state) ?? 4, $0.name) < (order.firstIndex(of: $1.state) ?? 4, $1.name)
    }
  }

  /// A table of fleets; the pods of one are listed when it is the only one.
  static func table(_ fleets: [DrainStatus]) -> [String] {
    var lines = rows(
      [["NAMESPACE", "NAME", "REPLICAS", "DESIRED", "DRAINING", "MARKED", "TERMINATING"]]
        + fleets.map { fleet in
          [
            fleet.namespace, fleet.name, fleet.replicas.map { "\($0)" } ?? "", fleet.desired.map { "\($0)" } ?? "",
            fleet.isDraining ? "True" : "False", "\(fleet.pods.count { $0.state == "marked" })",
            "\(fleet.pods.count { $0.state == "terminating" })",
          ]
        })
    for fleet in fleets {
      let prefix = fleets.count > 1 ? "\(fleet.namespace)/\(fleet.name): " : ""
      if !fleet.message.isEmpty { lines.append(prefix + fleet.message) }
      if let exposure = fleet.exposure { lines.append(prefix + exposure) }
    }
    guard fleets.count == 1, let fleet = fleets.first, !fleet.pods.isEmpty else { return lines }
    lines.append("")
    return lines
      + rows(
        [["POD", "STATE", "COST"]] + fleet.pods.map { [$0.name, $0.state, $0.deletionCost.map { "\($0)" } ?? ""] })
  }

  private static func rows(_ cells: [[String]]) -> [String] {
    let widths = (0..<(cells.first?.count ?? 0)).map { column in cells.map { $0[column].count }.max() ?? 0 }
    return cells.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        line += column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 3)
      }
      while line.hasSuffix(" ") { line.removeLast() }
      return line
    }
  }
}
