import CoordinationCore
import TaskQueue

/// A process that may lead: it makes the fleet's plan while it holds the lease, and looks after the engine.
final class Conductor {
  unowned let world: World
  private let number: Int
  private var run = 0
  private var candidate: LeaderCandidate
  private var orchestrator: Orchestrator?
  private var membership = Membership()
  private var seen: [String: UInt64] = [:]
  private var pausedUntil = Duration.zero
  /// Since when a shard has had tasks that nobody gets.
  private var waitingSince: [Int: (since: Duration, claims: Int)] = [:]

  init(_ number: Int, _ world: World) {
    self.number = number
    self.world = world
    candidate = LeaderCandidate(name: "")
  }

  func start() {
    run += 1
    candidate = LeaderCandidate(name: "leader\(number).\(run)")
    (orchestrator, membership, seen, waitingSince) = (nil, Membership(), [:], [:])
    every(.milliseconds(500)) { [self] in handle(.tick) }
    every(.seconds(1)) { [self] in work() }
  }

  func crash() {
    world.note("leader\(number) is killed")
    run += 1
    let dead = run
    world.after(.milliseconds(500 + world.dice.roll(20_000))) { [self] in if run == dead { start() } }
  }

  func pause(_ length: Duration) {
    world.note("leader\(number) stands still for \(length)")
    pausedUntil = max(pausedUntil, world.now + length)
  }

  func heal() { pausedUntil = world.now }

  private func after(_ delay: Duration, _ action: @escaping () -> Void) {
    let own = run
    world.after(delay) { [self] in
      guard run == own else { return }
      if world.now < pausedUntil { after(pausedUntil - world.now, action) } else { action() }
    }
  }

  private func every(_ interval: Duration, _ action: @escaping () -> Void) {
    after(interval) { [self] in
      action()
      every(interval, action)
    }
  }

  private func call<Answer>(
    _ request: @escaping (inout EngineModel, Duration) -> Answer, _ reply: @escaping (Answer?) -> Void
  ) {
    let own = run
    world.call(isCut: { false }, request) { [self] answer in
      if run == own { after(.zero) { reply(answer) } }
    }
  }

  // MARK: Leadership

  private func handle(_ event: LeaderCandidate.Event) {
    for effect in candidate.handle(event, now: world.now) {
      switch effect {
      case .read:
        call({ engine, _ in engine.leader }) { [self] answer in
          handle(answer.map { .read($0.record, revision: $0.revision) } ?? .unanswered)
        }
      case .write(let record, let expected):
        call({ engine, _ in engine.write(record, expected: expected) }) { [self] answer in
          handle(answer ?? .unanswered)
        }
      case .lead(let epoch): lead(epoch)
      case .stepDown: orchestrator = nil
      }
    }
    let now = world.now
    let leading = world.leaders.filter { $0.candidate.epoch(now: now) != nil }
    if leading.count > 1 { world.violate("\(leading.count) lead at a time") }
  }

  /// A leader knows nothing: all it needs is in the store.
  private func lead(_ epoch: UInt64) {
    world.note("leader\(number) leads under epoch \(epoch)")
    call({ engine, _ in engine.plan }) { [self] answer in
      guard let plan = answer else { return after(.seconds(1)) { [self] in if orchestrator == nil { lead(epoch) } } }
      guard candidate.epoch(now: world.now) == epoch else { return }
      var policy = Orchestrator.Policy()
      policy.cells.limit = 24
      membership = Membership()
      seen = [:]
      orchestrator = Orchestrator(epoch: epoch, from: snapshot(after: plan), policy: policy)
      // Who was there is taken to be there, until it is silent for a lease.
      for (name, slots) in plan?.cells.values.flatMap({ $0 }).sorted(by: { $0.key < $1.key }) ?? [] {
        _ = membership.handle(.join(name, incarnation: 1, slots: slots), now: world.now)
      }
    }
  }

  private func snapshot(after plan: FleetPlan?) -> FleetSnapshot {
    var snapshot = FleetSnapshot()
    snapshot.budget = 1_000
    snapshot.shards = plan?.shards ?? [Int?](repeating: nil, count: world.engine.queues.count)
    if let plan { (snapshot.cells, snapshot.nextCell, snapshot.tier) = (plan.cells, plan.nextCell, plan.tier) }
    return snapshot
  }

  private func work() {
    guard orchestrator != nil, candidate.epoch(now: world.now) != nil else { return }
    let shards = Array(world.engine.queues.indices)
    call({ engine, now in
      engine.collect(now)
      return (engine.beats, engine.plan, shards.map { engine.queues[$0].statistics(now: now) })
    }) { [self] answer in
      guard let (beats, plan, statistics) = answer, orchestrator != nil, candidate.epoch(now: world.now) != nil else {
        return
      }
      for name in beats.keys.sorted() { note(name, beats[name]!) }
      for name in seen.keys.sorted() where beats[name] == nil {
        let incarnation = (seen.removeValue(forKey: name) ?? 0) >> 32
        _ = membership.handle(.leave(name, incarnation: incarnation), now: world.now)
      }
      _ = membership.handle(.tick, now: world.now)
      var snapshot = snapshot(after: plan)
      for (name, member) in membership.members {
        snapshot.pods[name] = .init(slots: member.slots, isSuspect: member.isSuspect)
      }
      snapshot.summaries = snapshot.cells.map { cell, pods in
        let own = shards.filter { snapshot.shards[$0] == cell }
        let waiting = own.reduce(0) { $0 + statistics[$1].ready.reduce(0, +) }
        let leased = own.reduce(0) { $0 + statistics[$1].leased }
        let slots = pods.values.reduce(0, +)
        return CellSummary(
          cell: cell, waiting: waiting, oldest: own.map { statistics[$0].oldestPending }.max() ?? .zero,
          freeSlots: max(0, slots - leased), slots: slots, at: world.now)
      }.sorted { $0.cell < $1.cell }
      publish(snapshot)
      for shard in shards { watch(shard, statistics[shard].ready.reduce(0, +), statistics[shard].claims) }
    }
  }

  private func note(_ name: String, _ beat: (incarnation: UInt64, slots: Int, number: UInt64)) {
    let mark = beat.incarnation << 32 | beat.number
    guard seen[name] != mark else { return }
    seen[name] = mark
    for effect in membership.handle(.join(name, incarnation: beat.incarnation, slots: beat.slots), now: world.now) {
      if case .refused(let name, let incarnation) = effect {
        call({ engine, _ in engine.refused[name] = incarnation }) { _ in }
      }
    }
  }

  private func publish(_ snapshot: FleetSnapshot) {
    guard let plan = orchestrator?.plan(snapshot, now: world.now) else { return }
    world.tally.moves += plan.changes.count
    call({ engine, _ in engine.take(plan) }) { [self] answer in
      // An answer to a plan of an earlier leadership says nothing of this one.
      if answer == false, candidate.epoch(now: world.now) == plan.epoch { orchestrator = nil }
    }
  }

  /// A shard of which nobody gets anything for 15 s although tasks wait: its consumer is made anew (C12).
  private func watch(_ shard: Int, _ waiting: Int, _ claims: Int) {
    guard waiting > 0 else { return waitingSince[shard] = nil }
    guard let entry = waitingSince[shard], entry.claims == claims else {
      return waitingSince[shard] = (world.now, claims)
    }
    guard world.now - entry.since > .seconds(15) else { return }
    world.note("the consumer of shard \(shard) is made anew")
    waitingSince[shard] = nil
    call({ engine, _ in engine.recreate(shard) }) { _ in }
  }
}
