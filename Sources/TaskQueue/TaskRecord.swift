/// What a client submits.
package struct NewTask: Hashable, Sendable {
  /// How urgent it is.
  package var lane: TaskLane
  /// What makes a second submission the same task; nil: each submission is a task of its own.
  package var key: TaskKey?
  /// What the worker gets: any bytes.
  package var payload: [UInt8]
  /// Attempts until it is a dead letter; nil: the queue's policy.
  package var attempts: Int?
  /// How long it is kept before it can be claimed; zero: at once.
  package var delay: Duration
  /// For whom it is done, such as a tenant: the keys of a lane share it evenly, however much each has submitted. Empty is a key as well.
  package var fairnessKey: String
  /// What it costs beside others of its lane, in any unit; nil: by its payload, 1 and 1 more for each 4 KiB.
  package var cost: Int?

  /// Describes a task.
  package init(
    lane: TaskLane = .normal, key: TaskKey? = nil, payload: [UInt8], attempts: Int? = nil, delay: Duration = .zero,
    fairnessKey: String = "", cost: Int? = nil
  ) {
    self.lane = lane
    self.key = key
    self.payload = payload
    self.attempts = attempts
    self.delay = delay
    self.fairnessKey = fairnessKey
    self.cost = cost
  }

  /// What its key pays for it.
  var fairnessCost: UInt64 { Self.fairnessCost(cost, payloadBytes: payload.count) }

  /// What a task costs beside others of its lane.
  package static func fairnessCost(_ cost: Int?, payloadBytes: Int) -> UInt64 {
    UInt64(max(1, cost ?? 1 + payloadBytes / 4_096))
  }
}

/// Where a task stands.
package enum TaskState: Hashable, Sendable {
  /// Waits to be claimed. Exits: `leased`.
  case ready
  /// Waits for its time, by its own delay or after a failure. Exits: `ready`.
  case delayed(until: Duration)
  /// A worker has it. Exits: `done`, `ready` (released, lease run out), `delayed` (failed), `dead`. Where the lease ran out the worker can go
  /// on as long as nobody else has claimed the task.
  case leased(worker: String, until: Duration)
  /// Its result is committed. No exit.
  case done(result: [UInt8])
  /// Given up, with the reason. Exits: `ready` (retried), or it is discarded.
  case dead(reason: String)

  /// A state without what belongs to it.
  package enum Name: String, Hashable, Sendable {
    case ready, delayed, leased, done, dead
  }

  /// The state's name.
  package var name: Name {
    switch self {
    case .ready: .ready
    case .delayed: .delayed
    case .leased: .leased
    case .done: .done
    case .dead: .dead
    }
  }
}

/// All that the queue knows of a task.
package struct TaskRecord: Hashable, Sendable {
  /// What was submitted; the payload is dropped when the task is done.
  package var task: NewTask
  /// Where it stands.
  package var state: TaskState
  /// When it was submitted, on the queue's clock.
  package var submitted: Duration
  /// Claims that count: those that weren't released.
  package var attempts = 0
  /// The fencing token of the last claim; 0 before the first.
  package var epoch: UInt64 = 0
  /// Why the last attempt failed; empty when none has.
  package var lastFailure = ""
  /// Where the work stood when it was last saved; nil before the first checkpoint. Kept with a dead letter, dropped with a result.
  package var checkpoint: CheckpointHead?
  /// When its result was committed, on the queue's clock; nil before.
  package var finished: Duration?
  /// Of a ready task, whose lease ran out, as long as nobody else has claimed it: its ticket still holds. Nil otherwise.
  package var lateWorker: String?
  /// When the queue looks at the lease next; the lease may have been renewed since that was set.
  var leaseEntry = Duration.zero

  /// A task as it is first, or as it was written down; the rest is set by name.
  package init(task: NewTask, state: TaskState, submitted: Duration) {
    self.task = task
    self.state = state
    self.submitted = submitted
  }
}

/// A task as a worker gets it.
package struct ClaimedTask: Hashable, Sendable {
  /// What to present at each further step.
  package var ticket: TaskTicket
  /// The lane it came from.
  package var lane: TaskLane
  /// The client's key.
  package var key: TaskKey?
  /// The bytes that were submitted.
  package var payload: [UInt8]
  /// Which attempt this is, from 1.
  package var attempt: Int
  /// How long it may be worked on without renewing the lease.
  package var lease: Duration
  /// How long it has been in the queue since it was submitted.
  package var age: Duration
  /// Where the work of an earlier claim stands: begin there; nil: at the beginning.
  package var checkpoint: CheckpointHead?

  /// Puts a claimed task together.
  package init(
    ticket: TaskTicket, lane: TaskLane, key: TaskKey?, payload: [UInt8], attempt: Int, lease: Duration, age: Duration,
    checkpoint: CheckpointHead?
  ) {
    self.ticket = ticket
    self.lane = lane
    self.key = key
    self.payload = payload
    self.attempt = attempt
    self.lease = lease
    self.age = age
    self.checkpoint = checkpoint
  }
}

/// The answer to one submitted task.
package struct Submission: Hashable, Sendable {
  /// What the task is called.
  package var id: TaskID
  /// Whether the key was known: this is the task of then.
  package var isDuplicate: Bool

  /// Puts an answer together.
  package init(id: TaskID, isDuplicate: Bool) {
    self.id = id
    self.isDuplicate = isDuplicate
  }
}

/// The answer to a completion.
package enum Completion: Hashable, Sendable {
  /// This result is the task's one result.
  case committed
  /// The same claim has committed before, and that result stays: the client asks again after a lost answer.
  case alreadyCommitted
}

/// The answer to a failure.
package enum FailureOutcome: Hashable, Sendable {
  /// It can be claimed again after a time.
  case retried(after: Duration)
  /// It is a dead letter now.
  case dead
}
