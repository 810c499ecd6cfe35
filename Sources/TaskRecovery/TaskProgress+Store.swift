import CoordinationCore
import CoordinationEngine
import MessageFrames
import TaskQueue

/// What stands in the store.
extension TaskProgress {
  struct Found {
    var restored: Restored
    var snapshot: CheckpointPacker.Snapshot
    var restoration: CheckpointChain.Restoration
  }

  // MARK: Reading

  /// Reads what the head names.
  func read(_ head: CheckpointHead?) async throws -> Opened {
    guard let head else {
      return Opened(chain: try chain(nil, nil), journal: try journal(RecoveryReference(), base: 0, []))
    }
    guard let reference = RecoveryReference(head.reference) else {
      throw RecoveryError.store(
        "the task's checkpoint was made by something else than this library, at step \(head.step)")
    }
    var opened = Opened(
      reference: reference, version: head.step, chain: try chain(nil, nil),
      journal: try journal(RecoveryReference(), base: 0, []))
    var base: UInt64 = 0
    if let checkpoint = reference.checkpoint {
      let found = try await load(checkpoint, &opened)
      (opened.restored, opened.base, base) = (found.restored, found.snapshot, found.snapshot.base)
      opened.chain = try chain(checkpoint, found.restoration)
    }
    opened.journal = try journal(reference, base: base, try await answers(reference, from: base, &opened))
    return opened
  }

  /// The last good checkpoint at or before a head.
  func load(_ head: CheckpointChain.Head, _ opened: inout Opened) async throws -> Found {
    var loaded: [Digest256: [UInt8]] = [:]
    let entries = try await insist { try await self.engine.state.list(self.keys.checkpoints).entries }
    for entry in entries {
      guard let digest = BlobDigest(entry.key.dropFirst(keys.checkpoints.count)),
        let name = Digest256(bytes: digest.bytes)
      else { continue }
      loaded[name] = entry.value
      // What is there and of no use any more is removed with the next checkpoint.
      let frame = try? CheckpointFrame(decoding: entry.value, limit: UInt64(packer.limit) + 8)
      opened.frames[name] = .some(frame?.kind == .delta ? frame?.parent : nil)
    }
    var passed: Set<Digest256> = []
    var candidates = [head.digest] + head.history
    while let candidate = candidates.first {
      var (part, missing) = (head, Set<Digest256>())
      (part.digest, part.history) = (candidate, [])
      let found = try? CheckpointChain.restore(part, limit: UInt64(packer.limit) + 8) { digest in
        if loaded[digest] == nil { missing.insert(digest) }
        return loaded[digest]
      }
      // Large ones lie among the blobs.
      if found == nil, let large = missing.first(where: { !passed.contains($0) }) {
        passed.insert(large)
        if let digest = BlobDigest(bytes: large.bytes) { loaded[large] = try await blob(digest) }
        continue
      }
      if let found, let snapshot = unpack(found.frames) {
        for frame in found.frames {
          opened.frames[Digest256(of: frame.encoded)] = .some(frame.kind == .delta ? frame.parent : nil)
        }
        let damaged = 1 + head.history.count - candidates.count
        counts.damaged += damaged
        return Found(
          restored: Restored(step: found.step, state: snapshot.state, damaged: damaged), snapshot: snapshot,
          restoration: found)
      }
      candidates.removeFirst()
    }
    throw RecoveryError.noCheckpoint(tried: head.history.count + 1)
  }

  private func unpack(_ frames: [CheckpointFrame]) -> CheckpointPacker.Snapshot? {
    var snapshot: CheckpointPacker.Snapshot?
    for frame in frames {
      guard let next = try? packer.unpack(frame, base: snapshot) else { return nil }
      snapshot = next
    }
    return snapshot
  }

  /// A blob's bytes; nil when it isn't there or isn't what was put.
  private func blob(_ digest: BlobDigest) async throws -> [UInt8]? {
    do {
      return try await insist { try await self.engine.blobs.get(digest) }
    } catch RecoveryError.store {
      return nil
    }
  }

