package import KubernetesCore

/// Chooses who goes when a fleet shrinks, and how far the count may be written now without losing work.
///
/// Kubernetes decides who is removed: unassigned pods first, then pending, unknown, not ready and ready ones, and the
/// deletion cost only orders pods of the same of these tiers. So a write is safe only as far as everybody whom
/// Kubernetes takes before is removable: one busy worker that isn't ready shields all ready ones.
package struct VictimSelection {
  /// What comes of a shrink.
  package struct Result: Hashable, Sendable {
    /// The count to write now; the present one when nobody can go yet.
    package var replicas: Int
    /// Those who go with this write, in Kubernetes' order.
    package var victims: [String] = []
    /// What to tell workers first.
    package var orders: [WorkerOrder] = []
    /// Chosen workers that have work.
    package var busy = 0
    /// Chosen workers that have none but haven't confirmed to take none.
    package var unconfirmed = 0
    /// The busy worker that shields others, if one does.
    package var shield: String?
    /// A worker that is removed although it has work.
    package var timedOut: String?
    /// When the first drain runs out of time.
    package var until: Timestamp?
  }

  /// The deletion cost of workers that are to go.
  package static let victimCost: Int32 = -1000

  /// The rule of the spec.
  let drain: DrainSpec
  /// The observation's moment.
  let now: Timestamp

  /// Makes a selection under `drain`, as of `now`.
  package init(drain: DrainSpec, now: Timestamp) {
    self.drain = drain
    self.now = now
  }

  /// How far a worker is from being removable; lower goes first.
  private enum Standing: Int, Comparable {
    /// Has never run.
    case free
    /// Has confirmed to take no work, and has none.
    case drained
    /// Has run out of time to drain.
    case timedOut
    /// Has no work now.
    case idle
    /// Is finishing its work.
    case draining
    /// Works.
    case busy
    /// Ought to report, and doesn't.
    case silent

    static func < (lhs: Standing, rhs: Standing) -> Bool { lhs.rawValue < rhs.rawValue }
    var isRemovable: Bool { self <= .timedOut }
  }

  private struct Candidate {
    var index: Int
    var tier: Int
    var standing: Standing
    var inFlight: Int
    var oldestWorkAt: Timestamp
  }

  /// Chooses for a shrink from `current` to `goal`; `goal ≥ current` only takes drain orders back.
  package func select(_ workers: [WorkerObservation], current: Int, goal: Int) -> Result {
    var result = Result(replicas: current)
    guard goal < current else {
      for index in workers.indices {
        guard let activity = workers[index].activity, activity.drain != .none, workers[index].isAlive else { continue }
        result.orders.append(.undrain(worker: workers[index].name))
      }
      return result
    }
    // Where nobody reports work, Kubernetes' own choice (spread over nodes, youngest first) is as good as any.
    let isReporting =
      drain.expectsReports || workers.indices.contains { workers[$0].activity != nil && workers[$0].isAlive }
    guard drain.strategy == .idleFirst, isReporting else {
      result.replicas = goal
      return result
    }
    let candidates = candidates(workers)
    // Pods that don't exist yet go first: they are the difference between the count and those alive.
    let unborn = min(max(current - candidates.count, 0), current - goal)
    let chosen = min(current - goal - unborn, candidates.count)
    result.replicas = current - unborn
    addOrders(workers, candidates, chosen, &result)
    let removable = removableCount(workers, candidates, chosen, &result)
    result.replicas -= removable.count
    addVictims(workers, candidates, removable, &result)
    return result
  }

  private func candidates(_ workers: [WorkerObservation]) -> [Candidate] {
    var candidates: [Candidate] = []
    candidates.reserveCapacity(workers.count)
    for (index, worker) in workers.enumerated() where worker.isAlive {
      candidates.append(
        Candidate(
          index: index, tier: tier(worker), standing: standing(worker),
          inFlight: worker.activity?.inFlight ?? 0,
          oldestWorkAt: worker.activity?.oldestWorkAt ?? now))
    }
    // Those who have worked longest are likely to finish first; names break ties, so that the order is total.
    candidates.sort {
      ($0.tier, $0.standing.rawValue, $0.inFlight, $0.oldestWorkAt, $0.index)
        < ($1.tier, $1.standing.rawValue, $1.inFlight, $1.oldestWorkAt, $1.index)
    }
    return candidates
  }

  /// Kubernetes' order of removal, as far as it comes before the deletion cost.
  private func tier(_ worker: WorkerObservation) -> Int {
    if !worker.isScheduled { return 0 }
    if worker.phase == .pending { return 1 }
    if worker.phase == .unknown { return 2 }
    return worker.isReady ? 4 : 3
  }

  private func standing(_ worker: WorkerObservation) -> Standing {
    guard let activity = worker.activity else {
      // In a fleet that reports, a running worker without a report has lost contact, not its work.
      return worker.phase == .pending || !worker.isScheduled ? .free : .silent
    }
    switch activity.drain {
    case .none:
      return activity.isBusy ? .busy : .idle
    case .ordered(let since):
      if hasTimedOut(since) { return .timedOut }
      return activity.isBusy ? .draining : .idle
    case .acknowledged(let since):
      if !activity.isBusy { return .drained }
      return hasTimedOut(since) ? .timedOut : .draining
    }
  }

  private func hasTimedOut(_ since: Timestamp) -> Bool {
    drain.timeout.map { now >= since + $0 } ?? false
  }

  private func addOrders(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ chosen: Int, _ result: inout Result
  ) {
    for (place, candidate) in candidates.enumerated() {
      let worker = workers[candidate.index]
      guard let activity = worker.activity else {
        if place < chosen, candidate.standing == .silent { result.busy += 1 }
        continue
      }
      guard place < chosen else {
        if activity.drain != .none { result.orders.append(.undrain(worker: worker.name)) }
        continue
      }
      if activity.drain == .none { result.orders.append(.drain(worker: worker.name)) }
      if candidate.standing.isRemovable { continue }
      if activity.isBusy { result.busy += 1 } else { result.unconfirmed += 1 }
      if let timeout = drain.timeout {
        let since: Timestamp =
          switch activity.drain {
          case .none: now
          case .ordered(let since), .acknowledged(let since): since
          }
        result.until = min(result.until ?? (since + timeout), since + timeout)
      }
    }
  }

  /// The places of those who can go now: up to and including the first tier that somebody shields.
  private func removableCount(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ chosen: Int, _ result: inout Result
  ) -> [Int] {
    var removable: [Int] = []
    var shieldedTier: Int?
    for place in 0..<chosen {
      let candidate = candidates[place]
      if let shieldedTier, candidate.tier > shieldedTier {
        if candidates[place].standing.isRemovable, result.shield == nil {
          result.shield = candidates.prefix(chosen).first { $0.tier == shieldedTier && !$0.standing.isRemovable }
            .map { workers[$0.index].name }
        }
        continue
      }
      if candidate.standing.isRemovable {
        removable.append(place)
        if candidate.standing == .timedOut, result.timedOut == nil {
          result.timedOut = workers[candidate.index].name
        }
      } else {
        shieldedTier = shieldedTier ?? candidate.tier
      }
    }
    return removable
  }

  private func addVictims(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ removable: [Int], _ result: inout Result
  ) {
    guard !removable.isEmpty else { return }
    var isVictim = [Bool](repeating: false, count: candidates.count)
    for place in removable { isVictim[place] = true }
    for (place, candidate) in candidates.enumerated() {
      let worker = workers[candidate.index]
      if isVictim[place] {
        result.victims.append(worker.name)
        if worker.deletionCost > Self.victimCost {
          result.orders.append(.setDeletionCost(worker: worker.name, cost: Self.victimCost))
        }
        continue
      }
      // Kubernetes warns against frequent changes of the cost: raise it only, and in steps of a doubled age.
      let least = leastCost(worker)
      if worker.deletionCost < least {
        result.orders.append(.setDeletionCost(worker: worker.name, cost: max(least, 0)))
      }
    }
  }

  /// The least deletion cost of a worker that is to stay: more, the older its work.
  private func leastCost(_ worker: WorkerObservation) -> Int32 {
    guard let activity = worker.activity, activity.isBusy else { return Self.victimCost + 1 }
    let age = max(now.milliseconds.subtractingSaturated((activity.oldestWorkAt ?? now).milliseconds), 0)
    let doublings = Int64.bitWidth - (age / 60_000).leadingZeroBitCount
    return 100 + Int32(doublings) * 10
  }
}
