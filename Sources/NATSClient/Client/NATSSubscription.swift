/// Messages of a subject, in order, from a bounded buffer. It ends by `unsubscribe`, by a limit, with the client, or by an error;
/// a subscription that nobody ends stays until the client does.
package struct NATSSubscription: AsyncSequence, Sendable {
  package typealias Element = NATSMessage

  package let subject: String
  package let sid: UInt64
  let queue: SubscriptionQueue
  let client: NATSClient

  /// Messages that the slow-consumer policy dropped.
  package var dropped: Int { queue.dropped }

  /// The next message; nil at the end or when the task was cancelled.
  package func next() async throws -> NATSMessage? { try await queue.next(max: 1).first }

  /// The messages that are there, at most `max`, at least one; empty at the end. Much cheaper than one at a time.
  package func nextBatch(max: Int = 1024) async throws -> [NATSMessage] { try await queue.next(max: max) }

  /// Ends it, now or after so many messages in all since it began; those that were received already can still be taken.
  package func unsubscribe(after maximum: Int? = nil) { client.unsubscribe(sid, after: maximum) }

  package func makeAsyncIterator() -> Iterator { Iterator(queue: queue) }

  /// Takes batches and hands them out one by one.
  package struct Iterator: AsyncIteratorProtocol {
    let queue: SubscriptionQueue
    private var batch: ArraySlice<NATSMessage> = []

    init(queue: SubscriptionQueue) { self.queue = queue }

    package mutating func next() async throws -> NATSMessage? {
      if batch.isEmpty { batch = try await queue.next(max: 256)[...] }
      return batch.popFirst()
    }
  }
}
