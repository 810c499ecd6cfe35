import CoordinationCore
import Synchronization

/// What a pod knows of its fleet: the last plan, and its own place in it. Written by `PodMember`, read by whoever claims and submits.
///
/// Without a member it stays what it is at first: one shard, no cell.
package final class FleetPlace: Sendable {
  /// The pod's name, as a token.
  package let pod: String

  private struct State {
    var plan = PublishedPlan()
    var flow = FleetFlow()
    var cell: Int?
    /// Whether a plan has to be seen, and a heartbeat to be fresh, before keys may be routed.
    var isMember = false
    /// Whether the store has told all that there is.
    var isCurrent = false
    var placedUntil: Duration?
    /// Submissions that are under way, by the version of the plan that routed them.
    var submitting: [UInt64: Int] = [:]
    /// Tasks that this pod has claimed from other cells under a version of the flow.
    var taken: (version: UInt64, tasks: [Int: Int]) = (0, [:])
    var queues: Set<String> = []
    var tierChanges = 0
    var refusedPlans = 0
    var stolen = 0
  }

  private let state = Mutex(State())

  /// The place of a pod that has none yet.
  package init(pod: String) { self.pod = FleetKeys.token(pod) }

  // MARK: What is known

  /// The last plan.
  package var plan: PublishedPlan { state.withLock { $0.plan } }
  /// The last flow.
  package var flow: FleetFlow { state.withLock { $0.flow } }
  /// This pod's cell; nil while it has none.
  package var cell: Int? { state.withLock { $0.cell } }
  /// The queues that it works on, sorted.
  package var queues: [String] { state.withLock { $0.queues.sorted() } }
  /// How often the tier changed as this pod saw it.
  package var tierChanges: Int { state.withLock { $0.tierChanges } }
  /// Plans that came from a leadership that was over.
  package var refusedPlans: Int { state.withLock { $0.refusedPlans } }
  /// Tasks that it has claimed from other cells.
  package var stolen: Int { state.withLock { $0.stolen } }

  /// Notes that this pod works on a queue.
  package func work(on queue: String) { state.withLock { _ = $0.queues.insert(queue) } }

  /// What a news of the plan was.
  enum News { case same, refused, taken(tierBefore: FleetTier?) }

  /// Takes a plan, unless it is of an earlier leadership than the last one, or older.
  func note(_ plan: PublishedPlan) -> News {
    state.withLock { state in
      guard (plan.epoch, plan.version) > (state.plan.epoch, state.plan.version) else {
        if plan.epoch < state.plan.epoch {
          state.refusedPlans += 1
          return .refused
        }
        return .same
      }
      let before = state.plan
      state.plan = plan
      state.cell = plan.cell(of: pod)
      guard before.tier != plan.tier else { return .taken(tierBefore: nil) }
      state.tierChanges += 1
      return .taken(tierBefore: before.tier)
    }
  }

  /// Goes by a plan that no store has told: for measuring a view without a fleet.
  package func follow(_ plan: PublishedPlan) { _ = note(plan) }

  func note(_ flow: FleetFlow) {
    state.withLock { state in
      guard flow.epoch >= state.plan.epoch, (flow.epoch, flow.version) > (state.flow.epoch, state.flow.version) else {
        return
      }
      state.flow = flow
    }
  }

  /// Nobody renews the flow: nothing moves any more.
  func endFlow() { state.withLock { $0.flow.transfers = [] } }

  // MARK: Membership

  func join() { state.withLock { $0.isMember = true } }
  func setCurrent(_ isCurrent: Bool) { state.withLock { $0.isCurrent = isCurrent } }
  func setPlaced(until end: Duration?) { state.withLock { $0.placedUntil = end } }
  /// Whether it has ever had a place.
  var isKnown: Bool { state.withLock { $0.placedUntil != nil } }

  /// Whether others count on this pod now.
  package func isPlaced(now: Duration) -> Bool { state.withLock { $0.placedUntil.map { now < $0 } ?? false } }

  /// The version by which everything that this pod still submits was routed: the heartbeat says it.
  var acknowledged: UInt64 {
    state.withLock { state in
      state.isCurrent ? min(state.plan.version, state.submitting.keys.min() ?? .max) : 0
    }
  }

  // MARK: Submissions

  /// By which layout a submission goes, until `endSubmission`; nil: it has to wait for the plan. Those without keys never have to.
  func beginSubmission(hasKeys: Bool, now: Duration) -> (version: UInt64, layout: ShardLayout)? {
    state.withLock { state in
      if hasKeys, state.isMember {
        // A pod that others don't count on any more may route by a layout that is over.
        guard state.isCurrent, state.plan.layout.next == nil, let end = state.placedUntil, now < end else { return nil }
      }
      state.submitting[state.plan.version, default: 0] += 1
      return (state.plan.version, state.plan.layout)
    }
  }

  func endSubmission(_ version: UInt64) {
    state.withLock { state in
      let left = (state.submitting[version] ?? 1) - 1
      state.submitting[version] = left > 0 ? left : nil
    }
  }

  // MARK: Work of other cells

  /// The cells from which this pod may claim, and how many tasks of each: its part of what its cell may have, by slots.
  func allowance() -> [(cell: Int, tasks: Int)] {
    state.withLock { state in
      guard let cell = state.cell, !state.flow.transfers.isEmpty, let pods = state.plan.cells[cell] else { return [] }
      if state.taken.version != state.flow.version { state.taken = (state.flow.version, [:]) }
      let all = max(1, pods.values.reduce(0, +))
      return state.flow.transfers.filter { $0.to == cell }.compactMap { transfer in
        let part = (transfer.tasks * (pods[pod] ?? 0) + all - 1) / all - (state.taken.tasks[transfer.from] ?? 0)
        return part > 0 ? (transfer.from, part) : nil
      }
    }
  }

  func noteTaken(_ tasks: Int, from cell: Int) {
    state.withLock { state in
      state.taken.tasks[cell, default: 0] += tasks
      state.stolen += tasks
    }
  }
}
