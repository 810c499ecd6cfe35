import CoordinationCore
import TaskQueue

/// The engine's state as it survives its leaders, and its faults. Tasks are kept by the real queue, the rest by what each core says that a store
/// checks: the leader's register, plans, checkpoints, journals, results, and what is collected of them.
struct EngineModel {
  /// What a task leaves in the store besides its record.
  struct Trail {
    var head: CheckpointChain.Head?
    var journal: [StepJournal.Entry] = []
  }

  var queues: [TaskQueue]
  var leader: (record: LeaderRecord?, revision: UInt64) = (nil, 0)
  var leaderEpochs: [UInt64] = []
  /// What pods last said of themselves; the number rises.
  var beats: [String: (incarnation: UInt64, slots: Int, number: UInt64)] = [:]
  var refused: [String: UInt64] = [:]
  var plan: FleetPlan?
  var trails: [String: Trail] = [:]
  var blobs: [String: [UInt8]] = [:]
  var collector: GarbageCollector
  /// Calls whose response is recorded, with the claim that did it.
  var answered: [String: UInt64] = [:]
  /// The last epoch of each claim.
  var epochs: [String: UInt64] = [:]
  var committed: [String: (epoch: UInt64, result: [UInt8])] = [:]
  private var ended: Set<String> = []
  /// Whose turn it is at each worker.
  private var turns: [String: LaneTurns] = [:]
  private var awayUntil = Duration.zero
  private var stuck: Set<Int> = []
  private var isDirty = false
  private var violations: [String] = []
  /// Time in which the engine, its shards or the API were away, for the bound of waits.
  private var troubles: [Range<Duration>] = []
  var worstCritical = Duration.zero
  var damaged: Set<String> = []

  init(shards: Int) {
    var limits = TaskQueueLimits()
    limits.rememberedResults = 1_000_000
    var policy = TaskRetryPolicy()
    policy.longestDelay = .seconds(20)
    queues = (0..<shards).map { TaskQueue(name: "s\($0)", instance: "i", limits: limits, policy: policy) }
    var collection = GarbageCollector.Policy()
    collection.tombstone = .seconds(120)
    collection.blobGrace = .seconds(60)
    collector = GarbageCollector(policy: collection)
  }

  func shard(of id: TaskID) -> Int { Int(id.queue.dropFirst()) ?? 0 }

  mutating func outstanding(_ shard: Int, _ now: Duration) -> Int { queues[shard].statistics(now: now).outstanding }

  // MARK: Faults

  func isAway(_ now: Duration) -> Bool { now < awayUntil }

  mutating func gap(_ world: World, _ length: Duration) {
    world.note("the engine is away for \(length)")
    awayUntil = max(awayUntil, world.now + length)
    troubles.append(world.now..<awayUntil)
  }

  /// The engine stops handing out tasks of a shard although some wait (C12), until its consumer is made anew.
  mutating func stick(_ world: World, _ shard: Int) {
    world.note("shard \(shard) is stuck")
    stuck.insert(shard)
    troubles.append(world.now..<(world.now + .seconds(60)))
  }

  mutating func trouble(_ range: Range<Duration>) { troubles.append(range) }

  mutating func recreate(_ shard: Int) { stuck.remove(shard) }

  mutating func flip(_ world: World) {
    let digests = blobs.keys.sorted()
    guard let digest = digests.isEmpty ? nil : digests[world.dice.roll(digests.count)] else { return }
    world.note("checkpoint \(digest.prefix(8)) is damaged")
    blobs[digest]?[75] ^= 1
    damaged.insert(digest)
  }

  mutating func heal() { awayUntil = .zero }

  // MARK: Tasks

