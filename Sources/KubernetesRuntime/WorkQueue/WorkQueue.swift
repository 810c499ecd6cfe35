package import KubernetesCore

/// The state of a keyed work queue: which keys wait, which are delayed, and which are being worked on.
///
/// The promises that callers build on, whatever the order of calls:
/// - A key is handed out to one worker at a time.
/// - A key added while it is worked on is handed out again afterwards: no change is lost.
/// - A key waits at most once, however often it is added; keys come out in the order in which they became ready.
/// - Delays mean "no later than": of several deadlines of a key the earliest counts, and adding it at once overrides all.
///
/// The queue holds at most `Configuration.maximumKeys` keys. Pure: no clock, no randomness.
package struct WorkQueue<Key: Hashable & Sendable>: Sendable {
  /// The limits of a queue.
  package struct Configuration: Hashable, Sendable {
    /// The most keys that the queue knows at the same time; further ones are refused.
    package var maximumKeys: Int
    /// The delays after failures of a key.
    package var backoff: Backoff

    /// Makes a configuration; the defaults are for a controller with up to 100,000 objects.
    package init(
      maximumKeys: Int = 100_000, backoff: Backoff = Backoff(base: .milliseconds(100), cap: .seconds(300))
    ) {
      self.maximumKeys = maximumKeys
      self.backoff = backoff
    }
  }

  /// What became of an added key.
  package enum Admission: Hashable, Sendable {
    /// It waits now and didn't before.
    case accepted
    /// It waited already, or was due earlier than asked.
    case merged
    /// The queue is full or closed; the caller must add the key again later (a resync does).
    case refused
  }

  /// What a worker should do.
  package enum Next: Hashable, Sendable {
    /// Work on this key, then call `finish`.
    case work(Key)
    /// Nothing is ready; look again at the time given, or when a key is added.
    case wait(until: MonotonicTime?)
    /// The queue is closed: stop.
    case stop
  }

  private enum Phase {
    /// Delayed until a deadline; exits: queued (due, or added).
    case delayed
    /// In the FIFO since a moment; exits: processing.
    case queued(since: MonotonicTime)
    /// With a worker since a moment; exits: queued, delayed, forgotten.
    case processing(since: MonotonicTime)
    /// Not waiting, kept only for its count of failures; exits: queued, delayed, forgotten.
    case idle
  }

  private struct Entry {
    var phase: Phase
    /// Added while being worked on.
    var isDirty = false
    /// The earliest moment asked for while delayed or being worked on.
    var deadline: MonotonicTime?
    var failures = 0
  }

  private let configuration: Configuration
  private var entries: [Key: Entry] = [:]
  private var ready = FIFO<Key>()
  private var delays = DeadlineHeap<Key>()
  private var isClosed = false
  private var counters = WorkQueueMetrics()
  private var delayedCount = 0
  private var processing: [Key: MonotonicTime] = [:]

  /// Makes an empty queue.
  package init(_ configuration: Configuration = Configuration()) {
    self.configuration = configuration
  }

  /// Adds `key`, to be worked on as soon as a worker is free.
  package mutating func add(_ key: Key, now: MonotonicTime) -> Admission {
    guard let admitted = admit(key) else { return .refused }
    var entry = admitted
    counters.adds += 1
    switch entry.phase {
    case .queued:
      counters.merged += 1
      return .merged
    case .processing:
      let wasDirty = entry.isDirty
      entry.isDirty = true
      entries[key] = entry
      if wasDirty { counters.merged += 1 }
      return wasDirty ? .merged : .accepted
    case .delayed, .idle:
      if case .delayed = entry.phase { delayedCount -= 1 }
      entry.phase = .queued(since: now)
      entry.deadline = nil
      entries[key] = entry
      ready.append(key)
      return .accepted
    }
  }

  /// Adds `key`, to be worked on at `deadline` at the latest.
  package mutating func add(_ key: Key, notLaterThan deadline: MonotonicTime, now: MonotonicTime) -> Admission {
    if deadline <= now { return add(key, now: now) }
    guard let admitted = admit(key) else { return .refused }
    var entry = admitted
    counters.adds += 1
    switch entry.phase {
    case .queued:
      counters.merged += 1
      return .merged
    case .processing, .delayed:
      if let earlier = entry.deadline, earlier <= deadline {
        counters.merged += 1
        return .merged
      }
      entry.deadline = deadline
      entries[key] = entry
      if case .delayed = entry.phase { pushDelay(deadline, key) }
      return .accepted
    case .idle:
      entry.phase = .delayed
      entry.deadline = deadline
      entries[key] = entry
      delayedCount += 1
      pushDelay(deadline, key)
      return .accepted
    }
  }

  private mutating func admit(_ key: Key) -> Entry? {
    if isClosed {
      counters.refused += 1
      return nil
    }
    if let entry = entries[key] { return entry }
    guard entries.count < configuration.maximumKeys else {
      counters.refused += 1
      return nil
    }
    return Entry(phase: .idle)
  }

  /// The next thing for a free worker to do.
  package mutating func next(now: MonotonicTime) -> Next {
    if isClosed { return .stop }
    promoteDueKeys(now: now)
    guard let key = ready.popFirst(), var entry = entries[key] else { return .wait(until: nextDeadline) }
    if case .queued(let since) = entry.phase {
      let wait = now - since
      counters.started += 1
      counters.waitTotal += wait
      counters.waitMaximum = max(counters.waitMaximum, wait)
    }
    entry.phase = .processing(since: now)
    entry.isDirty = false
    entry.deadline = nil
    entries[key] = entry
    processing[key] = now
    return .work(key)
  }

  /// The earliest moment at which a delayed key becomes ready.
  package var nextDeadline: MonotonicTime? { delays.first }

  /// Moves delayed keys whose deadline has come to the end of the queue; afterwards `nextDeadline` lies ahead.
  package mutating func promoteDueKeys(now: MonotonicTime) {
    while let due = delays.popFirst(notLaterThan: now) {
      guard var entry = entries[due.key], case .delayed = entry.phase, entry.deadline == due.deadline else { continue }
      // Its wait counts from the deadline: the delay before it was asked for.
      entry.phase = .queued(since: due.deadline)
      entry.deadline = nil
      entries[due.key] = entry
      delayedCount -= 1
      ready.append(due.key)
    }
    discardStaleDelays()
  }

  /// Takes keys off the heap's top that have been queued otherwise, so that `nextDeadline` tells a real deadline.
  private mutating func discardStaleDelays() {
    while let top = delays.top {
      if let entry = entries[top.key], case .delayed = entry.phase, entry.deadline == top.deadline { return }
      delays.removeTop()
    }
  }

  private mutating func pushDelay(_ deadline: MonotonicTime, _ key: Key) {
    delays.push(deadline, key)
    // Overridden deadlines stay in the heap until they come up; rebuilding keeps it within twice the live ones.
    if delays.count > 2 * delayedCount + 64 {
      var rebuilt = DeadlineHeap<Key>()
      for item in delays.items {
        if let entry = entries[item.key], case .delayed = entry.phase, entry.deadline == item.deadline {
          rebuilt.push(item.deadline, item.key)
        }
      }
      delays = rebuilt
    }
  }

  /// Ends the work on `key` that `next` handed out; `random` feeds the jitter of a retry.
  package mutating func finish(_ key: Key, _ outcome: WorkOutcome, now: MonotonicTime, random: UInt64) {
    guard var entry = entries[key], case .processing(let since) = entry.phase else { return }
    processing[key] = nil
    counters.completed += 1
    counters.workTotal += now - since
    switch outcome {
    case .done:
      entry.failures = 0
    case .requeue(let delay):
      entry.failures = 0
      entry.deadline = earlier(entry.deadline, now + delay)
    case .retry(let asked):
      entry.failures += 1
      counters.retries += 1
      let delay = max(configuration.backoff.delay(failures: entry.failures, random: random), asked ?? .zero)
      entry.deadline = earlier(entry.deadline, now + delay)
    }
    if entry.isDirty || entry.deadline.map({ $0 <= now }) == true {
      entry.isDirty = false
      entry.deadline = nil
      entry.phase = .queued(since: now)
      entries[key] = entry
      ready.append(key)
    } else if let deadline = entry.deadline {
      entry.phase = .delayed
      entries[key] = entry
      delayedCount += 1
      pushDelay(deadline, key)
    } else {
      entries[key] = nil
    }
  }

  /// Forgets that `key` waits and how often it failed, for an object that is gone; work in progress goes on.
  package mutating func forget(_ key: Key) {
    guard var entry = entries[key] else { return }
    switch entry.phase {
    case .processing:
      entry.failures = 0
      entry.isDirty = false
      entry.deadline = nil
      entries[key] = entry
    case .queued:
      ready.remove(key)
      entries[key] = nil
    case .delayed:
      delayedCount -= 1
      entries[key] = nil
      discardStaleDelays()
    case .idle:
      entries[key] = nil
    }
  }

  /// Refuses further keys and tells workers to stop; waiting keys are dropped, which level-triggered work survives.
  package mutating func close() { isClosed = true }

  /// The queue's numbers now.
  package func metrics(now: MonotonicTime) -> WorkQueueMetrics {
    var metrics = counters
    metrics.depth = ready.count
    metrics.delayed = delayedCount
    metrics.processing = processing.count
    if let first = ready.first, case .queued(let since)? = entries[first]?.phase { metrics.oldestWait = now - since }
    metrics.longestRunning = processing.values.min().map { now - $0 }
    return metrics
  }
}

