/// What a message is about: it bounds how large the message may be, however small it arrives. The numbers travel in frames.
package enum MessageClass: UInt8, Hashable, Sendable, CaseIterable {
  /// The coordination layer's own: acknowledgements, credit, cancellations.
  case control = 0
  /// Signs of life and counters.
  case heartbeat = 1
  /// Work to be done.
  case task = 2
  /// The use of a tool and what came of it.
  case toolCall = 3
  /// What came of a task, and progress on the way.
  case result = 4
  /// An agent's state.
  case state = 5
  /// A message between agents whose content is theirs.
  case message = 6
}
