package import MessageFrames
import Synchronization

/// A message that was published.
package struct ReceivedMessage: Hashable, Sendable {
  /// The process that published it.
  package var from: String
  /// What it is about.
  package var kind: MessageClass
  /// How urgent it is.
  package var lane: MessageLane
  /// Its content.
  package var payload: [UInt8]
  /// Messages that were dropped right before it, because this process was too slow to read them: at least so many, since a
  /// frame that the transport dropped counts as one.
  package var missed: Int
}

/// What comes of a topic.
package final class TopicSubscription: Sendable {
  private struct State {
    var messages = LaneQueue<ReceivedMessage>()
    var dropped = 0
    var failure: (any Error)?
    var isFinished = false
  }

  private let capacity: Int
  private let state = Mutex(State())
  private let signal = WakeSignal()

  init(capacity: Int) { self.capacity = max(1, capacity) }

  /// The next message, by lane; nil when no more will come. For one task at a time.
  ///
  /// Throws what the transport throws, and `CancellationError`.
  package func next() async throws -> ReceivedMessage? {
    while true {
      try Task.checkCancellation()
      let (message, isFinished) = try state.withLock { state -> (ReceivedMessage?, Bool) in
        if var message = state.messages.popFirst()?.element {
          message.missed = state.dropped
          state.dropped = 0
          return (message, false)
        }
        if let failure = state.failure { throw failure }
        return (nil, state.isFinished)
      }
      if let message { return message }
      if isFinished { return nil }
      await signal.wait()
    }
  }

  func add(_ message: ReceivedMessage) {
    state.withLock { state in
      state.messages.append(message, lane: message.lane)
      guard state.messages.count > capacity else { return }
      // The least urgent lane gives way, its oldest message first.
      guard let lane = MessageLane.allCases.last(where: { state.messages.count(of: $0) > 0 }) else { return }
      _ = state.messages.popFirst(of: lane)
      state.dropped += 1
    }
    signal.set()
  }

  /// Notes that messages were dropped before they came here.
  func noteDropped(_ count: Int) { state.withLock { $0.dropped += count } }

  func finish(_ error: (any Error)?) {
    state.withLock { state in
      state.failure = error
      state.isFinished = true
    }
    signal.set()
  }
}
