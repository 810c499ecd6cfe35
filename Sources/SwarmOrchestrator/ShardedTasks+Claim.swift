import CoordinationCore
import Synchronization
package import TaskQueue

extension ShardedTasks {
  /// How long a claim waits before it looks whether the plan has changed, or another cell has work.
  private static let slice = Duration.seconds(1)
  /// The same with one shard, where only the plan can change.
  private static let flatSlice = Duration.seconds(5)
  /// A shard of another layout that had nothing for so long is looked at seldom: what may come there are dead letters that somebody retries.
  private static let coldAfter = Duration.seconds(60)
  private static let coldInterval = Duration.seconds(10)
  /// How long after the last critical task shards are searched for such tasks first.
  private static let criticalFor = Duration.seconds(60)

  /// Which of the engine's queues a claim looks at; nil: the queue itself, alone.
  private func sources(_ queue: String, now: Duration) -> (hot: [String], cold: [String])? {
    let plan = place.plan
    let layout = plan.layout
    guard layout.shards > 1 || !layout.older.isEmpty else { return nil }
    func shards(_ count: Int) -> [String] {
      guard count > 1 else { return [queue] }
      let owners = plan.shards
      return (0..<count).filter { shard in
        // Before this pod has a cell, and where a shard has none, it is everybody's.
        guard let cell = place.cell, shard < owners.count, let owner = owners[shard] else { return true }
        return owner == cell
      }
      .map { ShardLayout.queue(queue, shard: $0, of: count) }
    }
    // The queue itself always: who doesn't know of the fleet submits there.
    let current = Set(shards(layout.shards) + [queue]).sorted()
    let older = layout.older.filter { $0 > 1 }.flatMap(shards)
    return state.withLock { state in
      var known = state.queues[queue] ?? Queue(rotation: state.nextKeyless)
      for name in older where known.lastFound[name] == nil { known.lastFound[name] = now }
      let warm = older.filter { now - (known.lastFound[$0] ?? now) < Self.coldAfter }
      let isColdDue = now - known.lastColdLook >= Self.coldInterval
      if isColdDue { known.lastColdLook = now }
      known.rotation += 1
      state.queues[queue] = known
      let hot = current + warm
      let start = known.rotation % hot.count
      return (Array(hot[start...] + hot[..<start]), isColdDue ? older.filter { !warm.contains($0) } : [])
    }
  }

  package func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    place.work(on: request.queue)
    let deadline = clock.now + wait
    var isFirst = true
    while true {
      let now = clock.now
      let left = max(.zero, deadline - now)
      guard let sources = sources(request.queue, now: now) else {
        let claimed = try await engine.claim(request, wait: min(left, Self.flatSlice))
        guard claimed.isEmpty, clock.now < deadline, mayWait else { return claimed }
        continue
      }
      // Later looks leave out what is listened to.
      let names = isFirst || !intake.isRunning ? sources.hot + sources.cold : sources.cold
      isFirst = false
      var claimed = try await take(request, names)
      if claimed.isEmpty { claimed = try await takeElsewhere(request) }
      guard claimed.isEmpty, left > .zero, mayWait else { return claimed }
      let slice = now + min(left, Self.slice)
      if let task = try await intake.wait(request, at: sources.hot, engine, clock, until: slice) {
        note([task], request.queue, now: clock.now)
        return [task]
      }
    }
  }

  private var mayWait: Bool { state.withLock { !$0.isEnding } }

  /// Claims from shards in their order: by the lanes' turns over all of them, as far as what was asked for is there, then whatever there is.
  private func take(_ request: ClaimRequest, _ names: [String]) async throws -> [ClaimedTask] {
    var left = request.room ?? LaneCounts(all: request.maximum)
    var claimed: [ClaimedTask] = []
    for _ in TaskLane.allCases where names.count > 1 && claimed.count < request.maximum {
      guard let due = allot(request.queue, request.maximum - claimed.count, left), due.total > 0 else { break }
      let more = try await take(request, names, due.total, due)
      claimed += more
      for lane in TaskLane.allCases where due[lane] > 0 {
        let count = more.count { $0.lane == lane }
        // No shard has more of a lane that gave less than was asked for.
        left[lane] = count < due[lane] ? 0 : left[lane] - count
      }
      note(more, request.queue, now: clock.now)
    }
    guard claimed.count < request.maximum, left.total > 0 else { return claimed }
    do {
      let rest = try await take(request, names, request.maximum - claimed.count, left)
      note(rest, request.queue, now: clock.now)
      return claimed + rest
    } catch  where !claimed.isEmpty {
      // What is there is worked on.
      return claimed
    }
  }

  /// How many tasks of each lane are due, by the turns of lanes over all shards; nil where it needn't be known: a single task of any lane, and no
  /// critical ones about.
  private func allot(_ queue: String, _ maximum: Int, _ room: LaneCounts) -> LaneCounts? {
    let weights = place.plan.weights
    return state.withLock { state in
      guard var known = state.queues[queue] else { return nil }
      let isCriticalAbout = known.lastCritical.map { clock.now - $0 < Self.criticalFor } ?? false
      guard maximum > 1 || isCriticalAbout else { return nil }
      if weights.count == 3 {
        known.turns.policy.weights = LaneCounts(critical: 0, high: weights[0], normal: weights[1], bulk: weights[2])
        state.queues[queue] = known
      }
      var (turns, left, due) = (known.turns, room, LaneCounts(all: 0))
      while due.total < maximum, let lane = turns.next(open: left, isHighOlder: false) {
        left[lane] -= 1
        due[lane] += 1
      }
      return due
    }
  }

  /// Counts the turns of what came.
  private func note(_ claimed: [ClaimedTask], _ queue: String, now: Duration) {
    guard !claimed.isEmpty else { return }
    state.withLock { state in
      guard var known = state.queues[queue] else { return }
      var left = LaneCounts(all: 0)
      for task in claimed {
        left[task.lane] += 1
        if task.lane == .critical { known.lastCritical = now }
        if known.lastFound[task.ticket.id.queue] != nil { known.lastFound[task.ticket.id.queue] = now }
      }
      while left.total > 0, let lane = known.turns.next(open: left, isHighOlder: false) { left[lane] -= 1 }
      state.queues[queue] = known
    }
  }

  private func take(
    _ request: ClaimRequest, _ names: [String], _ maximum: Int, _ room: LaneCounts
  ) async throws -> [ClaimedTask] {
    var claimed: [ClaimedTask] = []
    var failure: (any Error)?
    var part = request
    part.room = room
    for name in names where claimed.count < maximum {
      part.queue = name
      part.maximum = maximum - claimed.count
      do {
        let more = try await engine.claim(part, wait: .zero)
        for task in more { part.room?[task.lane] -= 1 }
        claimed += more
      } catch {
        failure = error
      }
    }
    if claimed.isEmpty, let failure { throw failure }
    return claimed
  }

  /// Claims from cells whose work is more than they have slots, as far as the plan lets this pod.
  private func takeElsewhere(_ request: ClaimRequest) async throws -> [ClaimedTask] {
    let plan = place.plan
    for (cell, tasks) in place.allowance() {
      let names = plan.shards.enumerated().filter { $0.element == cell && plan.shards.count == plan.layout.shards }
        .map { ShardLayout.queue(request.queue, shard: $0.offset, of: plan.layout.shards) }
      let maximum = min(request.maximum, tasks)
      let claimed = try await take(request, names, maximum, request.room ?? LaneCounts(all: maximum))
      guard !claimed.isEmpty else { continue }
      place.noteTaken(claimed.count, from: cell)
      return claimed
    }
    return []
  }
}
