/// Why an engine refuses something outside of queues, and what to do. Queues have `TaskQueueError`.
package enum EngineError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Something that was said can't be meant; the text names it.
  case invalid(String)
  /// The key isn't as the caller expected: nothing was changed. `current` is its revision; nil when it isn't there, or when the
  /// engine doesn't tell. Read it anew and decide anew.
  case conflict(key: String, expected: Expectation, current: Revision?)
  /// There is no such thing, or none any more.
  case notFound(String)
  /// A value is too large.
  case tooLarge(what: String, bytes: Int, limit: Int)
  /// The engine holds as much as it may.
  case full(what: String, limit: Int)
  /// A watch asked for changes that are forgotten: list the keys anew, and watch from there.
  case compacted(oldest: Revision)
  /// The engine can't be reached, or can't write. What was asked may have taken effect or not; the caller may keep it in an outbox and
  /// say it again.
  case unavailable(String)
  /// What is kept can't be read, or isn't what was put there. Saying it again doesn't help.
  case corrupt(String)

  package var description: String {
    switch self {
    case .invalid(let text): text
    case .conflict(let key, let expected, let current):
      "\(key) has changed: expected \(expected), and it is \(current.map { "at revision \($0)" } ?? "absent or different"); read it "
        + "again, then decide again"
    case .notFound(let what): "there is no \(what), or none any more"
    case .tooLarge(let what, let bytes, let limit):
      "the \(what) has \(bytes) bytes, and \(limit) are allowed: keep large state as a blob, and its digest here"
    case .full(let what, let limit): "no room: \(limit) \(what) are kept at most; delete what isn't needed"
    case .compacted(let oldest):
      "changes before revision \(oldest) are forgotten: list the keys and watch from that list's revision"
    case .unavailable(let text): text
    case .corrupt(let text): text
    }
  }
}
