import CoordinationCore

/// An answer of the journal as it is stored. Each names the record before it by digest, and the head names the last.
///
/// | at | bytes | |
/// |---|---|---|
/// | 0 | 4 | `SWJR` |
/// | 4 | 8 | place of the step |
/// | 12 | 8 | epoch of the claim that wrote it |
/// | 20 | 32 | digest of the record before it, zero for none |
/// | 52 | 32 | digest of the request |
/// | 84 | 1 | 0: the answer follows; 1: the digest of the blob that has it |
/// | 85 | | answer or digest |
struct AnswerRecord: Hashable, Sendable {
  static let headerBytes = 85

  enum Answer: Hashable, Sendable {
    case bytes([UInt8])
    case blob([UInt8])
  }

  var sequence: UInt64
  var epoch: UInt64
  var parent: Digest256
  var request: Digest256
  var answer: Answer

  var encoded: [UInt8] {
    var bytes = Array("SWJR".utf8)
    bytes.append(number: sequence)
    bytes.append(number: epoch)
    bytes += parent.bytes
    bytes += request.bytes
    switch answer {
    case .bytes(let answer): bytes += [0] + answer
    case .blob(let digest): bytes += [1] + digest
    }
    return bytes
  }

  init(sequence: UInt64, epoch: UInt64, parent: Digest256, request: Digest256, answer: Answer) {
    (self.sequence, self.epoch, self.parent, self.request) = (sequence, epoch, parent, request)
    self.answer = answer
  }

  /// Reads a record; nil when it isn't one. Whether it is whole its digest says, which the next record or the head has.
  init?(_ bytes: [UInt8]) {
    var reader = RecordReader(bytes)
    guard let magic = reader.take(4), magic.elementsEqual("SWJR".utf8), let sequence = reader.number(UInt64.self),
      let epoch = reader.number(UInt64.self), let parent = reader.digest(), let request = reader.digest(),
      let place = reader.number(UInt8.self), place < 2, let rest = reader.take(bytes.count - reader.position)
    else { return nil }
    guard place == 0 || rest.count == 32 else { return nil }
    self.init(
      sequence: sequence, epoch: epoch, parent: parent, request: request,
      answer: place == 0 ? .bytes(Array(rest)) : .blob(Array(rest)))
  }
}
