package import CoordinationEngine
import NATSClient
import NIOCore

/// Messages over NATS itself, without a stream.
package struct JetStreamMessages: Messages {
  let link: EngineLink

  init(_ link: EngineLink) { self.link = link }

  package var messageBytes: Int { link.client.serverInfo.map { min($0.maximumPayload, 1024 * 1024) } ?? 1024 * 1024 }

  /// Places for answers are the client's own; all else lies below the engine's prefix.
  private func subject(_ name: String) throws -> String {
    try StateLimits().check(key: name)
    return name.hasPrefix("_INBOX.") ? name : link.layout.messageSubjects + name
  }

  private func check(_ payload: [UInt8]) throws {
    guard !link.isClosed else { throw EngineError.unavailable("the engine is closed") }
    guard payload.count <= messageBytes else {
      throw EngineError.tooLarge(what: "message", bytes: payload.count, limit: messageBytes)
    }
  }

  package func publish(_ message: Message) async throws {
    try await link.engine {
      try check(message.payload)
      try await link.client.publish(
        try subject(message.subject), ByteBuffer(bytes: message.payload), reply: message.replyTo)
    }
  }

  package func subscribe(_ subject: MessageSubject, buffer: Int) async throws -> MessageSubscription {
    try await link.engine {
      try check([])
      let filter: String
      switch subject {
      case .exactly(let name): filter = try self.subject(name)
      case .below(let prefix):
        try StateLimits().check(prefix: prefix)
        filter = "\(link.layout.messageSubjects)\(prefix)>"
      }
      let subscription = try link.client.subscribe(
        filter, limits: SubscriptionLimits(messages: max(1, buffer), policy: .dropOldest))
      // From when this returns: the server has it when it has answered.
      try await link.client.flush()
      let start = link.layout.messageSubjects
      return MessageSubscription(
        next: {
          let message: NATSMessage?
          do {
            message = try await subscription.next()
          } catch {
            throw EngineError.unavailable("the subscription has ended: \(error)")
          }
          try Task.checkCancellation()
          guard let message else { return nil }
          let name = message.subject.hasPrefix(start) ? String(message.subject.dropFirst(start.count)) : message.subject
          return Message(subject: name, payload: message.payload.bytes, replyTo: message.reply)
        }, cancel: { subscription.unsubscribe() }, dropped: { subscription.dropped })
    }
  }

  package func request(_ subject: String, _ payload: [UInt8], timeout: Duration) async throws -> Message {
    try await link.engine {
      try check(payload)
      do {
        let answer = try await link.client.request(
          try self.subject(subject), ByteBuffer(bytes: payload), timeout: timeout)
        return Message(subject: answer.subject, payload: answer.payload.bytes)
      } catch let error as NATSError where error.code == .noResponders {
        throw EngineError.notFound("listener on \(subject)")
      }
    }
  }
}
