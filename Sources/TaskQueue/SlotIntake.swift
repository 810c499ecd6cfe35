/// A worker's slots: which tasks it has room for, and which of those it holds begins next.
///
/// One slot in sixteen is kept for critical tasks, while such tasks have come of late, and another one while the first is used: their wait
/// is then that of a claim and not of somebody else's task. Prefetch is capped by lane, since a task that lies in one worker's queue can't be begun by
/// another one that is idle; and nothing is fetched in advance while critical tasks are about, since what lies here would take each slot that is
/// freed before the worker has asked for anything more urgent (the simulation found critical tasks waiting for minutes that way). Pure.
package struct SlotIntake: Hashable, Sendable {
  /// What is kept and fetched.
  package struct Policy: Hashable, Sendable {
    /// Slots of which one is reserved. Fewer than a quarter of them reserve none: it would cost more than it brings.
    package var slotsPerReserved = 16
    /// How long after the last sign of critical tasks the reserved slot is given to all again.
    package var reservedFor = Duration.seconds(60)
    /// Tasks that may be held beyond the slots, of each lane, in percent of the slots. Of critical and bulk none: the one would wait
    /// here while others are idle, the other would be here when something urgent comes.
    package var prefetchPercent = LaneCounts(critical: 0, high: 25, normal: 50, bulk: 0)

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// How many tasks it works on at once.
  package private(set) var slots: Int
  /// The tasks at work, by lane.
  package private(set) var running = LaneCounts(all: 0)
  /// The tasks that it holds and hasn't begun, by lane.
  package private(set) var waiting = LaneCounts(all: 0)
  private let policy: Policy
  private var lastCritical: Duration?

  /// Makes the slots, all free.
  package init(slots: Int, policy: Policy = Policy()) {
    self.slots = max(0, slots)
    self.policy = policy
  }

  /// The slots that are kept for critical tasks now.
  package func reserved(now: Duration) -> Int {
    guard isCriticalAbout(now), 4 * slots >= policy.slotsPerReserved else { return 0 }
    return max(1, slots / max(1, policy.slotsPerReserved))
  }

  private func isCriticalAbout(_ now: Duration) -> Bool {
    lastCritical.map { now - $0 <= policy.reservedFor } ?? false
  }

  /// The slots that the other lanes may use: never fewer than all but twice the reserved ones.
  private func slotsForAll(now: Duration) -> Int {
    let reserved = reserved(now: now)
    return slots - reserved - min(reserved, running.critical)
  }

  /// What to claim next: how many tasks in all, and of each lane. First what fills the slots that are open for all; when there is none,
  /// critical tasks for the reserved ones, and tasks in advance. So claim until nothing comes: the caps hold exactly.
  package func room(now: Duration) -> (maximum: Int, lanes: LaneCounts) {
    let critical = running.critical + waiting.critical
    let others = running.total + waiting.total - critical
    let forAll = slotsForAll(now: now)
    // What waits beyond the slots that are for all was fetched in advance, and takes no reserved slot.
    let taken = min(others, max(forAll, running.total - running.critical))
    let open = max(0, slots - critical - taken)
    let openForAll = max(0, min(open, forAll - taken))
    guard openForAll == 0 else {
      return (openForAll, LaneCounts(all: openForAll))
    }
    var lanes = LaneCounts(all: 0)
    for lane in TaskLane.allCases where !isCriticalAbout(now) {
      lanes[lane] = max(0, slots * policy.prefetchPercent[lane] / 100 - waiting[lane])
    }
    lanes.critical += open
    return (lanes.total, lanes)
  }

  /// Notes that critical tasks are about: this worker got one, or the engine says that some are submitted.
  package mutating func noteCritical(now: Duration) { lastCritical = max(lastCritical ?? now, now) }

  /// Notes a task that was claimed.
  package mutating func claimed(_ lane: TaskLane, now: Duration) {
    waiting[lane] += 1
    if lane == .critical { noteCritical(now: now) }
  }

  /// The lane of which a waiting task is begun now; nil when none waits, or no slot is free for it.
  package mutating func begin(now: Duration) -> TaskLane? {
    let free = slots - running.total
    guard free > 0 else { return nil }
    let isFreeForAll = slotsForAll(now: now) - (running.total - running.critical) > 0
    for lane in TaskLane.allCases where waiting[lane] > 0 && (lane == .critical || isFreeForAll) {
      waiting[lane] -= 1
      running[lane] += 1
      return lane
    }
    return nil
  }

  /// Notes the end of a task that was begun.
  package mutating func finished(_ lane: TaskLane) { running[lane] = max(0, running[lane] - 1) }

  /// Notes that a task was handed back, or lost, before it was begun.
  package mutating func returned(_ lane: TaskLane) { waiting[lane] = max(0, waiting[lane] - 1) }

  /// Changes how many tasks it works on at once; those at work beyond it are let finish.
  package mutating func resize(slots: Int) { self.slots = max(0, slots) }
}
