import NIOCore
import Synchronization

/// Reads a stream in its order, without acknowledgements, each message once: over lost connections, failovers and restarts, as long as the stream
/// still has the messages. One task at a time may ask it.
package final class OrderedConsumer: AsyncSequence, Sendable {
  package typealias Element = JetStreamMessage

  private struct State {
    var machine: OrderedMachine
    var pulls: PullSubscription?
    var consumer = ""
    var isStopped = false
    var serial = 0
    var hasDelivered = false
    /// Nothing waits any more, although the last message that came said otherwise.
    var isExhausted = false
  }

  private let jetStream: JetStream
  private let stream: String
  private let filters: [String]
  private let deliver: ConsumerConfiguration.Deliver
  private let headersOnly: Bool
  private let batch: Int
  private let heartbeat: Duration
  private let name: String
  private let state: Mutex<State>

  /// What had to be read when the reader began; nil until the first `nextBatch`, or `begin`.
  private let atStart = Mutex<UInt64?>(nil)

  package init(
    _ jetStream: JetStream, stream: String, filters: [String] = [], deliver: ConsumerConfiguration.Deliver = .all,
    headersOnly: Bool = false, batch: Int = 256, heartbeat: Duration = .seconds(5)
  ) {
    self.jetStream = jetStream
    self.stream = stream
    self.filters = filters
    self.deliver = deliver
    self.headersOnly = headersOnly
    self.batch = batch
    self.heartbeat = heartbeat
    let inbox = jetStream.client.makeInbox()
    name = String(inbox.utf8.compactMap { $0 == 0x2E ? nil : Character(Unicode.Scalar($0)) })
    state = Mutex(State(machine: OrderedMachine()))
  }

  /// How often a consumer had to be made, the first time included.
  package var consumersMade: Int { state.withLock { $0.serial } }

  /// Makes the first consumer. Returns how many messages wait in the stream.
  package func begin() async throws -> UInt64 {
    if let known = atStart.withLock({ $0 }) { return known }
    let pending = try await renew()
    atStart.withLock { $0 = pending }
    return pending
  }

  /// No further messages; the server forgets the consumer.
  package func stop() async {
    let (pulls, consumer) = state.withLock { state in
      state.isStopped = true
      defer { state.pulls = nil }
      return (state.pulls, state.consumer)
    }
    pulls?.stop()
    // Best effort: the server deletes what nobody uses by itself.
    if pulls != nil { try? await jetStream.deleteConsumer(stream, consumer) }
  }

  /// The next messages, at least one; empty at the end or when the task is cancelled.
  ///
  /// - Throws: where the stream is gone, or the client ends with an error.
  package func nextBatch(max: Int = 256) async throws -> [JetStreamMessage] {
    _ = try await begin()
    while true {
      guard let pulls = state.withLock({ $0.isStopped ? nil : $0.pulls }) else { return [] }
      let taken: [JetStreamMessage]
      do {
        taken = try await pulls.nextBatch(max: max)
      } catch let error as NATSError where error.code == .noResponders || error.code == .serverError {
        try await renewPatiently()
        continue
      }
      if taken.isEmpty { return [] }
      let (messages, isBroken) = state.withLock { state in
        var messages: [JetStreamMessage] = []
        messages.reserveCapacity(taken.count)
        for message in taken {
          switch state.machine.received(message.metadata) {
          case .deliver: messages.append(message)
          case .ignore: break
          case .gap: return (messages, true)
          }
        }
        return (messages, false)
      }
      if isBroken { try await renewPatiently() }
      if !messages.isEmpty { return messages }
    }
  }

  /// The next message; nil at the end or when the task is cancelled.
  package func next() async throws -> JetStreamMessage? { try await nextBatch(max: 1).first }

  /// Reads what is there, up to the message behind which nothing waited, and ends the reader, whether that worked or not.
  package func readToEnd(_ body: (JetStreamMessage) async throws -> Void) async throws {
    do {
      var isDone = try await begin() == 0
      try await withThrowingTaskGroup(of: Void.self) { group in
        if !isDone { group.addTask { try await self.endWhenExhausted() } }
        while !isDone {
          let batch = try await nextBatch()
          if batch.isEmpty {
            guard state.withLock({ $0.isExhausted }) else { throw CancellationError() }
            break
          }
          for message in batch {
            isDone = message.metadata.pending == 0
            try await body(message)
          }
        }
        group.cancelAll()
      }
    } catch {
      await stop()
      throw error
    }
    await stop()
  }

  /// Ends the reader when nothing waits any more: messages that were removed while it read never come, and no message says so.
  private func endWhenExhausted() async throws {
    while !Task.isCancelled {
      do { try await jetStream.client.pause(.milliseconds(250)) } catch { return }
      let consumer = state.withLock { $0.consumer }
      guard let info = try? await jetStream.consumerInfo(stream, consumer), info.pending == 0 else { continue }
      let pulls = state.withLock { state -> PullSubscription? in
        // What was delivered and hasn't come yet is still waited for.
        guard state.consumer == consumer, state.machine.consumerSequence == info.deliveredCount else { return nil }
        state.isExhausted = true
        return state.pulls
      }
      if let pulls { return pulls.stop() }
    }
  }

  /// Tries until the stream can be read again, or is gone.
  private func renewPatiently() async throws {
    var wait = Duration.milliseconds(20)
    while true {
      if state.withLock({ $0.isStopped }) { return }
      do {
        _ = try await renew()
        return
      } catch let error as JetStreamError where error.disposition == .terminal {
        throw error
      } catch let error as NATSError where error.disposition == .terminal {
        throw error
      } catch is CancellationError {
        throw CancellationError()
      } catch {}
      try await jetStream.client.pause(wait)
      wait = Swift.min(wait * 2, .seconds(1))
    }
  }

  private func renew() async throws -> UInt64 {
    let (old, consumerName, start) = state.withLock { state in
      state.serial += 1
      let last = state.machine.lastSequence
      defer { state.pulls = nil }
      return (state.pulls, "\(name)-\(state.serial)", last)
    }
    old?.stop()
    // Behind what was delivered; the first time from where the caller wants to begin.
    var configuration = ConsumerConfiguration(
      name: consumerName, filters: filters, deliver: start > 0 ? .fromSequence(start + 1) : deliver,
      acknowledgement: .none)
    configuration.maximumDeliveries = 1
    configuration.isInMemory = true
    configuration.replicas = 1
    // What an end that nobody could tell leaves behind goes soon.
    configuration.inactiveThreshold = heartbeat * 8
    configuration.headersOnly = headersOnly
    let consumer = try await jetStream.createConsumer(stream, configuration)
    let pulls = try PullSubscription(
      client: jetStream.client,
      pullSubject: "\(jetStream.prefix).CONSUMER.MSG.NEXT.\(stream).\(consumerName)", name: consumerName, batch: batch,
      maximumBytes: nil, expires: heartbeat * 6, heartbeat: heartbeat, failsWhenUnavailable: true)
    state.withLock { state in
      state.machine.began(consumer: consumerName)
      state.consumer = consumerName
      if !state.isStopped { state.pulls = pulls }
    }
    return consumer.info.pending
  }

  package func makeAsyncIterator() -> Iterator { Iterator(consumer: self) }

  package struct Iterator: AsyncIteratorProtocol {
    let consumer: OrderedConsumer
    private var batch: ArraySlice<JetStreamMessage> = []

    init(consumer: OrderedConsumer) { self.consumer = consumer }

    package mutating func next() async throws -> JetStreamMessage? {
      if batch.isEmpty { batch = try await consumer.nextBatch()[...] }
      return batch.popFirst()
    }
  }
}
