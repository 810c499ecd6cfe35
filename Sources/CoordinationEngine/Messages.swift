/// Messages to whoever listens now: at most once, in the order in which one sender sent them. What must not be lost is a task or a key.
///
/// Errors are `EngineError`s; whatever waits may also end by cancellation.
package protocol Messages: Sendable {
  /// The most bytes of one message.
  var messageBytes: Int { get }
  /// Sends a message to all that listen to its subject.
  func publish(_ message: Message) async throws
  /// Listens to a subject, or with `prefix` to all subjects below it, from when this returns. Between two looks up to `buffer` messages are
  /// kept; of more the oldest are dropped and counted.
  func subscribe(_ subject: MessageSubject, buffer: Int) async throws -> MessageSubscription
  /// Sends a message and waits for the first answer to it alone; `notFound` when nobody listens, `unavailable` when none came in time.
  func request(_ subject: String, _ payload: [UInt8], timeout: Duration) async throws -> Message
}

/// What is sent.
package struct Message: Hashable, Sendable {
  /// Where to: a name as a key of the state.
  package var subject: String
  /// Where an answer goes; nil when none is awaited.
  package var replyTo: String?
  /// Any bytes.
  package var payload: [UInt8]

  /// Writes a message.
  package init(subject: String, payload: [UInt8], replyTo: String? = nil) {
    self.subject = subject
    self.replyTo = replyTo
    self.payload = payload
  }
}

/// What to listen to.
package enum MessageSubject: Hashable, Sendable {
  /// This subject.
  case exactly(String)
  /// Each subject below a prefix such as `events.`; empty: all.
  case below(String)
}

/// Messages as they come. Ends when the engine is closed or `cancel` was called.
package struct MessageSubscription: AsyncSequence, Sendable {
  private let advance: @Sendable () async throws -> Message?
  private let end: @Sendable () -> Void
  private let count: @Sendable () -> Int

  /// Makes a subscription of functions: waits for the next message (nil at the end), ends it, counts what was dropped.
  package init(
    next: @escaping @Sendable () async throws -> Message?, cancel: @escaping @Sendable () -> Void,
    dropped: @escaping @Sendable () -> Int
  ) {
    advance = next
    end = cancel
    count = dropped
  }

  /// Ends it; saying it twice is harmless.
  package func cancel() { end() }

  /// How many messages were dropped because nobody looked.
  package var dropped: Int { count() }

  /// Gives the messages in their order.
  package struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let advance: @Sendable () async throws -> Message?

    package mutating func next() async throws -> Message? { try await advance() }
  }

  package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(advance: advance) }
}
