package import RateBudget

/// A task as the queue hands it out.
package struct TaskClaim: Hashable, Sendable {
  /// Its name, such as `reviewers-4fd1-17`.
  package var id: String
  /// The fencing token of this claim.
  package var epoch: Int64
  /// The how many-th attempt it is, from 1.
  package var attempt: Int
  /// The lane's name.
  package var lane: String
  /// The client's name for the work; nil: none.
  package var key: String?
  /// How long it may be held without renewal.
  package var lease: Duration
  /// JSON, as it was submitted.
  package var payload: [UInt8]
  /// Where an earlier claim's work stands, as the queue has it: step and reference, which is JSON; nil: at the beginning.
  package var checkpoint: Checkpoint?

  /// What the queue keeps beside a task.
  package struct Checkpoint: Hashable, Sendable {
    /// The number of the change.
    package var step: UInt64
    /// JSON.
    package var reference: [UInt8]
  }

  /// Reads the answer to `/v1/tasks/next`; nil when it isn't one.
  package static func claims(_ answer: [UInt8]) -> [TaskClaim]? {
    guard let items = JSONSlice(answer)?.members?["tasks"]?.elements else { return nil }
    var claims: [TaskClaim] = []
    for item in items {
      guard let members = item.members, let id = members["id"]?.string, let epoch = members["epoch"]?.integer,
        let lease = members["leaseSeconds"]?.seconds, let payload = members["payload"]
      else { return nil }
      claims.append(
        TaskClaim(
          id: id, epoch: epoch, attempt: Int(members["attempt"]?.integer ?? 1), lane: members["lane"]?.string ?? "",
          key: members["key"]?.string, lease: lease, payload: Array(payload.bytes),
          checkpoint: checkpoint(members["checkpoint"])))
    }
    return claims
  }

  private static func checkpoint(_ value: JSONSlice?) -> Checkpoint? {
    guard let members = value?.members, let step = members["step"]?.integer, step >= 0,
      let reference = members["reference"]
    else { return nil }
    return Checkpoint(step: UInt64(step), reference: Array(reference.bytes))
  }
}

/// Which claims a worker holds, and when each must be renewed. Pure.
package struct HeldLeases: Sendable {
  private struct Lease {
    var length: Duration
    var renewAt: BudgetTime
    var end: BudgetTime
    /// The last renewal wasn't heard.
    var isMissed = false
  }

  private var leases: [String: Lease] = [:]

  /// None.
  package init() {}

  /// How many are held.
  package var count: Int { leases.count }

  /// Whether a claim is held, by the task's id.
  package func holds(_ id: String) -> Bool { leases[id] != nil }

  /// Notes a claim, or that it was renewed: it is due again after a third of the lease, so that two renewals may fail.
  package mutating func hold(_ id: String, lease: Duration, now: BudgetTime) {
    leases[id] = Lease(length: lease, renewAt: now + lease / 3, end: now + lease)
  }

  /// Notes that a renewal wasn't heard: it is due again after a tenth of the lease.
  package mutating func missed(_ id: String, now: BudgetTime) {
    guard let lease = leases[id] else { return }
    leases[id]?.renewAt = now + lease.length / 10
    leases[id]?.isMissed = true
  }

  /// The claims whose last renewal wasn't heard, by name.
  package var missed: [String] { leases.filter { $0.value.isMissed }.keys.sorted() }

  /// Lets go of a claim; says whether it was held.
  @discardableResult
  package mutating func drop(_ id: String) -> Bool { leases.removeValue(forKey: id) != nil }

  /// When the next renewal is due; nil: nothing is held.
  package var nextRenewal: BudgetTime? { leases.values.map(\.renewAt).min() }

  /// When the next lease ends by itself; nil: nothing is held.
  package var nextEnd: BudgetTime? { leases.values.map(\.end).min() }

  /// The claims that are due, by name.
  package func due(now: BudgetTime) -> [String] { leases.filter { $0.value.renewAt <= now }.keys.sorted() }

  /// Lets go of the claims whose lease has ended, and names them.
  package mutating func dropEnded(now: BudgetTime) -> [String] {
    let ended = leases.filter { $0.value.end <= now }.keys.sorted()
    for id in ended { leases[id] = nil }
    return ended
  }
}
