import CoordinationCore
package import CoordinationEngine
package import Logging
import Synchronization
import TaskQueue

/// What a pod tells of its work, whenever it is asked.
package struct PodFacts: Hashable, Sendable {
  /// The agents that it can run.
  package var slots: Int
  /// Those that are at work.
  package var busy: Int
  /// Tasks that it holds and hasn't begun.
  package var queued = 0
  /// How long the oldest of those has waited.
  package var oldest = Duration.zero
  /// Resident memory, in bytes.
  package var memoryBytes = 0
  /// Whether it takes no new work: it gives up its place in its cell.
  package var isDraining = false

  /// Describes a pod.
  package init(slots: Int, busy: Int = 0) {
    self.slots = slots
    self.busy = busy
  }
}

/// Times of a pod's membership.
package struct MemberPolicy: Hashable, Sendable {
  /// How long the store keeps a heartbeat: whoever is silent for longer is gone.
  package var lease = Duration.seconds(30)
  /// How often it tells of itself.
  package var interval = Duration.seconds(3)
  /// How soon it tells when something changed that others wait for.
  package var shortest = Duration.seconds(1)
  /// How often it looks whether there is something to tell.
  package var tick = Duration.milliseconds(250)

  /// The policy that holds where nothing else is said.
  package init() {}
}

