/// An error that JetStream answered.
package struct JetStreamError: Error, Sendable, Hashable, CustomStringConvertible {
  /// As in HTTP: 400, 404, 500, 503.
  package var code: Int
  /// The server's number for this very error, such as 10071.
  package var errorCode: Int
  package var message: String

  package init(code: Int, errorCode: Int, message: String) {
    self.code = code
    self.errorCode = errorCode
    self.message = message
  }

  init?(_ answer: JSONValue) {
    guard let error = answer["error"], error.members != nil else { return nil }
    code = error["code"]?.int ?? 0
    errorCode = error["err_code"]?.int ?? 0
    message = error["description"]?.string ?? ""
  }

  /// Server's `errors.json`.
  package static let consumerNotFound = 10014
  package static let streamNotFound = 10059
  package static let streamNameInUse = 10058
  package static let messageNotFound = 10037
  /// `Nats-Expected-Last-Sequence` or `Nats-Expected-Last-Subject-Sequence` didn't fit.
  package static let wrongLastSequence = 10071
  /// The same, where the server doesn't tell the sequence that is there.
  package static let wrongLastSequenceConstant = 10164
  package static let temporarilyUnavailable = 10008
  /// More atomic batches are under way than the stream takes (50 in 2.15); nothing of this one is stored.
  package static let tooManyBatches = 10210
  /// A part of an atomic batch didn't arrive; nothing of it is stored.
  package static let batchIncomplete = 10176

  /// A compare-and-set that lost.
  package var isWrongSequence: Bool {
    errorCode == Self.wrongLastSequence || errorCode == Self.wrongLastSequenceConstant
  }

  /// What a caller can do.
  package var disposition: NATSError.Disposition { code == 503 || code == 500 ? .retryIfIdempotent : .terminal }

  package var description: String { "JetStream: \(message) (err_code \(errorCode))" }
}
