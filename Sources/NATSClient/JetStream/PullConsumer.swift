import NIOCore
import Synchronization

/// A pull consumer: messages come when they are asked for.
package struct PullConsumer: Sendable {
  package let jetStream: JetStream
  package let info: ConsumerInfo

  private var stream: String { info.stream }
  private var pullSubject: String { "\(jetStream.prefix).CONSUMER.MSG.NEXT.\(info.stream).\(info.name)" }

  /// Asks once for at most so many messages, and returns what came until they were there or the time was up; `noWait`: what is there now.
  ///
  /// - Throws: `connectionLost` or `timeout` where nothing came and the server didn't say that there is nothing.
  package func fetch(
    _ batch: Int, expires: Duration = .seconds(5), noWait: Bool = false, maximumBytes: Int? = nil,
    heartbeat: Duration? = nil
  ) async throws -> [JetStreamMessage] {
    let client = jetStream.client
    let inbox = client.makeInbox()
    // A pulled message carries the stream's subject: only a subscription of its own tells where it belongs.
    let subscription = try client.subscribe(
      inbox, queue: nil, limits: SubscriptionLimits(messages: Swift.max(1024, batch * 2)), marksReconnects: true)
    var answer = PullAnswer(batch: batch)
    defer { if answer.isComplete { subscription.unsubscribe() } else { handBack(subscription) } }
    var body: JSONValue = ["batch": .integer(batch)]
    if noWait { body["no_wait"] = true } else { body["expires"] = .duration(expires) }
    body["max_bytes"] = maximumBytes.map { .integer($0) }
    body["idle_heartbeat"] = heartbeat.map(JSONValue.duration)
    try client.post(pullSubject, body.buffer, reply: inbox)
    // The server answers a pull that expires; the second more is for the way.
    let end = client.eventLoop.now + .nanoseconds((expires + .seconds(1)).nanoseconds)
    var messages: [JetStreamMessage] = []
    while !answer.isComplete {
      var until = end
      if let heartbeat { until = min(end, client.eventLoop.now + .nanoseconds((heartbeat * 2).nanoseconds)) }
      guard
        let taken = try await subscription.queue.next(
          max: answer.wanted - answer.count, until: until, on: client.eventLoop)
      else {
        if messages.isEmpty { throw NATSError(.timeout, "the consumer \(info.name) didn't answer a pull") }
        break
      }
      if taken.isEmpty {
        try Task.checkCancellation()
        break
      }
      for message in taken {
        guard let status = message.status else {
          if let message = JetStreamMessage(message, client: client) { messages.append(message) }
          answer.message()
          continue
        }
        switch answer.status(status, unfilled: message.headers["Nats-Pending-Messages"].flatMap { Int($0) }) {
        case .wait: continue
        case .done: return messages
        case .disconnected:
          if messages.isEmpty { throw NATSError.connectionLost }
          return messages
        case .refused:
          if messages.isEmpty { throw Self.error(status, info.name) }
          return messages
        }
      }
    }
    return messages
  }

  /// A pull that wasn't answered in time may be later: what still comes goes back, instead of being missed until the server's own wait is over.
  private func handBack(_ subscription: NATSSubscription) {
    let client = jetStream.client
    client.eventLoop.scheduleTask(in: .seconds(10)) {
      for message in subscription.queue.takeAvailable(max: .max) where message.status == nil {
        try? JetStreamMessage(message, client: client)?.nak()
      }
      subscription.unsubscribe()
    }
  }

  /// Orders messages without waiting for them: they, and a status where the order ends early, come to `reply`, which somebody listens to.
  package func order(_ messages: Int, expires: Duration, reply: String) throws {
    let body: JSONValue = ["batch": .integer(messages), "expires": .duration(expires)]
    try jetStream.client.post(pullSubject, body.buffer, reply: reply)
  }

  /// A stream of messages without an end, pulled ahead: at most `batch` are on their way or waiting here.
  package func messages(
    batch: Int = 100, maximumBytes: Int? = nil, expires: Duration = .seconds(30), heartbeat: Duration = .seconds(5)
  ) throws -> PullSubscription {
    try PullSubscription(
      client: jetStream.client, pullSubject: pullSubject, name: info.name, batch: batch, maximumBytes: maximumBytes,
      expires: expires, heartbeat: heartbeat)
  }

  static func error(_ status: NATSStatus, _ name: String) -> NATSError {
    switch status.code {
    case NATSStatus.noResponders:
      NATSError(.noResponders, "the consumer \(name) is gone, or has no leader at the moment")
    default: NATSError(.serverError, "the consumer \(name) refused a pull: \(status.code) \(status.description)")
    }
  }
}

