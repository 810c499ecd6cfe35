import PriorityQueue

/// One queue of tasks as a state machine: submit, claim with a lease and an epoch, renew, complete, fail, release, expire.
///
/// The guarantee is at least once, with one committed result: a task that was acknowledged stays until its result is committed or
/// somebody has thrown it away as a dead letter, and of all claims of a task only the last one can commit. Whoever works longer than
/// the lease without renewing it may find that somebody else has begun the same task; until then its claim is the last one, and it may still
/// renew, save and commit: an outage of the engine's costs no work that nobody else does.
///
/// Pure: time is `now`, on any clock that never goes back; chance comes as an argument. It is an engine's core; what happens to
/// the state when the process ends is the engine's affair.
package struct TaskQueue: Sendable {
  /// The queue's name.
  package let name: String
  /// What tells this run's ids from another run's.
  package let instance: String
  /// What the queue holds at most.
  package let limits: TaskQueueLimits
  /// How often and when failed tasks are tried again.
  package let policy: TaskRetryPolicy

  /// Something that happens to a task at a time.
  struct Due: Comparable, Sendable {
    var at: Duration
    var number: UInt64
    /// Of a lease: which claim it belongs to.
    var epoch: UInt64

    static func < (lhs: Due, rhs: Due) -> Bool { (lhs.at, lhs.number) < (rhs.at, rhs.number) }
  }

  // Not private for TaskQueueChanges.swift alone.
  var tasks = TaskTable()
  var keys: [TaskKey: UInt64] = [:]
  var schedule: LaneSchedule
  var delayed = BinaryHeap<Due>()
  /// An entry for each claim, with the end that its lease had when the entry was made: a renewal doesn't touch it.
  var leases = BinaryHeap<Due>()
  /// Done tasks, the oldest first, from `forgotten` on.
  var done: [UInt64] = []
  private var forgotten = 0
  var doneBytes = 0
  var lastNumber: UInt64 = 0
  var counts = TaskQueueStatistics()
  /// The totals that were written down last.
  var taken = TaskQueueChanges.Totals()

  /// Makes an empty queue.
  package init(
    name: String, instance: String, limits: TaskQueueLimits = TaskQueueLimits(),
    policy: TaskRetryPolicy = TaskRetryPolicy(), lanes: LanePolicy = LanePolicy()
  ) {
    self.name = name
    self.instance = instance
    self.limits = limits
    self.policy = policy
    schedule = LaneSchedule(policy: lanes)
  }

  /// How lanes share the workers; what the orchestrator changes holds from the next claim on.
  package var lanes: LanePolicy {
    get { schedule.policy }
    set { schedule.policy = newValue }
  }

  // MARK: Submitting

  /// Takes tasks: all of them or, when one can't be taken, none. A key that is known gives the task of then, whatever its state.
  package mutating func submit(_ new: [NewTask], now: Duration) throws(TaskQueueError) -> [Submission] {
    expire(now: now)
    guard !new.isEmpty else { throw .invalid("tasks: at least one is needed") }
    guard new.count <= limits.submissionTasks else {
      throw .tooLarge(what: "number of tasks in one submission", bytes: new.count, limit: limits.submissionTasks)
    }
    for task in new { try check(task) }
    let fresh = new.filter { task in task.key.map { keys[$0] == nil } ?? true }
    let unfinished = counts.outstanding + counts.dead
    guard unfinished + fresh.count <= limits.tasks else {
      throw .full(queue: name, what: "tasks that are not done", limit: limits.tasks)
    }
    guard counts.payloadBytes + fresh.reduce(0, { $0 + $1.payload.count }) <= limits.totalPayloadBytes else {
      throw .full(queue: name, what: "bytes of payloads", limit: limits.totalPayloadBytes)
    }
    try admit(fresh, now)
    return new.map { submit($0, now) }
  }

  /// Turns away tasks of a lane whose backlog is older than its deadline: told now, a client can do something about it.
  private mutating func admit(_ tasks: [NewTask], _ now: Duration) throws(TaskQueueError) {
    // The least urgent first: it is what a mixed submission fails by.
    for lane in TaskLane.allCases.reversed() {
      guard lanes.deadlines[lane] != nil, tasks.contains(where: { $0.lane == lane }),
        let oldest = schedule.oldest(lane),
        let pause = lanes.retryAfter(lane, oldest: now - oldest.submitted)
      else { continue }
      counts.shed += tasks.count { $0.lane == lane }
      throw .shed(queue: name, lane: lane, age: now - oldest.submitted, retryAfter: pause)
    }
  }

  /// Refuses a task that could never be taken.
  package func check(_ task: NewTask) throws(TaskQueueError) {
    guard task.payload.count <= limits.payloadBytes else {
      throw .tooLarge(what: "payload", bytes: task.payload.count, limit: limits.payloadBytes)
    }
    if let key = task.key, !(1...limits.nameCharacters).contains(key.name.unicodeScalars.count) {
      throw .invalid("key: 1 to \(limits.nameCharacters) characters, not \(key.name.unicodeScalars.count)")
    }
    guard task.fairnessKey.unicodeScalars.count <= limits.nameCharacters else {
      throw .invalid(
        "fairnessKey: \(limits.nameCharacters) characters at most, not \(task.fairnessKey.unicodeScalars.count)")
    }
    if let cost = task.cost, !(1...limits.cost).contains(cost) {
      throw .invalid("cost: 1 to \(limits.cost), not \(cost)")
    }
    if let attempts = task.attempts, !(1...limits.attempts).contains(attempts) {
      throw .invalid("maxAttempts: 1 to \(limits.attempts), not \(attempts)")
    }
  }

  private mutating func submit(_ task: NewTask, _ now: Duration) -> Submission {
    if let key = task.key, let number = keys[key] {
      counts.duplicates += 1
      return Submission(id: id(number), isDuplicate: true)
    }
    lastNumber += 1
    var record = TaskRecord(task: task, state: .ready, submitted: now)
    if task.delay > .zero {
      record.state = .delayed(until: now + task.delay)
      delayed.push(Due(at: now + task.delay, number: lastNumber, epoch: 0))
    } else {
      enqueue(lastNumber, record)
    }
    tasks[lastNumber] = record
    if let key = task.key { keys[key] = lastNumber }
    counts.submitted += 1
    counts.pending += 1
    counts.payloadBytes += task.payload.count
    return Submission(id: id(lastNumber), isDuplicate: false)
  }

  // MARK: Working

  /// Hands out up to `maximum` tasks under a lease, of each lane as many as the worker has room for; none when none can be
  /// claimed. Without `room` each lane may have all of `maximum`.
  package mutating func claim(
    worker: String, maximum: Int, lease: Duration?, room: LaneCounts? = nil, now: Duration
  ) throws(TaskQueueError) -> [ClaimedTask] {
    expire(now: now)
    guard (1...limits.nameCharacters).contains(worker.unicodeScalars.count) else {
      throw .invalid("worker: 1 to \(limits.nameCharacters) characters, such as the pod's name")
    }
    guard (1...limits.claimTasks).contains(maximum) else {
      throw .invalid("max: 1 to \(limits.claimTasks), not \(maximum)")
    }
    let lease = try checked(lease)
    var room = room ?? LaneCounts(all: maximum)
    var claimed: [ClaimedTask] = []
    var bytes = 0
    while claimed.count < maximum, bytes < limits.claimPayloadBytes, let (number, lane) = schedule.pop(room: room) {
      room[lane] -= 1
      guard var record = tasks[number] else { continue }
      record.epoch += 1
      record.attempts += 1
      record.lateWorker = nil
      record.state = .leased(worker: worker, until: now + lease)
      record.leaseEntry = now + lease
      tasks[number] = record
      leases.push(Due(at: now + lease, number: number, epoch: record.epoch))
      counts.pending -= 1
      counts.leased += 1
      counts.claims += 1
      bytes += record.task.payload.count
      claimed.append(
        ClaimedTask(
          ticket: TaskTicket(id: id(number), epoch: record.epoch), lane: record.task.lane, key: record.task.key,
          payload: record.task.payload, attempt: record.attempts, lease: lease, age: now - record.submitted,
          checkpoint: record.checkpoint))
    }
    return claimed
  }

  private func checked(_ lease: Duration?) throws(TaskQueueError) -> Duration {
    let lease = lease ?? policy.lease
    guard limits.lease.contains(lease) else {
      throw .invalid(
        "leaseSeconds: \(limits.lease.lowerBound.components.seconds) to \(limits.lease.upperBound.components.seconds)")
    }
    return lease
  }

  /// Renews a lease, from now on; gives its length. One that has run out begins again while nobody else has claimed the task.
  package mutating func renew(
    _ ticket: TaskTicket, lease: Duration?, now: Duration
  ) throws(TaskQueueError) -> Duration {
    expire(now: now)
    let lease = try checked(lease)
    var record = try held(ticket)
    let isLate = resume(ticket.id.number, &record, now: now)
    guard case .leased(let worker, _) = record.state else { return lease }
    record.state = .leased(worker: worker, until: now + lease)
    // The heap's entry is looked at when the old lease would have ended; only an earlier end needs an entry of its own.
    if isLate || now + lease < record.leaseEntry {
      record.leaseEntry = now + lease
      leases.push(Due(at: now + lease, number: ticket.id.number, epoch: ticket.epoch))
    }
    tasks[ticket.id.number] = record
    return lease
  }

  /// Sets what the task's next claim begins with, in place of the checkpoint whose step is `expected` (nil: of none).
  package mutating func checkpoint(
    _ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?, now: Duration
  ) throws(TaskQueueError) {
    expire(now: now)
    guard head.reference.count <= limits.checkpointBytes else {
      throw .tooLarge(what: "checkpoint's reference", bytes: head.reference.count, limit: limits.checkpointBytes)
    }
    var record = try held(ticket)
    // The same again: the answer was lost.
    if record.checkpoint == head { return }
    guard record.checkpoint?.step == expected else {
      throw .checkpointConflict(ticket.id, expected: expected, current: record.checkpoint?.step)
    }
    guard head.step > expected ?? 0 || expected == nil else {
      throw .invalid("step: each checkpoint has a higher one than the one before, \(expected ?? 0)")
    }
    record.checkpoint = head
    tasks[ticket.id.number] = record
  }

  /// Commits a task's result.
  package mutating func complete(
    _ ticket: TaskTicket, result: [UInt8], now: Duration
  ) throws(TaskQueueError) -> Completion {
    expire(now: now)
    guard result.count <= limits.resultBytes else {
      throw .tooLarge(what: "result", bytes: result.count, limit: limits.resultBytes)
    }
    if let record = tasks[ticket.id.number], isOurs(ticket.id), case .done = record.state, record.epoch == ticket.epoch
    {
      return .alreadyCommitted
    }
    var record = try held(ticket)
    resume(ticket.id.number, &record, now: now)
    counts.leased -= 1
    counts.done += 1
    counts.payloadBytes -= record.task.payload.count
    record.task.payload = []
    record.checkpoint = nil
    record.state = .done(result: result)
    record.finished = now
    tasks[ticket.id.number] = record
    done.append(ticket.id.number)
    doneBytes += result.count
    forget()
    compactLeases()
    return .committed
  }

  /// Ends an attempt without a result: the task comes back after a back-off, or is a dead letter when it may not be retried or
  /// has had its attempts. `delay` is when the worker knows better (a `retry-after`); `jitter` chooses the back-off otherwise.
  package mutating func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?, jitter: UInt32, now: Duration
  ) throws(TaskQueueError) -> FailureOutcome {
    expire(now: now)
    if let delay, !(.zero...policy.longestDelay).contains(delay) {
      throw .invalid("delaySeconds: 0 to \(policy.longestDelay.components.seconds)")
    }
    var record = try held(ticket)
    resume(ticket.id.number, &record, now: now)
    counts.leased -= 1
    counts.failures += 1
    record.lastFailure = String(reason.prefix(limits.reasonCharacters))
    guard isRetryable, record.attempts < record.task.attempts ?? policy.attempts else {
      record.state = .dead(reason: record.lastFailure)
      counts.dead += 1
      tasks[ticket.id.number] = record
      return .dead
    }
    let pause = delay ?? policy.delay(after: record.attempts, jitter: jitter)
    record.state = .delayed(until: now + pause)
    tasks[ticket.id.number] = record
    delayed.push(Due(at: now + pause, number: ticket.id.number, epoch: 0))
    counts.pending += 1
    compactLeases()
    return .retried(after: pause)
  }

  /// Hands a task back that was not begun: it is the next of its lane, and the attempt doesn't count.
  package mutating func release(_ ticket: TaskTicket, now: Duration) throws(TaskQueueError) {
    expire(now: now)
    var record = try held(ticket)
    resume(ticket.id.number, &record, now: now)
    record.attempts -= 1
    record.state = .ready
    tasks[ticket.id.number] = record
    enqueue(ticket.id.number, record)
    counts.leased -= 1
    counts.pending += 1
    counts.released += 1
    compactLeases()
  }

  // MARK: Dead letters

  /// Gives a dead letter all its attempts anew.
  package mutating func retry(_ id: TaskID, now: Duration) throws(TaskQueueError) {
    expire(now: now)
    var record = try dead(id)
    record.attempts = 0
    record.state = .ready
    tasks[id.number] = record
    enqueue(id.number, record)
    counts.dead -= 1
    counts.pending += 1
  }

  /// Throws a dead letter away; its key is free again.
  package mutating func discard(_ id: TaskID, now: Duration) throws(TaskQueueError) {
    expire(now: now)
    let record = try dead(id)
    tasks[id.number] = nil
    if let key = record.task.key { keys[key] = nil }
    counts.dead -= 1
    counts.discarded += 1
    counts.payloadBytes -= record.task.payload.count
  }

  private func dead(_ id: TaskID) throws(TaskQueueError) -> TaskRecord {
    let record = try self.record(id)
    guard case .dead = record.state else { throw .wrongState(id, is: record.state.name, needs: .dead) }
    return record
  }

  // MARK: Looking

  /// A task; done ones as long as they are remembered.
  package func record(_ id: TaskID) throws(TaskQueueError) -> TaskRecord {
    guard isOurs(id), let record = tasks[id.number] else { throw .unknownTask("\(id)") }
    return record
  }

  /// Up to `maximum` dead letters, the oldest first.
  package func deadLetters(maximum: Int) -> [(id: TaskID, record: TaskRecord)] {
    guard counts.dead > 0 else { return [] }
    return list(state: .dead, after: 0, maximum: maximum)
  }

  /// Up to `maximum` tasks in a state (nil: in any) with higher numbers than `after`, the oldest first.
  package func list(state: TaskState.Name?, after: UInt64, maximum: Int) -> [(id: TaskID, record: TaskRecord)] {
    let numbers = tasks.numbers { $0 > after && (state == nil || $1.state.name == state) }.sorted()
    return numbers.prefix(max(maximum, 0)).compactMap { number in tasks[number].map { (id(number), $0) } }
  }

  /// When something happens by itself next: a lease may run out, or a delayed task can be claimed.
  package var nextDeadline: Duration? {
    [leases.first?.at, delayed.first?.at].compactMap { $0 }.min()
  }

  /// How many tasks can be claimed, as of the last call.
  package var claimable: Int { schedule.count }

  /// How many tasks of a lane can be claimed, as of the last call.
  package func claimable(_ lane: TaskLane) -> Int { schedule.count(lane) }

  /// The counts.
  package mutating func statistics(now: Duration) -> TaskQueueStatistics {
    expire(now: now)
    var statistics = counts
    statistics.delayed = delayed.count
    statistics.ready = TaskLane.allCases.map { schedule.count($0) }
    // Numbers rise with time: the smallest is the oldest.
    let oldest = (TaskLane.allCases.compactMap { schedule.oldest($0)?.number } + delayed.unordered.map(\.number)).min()
    if let oldest, let record = tasks[oldest] { statistics.oldestPending = now - record.submitted }
    return statistics
  }

  // MARK: Time

  /// Does what is due: leases that have run out end their claims, delayed tasks can be claimed. Every other call does it first.
  package mutating func expire(now: Duration) {
    while let due = delayed.first, due.at <= now {
      delayed.pop()
      guard var record = tasks[due.number], case .delayed = record.state else { continue }
      record.state = .ready
      tasks[due.number] = record
      enqueue(due.number, record)
    }
    while let due = leases.first, due.at <= now {
      leases.pop()
      guard var record = tasks[due.number], record.epoch == due.epoch, record.leaseEntry == due.at,
        case .leased(let worker, let until) = record.state
      else { continue }
      if until > now {
        record.leaseEntry = until
        tasks[due.number] = record
        leases.push(Due(at: until, number: due.number, epoch: due.epoch))
      } else {
        endLease(due.number, record, worker)
      }
    }
  }

  private mutating func endLease(_ number: UInt64, _ record: TaskRecord, _ worker: String) {
    var record = record
    record.lastFailure = "the lease of \(worker) ran out: it ended without a word, or didn't renew the lease"
    counts.leased -= 1
    counts.expired += 1
    if record.attempts < record.task.attempts ?? policy.attempts {
      record.state = .ready
      record.lateWorker = worker
      counts.pending += 1
      enqueue(number, record)
    } else {
      record.state = .dead(reason: record.lastFailure)
      counts.dead += 1
    }
    tasks[number] = record
  }

  // MARK: Helpers

  /// Lets a task be claimed.
  mutating func enqueue(_ number: UInt64, _ record: TaskRecord) {
    schedule.push(number, record.task, submitted: record.submitted)
  }

  private func id(_ number: UInt64) -> TaskID { TaskID(queue: name, instance: instance, number: number) }

  private func isOurs(_ id: TaskID) -> Bool { id.queue == name && id.instance == instance }

  /// The record of a task whose last claim is this ticket's: it is leased, or its lease ran out and nobody has claimed it since.
  private mutating func held(_ ticket: TaskTicket) throws(TaskQueueError) -> TaskRecord {
    let record = try record(ticket.id)
    if record.epoch == ticket.epoch {
      switch record.state {
      case .leased: return record
      case .ready where record.lateWorker != nil: return record
      case .ready, .delayed, .done, .dead: break
      }
    }
    counts.stale += 1
    throw .staleTicket(ticket, currentEpoch: record.epoch, state: record.state.name)
  }

  /// Makes a task leased again whose lease ran out: it leaves its lane. Whoever calls it says how it goes on, before anything else is
  /// looked at. Whether that was needed.
  @discardableResult
  private mutating func resume(_ number: UInt64, _ record: inout TaskRecord, now: Duration) -> Bool {
    guard let worker = record.lateWorker else { return false }
    record.lateWorker = nil
    record.state = .leased(worker: worker, until: now)
    schedule.withdraw(number, record.task)
    counts.pending -= 1
    counts.leased += 1
    return true
  }

  /// Forgets the oldest done tasks beyond what is to be remembered.
  private mutating func forget() {
    while done.count - forgotten > limits.rememberedResults
      || (doneBytes > limits.rememberedResultBytes && done.count - forgotten > 1)
    {
      let number = done[forgotten]
      forgotten += 1
      guard let record = tasks.removeValue(forKey: number) else { continue }
      if case .done(let result) = record.state { doneBytes -= result.count }
      if let key = record.task.key { keys[key] = nil }
    }
    if forgotten > 1_024, forgotten > done.count / 2 {
      done.removeFirst(forgotten)
      forgotten = 0
    }
  }

  /// Entries of claims that have ended stay in the heap until their time; many short claims must not fill it.
  private mutating func compactLeases() {
    guard leases.count > 1_024, leases.count > 2 * counts.leased else { return }
    leases.keep { due in
      guard let record = tasks[due.number], case .leased = record.state else { return false }
      return record.epoch == due.epoch && record.leaseEntry == due.at
    }
  }
}
