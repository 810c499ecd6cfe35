package import CoordinationEngine
package import TaskQueue

/// All that an engine keeps, as one state machine: the only place that says what the verbs mean. Time is the engine's own, which goes on
/// while the engine is down.
struct EngineCore: Sendable {
  var queues: TaskQueues
  var state: StateTable
  var counters = CounterTable()
  var schedules = ScheduleTable()
  var blobs: BlobTable

  init(_ settings: LocalEngineSettings, instance: String) {
    queues = TaskQueues(instance: instance, limits: settings.tasks, policy: settings.policy)
    state = StateTable(limits: settings.state)
    blobs = BlobTable(limits: settings.blobs)
  }

  /// Makes it of all that was written down, and notes what changes from then on.
  init(_ settings: LocalEngineSettings, restoring saved: EngineSnapshot) {
    self.init(settings, instance: saved.instance)
    queues.restore(saved.queues)
    state.restore(saved.state, revision: saved.revision)
    counters.restore(saved.counters)
    schedules.restore(saved.schedules)
    blobs.restore(saved.blobs)
  }

  /// What came of time.
  struct Expiry: Sendable {
    /// Messages that are due.
    var messages: [Message] = []
    /// Queues that got a task.
    var queues: Set<String> = []
  }

  /// When `expire` has something to do next; queues aren't counted, they do what is due whenever they are asked.
  var nextDeadline: Duration? { [state.nextDeadline, schedules.nextDeadline].compactMap { $0 }.min() }

  /// Does what is due: keys end, what was scheduled comes.
  mutating func expire(now: Duration) -> Expiry {
    state.expire(now: now)
    var expiry = Expiry()
    while let (key, item) = schedules.next(now: now) {
      switch item {
      case .message(let message): expiry.messages.append(message)
      case .task(let task, let queue):
        do {
          _ = try queues.change(queue) { queue throws(TaskQueueError) in try queue.submit([task], now: now) }
          expiry.queues.insert(queue)
        } catch {
          // What could never be submitted was refused when it was scheduled: the queue is full. It comes when there is room.
          schedules.putBack(key, item, at: now + .seconds(1))
        }
      }
    }
    return expiry
  }

  var hasChanges: Bool {
    queues.hasChanges || state.hasChanges || counters.hasChanges || schedules.hasChanges || blobs.hasChanges
  }

  /// What changed since the last call.
  mutating func takeChanges() -> EngineChanges {
    EngineChanges(
      queues: queues.takeChanges(), state: state.takeChanges(), revision: state.revision,
      counters: counters.takeChanges(), schedules: schedules.takeChanges(), blobs: blobs.takeChanges())
  }
}

/// What a local engine holds at most, and how tasks are tried again.
package struct LocalEngineSettings: Sendable {
  /// Of each queue.
  package var tasks = TaskQueueLimits()
  /// Of each queue.
  package var policy = TaskRetryPolicy()
  /// Of the keys.
  package var state = StateLimits()
  /// Of the blobs.
  package var blobs = BlobLimits()

  /// The settings that hold where nothing else is said.
  package init() {}
}

/// What is to be written down in one transaction. In each part nil says that the thing is gone.
package struct EngineChanges: Sendable {
  /// A blob that changed.
  package struct Blob: Sendable {
    /// Which.
    package var digest: BlobDigest
    /// What is known of it now.
    package var item: BlobTable.Item?
    /// Its bytes, when it is new.
    package var bytes: [UInt8]?
  }

  /// Queues, with their tasks that changed.
  package var queues: [TaskQueueChanges] = []
  /// Keys.
  package var state: [(key: String, item: StateTable.Item?)] = []
  /// The last change of a key.
  package var revision: UInt64 = 0
  /// Counters.
  package var counters: [(name: String, value: Int64?)] = []
  /// What is to come.
  package var schedules: [(key: String, item: ScheduleTable.Item?)] = []
  /// Blobs.
  package var blobs: [Blob] = []
  /// The engine's time, and the time of day that it corresponds to, since 1970.
  package var time = Duration.zero
  package var wall = Duration.zero
  /// Which change this is the last of, as the engine counts them.
  package var sequence: UInt64 = 0
}

/// All that was written down.
package struct EngineSnapshot: Sendable {
  /// What tells the ids of this engine's tasks from those of others.
  package var instance: String
  /// Queues, with all their tasks.
  package var queues: [TaskQueueChanges] = []
  /// Keys.
  package var state: [(key: String, item: StateTable.Item)] = []
  /// The last change of a key.
  package var revision: UInt64 = 0
  /// Counters.
  package var counters: [(name: String, value: Int64)] = []
  /// What is to come.
  package var schedules: [(key: String, item: ScheduleTable.Item)] = []
  /// Blobs, without their bytes.
  package var blobs: [(digest: BlobDigest, item: BlobTable.Item)] = []
  /// The engine's time when it last wrote, and the time of day then, since 1970.
  package var time = Duration.zero
  package var wall = Duration.zero

  /// An engine that has nothing yet.
  package init(instance: String) {
    self.instance = instance
  }
}
