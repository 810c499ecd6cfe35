package import CoordinationEngine

/// Carries frames as messages of an engine: between the processes that share it, whatever it is.
///
/// A frame is one message, below `agents.node.` or `agents.topic.`. At most once, as engines have it: while a connection is away
/// nothing arrives, and what was under way may be lost. The messengers' errors tell of that: `timedOut`, `gap`, `unreachable`.
package final class EngineTransport: MessageTransport {
  package let frameBytes: Int
  private let messages: any Messages
  private let directory: AgentDirectory?
  private let buffer: Int

  /// The most frames that wait for a listener before the oldest is dropped: more than the senders of a busy process have under
  /// way at a time, and 64 MiB at the very most where every frame is as large as may be.
  package static let frames = 64

  /// Carries frames by `messages`. `directory`: announces this process once it listens.
  package init(messages: any Messages, directory: AgentDirectory? = nil, buffer: Int = EngineTransport.frames) {
    self.messages = messages
    self.directory = directory
    self.buffer = max(1, buffer)
    frameBytes = messages.messageBytes
  }

  package func send(_ frame: [UInt8], to place: MessagePlace) async throws {
    guard frame.count <= frameBytes else {
      throw MessagingError.tooLarge("a frame may have \(frameBytes) bytes, not \(frame.count)")
    }
    let subject = try Self.subject(of: place)
    do {
      try await messages.publish(Message(subject: subject, payload: frame))
    } catch let error as EngineError {
      throw MessagingError.unreachable(error.description)
    }
  }

  package func listen(at place: MessagePlace) async throws -> FrameSubscription {
    let subject = try Self.subject(of: place)
    let subscription: MessageSubscription
    do {
      subscription = try await messages.subscribe(.exactly(subject), buffer: buffer)
    } catch let error as EngineError {
      throw MessagingError.unreachable(error.description)
    }
    // Only now: who finds the process may send to it at once.
    if case .node = place { directory?.announce() }
    return FrameSubscription(
      next: {
        do {
          var iterator = subscription.makeAsyncIterator()
          return try await iterator.next()?.payload
        } catch let error as EngineError {
          throw MessagingError.unreachable(error.description)
        }
      }, cancel: { subscription.cancel() }, dropped: { subscription.dropped })
  }

  private static func subject(of place: MessagePlace) throws(MessagingError) -> String {
    switch place {
    case .node(let name): "agents.node.\(try PlaceName.encode(name, dots: true))"
    case .topic(let name): "agents.topic.\(try PlaceName.encode(name, dots: true))"
    }
  }
}
