package import KubernetesCore

/// The arithmetic of a rollout, after Kubernetes' `deployment/util` and `rolling.go`.
package enum DeploymentPlan {
  /// A ReplicaSet as far as a rollout needs it.
  package struct ReplicaCount: Hashable, Sendable {
    /// The ReplicaSet's name.
    package var name: String
    /// `spec.replicas`.
    package var replicas: Int64
    /// `status.availableReplicas`.
    package var available: Int64

    /// Names a count.
    package init(name: String, replicas: Int64, available: Int64) {
      self.name = name
      self.replicas = replicas
      self.available = available
    }
  }

  /// How far a rollout may leave the wanted count.
  package struct Bounds: Hashable, Sendable {
    package var replicas: Int64
    package var surge: Int64
    package var unavailable: Int64

    /// The bounds that a Deployment's spec means.
    package init(spec: JSONValue) {
      replicas = spec["replicas"]?.intValue ?? 1
      guard spec[path: ["strategy", "type"]] != "Recreate" else {
        (surge, unavailable) = (0, 0)
        return
      }
      let rolling = spec[path: ["strategy", "rollingUpdate"]]
      surge = DeploymentPlan.resolved(rolling?["maxSurge"] ?? "25%", of: replicas, roundsUp: true)
      unavailable = DeploymentPlan.resolved(rolling?["maxUnavailable"] ?? "25%", of: replicas, roundsUp: false)
      // Both can be rounded to 0, and then nothing would ever move.
      if surge == 0, unavailable == 0 { unavailable = 1 }
      unavailable = replicas == 0 ? 0 : min(unavailable, replicas)
    }
  }

  /// The number of an int-or-percent, and whether it is a percentage; nil for anything else.
  package static func intOrPercent(_ value: JSONValue) -> (number: Int64, isPercent: Bool)? {
    switch value {
    case .int(let number): return (number, false)
    case .string(let text):
      guard text.hasSuffix("%"), let number = Int64(text.dropLast()) else { return nil }
      return (number, true)
    default: return nil
    }
  }

  static func resolved(_ value: JSONValue, of total: Int64, roundsUp: Bool) -> Int64 {
    guard let (number, isPercent) = intOrPercent(value) else { return 0 }
    guard isPercent else { return number }
    let (product, overflow) = number.multipliedReportingOverflow(by: total)
    if overflow { return total }
    return roundsUp ? (product + 99) / 100 : product / 100
  }

  /// The count of the new ReplicaSet in the next step.
  package static func newCount(_ bounds: Bounds, new: Int64, all: Int64, isRecreate: Bool) -> Int64 {
    if isRecreate { return bounds.replicas }
    if new > bounds.replicas { return bounds.replicas }
    let most = bounds.replicas + bounds.surge
    guard all < most else { return new }
    return new + min(most - all, bounds.replicas - new)
  }

  /// The counts of the old ReplicaSets (oldest first) in the next step: pods that don't work go first.
  package static func oldCounts(_ bounds: Bounds, new: ReplicaCount, old: [ReplicaCount]) -> [ReplicaCount] {
    var sets = old
    let all = old.reduce(new.replicas) { $0 + $1.replicas }
    let least = bounds.replicas - bounds.unavailable
    let most = all - least - (new.replicas - new.available)
    guard most > 0 else { return sets }
    var cleaned: Int64 = 0
    for index in sets.indices where cleaned < most && sets[index].replicas > sets[index].available {
      let count = min(most - cleaned, sets[index].replicas - sets[index].available)
      sets[index].replicas -= count
      cleaned += count
    }
    let available = old.reduce(new.available) { $0 + $1.available }
    var left = available - least
    for index in sets.indices where left > 0 && sets[index].replicas > 0 {
      let count = min(sets[index].replicas, left)
      sets[index].replicas -= count
      left -= count
    }
    return sets
  }

  /// The counts (in order) when the wanted count changes while several ReplicaSets have pods: each gets its part.
  package static func proportional(_ bounds: Bounds, sets: [ReplicaCount], previousMost: [Int64]) -> [Int64] {
    let total = sets.reduce(0) { $0 + $1.replicas }
    let allowed = bounds.replicas > 0 ? bounds.replicas + bounds.surge : 0
    let change = allowed - total
    guard change != 0, total > 0 else { return sets.map(\.replicas) }
    var counts = sets.map(\.replicas)
    var given: Int64 = 0
    for index in sets.indices where given != change {
      let most = previousMost[index] > 0 ? previousMost[index] : bounds.replicas
      // Rounded to the nearest.
      let share =
        most > 0 ? (2 * counts[index] * (bounds.replicas + bounds.surge) + most) / (2 * most) - counts[index] : 0
      let part = change > 0 ? min(max(share, 0), change - given) : max(min(share, 0), change - given)
      let next = max(0, counts[index] + part)
      given += next - counts[index]
      counts[index] = next
    }
    // What rounding left over goes to the first one.
    if given != change { counts[0] = max(0, counts[0] + change - given) }
    return counts
  }
}