  mutating func claim(
    _ worker: String, shards: [Int], maximum: Int, room: LaneCounts, now: Duration
  ) -> (tasks: [ClaimedTask], hasCritical: Bool) {
    isDirty = true
    var (room, claimed) = (room, [ClaimedTask]())
    var order = shards
    for shard in shards { queues[shard].expire(now: now) }
    let hasCritical = shards.contains { queues[$0].claimable(.critical) > 0 }
    let deliverable = shards.filter { !stuck.contains($0) }
    // Lanes come before shards: one shard's bulk must not keep another one's critical waiting.
    func open() -> LaneCounts {
      var open = room
      for lane in TaskLane.allCases where !deliverable.contains(where: { queues[$0].claimable(lane) > 0 }) {
        open[lane] = 0
      }
      return open
    }
    while claimed.count < maximum {
      guard let lane = turns[worker, default: LaneTurns()].next(open: open(), isHighOlder: false) else { break }
      guard let index = order.firstIndex(where: { !stuck.contains($0) && queues[$0].claimable(lane) > 0 }) else {
        break
      }
      // The next task of the lane comes from the next shard.
      let shard = order.remove(at: index)
      order.append(shard)
      var only = LaneCounts(all: 0)
      only[lane] = 1
      guard
        let task = try? queues[shard].claim(
          worker: worker, maximum: 1, lease: .seconds(30), room: only, now: now
        ).first
      else { break }
      room[lane] -= 1
      claimed.append(task)
      note(task, now)
    }
    return (claimed, hasCritical)
  }

  private mutating func note(_ task: ClaimedTask, _ now: Duration) {
    let name = "\(task.ticket.id)"
    if task.ticket.epoch <= epochs[name] ?? 0 {
      violations.append("\(name) is claimed twice under epoch \(task.ticket.epoch)")
    }
    if committed[name] != nil { violations.append("\(name) is handed out although it is done") }
    epochs[name] = task.ticket.epoch
    if task.lane == .critical, task.ticket.epoch == 1 { judge(task, now) }
    _ = collector.handle(.started(name), now: now)
  }