/// A consumer's messages, pulled ahead of their use. It survives reconnects and failovers; it ends by `stop`, with its consumer, or with the client.
package final class PullSubscription: AsyncSequence, Sendable {
  package typealias Element = JetStreamMessage

  private let client: NATSClient
  private let pullSubject: String
  private let name: String
  private let subscription: NATSSubscription
  private let expires: Duration
  private let heartbeat: Duration
  private let machine: Mutex<PullMachine>
  /// An ordered consumer makes a new consumer instead of waiting for this one to come back.
  private let failsWhenUnavailable: Bool

  init(
    client: NATSClient, pullSubject: String, name: String, batch: Int, maximumBytes: Int?, expires: Duration,
    heartbeat: Duration, failsWhenUnavailable: Bool = false
  ) throws(NATSError) {
    self.client = client
    self.pullSubject = pullSubject
    self.name = name
    self.expires = expires
    self.heartbeat = heartbeat
    self.failsWhenUnavailable = failsWhenUnavailable
    // Twice what is ordered: after a suspicious silence it may be ordered again, and both orders may come. What doesn't fit is delivered again.
    subscription = try client.subscribe(
      client.makeInbox(), queue: nil, limits: SubscriptionLimits(messages: Swift.max(1024, batch * 2)),
      marksReconnects: true)
    machine = Mutex(PullMachine(batch: batch, maximumBytes: maximumBytes))
  }

  deinit { subscription.unsubscribe() }

  /// No further messages.
  package func stop() { subscription.unsubscribe() }

  /// The next message; nil at the end or when the task is cancelled.
  package func next() async throws -> JetStreamMessage? { try await nextBatch(max: 1).first }

  /// The messages that are there, at least one; empty at the end or when the task is cancelled.
  package func nextBatch(max: Int = 256) async throws -> [JetStreamMessage] {
    while true {
      pull()
      let until = client.eventLoop.now + .nanoseconds((heartbeat * 2).nanoseconds)
      guard let taken = try await subscription.queue.next(max: max, until: until, on: client.eventLoop) else {
        try await note(.silence)
        continue
      }
      if taken.isEmpty { return [] }
      var messages: [JetStreamMessage] = []
      messages.reserveCapacity(taken.count)
      for message in taken {
        if let event = Self.event(message) {
          do {
            try await note(event)
          } catch {
            // What came before is still good; the trouble comes again with the next call.
            if messages.isEmpty { throw error }
            subscription.queue.finish(error as? NATSError)
          }
        } else if let message = JetStreamMessage(message, client: client) {
          _ = machine.withLock { $0.handle(.message(bytes: message.message.size)) }
          messages.append(message)
        }
      }
      if !messages.isEmpty {
        pull()
        return messages
      }
    }
  }

  private static func event(_ message: NATSMessage) -> PullMachine.Event? {
    guard let status = message.status else { return nil }
    if status.code == NATSStatus.reconnected { return .reconnected }
    return .status(
      status, pendingMessages: message.headers["Nats-Pending-Messages"].flatMap { Int($0) },
      pendingBytes: message.headers["Nats-Pending-Bytes"].flatMap { Int($0) })
  }

  private func note(_ event: PullMachine.Event) async throws {
    let outcome = machine.withLock { $0.handle(event) }
    if failsWhenUnavailable, event == .silence || event == .reconnected || outcome == .unavailable {
      throw NATSError(.noResponders, "the consumer \(name) fell silent")
    }
    switch outcome {
    case .none: break
    case .unavailable: try await client.pause(.milliseconds(100))
    case .failed(let status): throw PullConsumer.error(status, name)
    }
  }

  private func pull() {
    guard let pull = machine.withLock({ $0.next() }) else { return }
    var body: JSONValue = [
      "batch": .integer(pull.messages), "expires": .duration(expires), "idle_heartbeat": .duration(heartbeat),
    ]
    body["max_bytes"] = pull.bytes.map { .integer($0) }
    do {
      try client.post(pullSubject, body.buffer, reply: subscription.subject)
    } catch {
      // Not connected, and the buffer is full: the reconnect orders anew.
      _ = machine.withLock { $0.handle(.reconnected) }
    }
  }

  package func makeAsyncIterator() -> Iterator { Iterator(subscription: self) }

  package struct Iterator: AsyncIteratorProtocol {
    let subscription: PullSubscription
    private var batch: ArraySlice<JetStreamMessage> = []

    init(subscription: PullSubscription) { self.subscription = subscription }

    package mutating func next() async throws -> JetStreamMessage? {
      if batch.isEmpty { batch = try await subscription.nextBatch(max: 64)[...] }
      return batch.popFirst()
    }
  }
}
