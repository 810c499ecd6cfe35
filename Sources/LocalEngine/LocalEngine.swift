package import CoordinationEngine
import Synchronization
package import TaskQueue

/// An engine in this process: its state is in memory, and with a journal it is written down before anything is acknowledged.
///
/// Verbs change the memory at once, under a lock, and then wait until the journal has written that change, together with all that
/// came while it wrote the ones before: the more callers, the larger the transactions. A reading verb too waits for what it saw, so that
/// nobody learns what a crash takes back. When the journal fails, the memory is thrown away and read anew: what was
/// not acknowledged is forgotten, and callers are told `unavailable`.
package final class LocalEngine: CoordinationEngine {
  let shared: Mutex<Shared>
  let settings: LocalEngineSettings
  let clock: any EngineClock
  /// What writes the changes down; nil: nothing does.
  package let journal: (any EngineJournal)?
  let bus: MessageBus
  /// Wakes `run`, when something is due earlier than it thinks.
  private let timer = Signal()
  /// How long a failed journal is left alone.
  static let pause = Duration.seconds(1)

  struct Shared {
    var core: EngineCore
    /// The engine's time is the clock's plus this.
    var base: Duration
    /// What changed last; verbs wait until it is committed.
    var sequence: UInt64 = 0
    var committed: UInt64 = 0
    /// Counts the times that the memory was thrown away: what was awaited before will not be written.
    var generation: UInt64 = 0
    var commitWaiters: [(sequence: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
    var isCommitting = false
    /// Why the journal doesn't write, and from when on it may be tried again.
    var failure: (error: EngineError, until: Duration)?
    var isRecovering = false
    var isClosed = false
    /// No claim waits any more.
    var isEnding = false
    /// Who waits for tasks, by queue, the first to come first.
    var waiters: [String: [(id: UInt64, signal: Signal)]] = [:]
    var watchers: [UInt64: (prefix: String, signal: Signal)] = [:]
    var nextID: UInt64 = 0
    /// The last change of a key in the last commit that began.
    var takenRevision: UInt64 = 0
    /// The last change of a key that watchers may see.
    var visibleRevision: UInt64 = 0
    var timerDeadline: Duration?
    var generator = SystemRandomNumberGenerator()
  }

  /// Makes an engine that keeps everything in memory.
  package init(settings: LocalEngineSettings = LocalEngineSettings(), clock: any EngineClock = SystemEngineClock()) {
    // 40 bits: no two runs that a worker could take for one another share them.
    let instance = String(UInt64.random(in: 0..<(1 << 40)), radix: 36)
    shared = Mutex(Shared(core: EngineCore(settings, instance: instance), base: .zero))
    self.settings = settings
    self.clock = clock
    journal = nil
    bus = MessageBus(clock: clock)
  }

  /// Makes an engine of what a journal has written down, and writes changes to it from then on.
  package init(
    journal: any EngineJournal, settings: LocalEngineSettings = LocalEngineSettings(),
    clock: any EngineClock = SystemEngineClock()
  ) async throws(EngineError) {
    let saved = try await journal.load()
    let core = EngineCore(settings, restoring: saved)
    var initial = Shared(core: core, base: Self.base(saved, clock))
    initial.visibleRevision = saved.revision
    shared = Mutex(initial)
    self.settings = settings
    self.clock = clock
    self.journal = journal
    bus = MessageBus(clock: clock)
  }

  /// The engine's time went on by the time of day since it last wrote. Where that was set back it stood still: leases last longer
  /// then, and epochs fence whoever is late.
  private static func base(_ saved: EngineSnapshot, _ clock: any EngineClock) -> Duration {
    saved.time + max(.zero, clock.wall - saved.wall) - clock.now
  }

  package var durability: Durability { journal?.durability ?? .memory }
  package var tasks: any TaskEngine { LocalTasks(engine: self) }
  package var state: any StateStore { LocalState(engine: self) }
  package var blobs: any BlobStore { LocalBlobs(engine: self) }
  package var counters: any Counters { LocalCounters(engine: self) }
  package var schedules: any Schedules { LocalSchedules(engine: self) }
  package var messages: any Messages { bus }

  // MARK: The timer and the end

  package func run() async throws {
    while true {
      let deadline = shared.withLock { shared -> Duration?? in
        guard !shared.isClosed else { return .none }
        let deadline = shared.failure == nil ? shared.core.nextDeadline : shared.failure?.until
        shared.timerDeadline = deadline
        return .some(deadline.map { $0 - shared.base })
      }
      guard let deadline else { return }
      if let deadline { try await timer.wait(until: deadline, clock) } else { try await timer.wait() }
      // A journal that fails is tried again by whoever comes, and here.
      do {
        try await perform { core, now in core.nextDeadline.map { $0 <= now } }
      } catch is EngineError {}
    }
  }

  package func close() async {
    let (signals, isFirst) = shared.withLock { shared in
      defer { shared.isClosed = true }
      return (shared.allSignals, !shared.isClosed)
    }
    for signal in signals { signal.signal() }
    timer.signal()
    bus.close()
    if isFirst { await journal?.close() }
  }

  /// Ends all waiting claims.
  func endWaiting() {
    let signals = shared.withLock { shared in
      shared.isEnding = true
      return shared.waiters.values.flatMap { $0.map(\.signal) }
    }
    for signal in signals { signal.signal() }
  }

  // MARK: Verbs

  /// What is to be done after the lock.
  private struct Effects {
    var signals: [Signal] = []
    var messages: [Message] = []
    var commits = false
    var isTimerLate = false
  }

  /// Does a verb on the core, wakes whom it concerns, and waits until what it changed or saw is written. `queues`: those that it concerns.
  @discardableResult
  func perform<Answer: Sendable>(
    queues: Set<String> = [], _ body: (inout EngineCore, Duration) throws -> Answer
  ) async throws -> Answer {
    try await ready()
    let (answer, awaited, effects) = try shared.withLock { shared in
      try Self.perform(&shared, clock, journal != nil, queues, body)
    }
    carryOut(effects)
    if let awaited { try await written(awaited.sequence, awaited.generation) }
    return try answer.get()
  }

  private static func perform<Answer: Sendable>(
    _ shared: inout Shared, _ clock: any EngineClock, _ isWritten: Bool, _ queues: Set<String>,
    _ body: (inout EngineCore, Duration) throws -> Answer
  ) throws -> (
    answer: Result<Answer, any Error>, awaited: (sequence: UInt64, generation: UInt64)?, effects: Effects
  ) {
    if shared.isClosed { throw EngineError.unavailable("the engine is closed: start it again") }
    if let failure = shared.failure { throw failure.error }
    var effects = Effects()
    let now = clock.now + shared.base
    // Only where somebody waits for it.
    let awaited = queues.filter { shared.waiters[$0] != nil }
    let before = awaited.map { shared.core.queues.nextDeadline(of: $0) }
    let expiry = shared.core.expire(now: now)
    // A verb that is refused may have done what was due.
    let answer = Result { try body(&shared.core, now) }
    effects.messages = expiry.messages
    for queue in expiry.queues { effects.signals += shared.wakened(queue) }
    for (queue, before) in zip(awaited, before) {
      let next = shared.core.queues.nextDeadline(of: queue)
      let isEarlier = next.map { next in before.map { next < $0 } ?? true } ?? false
      effects.signals += shared.wakened(queue, hasEarlierDeadline: isEarlier)
    }
    if let deadline = shared.core.nextDeadline, shared.timerDeadline.map({ deadline < $0 }) ?? true {
      shared.timerDeadline = deadline
      effects.isTimerLate = true
    }
    guard isWritten else {
      effects.signals += shared.show(shared.core.state.revision)
      return (answer, nil, effects)
    }
    if shared.core.hasChanges {
      shared.sequence += 1
      if !shared.isCommitting {
        shared.isCommitting = true
        effects.commits = true
      }
    }
    return (answer, shared.sequence > shared.committed ? (shared.sequence, shared.generation) : nil, effects)
  }

  private func carryOut(_ effects: Effects) {
    for signal in effects.signals { signal.signal() }
    for message in effects.messages { bus.deliver(message) }
    if effects.isTimerLate { timer.signal() }
    if effects.commits { commit() }
  }

  // MARK: Writing

  private func commit() {
    journal?.commit(
      { [self] in
        shared.withLock { shared in
          // From here on the next change asks for the next commit.
          shared.isCommitting = false
          guard shared.failure == nil else { return nil }
          var changes = shared.core.takeChanges()
          changes.time = clock.now + shared.base
          changes.wall = clock.wall
          changes.sequence = shared.sequence
          shared.takenRevision = changes.revision
          return changes
        }
      },
      done: { [self] sequence, error in
        if let error { failed(error) } else if let sequence { committed(sequence) }
      })
  }

  private func committed(_ sequence: UInt64) {
    let (waiters, signals) = shared.withLock { shared in
      guard shared.failure == nil else { return ([CheckedContinuation<Void, any Error>](), [Signal]()) }
      shared.committed = max(shared.committed, sequence)
      let waiters = shared.commitWaiters.filter { $0.sequence <= sequence }.map(\.continuation)
      shared.commitWaiters.removeAll { $0.sequence <= sequence }
      return (waiters, shared.show(shared.takenRevision))
    }
    for waiter in waiters { waiter.resume() }
    for signal in signals { signal.signal() }
  }

  private func failed(_ error: EngineError) {
    let (waiters, signals) = shared.withLock { shared in
      shared.failure = (error, clock.now + shared.base + Self.pause)
      shared.generation += 1
      defer { shared.commitWaiters = [] }
      return (shared.commitWaiters.map(\.continuation), shared.allSignals)
    }
    for waiter in waiters { waiter.resume(throwing: error) }
    for signal in signals { signal.signal() }
  }

  /// Waits until a change is written; throws why it isn't. Can't be cancelled: it will be written or not, whoever waits.
  private func written(_ sequence: UInt64, _ generation: UInt64) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let result = shared.withLock { shared -> Result<Void, any Error>? in
        guard shared.generation == generation else {
          return .failure(
            shared.failure?.error
              ?? EngineError.unavailable("the engine couldn't write, and has started anew since: say it again"))
        }
        if shared.committed >= sequence { return .success(()) }
        shared.commitWaiters.append((sequence, continuation))
        return nil
      }
      if let result { continuation.resume(with: result) }
    }
  }

  /// Throws while the journal doesn't write; after a pause reads it anew.
  private func ready() async throws {
    guard let journal else { return }
    let mustRecover = shared.withLock { shared in
      guard let failure = shared.failure, !shared.isRecovering, !shared.isClosed else { return false }
      shared.isRecovering = clock.now + shared.base >= failure.until
      return shared.isRecovering
    }
    guard mustRecover else { return }
    do {
      let saved = try await journal.load()
      let core = EngineCore(settings, restoring: saved)
      shared.withLock { shared in
        shared.core = core
        shared.base = max(shared.base, Self.base(saved, clock))
        shared.committed = shared.sequence
        shared.visibleRevision = saved.revision
        shared.failure = nil
        shared.isRecovering = false
      }
    } catch {
      shared.withLock { shared in
        shared.failure = (error, clock.now + shared.base + Self.pause)
        shared.isRecovering = false
      }
      throw error
    }
  }

  /// A number that this engine gives once.
  func makeID() -> UInt64 {
    shared.withLock { shared in
      shared.nextID += 1
      return shared.nextID
    }
  }
}

extension LocalEngine.Shared {
  /// Lets watchers see the keys up to a revision; gives those whom it concerns.
  mutating func show(_ revision: UInt64) -> [Signal] {
    guard revision > visibleRevision else { return [] }
    defer { visibleRevision = revision }
    guard !watchers.isEmpty else { return [] }
    let keys = core.state.keysChanged(after: visibleRevision)
    return watchers.values.filter { watcher in keys.contains { $0.hasPrefix(watcher.prefix) } }.map(\.signal)
  }

  /// Who is to look for tasks of a queue: as many as there are tasks, the first to come first. When something is due earlier than
  /// before the first, who alone waits for that.
  func wakened(_ queue: String, hasEarlierDeadline: Bool = false) -> [Signal] {
    guard let waiting = waiters[queue] else { return [] }
    let count = max(core.queues.claimable(in: queue), hasEarlierDeadline ? 1 : 0)
    return waiting.prefix(count).map(\.signal)
  }

  /// Everybody who waits.
  var allSignals: [Signal] { waiters.values.flatMap { $0.map(\.signal) } + watchers.values.map(\.signal) }
}
