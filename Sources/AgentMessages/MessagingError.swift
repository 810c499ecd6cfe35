/// Why a message wasn't answered.
package enum MessagingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// No answer came in time. Whether the other agent did something is unknown.
  case timedOut(after: Duration)
  /// The other process has no agent of this name.
  case unknownAgent(String)
  /// The other agent has as many calls waiting as it takes. It did nothing.
  case overloaded(String)
  /// The other agent's own failure, in its words.
  case failed(String)
  /// The transport couldn't deliver it.
  case unreachable(String)
  /// A part of a stream was lost.
  case gap(expected: UInt64, actual: UInt64)
  /// The message is larger than its class or the transport allows.
  case tooLarge(String)
  /// This process's messenger has ended, or isn't running.
  case stopped
  /// The other side has given the call up.
  case cancelled

  package var description: String {
    switch self {
    case .timedOut(let time): "no answer within \(time); ask again if the work may be done twice"
    case .unknownAgent(let agent): "there is no agent \(agent) in that process; look up where it runs now"
    case .overloaded(let agent): "the agent \(agent) has as many calls waiting as it takes; try again later"
    case .failed(let words): "the other agent failed: \(words)"
    case .unreachable(let words): "the message couldn't be delivered: \(words)"
    case .gap(let expected, let actual): "part \(expected) of the stream was lost, part \(actual) came; open it again"
    case .tooLarge(let words): words
    case .stopped: "the messenger of this process isn't running"
    case .cancelled: "the call was given up by the other side"
    }
  }
}