  /// The answers from a place on, up to the first that can't be read: that call and those after it are made again.
  private func answers(
    _ reference: RecoveryReference, from base: UInt64, _ opened: inout Opened
  ) async throws -> [StepJournal.Entry] {
    var newest: [UInt64: (key: String, bytes: [UInt8], record: AnswerRecord)] = [:]
    for entry in try await insist({ try await self.engine.state.list(self.keys.answers).entries }) {
      guard let record = AnswerRecord(entry.value) else { continue }
      opened.answers[record.sequence] = entry.key
      // Of several claims' records of one place the last claim's counts: whoever could still write it found the place empty.
      if let other = newest[record.sequence], other.record.epoch > record.epoch { continue }
      newest[record.sequence] = (entry.key, entry.value, record)
    }
    var entries: [StepJournal.Entry] = []
    var (tail, place): (Digest256?, UInt64) = (nil, base)
    while place < reference.recorded, let found = newest[place], found.record.sequence == place,
      tail == nil || found.record.parent == tail, let answer = try await answer(found.record)
    {
      let digest = Digest256(of: found.bytes)
      if place + 1 == reference.recorded, digest != reference.tail { break }
      // The next one tells whether this one is whole.
      if place + 1 < reference.recorded, newest[place + 1]?.record.parent != digest { break }
      tail = digest
      entries += [
        .init(sequence: place, epoch: found.record.epoch, kind: .intent(found.record.request)),
        .init(sequence: place, epoch: found.record.epoch, kind: .response(answer)),
      ]
      place += 1
    }
    if place == reference.recorded, let intent = reference.intent {
      entries.append(.init(sequence: place, epoch: 0, kind: .intent(intent)))
    }
    if place < reference.recorded { counts.damaged += Int(clamping: reference.recorded - place) }
    (opened.reference.recorded, opened.reference.tail) = (place, tail ?? (place == base ? reference.tail : .none))
    return entries
  }

  private func answer(_ record: AnswerRecord) async throws -> [UInt8]? {
    switch record.answer {
    case .bytes(let bytes): return bytes
    case .blob(let digest): return try await BlobDigest(bytes: digest).asyncFlatMap { try await blob($0) }
    }
  }

  func chain(
    _ head: CheckpointChain.Head?, _ restored: CheckpointChain.Restoration?
  ) throws(RecoveryError) -> CheckpointChain {
    do throws(CheckpointChain.Failure) {
      return try CheckpointChain(epoch: ticket.epoch, head: head, restored: restored)
    } catch {
      throw .superseded("\(error)")
    }
  }

  func journal(
    _ reference: RecoveryReference, base: UInt64, _ entries: [StepJournal.Entry]
  ) throws(RecoveryError) -> StepJournal {
    // Calls that are made again after a rollback are other calls than those before it.
    let task = reference.rollbacks == 0 ? "\(ticket.id)" : "\(ticket.id)~\(reference.rollbacks)"
    do throws(StepJournal.Failure) {
      return try StepJournal(task: task, epoch: ticket.epoch, base: base, recovered: entries)
    } catch {
      throw .superseded("\(error)")
    }
  }

  // MARK: Writing

  /// Writes an answer, and names it.
  func record(_ entry: StepJournal.Entry, _ answer: [UInt8], _ now: inout Opened) async throws {
    var record = AnswerRecord(
      sequence: entry.sequence, epoch: ticket.epoch, parent: now.reference.tail,
      request: now.reference.intent ?? .none, answer: .bytes(answer))
    if AnswerRecord.headerBytes + answer.count > engine.state.limits.valueBytes {
      record.answer = .blob(try await insist { try await self.engine.blobs.put(answer) }.bytes)
    }
    let (bytes, key) = (record.encoded, keys.answer(entry.sequence, epoch: ticket.epoch))
    try await insist { _ = try await self.engine.state.put(key, bytes, ttl: self.settings.retention) }
    now.answers[entry.sequence] = key
    now.reference.tail = Digest256(of: bytes)
    now.reference.recorded = entry.sequence + 1
    now.reference.intent = nil
    try await move(&now)
  }

