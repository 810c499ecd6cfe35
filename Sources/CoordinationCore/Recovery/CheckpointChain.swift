/// One task's checkpoints: what is written next, and when it counts.
///
/// A checkpoint is written under its digest, read back, and only then the head moves to it, by compare-and-set against the head that it was made
/// from. So garbage never becomes the head (C02), and of two that resume from one checkpoint the second is told (C03). The store keeps what
/// `kept` names, which always holds a full checkpoint older than the newest one: a damaged head costs one step.
package struct CheckpointChain: Sendable {
  /// The head as the store keeps it, under one key with compare-and-set.
  package struct Head: Hashable, Sendable {
    /// The newest checkpoint.
    package var digest: Digest256
    /// The claim that wrote it.
    package var epoch: UInt64
    /// The step that it stands behind.
    package var step: UInt64
    /// The digests that the head had before, the newest first: what to go back to, and what to keep.
    package var history: [Digest256]

    /// Puts a head together.
    package init(digest: Digest256, epoch: UInt64, step: UInt64, history: [Digest256]) {
      self.digest = digest
      self.epoch = epoch
      self.step = step
      self.history = history
    }
  }

  /// Why a checkpoint isn't taken.
  package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The head is another one than this claim has seen: somebody else has resumed the task.
    case conflict(expected: Digest256, found: Digest256)
    /// A later claim has written.
    case fenced(epoch: UInt64, current: UInt64)
    /// What was read back isn't what was written.
    case damaged(CheckpointFrame.Failure?)
    /// Steps don't go back.
    case wrongStep(UInt64, head: UInt64)
    /// None of the checkpoints can be read: the task begins anew.
    case nothingReadable(tried: Int)

    package var description: String {
      switch self {
      case .conflict(let expected, let found):
        "the task's newest checkpoint is \(found), not \(expected): somebody else works on it, so stop"
      case .fenced(let epoch, let current): "epoch \(epoch) no longer holds, \(current) does: stop working on the task"
      case .damaged(let failure):
        "the checkpoint was not stored as it was written (\(failure.map { "\($0)" } ?? "other bytes")): write it again; the one before it stays"
      case .wrongStep(let step, let head): "step \(step) isn't after the newest checkpoint's step \(head)"
      case .nothingReadable(let tried): "none of \(tried) checkpoints can be read: begin the task anew"
      }
    }
  }

  /// Every how many checkpoints one is full.
  package static let fullInterval = 16

  /// The head as this claim knows it; nil before the first checkpoint.
  package private(set) var head: Head?
  /// The claim's epoch.
  package let epoch: UInt64
  /// Checkpoints since the last full one.
  private var sinceFull: Int

  /// The chain of a claim, from the head that the store holds and what was restored of it. Whoever went back behind the head, or began
  /// anew, writes all of the state next: a delta would be against the head's.
  package init(epoch: UInt64, head: Head? = nil, restored: Restoration? = nil) throws(Failure) {
    if let head, head.epoch > epoch { throw .fenced(epoch: epoch, current: head.epoch) }
    self.epoch = epoch
    self.head = head
    let isAtHead = head != nil && restored?.digest == head?.digest
    sinceFull = isAtHead ? restored?.frames.count ?? Self.fullInterval : Self.fullInterval
  }

  /// Whether the next checkpoint must hold all of the state.
  package var needsFull: Bool { head == nil || sinceFull >= Self.fullInterval }

  /// What the store keeps: the head, and the checkpoints before it.
  package var kept: [Digest256] { head.map { [$0.digest] + $0.history } ?? [] }

  /// The frame of the next checkpoint. A delta is against the head's state.
  package func frame(
    step: UInt64, codec: CheckpointFrame.Codec, dictionary: UInt32 = 0, isDelta: Bool, inflatedLength: UInt64,
    payload: [UInt8]
  ) throws(Failure) -> CheckpointFrame {
    if let head, step <= head.step { throw .wrongStep(step, head: head.step) }
    precondition(!isDelta || !needsFull, "a chain of deltas is bounded: ask `needsFull`")
    return CheckpointFrame(
      codec: codec, kind: isDelta ? .delta : .full, dictionary: dictionary, epoch: epoch, step: step,
      parent: head?.digest ?? .none, inflatedLength: inflatedLength, payload: payload)
  }

  /// The head to write once the frame is stored: `readBack` is what the store gives for its digest.
  package func headAfter(_ frame: CheckpointFrame, readBack: [UInt8]) throws(Failure) -> Head {
    let written = frame.encoded
    guard readBack == written else {
      do throws(CheckpointFrame.Failure) {
        _ = try CheckpointFrame(decoding: readBack)
      } catch {
        throw .damaged(error)
      }
      throw .damaged(nil)
    }
    // Two chains of full and deltas: the last full one before this one and what leads to it stay.
    let limit = 2 * Self.fullInterval - 1
    let history = head.map { Array(([$0.digest] + $0.history).prefix(limit)) } ?? []
    return Head(digest: Digest256(of: written), epoch: frame.epoch, step: frame.step, history: history)
  }

  /// Notes that the store has taken the head.
  package mutating func moved(to head: Head, isDelta: Bool) {
    self.head = head
    sinceFull = isDelta ? sinceFull + 1 : 1
  }

  /// The store's side of the compare-and-set: whether a head may follow another one.
  package static func check(_ next: Head, parent: Digest256, after current: Head?) throws(Failure) {
    if let current, next.epoch < current.epoch { throw .fenced(epoch: next.epoch, current: current.epoch) }
    guard parent == current?.digest ?? .none else {
      throw .conflict(expected: parent, found: current?.digest ?? .none)
    }
  }

  /// What to resume from.
  package struct Restoration: Hashable, Sendable {
    /// The full checkpoint and the deltas after it, in the order in which they are applied.
    package var frames: [CheckpointFrame]
    /// The digest of the last of them.
    package var digest: Digest256
    /// Checkpoints that could not be read, and were passed over.
    package var damaged: [Digest256]

    /// The step to go on after.
    package var step: UInt64 { frames.last?.step ?? 0 }
  }

  /// Finds the last good checkpoint: the newest one that can be read back to a full one, each as its successor names it.
  package static func restore(
    _ head: Head, limit: UInt64 = 64 << 20, load: (Digest256) -> [UInt8]?
  ) throws(Failure) -> Restoration {
    var frames: [Digest256: CheckpointFrame] = [:]
    var damaged: [Digest256] = []
    func frame(_ digest: Digest256) -> CheckpointFrame? {
      if let frame = frames[digest] { return frame }
      guard !damaged.contains(digest) else { return nil }
      // The digest first: bytes that are whole and of another checkpoint are as wrong as damaged ones.
      guard let bytes = load(digest), Digest256(of: bytes) == digest,
        let frame = try? CheckpointFrame(decoding: bytes, limit: limit)
      else {
        damaged.append(digest)
        return nil
      }
      frames[digest] = frame
      return frame
    }
    for candidate in [head.digest] + head.history {
      var chain: [CheckpointFrame] = []
      var next = candidate
      while chain.count <= fullInterval, let found = frame(next) {
        chain.append(found)
        guard found.kind == .delta else {
          return Restoration(frames: chain.reversed(), digest: candidate, damaged: damaged)
        }
        next = found.parent
      }
    }
    throw .nothingReadable(tried: head.history.count + 1)
  }
}