/// A pod's membership in its fleet: says that it lives, follows the plan, and sums its cell up when it is its head.
///
/// Nothing here is on a task's path. Without a leader the last plan holds; without the store the pod goes on as it is.
package final class PodMember: Sendable {
  /// What it knows of the fleet.
  package let place: FleetPlace
  private let engine: any CoordinationEngine
  private let policy: MemberPolicy
  private let clock: any FleetClock
  private let logger: Logger
  private let facts: @Sendable () -> PodFacts
  private struct State {
    var incarnation: UInt64
    var expected: Expectation?
    var sent: (beat: PodHeartbeat, at: Duration)?
  }
  private let state: Mutex<State>

  /// A member that isn't running yet. `incarnation` is higher than that of each earlier process with the pod's name, such as the time of its start.
  package init(
    place: FleetPlace, engine: any CoordinationEngine, incarnation: UInt64, policy: MemberPolicy = MemberPolicy(),
    clock: any FleetClock = SystemFleetClock(), logger: Logger, facts: @escaping @Sendable () -> PodFacts
  ) {
    self.place = place
    self.engine = engine
    self.policy = policy
    self.clock = clock
    self.logger = logger
    self.facts = facts
    state = Mutex(State(incarnation: incarnation))
    place.join()
  }

  /// Belongs to the fleet until the task is cancelled, or until `leave`'s time: then say `leave`.
  package func run() async {
    await withDiscardingTaskGroup { group in
      group.addTask { await self.followOrders() }
      group.addTask { await self.sumUp() }
      group.addTask { await self.beat() }
    }
  }

  /// Gives the place up at once, so that nobody waits for the lease to end. Ask when `run` has ended.
  package func leave() async {
    let expected = state.withLock { $0.expected }
    place.setPlaced(until: nil)
    guard let expected, case .revision = expected else { return }
    try? await engine.state.delete(key, if: expected)
  }

  private var key: String { FleetKeys.pods + place.pod }

  // MARK: Telling

  private func beat() async {
    while !Task.isCancelled {
      let (facts, now) = (facts(), clock.now)
      let incarnation = state.withLock { $0.incarnation }
      var beat = PodHeartbeat(incarnation: incarnation, slots: facts.isDraining ? 0 : facts.slots)
      beat.busy = facts.busy
      beat.queued = facts.queued
      beat.oldestMilliseconds = facts.oldest.milliseconds
      beat.memoryBytes = facts.memoryBytes
      beat.plan = place.acknowledged
      beat.queues = place.queues
      if isDue(beat, now) { await tell(beat, now) }
      guard (try? await clock.sleep(until: now + policy.tick)) != nil else { return }
    }
  }

  private func isDue(_ beat: PodHeartbeat, _ now: Duration) -> Bool {
    guard let sent = state.withLock({ $0.sent }) else { return true }
    let age = now - sent.at
    if age >= policy.interval { return true }
    // The leader waits for this one.
    if beat.plan != sent.beat.plan || (beat.slots == 0) != (sent.beat.slots == 0) { return true }
    let isFull = { (beat: PodHeartbeat) in beat.busy + beat.queued >= beat.slots }
    return age >= policy.shortest
      && (isFull(beat) != isFull(sent.beat) || beat.slots != sent.beat.slots || beat.queues != sent.beat.queues)
  }

  private func tell(_ beat: PodHeartbeat, _ now: Duration) async {
    state.withLock { $0.sent = (beat, now) }
    let expected: Expectation
    if let known = state.withLock({ $0.expected }) {
      expected = known
    } else if let found = await look(now) {
      expected = found
    } else {
      return
    }
    let answer = await clock.attempt(until: now + policy.interval) { [engine, key, policy] () -> Expectation? in
      do {
        return .revision(try await engine.state.put(key, beat.bytes, if: expected, ttl: policy.lease))
      } catch EngineError.conflict {
        return nil
      }
    }
    switch answer {
    case .some(.some(let revision)):
      state.withLock { $0.expected = revision }
      // Counted from before it was said: the store counts from when it heard it.
      place.setPlaced(until: now + policy.lease)
    case .some(.none), .none:
      // It changed, or there was no answer: what stands there tells.
      state.withLock { $0.expected = nil }
    }
  }

  /// What to expect of the key; nil: the pod's place is somebody else's, or the store doesn't answer.
  private func look(_ now: Duration) async -> Expectation? {
    let found = await clock.attempt(until: now + policy.interval) { [engine, key] in try await engine.state.get(key) }
    guard let found else { return nil }
    let own = state.withLock { $0.incarnation }
    guard let entry = found else {
      // It was there and isn't any more: its incarnation has ended.
      guard place.isKnown else { return .absent }
      // Under its new number it is told with the next heartbeat, at once.
      state.withLock { $0 = State(incarnation: own + 1, expected: .absent, sent: nil) }
      return nil
    }
    if let other = PodHeartbeat(entry.value), other.incarnation > own {
      logger.warning(
        "another process has this pod's name and is newer; this one has no place in the fleet",
        metadata: ["pod": "\(place.pod)"])
      place.setPlaced(until: nil)
      return nil
    }
    return .revision(entry.revision)
  }

  // MARK: Following

  private func followOrders() async {
    await engine.state.follow(FleetKeys.orders, clock) { event in
      switch event {
      case nil: place.setCurrent(false)
      case .current: place.setCurrent(true)
      case .put(let entry): note(entry)
      case .removed(FleetKeys.flow, _): place.endFlow()
      case .removed: break
      }
    }
  }

  private func note(_ entry: StateEntry) {
    if entry.key == FleetKeys.flow {
      if let flow = FleetFlow(entry.value) { place.note(flow) }
      return
    }
    guard entry.key == FleetKeys.plan, let plan = PublishedPlan(entry.value) else { return }
    switch place.note(plan) {
    case .same: break
    case .refused:
      logger.warning(
        "refused a plan of a leadership that is over",
        metadata: ["plan.epoch": "\(plan.epoch)", "plan.leader": "\(plan.leader)"])
    case .taken(let before):
      guard let before else { return }
      logger.info(
        "the fleet's tier changed",
        metadata: [
          "tier": "\(plan.tier.name)", "tier.before": "\(before.name)", "fleet.agents": "\(plan.agents)",
          "fleet.pods": "\(plan.pods)", "fleet.cells": "\(plan.cells.count)", "plan.leader": "\(plan.leader)",
        ])
    }
  }

  // MARK: The cell's summary

  /// How often a head sums its cell up.
  private static let summaryInterval = Duration.seconds(1)
  /// How long a summary is kept.
  private static let summaryLife = Duration.seconds(10)

  private func sumUp() async {
    while !Task.isCancelled {
      if headed != nil {
        await withTaskGroup(of: Void.self) { group in
          let board = FleetBoard(store: engine.state, clock: clock)
          group.addTask { await board.follow() }
          while let cell = headed, !Task.isCancelled {
            await sumUp(cell, board)
            if (try? await clock.sleep(until: clock.now + Self.summaryInterval)) == nil { break }
          }
          group.cancelAll()
        }
      }
      guard (try? await clock.sleep(until: clock.now + Self.summaryInterval)) != nil else { return }
    }
  }

  /// The cell whose head this pod is; only the tier of cells has any.
  private var headed: Int? {
    let plan = place.plan
    guard plan.tier == .cells, let cell = place.cell, plan.heads[cell] == place.pod else { return nil }
    return cell
  }

  private func sumUp(_ cell: Int, _ board: FleetBoard) async {
    guard let pods = board.pods else { return }
    let plan = place.plan
    var summary = CellSummary(cell: cell, waiting: 0, oldest: .zero, freeSlots: 0, slots: 0, at: clock.now)
    var queues: Set<String> = []
    for name in (plan.cells[cell] ?? [:]).keys {
      guard let beat = pods[name]?.heartbeat else { continue }
      summary.slots += beat.slots
      summary.freeSlots += max(0, beat.slots - beat.busy - beat.queued)
      queues.formUnion(beat.queues)
    }
    for queue in queues.sorted() {
      for (shard, owner) in plan.shards.enumerated() where owner == cell {
        let name = ShardLayout.queue(queue, shard: shard, of: plan.shards.count)
        guard let counts = try? await engine.tasks.statistics(of: name)[name] else { continue }
        summary.waiting += counts.ready.reduce(0, +)
        summary.oldest = max(summary.oldest, counts.oldestPending)
      }
    }
    let bytes = summary.bytes
    _ = try? await engine.state.put(FleetKeys.cells + "\(cell)", bytes, if: .any, ttl: Self.summaryLife)
  }
}
