import CoordinationCore
import Synchronization
package import TaskQueue

/// An engine's tasks as a pod of a fleet sees them: one queue of each name, over however many shards the plan spreads it.
///
/// With one shard it asks the engine as if it weren't there. With more, submissions go by their key, and claims look at the shards of the pod's cell,
/// at what other layouts have left, and at those of cells from which it may take. Tickets name the shard, so that all
/// other verbs go to the engine as they are. A submission with keys of several shards is taken as a whole or not in each shard, not in all.
package final class ShardedTasks: TaskEngine {
  let engine: any TaskEngine
  let place: FleetPlace
  let clock: any FleetClock
  let intake = ShardIntake()

  struct Queue {
    /// Where the next look begins, so that no shard is always last.
    var rotation: Int
    var turns = LaneTurns()
    var lastCritical: Duration?
    /// When a shard of another layout last had something, or was first looked at.
    var lastFound: [String: Duration] = [:]
    var lastColdLook = Duration.zero
  }
  struct State {
    var queues: [String: Queue] = [:]
    var isEnding = false
    var nextKeyless: Int
  }
  let state: Mutex<State>

  /// A view of an engine's tasks from a pod's place.
  package init(_ engine: any TaskEngine, place: FleetPlace, clock: any FleetClock = SystemFleetClock()) {
    self.engine = engine
    self.place = place
    self.clock = clock
    // Pods begin at different shards.
    state = Mutex(State(nextKeyless: ShardLayout.shard(of: place.pod, generation: 0, count: 1 << 16)))
  }

  /// Lets claims wait at several shards at once, until the task is cancelled. Without it they look once a second.
  package func run() async { await intake.run() }

  package var durability: Durability { engine.durability }

  package func endWaiting() {
    state.withLock { $0.isEnding = true }
    intake.end()
    engine.endWaiting()
  }

  // MARK: Submitting

  package func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    if place.plan.shedsBulk, tasks.contains(where: { $0.lane == .bulk }) {
      throw TaskQueueError.shed(queue: queue, lane: .bulk, age: .zero, retryAfter: .seconds(30))
    }
    let hasKeys = tasks.contains { $0.key != nil }
    var route = place.beginSubmission(hasKeys: hasKeys, now: clock.now)
    while route == nil {
      // Pods are being told of another layout, or this one has to hear of the fleet: a moment, unless the store is away.
      try await clock.sleep(until: clock.now + .milliseconds(50))
      route = place.beginSubmission(hasKeys: hasKeys, now: clock.now)
    }
    guard let route else { return [] }
    defer { place.endSubmission(route.version) }
    guard route.layout.shards > 1 || !route.layout.older.isEmpty else {
      return try await engine.submit(tasks, to: queue)
    }
    return try await submit(tasks, to: queue, route.layout)
  }

  private func submit(_ tasks: [NewTask], to queue: String, _ layout: ShardLayout) async throws -> [Submission] {
    var answers = [Submission?](repeating: nil, count: tasks.count)
    let lookup = engine as? any TaskKeyLookup
    if let lookup { try await find(tasks, queue, layout, lookup, &answers) }
    let keyless = state.withLock { state in
      state.nextKeyless = (state.nextKeyless + 1) % (1 << 30)
      return state.nextKeyless % layout.shards
    }
    var parts: [String: [Int]] = [:]
    for (index, task) in tasks.enumerated() where answers[index] == nil {
      // An engine that can't look keys up keeps all of them in one place.
      let count = task.key != nil && lookup == nil ? 1 : layout.shards
      let shard = task.key.map { ShardLayout.shard(of: $0.name, generation: $0.generation, count: count) } ?? keyless
      parts[ShardLayout.queue(queue, shard: shard, of: count), default: []].append(index)
    }
    try await withThrowingTaskGroup(of: ([Int], [Submission]).self) { group in
      for (name, indices) in parts {
        group.addTask { [engine] in (indices, try await engine.submit(indices.map { tasks[$0] }, to: name)) }
      }
      for try await (indices, submissions) in group {
        for (index, submission) in zip(indices, submissions) { answers[index] = submission }
      }
    }
    return answers.compactMap { $0 }
  }

  /// Finds the tasks of keys that were submitted under other layouts.
  private func find(
    _ tasks: [NewTask], _ queue: String, _ layout: ShardLayout, _ lookup: any TaskKeyLookup,
    _ answers: inout [Submission?]
  ) async throws {
    for count in layout.older {
      var parts: [String: [Int]] = [:]
      for (index, task) in tasks.enumerated() where answers[index] == nil {
        guard let key = task.key else { continue }
        let shard = ShardLayout.shard(of: key.name, generation: key.generation, count: count)
        parts[ShardLayout.queue(queue, shard: shard, of: count), default: []].append(index)
      }
      for (name, indices) in parts {
        let known = try await lookup.known(indices.compactMap { tasks[$0].key }, in: name)
        for (index, id) in zip(indices, known) {
          if let id { answers[index] = Submission(id: id, isDuplicate: true) }
        }
      }
    }
  }

  // MARK: Steps, which go where the ticket says

  package func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    try await engine.renew(ticket, lease: lease)
  }
  package func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    try await engine.checkpoint(ticket, head, replacing: expected)
  }
  package func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    try await engine.complete(ticket, result: result)
  }
  package func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?
  ) async throws -> FailureOutcome {
    try await engine.fail(ticket, reason: reason, isRetryable: isRetryable, delay: delay)
  }
  package func release(_ ticket: TaskTicket) async throws { try await engine.release(ticket) }
  package func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>] {
    try await engine.renew(tickets, lease: lease)
  }
  package func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>] {
    try await engine.complete(results)
  }
  package func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>] {
    try await engine.release(tickets)
  }
  package func retry(_ id: TaskID) async throws { try await engine.retry(id) }
  package func discard(_ id: TaskID) async throws { try await engine.discard(id) }
  package func record(_ id: TaskID) async throws -> TaskRecord { try await engine.record(id) }

  // MARK: Looking

  /// All shards of a queue, in each layout in which it may have tasks.
  private func shards(of queue: String, _ layout: ShardLayout) -> [String] {
    let counts = Set(layout.all + [1]).sorted()
    return counts.flatMap { count in (0..<count).map { ShardLayout.queue(queue, shard: $0, of: count) } }
  }

  package func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    let layout = place.plan.layout
    guard layout != ShardLayout() else { return try await engine.list(query) }
    var found: [(id: TaskID, record: TaskRecord)] = []
    for name in shards(of: query.queue, layout) {
      var query = query
      query.queue = name
      found += try await engine.list(query)
    }
    found.sort { ($0.id.number, $0.id.queue) < ($1.id.number, $1.id.queue) }
    // A page ends between two numbers: the next one begins behind the last.
    guard found.count > query.maximum else { return found }
    let last = found[query.maximum - 1].id.number
    let isCut = found[query.maximum].id.number == last
    let page = found.prefix { isCut ? $0.id.number < last : $0.id.number <= last }
    return page.isEmpty ? found.filter { $0.id.number == last } : Array(page)
  }

  package func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    let layout = place.plan.layout
    guard layout != ShardLayout() else { return try await engine.statistics(of: queue) }
    var result: [String: TaskQueueStatistics] = [:]
    guard let queue else {
      for (name, counts) in try await engine.statistics(of: nil) {
        result[layout.base(of: name), default: TaskQueueStatistics()].add(counts)
      }
      return result
    }
    for name in shards(of: queue, layout) {
      guard let counts = try await engine.statistics(of: name)[name] else { continue }
      result[queue, default: TaskQueueStatistics()].add(counts)
    }
    return result
  }
}

extension TaskQueueStatistics {
  /// Adds the counts of another shard.
  mutating func add(_ other: TaskQueueStatistics) {
    submitted += other.submitted
    duplicates += other.duplicates
    shed += other.shed
    pending += other.pending
    delayed += other.delayed
    for lane in ready.indices { ready[lane] += other.ready[lane] }
    leased += other.leased
    done += other.done
    dead += other.dead
    discarded += other.discarded
    claims += other.claims
    failures += other.failures
    expired += other.expired
    released += other.released
    stale += other.stale
    payloadBytes += other.payloadBytes
    oldestPending = max(oldestPending, other.oldestPending)
  }
}
