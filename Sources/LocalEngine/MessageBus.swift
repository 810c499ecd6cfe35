import CoordinationEngine
import Synchronization

/// Messages between the tasks of one process.
final class MessageBus: Messages {
  private struct Shared {
    var exact: [String: [UInt64: Mailbox]] = [:]
    var below: [UInt64: (prefix: String, mailbox: Mailbox)] = [:]
    var nextID: UInt64 = 0
    var isClosed = false
  }

  /// The most bytes of a message: as NATS has it unless told otherwise.
  static let limit = 1_024 * 1_024
  private static let names = StateLimits()
  private let shared = Mutex(Shared())
  private let clock: any EngineClock

  init(clock: any EngineClock) {
    self.clock = clock
  }

  var messageBytes: Int { Self.limit }

  static func check(_ message: Message) throws(EngineError) {
    try names.check(key: message.subject)
    if let replyTo = message.replyTo { try names.check(key: replyTo) }
    guard message.payload.count <= limit else {
      throw .tooLarge(what: "message", bytes: message.payload.count, limit: limit)
    }
  }

  func publish(_ message: Message) async throws {
    try Self.check(message)
    try checkOpen()
    deliver(message)
  }

  private func checkOpen() throws(EngineError) {
    if shared.withLock({ $0.isClosed }) { throw .unavailable("the engine is closed: start it again") }
  }

  /// Puts a message in the mailbox of each who listens; says how many those are.
  @discardableResult
  func deliver(_ message: Message) -> Int {
    let mailboxes = shared.withLock { shared in
      Array((shared.exact[message.subject] ?? [:]).values)
        + shared.below.values.filter { message.subject.hasPrefix($0.prefix) }.map(\.mailbox)
    }
    for mailbox in mailboxes { mailbox.put(message) }
    return mailboxes.count
  }

  func subscribe(_ subject: MessageSubject, buffer: Int) async throws -> MessageSubscription {
    guard (1...65_536).contains(buffer) else { throw EngineError.invalid("buffer: 1 to 65536, not \(buffer)") }
    switch subject {
    case .exactly(let name): try Self.names.check(key: name)
    case .below(let prefix): try Self.names.check(prefix: prefix)
    }
    let (mailbox, id) = try listen(subject, buffer)
    return MessageSubscription(
      next: { try await mailbox.next() }, cancel: { [self] in cancel(subject, id) }, dropped: { mailbox.dropped })
  }

  private func listen(_ subject: MessageSubject, _ buffer: Int) throws(EngineError) -> (Mailbox, UInt64) {
    try checkOpen()
    let mailbox = Mailbox(maximum: buffer)
    let id = shared.withLock { shared in
      shared.nextID += 1
      switch subject {
      case .exactly(let name): shared.exact[name, default: [:]][shared.nextID] = mailbox
      case .below(let prefix): shared.below[shared.nextID] = (prefix, mailbox)
      }
      return shared.nextID
    }
    return (mailbox, id)
  }

  private func cancel(_ subject: MessageSubject, _ id: UInt64) {
    let mailbox = shared.withLock { shared -> Mailbox? in
      switch subject {
      case .exactly(let name):
        let mailbox = shared.exact[name]?.removeValue(forKey: id)
        if shared.exact[name]?.isEmpty == true { shared.exact[name] = nil }
        return mailbox
      case .below: return shared.below.removeValue(forKey: id)?.mailbox
      }
    }
    mailbox?.close()
  }

  func request(_ subject: String, _ payload: [UInt8], timeout: Duration) async throws -> Message {
    // A subject of its own for each request: answers can't be crossed.
    let replyTo = "_reply.\(String(UInt64.random(in: 0 ... .max), radix: 36))"
    let message = Message(subject: subject, payload: payload, replyTo: replyTo)
    try Self.check(message)
    let (mailbox, id) = try listen(.exactly(replyTo), 1)
    defer { cancel(.exactly(replyTo), id) }
    guard deliver(message) > 0 else { throw EngineError.notFound("listener to \(subject)") }
    let deadline = clock.now + timeout
    if let answer = try await mailbox.next(until: deadline, clock) { return answer }
    try checkOpen()
    throw EngineError.unavailable("no answer from \(subject) within \(timeout): ask again")
  }

  func close() {
    let mailboxes = shared.withLock { shared in
      shared.isClosed = true
      return shared.exact.values.flatMap(\.values) + shared.below.values.map(\.mailbox)
    }
    for mailbox in mailboxes { mailbox.close() }
  }
}

/// The messages that one listener hasn't looked at yet.
private final class Mailbox: Sendable {
  private struct State {
    var messages: [Message?] = []
    var start = 0
    var dropped = 0
    var isClosed = false

    var count: Int { messages.count - start }

    mutating func take() -> Message? {
      guard count > 0 else { return nil }
      defer {
        messages[start] = nil
        start += 1
        if start > 64, start > messages.count / 2 {
          messages.removeFirst(start)
          start = 0
        }
      }
      return messages[start]
    }
  }

  private let state = Mutex(State())
  private let signal = Signal()
  private let maximum: Int

  init(maximum: Int) {
    self.maximum = maximum
  }

  var dropped: Int { state.withLock { $0.dropped } }

  func put(_ message: Message) {
    state.withLock { state in
      guard !state.isClosed else { return }
      if state.count == maximum {
        _ = state.take()
        state.dropped += 1
      }
      state.messages.append(message)
    }
    signal.signal()
  }

  func close() {
    state.withLock { $0.isClosed = true }
    signal.signal()
  }

  /// The next message, waiting for it; nil at the end.
  func next() async throws -> Message? {
    while true {
      let (message, isClosed) = state.withLock { ($0.take(), $0.isClosed) }
      if message != nil || isClosed { return message }
      try await signal.wait()
    }
  }

  /// The next message, waiting for it until a deadline; nil then or at the end.
  func next(until deadline: Duration, _ clock: any EngineClock) async throws -> Message? {
    while true {
      let (message, isClosed) = state.withLock { ($0.take(), $0.isClosed) }
      if message != nil || isClosed || clock.now >= deadline { return message }
      try await signal.wait(until: deadline, clock)
    }
  }
}
