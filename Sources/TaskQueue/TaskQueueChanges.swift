import PriorityQueue

/// What an engine writes down of a queue: the tasks that changed since it last did, and totals that can't be counted again. All of a
/// queue's tasks in one value are the queue.
package struct TaskQueueChanges: Hashable, Sendable {
  /// A task that changed.
  package struct Task: Hashable, Sendable {
    /// Its number.
    package var number: UInt64
    /// What it is now; nil: it is gone.
    package var record: TaskRecord?

    /// Puts a change together.
    package init(number: UInt64, record: TaskRecord?) {
      self.number = number
      self.record = record
    }
  }

  /// What the tasks that are there don't tell. The names are those of `TaskQueueStatistics`.
  package struct Totals: Hashable, Sendable {
    /// The last number that a task was given.
    package var lastNumber: UInt64 = 0
    package var submitted = 0
    package var duplicates = 0
    package var done = 0
    package var discarded = 0
    package var claims = 0
    package var failures = 0
    package var expired = 0
    package var released = 0
    package var stale = 0
    package var shed = 0

    /// The totals of a queue that nobody has used.
    package init() {}
  }

  /// The queue's name.
  package var name: String
  /// The totals now.
  package var totals: Totals
  /// The tasks that changed, by number.
  package var tasks: [Task]

  /// Puts changes together.
  package init(name: String, totals: Totals, tasks: [Task]) {
    self.name = name
    self.totals = totals
    self.tasks = tasks
  }
}

extension TaskQueue {
  /// Makes a queue of all that was written down of it, and notes what changes from then on. Leases end when they would have: the clock must
  /// be one that has gone on.
  package init(
    restoring saved: TaskQueueChanges, instance: String, limits: TaskQueueLimits = TaskQueueLimits(),
    policy: TaskRetryPolicy = TaskRetryPolicy(), lanes: LanePolicy = LanePolicy()
  ) {
    self.init(name: saved.name, instance: instance, limits: limits, policy: policy, lanes: lanes)
    restore(saved)
    noteChanges()
  }

  private mutating func restore(_ saved: TaskQueueChanges) {
    lastNumber = saved.totals.lastNumber
    counts.submitted = saved.totals.submitted
    counts.duplicates = saved.totals.duplicates
    counts.done = saved.totals.done
    counts.discarded = saved.totals.discarded
    counts.claims = saved.totals.claims
    counts.failures = saved.totals.failures
    counts.expired = saved.totals.expired
    counts.released = saved.totals.released
    counts.stale = saved.totals.stale
    counts.shed = saved.totals.shed
    var finished: [(at: Duration, number: UInt64)] = []
    // By number: the oldest stays the first of its lane.
    for task in saved.tasks.sorted(by: { $0.number < $1.number }) {
      guard let record = task.record else { continue }
      restore(task.number, record)
      if case .done = record.state { finished.append((record.finished ?? .zero, task.number)) }
    }
    done = finished.sorted { ($0.at, $0.number) < ($1.at, $1.number) }.map(\.number)
  }

  private mutating func restore(_ number: UInt64, _ saved: TaskRecord) {
    var record = saved
    if let key = record.task.key { keys[key] = number }
    counts.payloadBytes += record.task.payload.count
    switch record.state {
    case .ready:
      counts.pending += 1
      enqueue(number, record)
    case .delayed(let until):
      counts.pending += 1
      delayed.push(Due(at: until, number: number, epoch: 0))
    case .leased(_, let until):
      counts.leased += 1
      record.leaseEntry = until
      leases.push(Due(at: until, number: number, epoch: record.epoch))
    case .done(let result): doneBytes += result.count
    case .dead: counts.dead += 1
    }
    tasks[number] = record
  }

  /// Notes what changes from now on, for `takeChanges`.
  package mutating func noteChanges() {
    tasks.isTracked = true
    taken = totals
  }

  /// Whether anything changed since the last `takeChanges`.
  package var hasChanges: Bool { tasks.isTracked && (!tasks.changed.isEmpty || totals != taken) }

  /// What changed since the last call.
  package mutating func takeChanges() -> TaskQueueChanges {
    taken = totals
    return TaskQueueChanges(name: name, totals: totals, tasks: tasks.takeChanged())
  }

  private var totals: TaskQueueChanges.Totals {
    var totals = TaskQueueChanges.Totals()
    totals.lastNumber = lastNumber
    totals.submitted = counts.submitted
    totals.duplicates = counts.duplicates
    totals.done = counts.done
    totals.discarded = counts.discarded
    totals.claims = counts.claims
    totals.failures = counts.failures
    totals.expired = counts.expired
    totals.released = counts.released
    totals.stale = counts.stale
    totals.shed = counts.shed
    return totals
  }
}
