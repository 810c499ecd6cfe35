import CoordinationAPI
import CoordinationCore

/// What the queue keeps beside a task (`CheckpointHead.reference`): the newest checkpoint, and how far the journal goes. It moves as one, by
/// compare-and-set, under the claim's epoch and while its lease runs: what it doesn't name doesn't count. It is a JSON string in Base64, which every
/// way to a queue carries.
struct RecoveryReference: Hashable, Sendable {
  /// Checkpoints before the newest that are named: more than one chain of deltas, so that a damaged full one costs a chain and not all. With
  /// them a reference has 735 bytes at most, 982 in Base64 with its quotes; the queue takes 1,024.
  static let history = 18

  /// The newest checkpoint; nil before the first.
  var checkpoint: CheckpointChain.Head?
  /// Answers that were recorded: the place of the next step.
  var recorded: UInt64 = 0
  /// The digest of the last answer's record, which names the one before it.
  var tail = Digest256.none
  /// The request of a call that may have been made and has no answer yet.
  var intent: Digest256?
  /// How often the task was rolled back: calls made again afterwards are other calls.
  var rollbacks: UInt32 = 0

  var encoded: [UInt8] {
    var bytes: [UInt8] = [1, (checkpoint == nil ? 0 : 1) | (intent == nil ? 0 : 2)]
    bytes.append(number: rollbacks)
    bytes.append(number: recorded)
    bytes += tail.bytes
    if let intent { bytes += intent.bytes }
    if let checkpoint {
      let history = checkpoint.history.prefix(Self.history)
      bytes.append(number: checkpoint.epoch)
      bytes.append(number: checkpoint.step)
      bytes.append(UInt8(history.count))
      bytes += checkpoint.digest.bytes
      for digest in history { bytes += digest.bytes }
    }
    return Array("\"\(Base64.encode(bytes))\"".utf8)
  }

  init() {}

  /// Reads a reference; nil when it isn't one of these.
  init?(_ text: [UInt8]) {
    guard text.count > 2, text.first == UInt8(ascii: "\""), text.last == UInt8(ascii: "\""),
      let bytes = Base64.decode(String(decoding: text[1..<text.count - 1], as: UTF8.self))
    else { return nil }
    var reader = RecordReader(bytes)
    guard reader.number(UInt8.self) == 1, let flags = reader.number(UInt8.self), flags < 4,
      let rollbacks = reader.number(UInt32.self), let recorded = reader.number(UInt64.self),
      let tail = reader.digest()
    else { return nil }
    (self.rollbacks, self.recorded, self.tail) = (rollbacks, recorded, tail)
    if flags & 2 != 0 {
      guard let digest = reader.digest() else { return nil }
      intent = digest
    }
    if flags & 1 != 0 {
      guard let epoch = reader.number(UInt64.self), let step = reader.number(UInt64.self),
        let count = reader.number(UInt8.self), let digest = reader.digest()
      else { return nil }
      var history: [Digest256] = []
      for _ in 0..<count {
        guard let digest = reader.digest() else { return nil }
        history.append(digest)
      }
      checkpoint = CheckpointChain.Head(digest: digest, epoch: epoch, step: step, history: history)
    }
    guard reader.isAtEnd else { return nil }
  }
}

/// Reads numbers (little-endian) and digests one after another.
struct RecordReader {
  private let bytes: [UInt8]
  private(set) var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { position == bytes.count }

  mutating func number<Number: FixedWidthInteger & UnsignedInteger>(_: Number.Type) -> Number? {
    guard let part = take(Number.bitWidth / 8) else { return nil }
    return part.reversed().reduce(0) { ($0 << 4) << 4 | Number($1) }
  }

  mutating func digest() -> Digest256? { take(32).flatMap { Digest256(bytes: $0) } }

  mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
    guard count >= 0, count <= bytes.count - position else { return nil }
    defer { position += count }
    return bytes[position..<position + count]
  }
}

extension [UInt8] {
  mutating func append(number: some FixedWidthInteger & UnsignedInteger) {
    for shift in stride(from: 0, to: number.bitWidth, by: 8) { append(UInt8(truncatingIfNeeded: number >> shift)) }
  }
}
