/// What a task has done outside, call by call: the intent is written before the call, the response after it.
///
/// Whoever resumes the task runs its code again; calls with a recorded response get it without being made, so a crash repeats at most the
/// one call that was under way, under the same idempotency key. Pure: the shell writes entries and makes calls.
package struct StepJournal: Sendable {
  /// A line of the journal.
  package struct Entry: Hashable, Sendable {
    /// Its place, from 0; two entries never have the same place and kind.
    package var sequence: UInt64
    /// The claim that wrote it.
    package var epoch: UInt64
    /// What it says.
    package var kind: Kind

    /// Puts an entry together.
    package init(sequence: UInt64, epoch: UInt64, kind: Kind) {
      self.sequence = sequence
      self.epoch = epoch
      self.kind = kind
    }
  }

  /// What an entry says.
  package enum Kind: Hashable, Sendable {
    /// A call with this digest of its request is about to be made.
    case intent(Digest256)
    /// It was answered.
    case response([UInt8])
  }

  /// What the task and the store say.
  package enum Event: Hashable, Sendable {
    /// The task wants to make a call.
    case call(Digest256)
    /// The store has the entry that was to be written.
    case recorded
    /// The call was answered.
    case answered([UInt8])
    /// The call failed without effect and may be made again.
    case failed
  }

  /// What the shell does.
  package enum Effect: Hashable, Sendable {
    /// Writes an entry; the store refuses it when a later epoch has written.
    case record(Entry)
    /// Makes the call. `isRepeat` is whether an earlier claim may have made it: its tokens count as repeated.
    case perform(key: String, isRepeat: Bool)
    /// Gives the task its answer.
    case deliver([UInt8])
  }

  /// Why the journal can't go on.
  package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The task makes another call than the one that was recorded: its code isn't deterministic, or is another version.
    case diverged(sequence: UInt64, recorded: Digest256, wanted: Digest256)
    /// A later claim has written.
    case fenced(epoch: UInt64, current: UInt64)
    /// The entries don't follow each other.
    case broken(sequence: UInt64)
    /// An event that can't come now: the shell is wrong.
    case unexpected

    package var description: String {
      switch self {
      case .diverged(let sequence, let recorded, let wanted):
        "call \(sequence) was recorded as \(recorded) and is now \(wanted): the task's code must make the same calls again, so start it anew or run the version of before"
      case .fenced(let epoch, let current): "epoch \(epoch) no longer holds, \(current) does: stop working on the task"
      case .broken(let sequence): "the journal has a gap at call \(sequence): begin at an older checkpoint"
      case .unexpected: "the journal was told something that can't be now"
      }
    }
  }

  private enum Phase: Hashable, Sendable {
    /// The task computes. Exits: `recordingIntent`, `calling`.
    case idle
    /// Exits: `calling`.
    case recordingIntent(isRepeat: Bool)
    /// Exits: `recordingResponse`, `idle`.
    case calling
    /// Exits: `idle`.
    case recordingResponse([UInt8])
  }

  private let task: String
  private let epoch: UInt64
  private var phase = Phase.idle
  private var entries: [(request: Digest256, response: [UInt8]?, isOwn: Bool)] = []
  /// The first call that isn't behind the checkpoint.
  private let base: UInt64
  private var position = 0

  /// The journal of a claim: `recovered` is what the store holds from `base` on, the first call after the checkpoint.
  package init(task: String, epoch: UInt64, base: UInt64 = 0, recovered: [Entry] = []) throws(Failure) {
    self.task = task
    self.epoch = epoch
    self.base = base
    for entry in recovered where entry.sequence >= base {
      guard entry.epoch <= epoch else { throw .fenced(epoch: epoch, current: entry.epoch) }
      let index = Int(entry.sequence - base)
      switch entry.kind {
      case .intent(let request):
        // Said again by a later claim that repeated the call.
        if index < entries.count, entries[index].request == request { continue }
        guard index == entries.count else { throw .broken(sequence: entry.sequence) }
        entries.append((request, nil, false))
      case .response(let bytes):
        guard index < entries.count else { throw .broken(sequence: entry.sequence) }
        if entries[index].response == nil { entries[index].response = bytes }
      }
    }
  }

  /// Calls whose responses were recorded by earlier claims and not yet asked for.
  package var replayable: Int { max(0, entries.count(where: { $0.response != nil }) - position) }

  /// The place of the next call: what a checkpoint that is made now names as its base.
  package var sequence: UInt64 { base + UInt64(position) }

  /// Takes note of an event.
  package mutating func handle(_ event: Event) throws(Failure) -> [Effect] {
    switch (event, phase) {
    case (.call(let request), .idle): return try call(request)
    case (.recorded, .recordingIntent(let isRepeat)):
      phase = .calling
      return [.perform(key: key, isRepeat: isRepeat)]
    case (.answered(let bytes), .calling):
      phase = .recordingResponse(bytes)
      return [.record(Entry(sequence: sequence, epoch: epoch, kind: .response(bytes)))]
    case (.failed, .calling):
      // The intent stands; the next attempt has the same key.
      phase = .idle
      return []
    case (.recorded, .recordingResponse(let bytes)):
      entries[position].response = bytes
      position += 1
      phase = .idle
      return [.deliver(bytes)]
    default: throw .unexpected
    }
  }

  /// Names the call for whoever must not do it twice: the same for each attempt and each claim.
  private var key: String { "\(task)/\(sequence)" }

  private mutating func call(_ request: Digest256) throws(Failure) -> [Effect] {
    guard position < entries.count else {
      entries.append((request, nil, true))
      phase = .recordingIntent(isRepeat: false)
      return [.record(Entry(sequence: sequence, epoch: epoch, kind: .intent(request)))]
    }
    let entry = entries[position]
    guard entry.request == request else {
      throw .diverged(sequence: sequence, recorded: entry.request, wanted: request)
    }
    if let response = entry.response {
      position += 1
      return [.deliver(response)]
    }
    // Written again under this epoch: from here on an earlier claim's response is refused.
    phase = .recordingIntent(isRepeat: !entry.isOwn)
    return [.record(Entry(sequence: sequence, epoch: epoch, kind: .intent(request)))]
  }
}
