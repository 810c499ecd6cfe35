package import MessageFrames

/// How a messenger works.
package struct MessengerConfiguration: Hashable, Sendable {
  /// Messages of a frame.
  package var frameMessages: Int
  /// Bytes of the messages of a frame before they are packed; a single message may be larger.
  package var frameBytes: Int
  /// Messages of a lane that may wait for one place.
  package var waitingMessages: Int
  /// Their bytes.
  package var waitingBytes: Int
  /// How long after a write the messages of the bulk lane may be held to share the next: progress and the like.
  package var linger: Duration
  /// Items of a stream that may be under way to its reader.
  package var streamWindow: UInt32
  /// Places that are remembered while nothing is under way to them.
  package var idlePlaces: Int
  /// Refusals that may wait for one place.
  package var refusals: Int
  /// The bounds of messages.
  package var limits: FrameLimits

  /// 512 messages and 256 KiB a frame; 2,048 messages and 1 MiB of a lane that may wait; 50 ms for bulk, the time in which
  /// a pod gathers results; 32 items a stream.
  package init(
    frameMessages: Int = 512, frameBytes: Int = 256 << 10, waitingMessages: Int = 2_048, waitingBytes: Int = 1 << 20,
    linger: Duration = .milliseconds(50), streamWindow: UInt32 = 32, limits: FrameLimits = FrameLimits()
  ) {
    self.frameMessages = min(max(1, frameMessages), limits.messages)
    self.frameBytes = max(1, frameBytes)
    self.waitingMessages = max(1, waitingMessages)
    self.waitingBytes = max(1, waitingBytes)
    self.linger = max(.zero, linger)
    self.streamWindow = max(2, streamWindow)
    idlePlaces = 1_024
    refusals = 8_192
    self.limits = limits
  }

  func batching<Item>(of _: Item.Type) -> Batcher<Item>.Configuration {
    Batcher<Item>.Configuration(
      messages: frameMessages, bytes: min(frameBytes, limits.inflatedBytes), waitingMessages: waitingMessages,
      waitingBytes: waitingBytes, linger: linger)
  }
}

/// What a messenger has done since its start.
package struct MessengerStatistics: Hashable, Sendable {
  /// Calls that were made.
  package var calls = 0
  /// Calls that nobody answered in time.
  package var timeouts = 0
  /// Answers that no open call was waiting for: late, twice, or from elsewhere.
  package var strayAnswers = 0
  /// Calls to agents here that were refused because too many wait.
  package var refusedCalls = 0
  /// Messages that were published.
  package var published = 0
  /// Messages that were written, and writes in which they went.
  package var sentMessages = 0
  package var writes = 0
  /// Bytes of the frames that were written.
  package var sentBytes = 0
  /// Messages that the transport couldn't deliver.
  package var undelivered = 0
  /// Frames to this process that the transport dropped because it was too slow: their calls time out.
  package var droppedFrames = 0
  /// Frames and messages that couldn't be read.
  package var malformed = 0

  /// Nothing yet.
  package init() {}
}

/// A call as the agent that answers sees it.
package struct IncomingCall: Hashable, Sendable {
  /// The process that asks.
  package var from: String
  /// The agent that is asked.
  package var agent: String
  /// What it is about.
  package var kind: MessageClass
  /// How urgent it is.
  package var lane: MessageLane
  /// When the answer is no use any more, by the messenger's clock.
  package var deadline: Duration
  /// Whether a stream is wanted.
  package var isStream: Bool
  /// What is asked.
  package var payload: [UInt8]
}
