import AgentMessages
import MessageFrames

/// An agent of the fleet: by its name alone any one of that name, on whichever worker; with a worker that one.
public struct AgentName: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
  /// What the agent is called.
  public var name: String
  /// The worker that it must be on; nil: any.
  public var worker: String?

  /// An agent: its name has at most 96 letters, digits and `-_/`; any other byte of its UTF-8 counts three times.
  public init(_ name: String, on worker: String? = nil) {
    self.name = name
    self.worker = worker
  }

  /// Any agent of this name.
  public init(stringLiteral name: String) { self.init(name) }

  /// `name`, or `name on worker`.
  public var description: String { worker.map { "\(name) on \($0)" } ?? name }
}

/// How urgent a message is. Critical ones overtake whatever waits; of the others each gets four times the turns of the next.
public enum MessageUrgency: String, Hashable, Sendable, CaseIterable {
  /// Somebody waits for it, or the fleet depends on it.
  case critical
  /// Before the ordinary.
  case high
  /// The ordinary.
  case normal
  /// Progress and the like: held for up to 50 ms to share a write.
  case bulk

  var lane: MessageLane {
    switch self {
    case .critical: .critical
    case .high: .high
    case .normal: .normal
    case .bulk: .bulk
    }
  }

  init(_ lane: MessageLane) {
    self =
      switch lane {
      case .critical: .critical
      case .high: .high
      case .normal: .normal
      case .bulk: .bulk
      }
  }
}

/// Why a message wasn't answered, or not taken.
public struct MessageError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What kind of reason it is.
  public enum Reason: Hashable, Sendable {
    /// No answer came in time. Whether the other agent did something is unknown.
    case timedOut
    /// Nobody has an agent of this name.
    case unknownAgent
    /// The agent has as many questions waiting as it takes. It did nothing.
    case overloaded
    /// The other agent failed; the words are its own.
    case failed
    /// The message couldn't be delivered.
    case unreachable
    /// A part of an answer in parts was lost.
    case gap
    /// The message or a name is too large.
    case tooLarge
    /// This worker's messages have ended.
    case stopped
    /// The other side has given it up.
    case cancelled
  }

  /// What kind of reason it is.
  public var reason: Reason
  /// What happened, and what to do.
  public var message: String

  init(_ reason: Reason, _ message: String) {
    self.reason = reason
    self.message = message
  }

  init(_ error: MessagingError) {
    let reason: Reason =
      switch error {
      case .timedOut: .timedOut
      case .unknownAgent: .unknownAgent
      case .overloaded: .overloaded
      case .failed: .failed
      case .unreachable: .unreachable
      case .gap: .gap
      case .tooLarge: .tooLarge
      case .stopped: .stopped
      case .cancelled: .cancelled
      }
    self.init(reason, error.description)
  }

  /// Whether it may go better later, where it doesn't matter if the work is done twice.
  public var isWorthRetrying: Bool {
    switch reason {
    case .timedOut, .overloaded, .unreachable, .gap, .unknownAgent: true
    case .failed, .tooLarge, .stopped, .cancelled: false
    }
  }

  /// The message.
  public var description: String { message }
}

/// A question to an agent of this worker.
public struct AgentQuestion: Sendable {
  /// The worker that asks.
  public let from: String
  /// The agent that is asked.
  public let agent: String
  /// How urgent it is.
  public let urgency: MessageUrgency
  /// What is asked.
  public let payload: [UInt8]

  init(_ call: IncomingCall) {
    from = call.from
    agent = call.agent
    urgency = MessageUrgency(call.lane)
    payload = call.payload
  }
}

/// An answer in parts, as they come. For one task at a time.
public struct AnswerParts: AsyncSequence, Sendable {
  let stream: MessageStream

  /// Gives the parts in their order; throws `MessageError` where one is missing.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let stream: MessageStream

    /// The next part; nil at the end.
    public mutating func next() async throws -> [UInt8]? { try await translated { try await stream.next() } }
  }

  /// Begins where the last reader stopped.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: stream) }
}

/// Sends an answer in parts. For one task at a time.
public struct AnswerWriter: Sendable {
  let writer: StreamWriter

  /// Sends a part; waits while the reader has 32 before it.
  ///
  /// - Throws: `MessageError` when nobody waits for parts any more.
  public func send(_ part: [UInt8]) async throws { try await translated { try await writer.send(part) } }
}

/// A message of a topic.
public struct TopicMessage: Hashable, Sendable {
  /// The worker that published it.
  public let from: String
  /// How urgent it is.
  public let urgency: MessageUrgency
  /// Its content.
  public let payload: [UInt8]
  /// At least so many messages were dropped right before it, because this worker reads too slowly.
  public let missed: Int
}

/// The messages of a topic, as they come. For one task at a time.
public struct TopicMessages: AsyncSequence, Sendable {
  let subscription: TopicSubscription

  /// Gives the messages, the urgent ones first.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let subscription: TopicSubscription

    /// The next message, waiting for it.
    public mutating func next() async throws -> TopicMessage? {
      try await translated {
        try await subscription.next().map {
          TopicMessage(from: $0.from, urgency: MessageUrgency($0.lane), payload: $0.payload, missed: $0.missed)
        }
      }
    }
  }

  /// Begins where the last reader stopped.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: subscription) }
}

/// Has the layer's errors appear as those of the library.
nonisolated(nonsending) func translated<Result>(_ body: () async throws -> Result) async throws -> Result {
  do {
    return try await body()
  } catch let error as MessagingError {
    throw MessageError(error)
  }
}