  /// A critical task waits no longer than it takes somebody to ask, apart from the engine's own trouble.
  private mutating func judge(_ task: ClaimedTask, _ now: Duration) {
    var (trouble, end) = (Duration.zero, now - task.age)
    for range in troubles.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      let (from, to) = (max(range.lowerBound, end), min(range.upperBound, now))
      guard from < to else { continue }
      (trouble, end) = (trouble + (to - from), to)
    }
    worstCritical = max(worstCritical, task.age - trouble)
  }

  mutating func complete(_ ticket: TaskTicket, _ result: [UInt8], _ now: Duration) -> Result<Completion, TaskQueueError>
  {
    isDirty = true
    let name = "\(ticket.id)"
    let answer = Result(catching: { () throws(TaskQueueError) in
      try queues[shard(of: ticket.id)].complete(ticket, result: result, now: now)
    })
    if case .success(.committed) = answer {
      if let first = committed[name] {
        violations.append("\(name) is committed twice, by \(first.epoch) and \(ticket.epoch)")
      }
      if ticket.epoch != epochs[name] {
        violations.append("\(name) is committed by epoch \(ticket.epoch) of \(epochs[name] ?? 0)")
      }
      committed[name] = (ticket.epoch, result)
      end(name, now)
    }
    return answer
  }

  mutating func fail(_ ticket: TaskTicket, jitter: UInt32, _ now: Duration) -> Bool {
    isDirty = true
    let outcome = try? queues[shard(of: ticket.id)].fail(
      ticket, reason: "poison", isRetryable: true, delay: nil, jitter: jitter, now: now)
    if outcome == .dead { end("\(ticket.id)", now) }
    return outcome != nil
  }

  /// Takes back tasks that weren't begun; of those whose claim is over there is nothing to take.
  mutating func release(_ tickets: [TaskTicket], _ now: Duration) {
    isDirty = true
    for ticket in tickets { try? queues[shard(of: ticket.id)].release(ticket, now: now) }
  }

  /// The task is over: memory goes now, the rest when it is due.
  private mutating func end(_ name: String, _ now: Duration) {
    ended.insert(name)
    for effect in collector.handle(.committed(name, keeps: []), now: now) {
      if case .bury(let name) = effect { trails[name] = nil }
    }
  }

  mutating func collect(_ now: Duration) {
    // A task whose last attempt's lease ran out is a dead letter without anybody having said so. Here they are discarded at once.
    for queue in queues {
      for letter in queue.deadLetters(maximum: 100) where !ended.contains("\(letter.id)") { end("\(letter.id)", now) }
    }
    for effect in collector.handle(.tick, now: now) {
      guard case .deleteBlob(let digest) = effect else { continue }
      blobs[digest] = nil
      let user = trails.values.first {
        $0.head.map { ([$0.digest] + $0.history).contains { "\($0)" == digest } } ?? false
      }
      if user != nil { violations.append("a checkpoint in use is deleted") }
    }
  }

  // MARK: Trails

  /// Whether a claim still holds its task: what the store checks before it takes what is written for it.
  private func holds(_ ticket: TaskTicket) -> Bool {
    guard let record = try? queues[shard(of: ticket.id)].record(ticket.id) else { return false }
    // A claim whose lease has run out holds nothing, whether or not somebody else has the task by now.
    return record.epoch == ticket.epoch && record.state.name == .leased
  }

  /// Writes an entry; false: a later claim has the task.
  mutating func append(_ entry: StepJournal.Entry, _ ticket: TaskTicket) -> Bool {
    guard holds(ticket) else { return false }
    if case .response = entry.kind { answered["\(ticket.id)/\(entry.sequence)"] = ticket.epoch }
    // Said twice.
    if trails["\(ticket.id)"]?.journal.contains(entry) != true {
      trails["\(ticket.id)", default: Trail()].journal.append(entry)
    }
    return true
  }

  /// Stores a checkpoint under its digest and reads it back.
  mutating func put(_ digest: Digest256, _ bytes: [UInt8], _ now: Duration) -> [UInt8] {
    if blobs["\(digest)"] == nil { blobs["\(digest)"] = bytes }
    _ = collector.handle(.wrote(blob: "\(digest)"), now: now)
    return blobs["\(digest)"] ?? []
  }

  /// Moves the head of a task's checkpoints.
  mutating func move(
    _ head: CheckpointChain.Head, parent: Digest256, _ ticket: TaskTicket, _ now: Duration
  ) -> CheckpointChain.Failure? {
    let name = "\(ticket.id)"
    let current = trails[name]?.head
    // Said twice.
    if current == head { return nil }
    guard holds(ticket) else { return .fenced(epoch: ticket.epoch, current: epochs[name] ?? 0) }
    do throws(CheckpointChain.Failure) {
      try CheckpointChain.check(head, parent: parent, after: current)
    } catch {
      return error
    }
    if let current, head.epoch < current.epoch || head.step <= current.step {
      violations.append("\(name): the checkpoint goes back from step \(current.step) to \(head.step)")
    }
    trails[name, default: Trail()].head = head
    _ = collector.handle(.refers(name, to: ([head.digest] + head.history).map { "\($0)" }), now: now)
    return nil
  }

  // MARK: Leadership

  mutating func write(_ record: LeaderRecord, expected: UInt64) -> LeaderCandidate.Event {
    guard leader.revision == expected else { return .conflict }
    if record.epoch < leader.record?.epoch ?? 0 { violations.append("the leader's epoch goes back to \(record.epoch)") }
    if record.epoch != leader.record?.epoch { leaderEpochs.append(record.epoch) }
    leader = (record, leader.revision + 1)
    return .written(revision: leader.revision)
  }

  /// Takes a plan; false: a later leader has made one.
  mutating func take(_ next: FleetPlan) -> Bool {
    guard next.epoch >= plan?.epoch ?? 0 else { return false }
    let pods = next.cells.values.flatMap(\.keys)
    if pods.count != Set(pods).count { violations.append("a pod is in two cells") }
    for cell in next.cells.values where cell.values.reduce(0, +) > max(24, cell.values.max() ?? 0) {
      violations.append("a cell of \(cell.values.reduce(0, +))")
    }
    plan = next
    return true
  }

  // MARK: Invariants

  /// What holds after each step.
  mutating func check(_ world: World) {
    for violation in violations { world.violate(violation) }
    violations = []
    guard isDirty else { return }
    isDirty = false
    for index in queues.indices where queues[index].statistics(now: world.now).lost != 0 {
      world.violate("queue \(index) has lost tasks")
    }
    if worstCritical > .seconds(120) { world.violate("a critical task has waited for \(worstCritical)") }
    world.tally.worstCritical = worstCritical
  }

  var isEmpty: Bool { blobs.isEmpty && trails.isEmpty && collector.counts == (0, 0, 0) }

  var residue: String { "\(blobs.count) checkpoints, \(trails.count) trails, \(collector.counts)" }
}
