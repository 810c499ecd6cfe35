package import KubernetesCore

/// Chooses who goes when a fleet shrinks, and how far the count may be written now without losing work.
///
/// Kubernetes decides who is removed. A ReplicaSet gives up unassigned pods first, then pending, unknown, not ready and ready
/// ones; from 1.22 on the deletion cost orders pods of the same of these tiers, before that nothing does that we could
/// steer. A StatefulSet gives up the highest ordinal. So a write is safe only as far as everybody whom Kubernetes takes before
/// is removable: one busy worker that isn't ready shields all ready ones, a busy one with a high ordinal all below it.
///
/// Pods beyond the count are those that an earlier write has given up, and that the cache still shows: they are nobody's to
/// give up a second time, and their orders aren't taken back. docs/drain.md gives the guarantees.
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
    /// Chosen workers that could go, but that Kubernetes can't tell from others yet: they are still ready.
    package var indistinct = 0
    /// The busy worker that shields others, if one does.
    package var shield: String?
    /// A worker that is removed although it has work.
    package var timedOut: String?
    /// When the first drain runs out of time.
    package var until: Timestamp?
    /// The rollout that is under way; nil: none is.
    package var rollout: Rollout?
    /// Whether work may be lost, and why.
    package var exposure: WorkExposure?
  }

  /// What a rollout means for a shrink.
  package enum Rollout: String, Hashable, Sendable, Codable {
    /// It makes and removes pods: nothing is removed besides.
    case advances
    /// It has made no pod for a while: old and new ones go in proportion, as far as enough of each can.
    case stands
  }

  /// The deletion cost of workers that are to go.
  package static let victimCost: Int32 = -1000
  /// How many victims are marked by one plan at most; the others go with the next ones.
  package static let markLimit = 100
  /// How long a drained worker is given to become unready; a probe that isn't there must not hold it for ever.
  package static let probeTime = Duration.seconds(30)
  /// How soon one that is about to become unready is looked at again.
  private static let probePause = Duration.seconds(2)
  /// How much longer than its time a drained worker keeps to its order: who gave it must know that time is over before the
  /// worker takes work again.
  package static let orderSlack = Duration.seconds(60)

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
  enum Standing: Int, Comparable {
    /// Has never run.
    case free
    /// Has confirmed to take no work, and has none.
    case drained
    /// Has run out of time to drain.
    case timedOut
    /// Is drained, and about to become unready: then it goes before any worker whose probe happens to fail.
    case settling
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

  /// A worker that could go.
  struct Candidate {
    var index: Int
    var tier: Int
    var standing: Standing
    var inFlight: Int
    /// Small values go first: of workers that may finish those who have worked longest, since they are likely to finish
    /// first; of those whose work is given up those who have worked shortest, since that loses least.
    var age: Int64
    /// Its ordinal in a StatefulSet; -1 without.
    var ordinal: Int
  }

  /// Chooses for a shrink from `current` to `goal`; `goal ≥ current` only takes drain orders back.
  ///
  /// - Parameters:
  ///   - unseen: how many workers report whose pods aren't known yet, so that they can't count as not yet born.
  ///   - usage: a measure of each worker's use by name, by which those go that report no work; empty: none.
  ///   - lastWrite: when the count was last written by us; nil: never.
  package func select(
    _ workers: [WorkerObservation], current: Int, goal: Int, unseen: Int = 0, usage: [String: Int64] = [:],
    lastWrite: Timestamp? = nil
  ) -> Result {
    var result = Result(replicas: current)
    guard drain.strategy == .idleFirst else {
      result.replicas = min(goal, current)
      return result
    }
    // Where nobody reports work, Kubernetes' own choice (spread over nodes, youngest first) is as good as any.
    let isReporting =
      drain.expectsReports || workers.indices.contains { workers[$0].activity != nil && workers[$0].isAlive }
    guard isReporting else {
      if goal < current { selectByUsage(workers, current: current, goal: goal, usage, &result) }
      return result
    }
    let candidates = candidates(workers)
    // What an earlier write has given up, and what has not been born yet.
    let surplus = max(candidates.count - current, 0)
    let unborn = max(current - candidates.count - max(unseen, 0), 0)
    guard goal < current else {
      takeBack(workers, candidates.dropFirst(surplus), &result)
      return result
    }
    if drain.removal == .ranked, isRollingOut(workers) {
      selectInRollout(workers, candidates, current: current, goal: goal, lastWrite: lastWrite, &result)
      return result
    }
    if drain.removal == .ordinal, candidates.allSatisfy({ $0.ordinal >= 0 }) {
      selectByOrdinal(workers, candidates, current: current, goal: goal, isComplete: unseen <= 0, &result)
      return result
    }
    if drain.removal == .unknown { result.exposure = .orderUnknown }
    let spared = min(unborn, current - goal)
    let chosen = min(current - goal - spared + surplus, candidates.count)
    result.replicas = current - spared
    addOrders(workers, candidates, chosen, spared: surplus, &result)
    let removable = removablePlaces(workers, candidates, chosen, surplus, &result)
    guard removable.count > surplus else { return result }
    result.replicas -= removable.count - surplus
    addVictims(workers, candidates, removable, &result)
    return result
  }

  private func candidates(_ workers: [WorkerObservation]) -> [Candidate] {
    var candidates: [Candidate] = []
    candidates.reserveCapacity(workers.count)
    for (index, worker) in workers.enumerated() where worker.isAlive {
      let standing = standing(worker)
      let since = (worker.activity?.lossSince ?? now).nanosecondsSinceEpoch
      candidates.append(
        Candidate(
          index: index, tier: tier(worker), standing: standing, inFlight: worker.activity?.inFlight ?? 0,
          age: standing == .timedOut ? 0 - max(since, -.max) : since,
          ordinal: drain.removal == .ordinal ? Self.ordinal(worker.name) : -1))
    }
    if drain.removal == .ordinal {
      candidates.sort { ($0.ordinal, $0.index) > ($1.ordinal, $1.index) }
    } else {
      // Places break ties, so that the order is total.
      candidates.sort {
        ($0.tier, $0.standing.rawValue, $0.inFlight, $0.age, $0.index)
          < ($1.tier, $1.standing.rawValue, $1.inFlight, $1.age, $1.index)
      }
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
      if !activity.isBusy { return isExpiring(since) ? .idle : isSettling(worker, activity) ? .settling : .drained }
      return hasTimedOut(since) ? .timedOut : .draining
    }
  }

  private func hasTimedOut(_ since: Timestamp) -> Bool {
    drain.timeout.map { now >= since + $0 } ?? false
  }

  /// Whether a drained worker's readiness probe has yet to fail. A busy worker whose probe fails at the wrong moment would go
  /// before drained ones that are ready, and after drained ones that aren't.
  private func isSettling(_ worker: WorkerObservation, _ activity: WorkerActivity) -> Bool {
    guard drain.removal == .ranked, worker.isReady, worker.failsProbeWhenDrained, let since = activity.drainedAt else {
      return false
    }
    return now < since + Self.probeTime
  }

  /// Whether the worker may soon hold its order for over, and take work again.
  private func isExpiring(_ since: Timestamp) -> Bool { now >= since + drain.orderLifetime - Self.orderSlack / 2 }

  // MARK: Orders

  /// Takes the orders of `candidates` back, and the marks with them.
  private func takeBack(
    _ workers: [WorkerObservation], _ candidates: some Sequence<Candidate>, _ result: inout Result
  ) {
    for candidate in candidates {
      let worker = workers[candidate.index]
      guard let activity = worker.activity, activity.drain != .none else { continue }
      if worker.deletionCost <= Self.victimCost, drain.heedsDeletionCost {
        result.orders.append(.setDeletionCost(worker: worker.name, cost: 0))
      }
      result.orders.append(.undrain(worker: worker.name))
    }
  }

  /// Orders the first `chosen` candidates to drain, and the others back to work; the first `spared` are on their way out.
  func addOrders(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ chosen: Int, spared: Int, _ result: inout Result
  ) {
    takeBack(workers, candidates.dropFirst(max(chosen, spared)), &result)
    for candidate in candidates.prefix(chosen).dropFirst(spared) {
      let worker = workers[candidate.index]
      count(worker, candidate.standing, &result)
      guard let activity = worker.activity else { continue }
      var since = now
      switch activity.drain {
      case .none: result.orders.append(.drain(worker: worker.name))
      case .ordered(let begun): since = begun
      case .acknowledged(let begun):
        since = begun
        if candidate.standing == .idle { result.orders.append(.drain(worker: worker.name)) }
      }
      if candidate.standing == .settling {
        result.until = min(result.until ?? now + Self.probePause, now + Self.probePause)
      } else if let timeout = drain.timeout, !candidate.standing.isRemovable {
        result.until = min(result.until ?? (since + timeout), since + timeout)
      }
    }
  }

  func count(_ worker: WorkerObservation, _ standing: Standing, _ result: inout Result) {
    guard !standing.isRemovable else { return }
    if worker.activity?.isBusy ?? true { result.busy += 1 } else { result.unconfirmed += 1 }
  }

  // MARK: Victims

  /// The places of those who can go now: up to and including the first tier that somebody shields.
  func removablePlaces(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ chosen: Int, _ surplus: Int, _ result: inout Result
  ) -> [Int] {
    guard drain.heedsDeletionCost else { return indistinctPlaces(workers, candidates, chosen, surplus, &result) }
    var removable: [Int] = []
    var shieldedTier: Int?
    for place in 0..<chosen {
      let candidate = candidates[place]
      if let shieldedTier, candidate.tier > shieldedTier {
        if candidate.standing.isRemovable, result.shield == nil {
          result.shield = candidates.prefix(chosen).first { $0.tier == shieldedTier && !$0.standing.isRemovable }
            .map { workers[$0.index].name }
        }
        continue
      }
      if candidate.standing.isRemovable {
        guard removable.count < surplus + Self.markLimit else { break }
        removable.append(place)
        note(candidate, workers, &result)
      } else {
        shieldedTier = shieldedTier ?? candidate.tier
      }
    }
    return removable
  }

  private func note(_ candidate: Candidate, _ workers: [WorkerObservation], _ result: inout Result) {
    if candidate.standing == .timedOut, result.timedOut == nil { result.timedOut = workers[candidate.index].name }
  }

  /// The same where nothing orders the pods of a tier: then all of it must be removable, also who isn't chosen.
  private func indistinctPlaces(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ chosen: Int, _ surplus: Int, _ result: inout Result
  ) -> [Int] {
    var removable: [Int] = []
    var place = 0
    while place < chosen {
      let tier = candidates[place].tier
      let end = candidates[place...].firstIndex { $0.tier != tier } ?? candidates.count
      if let shield = candidates[place..<end].first(where: { !$0.standing.isRemovable }) {
        // Drained workers leave the tier as soon as their probe fails.
        let waiting = candidates[max(place, surplus)..<max(min(end, chosen), max(place, surplus))]
        result.indistinct += waiting.count { $0.standing.isRemovable }
        if tier < 4 { result.shield = workers[shield.index].name }
        break
      }
      for next in place..<min(end, chosen) {
        removable.append(next)
        note(candidates[next], workers, &result)
      }
      place = end
    }
    return removable
  }

  func addVictims(
    _ workers: [WorkerObservation], _ candidates: [Candidate], _ removable: [Int], _ result: inout Result
  ) {
    var isVictim = [Bool](repeating: false, count: candidates.count)
    for place in removable { isVictim[place] = true }
    for (place, candidate) in candidates.enumerated() {
      let worker = workers[candidate.index]
      if isVictim[place] { result.victims.append(worker.name) }
      guard drain.heedsDeletionCost else { continue }
      if isVictim[place] {
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