  /// Writes a checkpoint: stored, read back, unpacked, compared, named.
  func write(_ snapshot: CheckpointPacker.Snapshot, _ now: inout Opened) async throws {
    let packed = packer.pack(snapshot, base: now.chain.needsFull ? nil : now.base)
    let (frame, next): (CheckpointFrame, CheckpointChain.Head)
    do {
      frame = try now.chain.frame(
        step: (now.reference.checkpoint?.step ?? 0) + 1, codec: packed.codec, dictionary: packed.dictionary,
        isDelta: packed.isDelta, inflatedLength: UInt64(snapshot.state.count + 8), payload: packed.payload)
      let readBack = try await store(frame)
      next = try now.chain.headAfter(frame, readBack: readBack)
      // What was stored as it was packed may have been packed wrong.
      let decoded = try CheckpointFrame(decoding: readBack, limit: UInt64(packer.limit) + 8)
      guard try packer.unpack(decoded, base: packed.isDelta ? now.base : nil) == snapshot else {
        throw RecoveryError.damaged("it unpacks to another state")
      }
    } catch let error as CheckpointChain.Failure {
      throw RecoveryError.damaged("\(error)")
    } catch let error as CheckpointFrame.Failure {
      throw RecoveryError.damaged("\(error)")
    } catch let error as FrameError {
      throw RecoveryError.damaged("\(error)")
    }
    var moved = now
    moved.reference.checkpoint = next
    moved.reference.intent = nil
    try await move(&moved)
    moved.chain.moved(to: next, isDelta: packed.isDelta)
    moved.base = snapshot
    moved.isRestored = true
    moved.frames[next.digest] = .some(packed.isDelta ? frame.parent : nil)
    moved.bases.append(snapshot.base)
    now = moved
    counts.checkpoints += 1
    counts.checkpointBytes += frame.payload.count
    await tidy(&now)
  }

  /// Stores a frame under its digest; gives what the store has then.
  private func store(_ frame: CheckpointFrame) async throws -> [UInt8] {
    let bytes = frame.encoded
    guard bytes.count > engine.state.limits.valueBytes else {
      let key = keys.checkpoint(Digest256(of: bytes))
      try await insist { _ = try await self.engine.state.put(key, bytes, ttl: self.settings.retention) }
      return try await insist { try await self.engine.state.get(key)?.value ?? [] }
    }
    let digest = try await insist { try await self.engine.blobs.put(bytes) }
    return try await insist { try await self.engine.blobs.get(digest) }
  }

  /// Moves the head to what is said now.
  func move(_ now: inout Opened) async throws {
    let head = CheckpointHead(step: (now.version ?? 0) + 1, reference: now.reference.encoded)
    let before = now.version
    try await insist { try await self.engine.tasks.checkpoint(self.ticket, head, replacing: before) }
    now.version = head.step
  }

  /// Removes what no checkpoint needs any more. What fails ends by its time.
  private func tidy(_ now: inout Opened) async {
    var live: Set<Digest256> = []
    for digest in now.reference.checkpoint.map({ [$0.digest] + $0.history.prefix(RecoveryReference.history) }) ?? [] {
      var next: Digest256? = digest
      while let digest = next, live.insert(digest).inserted { next = now.frames[digest] ?? nil }
    }
    let dead = now.frames.keys.filter { !live.contains($0) }
    var changes = dead.map { StateChange.delete(key: keys.checkpoint($0)) }
    for digest in dead { now.frames[digest] = nil }
    if now.bases.count > settings.answeredCheckpoints {
      now.bases.removeFirst(now.bases.count - settings.answeredCheckpoints)
      let first = now.bases[0]
      for (place, key) in now.answers where place < first {
        changes.append(.delete(key: key))
        now.answers[place] = nil
      }
    }
    guard !changes.isEmpty else { return }
    _ = try? await engine.state.batch(Array(changes.prefix(engine.state.limits.batchChanges)))
  }

  // MARK: A store that is away

  /// Says something until the store has heard it. What it refuses then it refuses for good.
  func insist<Answer: Sendable>(_ verb: @Sendable () async throws -> Answer) async throws -> Answer {
    var pause = settings.pauses.lowerBound
    while true {
      do {
        return try await verb()
      } catch EngineError.unavailable {
      } catch TaskQueueError.unavailable {
      } catch let error as TaskQueueError {
        switch error {
        case .staleTicket, .checkpointConflict, .unknownTask: throw RecoveryError.superseded("\(error)")
        default: throw RecoveryError.store("\(error)")
        }
      } catch let error as EngineError {
        throw RecoveryError.store("\(error)")
      }
      try await clock.sleep(until: clock.now + pause)
      pause = min(pause * 2, settings.pauses.upperBound)
    }
  }
}

extension Optional where Wrapped: Sendable {
  func asyncFlatMap<Result>(_ body: (Wrapped) async throws -> Result?) async throws -> Result? {
    guard let self else { return nil }
    return try await body(self)
  }
}