/// How the work on a key ended.
package enum WorkOutcome: Hashable, Sendable {
  /// Nothing more to do until the key is added again.
  case done
  /// It went well; look again after this time at the latest.
  case requeue(after: Duration)
  /// It failed; try again after the queue's back-off, and not before the given time (a server's Retry-After).
  case retry(after: Duration?)
}

/// The numbers of a work queue, for metrics; totals count from the queue's beginning.
package struct WorkQueueMetrics: Hashable, Sendable {
  /// Keys that are ready and wait for a worker.
  package var depth = 0
  /// Keys that wait for a deadline.
  package var delayed = 0
  /// Keys that are worked on.
  package var processing = 0
  /// How long the first key in the queue has waited.
  package var oldestWait: Duration?
  /// How long the slowest work in progress has run.
  package var longestRunning: Duration?
  /// Additions that were not refused.
  package var adds = 0
  /// Additions of keys that waited already.
  package var merged = 0
  /// Additions refused because the queue was full or closed.
  package var refused = 0
  /// Keys handed to workers.
  package var started = 0
  /// Keys that workers finished.
  package var completed = 0
  /// Work that ended in a retry.
  package var retries = 0
  /// The sum of the times from ready to handed out.
  package var waitTotal = Duration.zero
  /// The longest time from ready to handed out.
  package var waitMaximum = Duration.zero
  /// The sum of the times from handed out to finished.
  package var workTotal = Duration.zero

  /// Makes zeroes.
  package init() {}
}

private func earlier(_ one: MonotonicTime?, _ other: MonotonicTime) -> MonotonicTime {
  one.map { min($0, other) } ?? other
}
