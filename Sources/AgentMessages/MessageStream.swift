import MessageFrames

/// The parts of an agent's answer, as they come.
package struct MessageStream: Sendable {
  let messenger: AgentMessenger
  let number: UInt64

  /// The next part; nil at the end. For one task at a time.
  ///
  /// Throws `MessagingError` where parts are missing, and `CancellationError`.
  package func next() async throws -> [UInt8]? { try await messenger.nextItem(number) }
}

/// Sends an answer in parts.
package struct StreamWriter: Sendable {
  let messenger: AgentMessenger
  let key: MessengerCore.ServingKey
  let kind: MessageFrames.MessageClass

  /// Sends a part; waits while the reader has as many before it as it takes. For one task at a time.
  ///
  /// Throws `MessagingError.cancelled` when nobody waits for parts any more.
  package func send(_ payload: [UInt8]) async throws { try await messenger.sendItem(payload, key, kind: kind) }
}
