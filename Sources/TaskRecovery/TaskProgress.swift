import CoordinationCore
package import CoordinationEngine
package import PayloadCompression
package import TaskQueue

/// Where a task stands, kept in its engine: steps with their answers, and checkpoints.
///
/// What counts is what the queue's head of the task names (`RecoveryReference`). It moves by compare-and-set, and the store takes it only from
/// the task's last claim and while its lease runs; records that it doesn't name are nobody's. So a worker that lost its task can't write into it, and of two that
/// resume from one checkpoint the second is told.
package actor TaskProgress {
  /// How it works.
  package struct Settings: Sendable {
    /// Bytes of a state at most.
    package var stateBytes = 64 << 20
    /// Bytes of an answer at most.
    package var answerBytes = 16 << 20
    /// How long records are kept when nobody removes them: the task's worker does when the task is done.
    package var retention = Duration.seconds(30 * 86_400)
    /// Checkpoints whose later answers are kept: going so far back repeats no call.
    package var answeredCheckpoints = 4
    /// Pauses while the store is away, from the first to the longest.
    package var pauses = Duration.milliseconds(100)...Duration.seconds(5)

    /// The settings that hold where nothing else is said.
    package init() {}
  }

  /// A call that a step makes.
  package struct Call: Hashable, Sendable {
    /// Names the call for whoever must not do it twice: the same for each attempt and each claim.
    package var idempotencyKey: String
    /// Whether an earlier claim may have made it.
    package var isRepeat: Bool
  }

  /// A checkpoint that was read.
  package struct Restored: Hashable, Sendable {
    /// Its number, from 1.
    package var step: UInt64
    /// The agent's bytes.
    package var state: [UInt8]
    /// Newer checkpoints that could not be read, and were passed over.
    package var damaged: Int
  }

  /// What was counted.
  package struct Counts: Hashable, Sendable {
    /// Steps whose recorded answer was given.
    package var replayed = 0
    /// Steps that were made.
    package var made = 0
    /// Those of them that an earlier claim may have made.
    package var repeated = 0
    /// Checkpoints written.
    package var checkpoints = 0
    /// Their bytes.
    package var checkpointBytes = 0
    /// Checkpoints and answers that couldn't be read.
    package var damaged = 0
  }

  struct Opened {
    var reference = RecoveryReference()
    /// The step of the queue's head; nil before the first.
    var version: UInt64?
    var chain: CheckpointChain
    var journal: StepJournal
    /// What the next checkpoint is packed against.
    var base: CheckpointPacker.Snapshot?
    var restored: Restored?
    var isRestored = false
    /// Records of answers by their place.
    var answers: [UInt64: String] = [:]
    /// The parent of each checkpoint that is stored; nil for one that stands by itself.
    var frames: [Digest256: Digest256?] = [:]
    /// The places at which the last checkpoints were made.
    var bases: [UInt64] = []
  }

  let ticket: TaskTicket
  let engine: any CoordinationEngine
  let clock: any RecoveryClock
  let settings: Settings
  let keys: RecoveryKeys
  let packer: CheckpointPacker
  private let head: CheckpointHead?
  private var opened: Opened?
  private var work: String?
  /// What happened so far.
  package internal(set) var counts = Counts()

  /// The progress of a claim. Nothing is read before the first question.
  package init(
    ticket: TaskTicket, head: CheckpointHead?, engine: any CoordinationEngine, codec: PayloadCodec,
    clock: any RecoveryClock = SystemRecoveryClock(), settings: Settings = Settings()
  ) {
    (self.ticket, self.head, self.engine, self.clock, self.settings) = (ticket, head, engine, clock, settings)
    keys = RecoveryKeys(ticket.id)
    packer = CheckpointPacker(codec: codec, limit: settings.stateBytes)
  }

  // MARK: Verbs

  /// Takes a step: its answer is that of an earlier claim where one was recorded, else what `call` gives; then it is recorded. The intent is
  /// recorded before the call, so that a crash repeats the call under way and no other.
  ///
  /// - Parameter request: what the step asks for, such as its name: it must be the same each time.
  /// - Throws: what `call` throws (the next attempt has the same key), `RecoveryError`, `CancellationError`.
  package func step(
    _ name: String, request: [UInt8], _ call: @Sendable (Call) async throws -> [UInt8]
  ) async throws -> [UInt8] {
    try await alone("step \(name)") {
      var now = try await open()
      if let checkpoint = now.reference.checkpoint, !now.isRestored {
        throw RecoveryError.notRestored(step: checkpoint.step)
      }
      var effects = try tell(&now, .call(Digest256(of: request)), name)
      while true {
        switch effects.first {
        case .deliver(let answer):
          counts.replayed += 1
          opened = now
          return answer
        case .record(let entry):
          guard case .intent(let digest) = entry.kind else { throw RecoveryError.store("a step without an intent") }
          now.reference.intent = digest
          try await move(&now)
          opened = now
          effects = try tell(&now, .recorded, name)
        case .perform(let key, let isRepeat):
          opened = now
          return try await perform(Call(idempotencyKey: key, isRepeat: isRepeat), name, &now, call)
        case nil: throw RecoveryError.store("a step without an effect")
        }
      }
    }
  }

  /// Writes a checkpoint: stored, read back, unpacked and compared; then the head moves.
  ///
  /// - Returns: its number.
  /// - Throws: `RecoveryError`, `CancellationError`. What was before stays then.
  @discardableResult
  package func checkpoint(_ state: [UInt8]) async throws -> UInt64 {
    guard state.count <= settings.stateBytes else {
      throw RecoveryError.tooLarge(what: "state", bytes: state.count, limit: settings.stateBytes)
    }
    return try await alone("a checkpoint") {
      var now = try await open()
      try await write(CheckpointPacker.Snapshot(base: now.journal.sequence, state: state), &now)
      opened = now
      return now.reference.checkpoint?.step ?? 0
    }
  }

  /// The newest checkpoint that can be read; nil when there is none. Steps go on after it.
  package func restore() async throws -> Restored? {
    try await alone("restore") {
      var now = try await open()
      now.isRestored = true
      opened = now
      return now.restored
    }
  }

  /// Goes back behind the newest checkpoint, to the last good one before it, for good: steps since are forgotten and made again, under new keys.
  ///
  /// - Throws: `RecoveryError.noCheckpoint` when there is none before it; what was stays then.
  package func rollBack() async throws -> Restored {
    try await alone("a rollback") {
      var now = try await open()
      guard let head = now.reference.checkpoint, let first = head.history.first else {
        throw RecoveryError.noCheckpoint(tried: now.reference.checkpoint == nil ? 0 : 1)
      }
      let older = CheckpointChain.Head(
        digest: first, epoch: head.epoch, step: head.step, history: Array(head.history.dropFirst()))
      let found = try await load(older, &now)
      var reference = now.reference
      reference.checkpoint = older
      reference.rollbacks += 1
      reference.recorded = found.snapshot.base
      (reference.tail, reference.intent) = (.none, nil)
      (now.reference, now.answers) = (reference, [:])
      now.chain = try chain(older, found.restoration)
      now.journal = try journal(reference, base: found.snapshot.base, [])
      try await move(&now)
      (now.restored, now.isRestored, now.base) = (found.restored, true, found.snapshot)
      opened = now
      return found.restored
    }
  }

  /// Removes what is kept of the task, once it is done. What can't be removed ends after `Settings.retention`.
  package func finish() async {
    guard head != nil || opened != nil else { return }
    guard let entries = try? await engine.state.list(keys.prefix).entries, !entries.isEmpty else { return }
    var deletes = entries.map { StateChange.delete(key: $0.key) }
    while !deletes.isEmpty {
      let part = deletes.prefix(engine.state.limits.batchChanges)
      _ = try? await engine.state.batch(Array(part))
      deletes.removeFirst(part.count)
    }
  }

  // MARK: One at a time

  /// Steps and checkpoints come one after another: their order is what a resumed task goes by.
  private func alone<Result>(_ name: String, _ body: () async throws -> Result) async throws -> Result {
    guard work == nil else { throw RecoveryError.concurrent(name) }
    work = name
    defer { work = nil }
    return try await body()
  }

  private func open() async throws -> Opened {
    if let opened { return opened }
    let made = try await read(head)
    opened = made
    return made
  }

  private func perform(
    _ made: Call, _ name: String, _ now: inout Opened, _ call: @Sendable (Call) async throws -> [UInt8]
  ) async throws -> [UInt8] {
    counts.made += 1
    if made.isRepeat { counts.repeated += 1 }
    let answer: [UInt8]
    do {
      answer = try await call(made)
      guard answer.count <= settings.answerBytes else {
        throw RecoveryError.tooLarge(what: "answer of step \(name)", bytes: answer.count, limit: settings.answerBytes)
      }
    } catch {
      _ = try tell(&now, .failed, name)
      opened = now
      throw error
    }
    let effects = try tell(&now, .answered(answer), name)
    guard case .record(let entry)? = effects.first else { throw RecoveryError.store("an answer without a record") }
    try await record(entry, answer, &now)
    _ = try tell(&now, .recorded, name)
    opened = now
    return answer
  }

  private func tell(
    _ now: inout Opened, _ event: StepJournal.Event, _ name: String
  ) throws(RecoveryError) -> [StepJournal.Effect] {
    do throws(StepJournal.Failure) {
      return try now.journal.handle(event)
    } catch {
      switch error {
      case .diverged(let sequence, _, _):
        throw .diverged("step \(name) comes where another one was recorded, as number \(sequence)")
      case .fenced: throw .superseded("\(error)")
      case .broken, .unexpected: throw .store("\(error)")
      }
    }
  }
}
