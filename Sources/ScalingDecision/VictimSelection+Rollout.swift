import KubernetesCore

/// A shrink while a rollout stands: stuck, paused, or a canary that waits.
///
/// A Deployment (and an Argo Rollout) spreads a smaller count over its ReplicaSets in proportion to their sizes, with rounding
/// that depends on surge and history. How many each gives up is known up to a few; so in each set as many as it may give up
/// have to be removable.
extension VictimSelection {
  /// How long no pod must have been made until a rollout counts as standing. Each of its steps makes one; a Deployment
  /// itself says `ProgressDeadlineExceeded` after the same time, unless its spec says otherwise.
  package static let rolloutDeadline = Duration.seconds(600)
  /// How long after a write the next one waits: the pods that went with it must be gone from the cache, since they are in
  /// front of each set's order.
  static let rolloutPause = Duration.seconds(60)

  /// Whether pods of several owners live: a Deployment replaces one ReplicaSet by another.
  func isRollingOut(_ workers: [WorkerObservation]) -> Bool {
    var first: String?
    for worker in workers where worker.isAlive {
      guard let owner = worker.owner else { continue }
      if let first, first != owner { return true }
      first = owner
    }
    return false
  }

  /// When the rollout will have stood long enough; past: it does.
  private func standsFrom(_ workers: [WorkerObservation]) -> Timestamp {
    let youngest = workers.filter(\.isAlive).map(\.createdAt).max() ?? now
    return youngest + Self.rolloutDeadline
  }

  /// Chooses while pods of several sets live. Until the rollout stands nothing is done, since it removes whom it likes.
  func selectInRollout(
    _ workers: [WorkerObservation], _ candidates: [Candidate], current: Int, goal: Int, lastWrite: Timestamp?,
    _ result: inout Result
  ) {
    let stands = standsFrom(workers)
    guard now >= stands else {
      result.rollout = .advances
      result.until = stands
      for candidate in candidates.prefix(current - goal) {
        count(workers[candidate.index], candidate.standing, &result)
      }
      return
    }
    result.rollout = .stands
    var sets: [(owner: String?, members: [Candidate])] = []
    for candidate in candidates {
      let owner = workers[candidate.index].owner
      if let place = sets.firstIndex(where: { $0.owner == owner }) {
        sets[place].members.append(candidate)
      } else {
        sets.append((owner, [candidate]))
      }
    }
    /// How many a set of that size may give up at most.
    func share(_ size: Int, of shrink: Int) -> Int {
      min(size, (size * shrink + current - 1) / current + sets.count)
    }
    for set in sets {
      addOrders(workers, set.members, share(set.members.count, of: current - goal), spared: 0, &result)
    }
    if let lastWrite, now < lastWrite + Self.rolloutPause {
      result.until = min(result.until ?? lastWrite + Self.rolloutPause, lastWrite + Self.rolloutPause)
      return
    }
    var places: [[Int]] = []
    for set in sets { places.append(removablePlaces(workers, set.members, set.members.count, 0, &result)) }
    var step = current - goal
    while step > 0, !zip(sets, places).allSatisfy({ share($0.members.count, of: step) <= $1.count }) { step -= 1 }
    result.timedOut = nil
    guard step > 0 else { return }
    result.replicas = current - step
    for (set, places) in zip(sets, places) {
      let places = Array(places.prefix(share(set.members.count, of: step)))
      addVictims(workers, set.members, places, &result)
      let overdue = places.first { set.members[$0].standing == .timedOut }
      result.timedOut = result.timedOut ?? overdue.map { workers[set.members[$0].index].name }
    }
  }
}
