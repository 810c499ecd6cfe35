import CoordinationAPI
import CoordinationEngine
import JSON
import NIOHTTP1
import Synchronization

/// A remote engine's messages.
struct RemoteMessages: Messages {
  let link: RemoteLink

  /// As NATS has it unless told otherwise; a server whose engine takes less says so.
  var messageBytes: Int { 1_024 * 1_024 }

  func publish(_ message: Message) async throws {
    _ = try await link.engine {
      try await $0.json(.POST, "/v1/agent-messages", .json(Self.json(message)), isHarmless: false)
    }
  }

  func subscribe(_ subject: MessageSubject, buffer: Int) async throws -> MessageSubscription {
    let query =
      switch subject {
      case .exactly(let name): "subject=\(APITarget.encoded(name))"
      case .below(let prefix): "prefix=\(APITarget.encoded(prefix))"
      }
    let subscription = RemoteSubscription(link, "/v1/agent-messages?encoding=base64&buffer=\(buffer)&\(query)")
    // Whoever returns from here is heard.
    try await subscription.connect()
    return MessageSubscription(
      next: { try await subscription.next() }, cancel: { subscription.cancel() }, dropped: { subscription.dropped })
  }

  func request(_ subject: String, _ payload: [UInt8], timeout: Duration) async throws -> Message {
    let timeout = min(timeout, .seconds(EngineAPI.longestRequest))
    let body: JSONValue = [
      "subject": .string(subject), "payloadBase64": .string(Base64.encode(payload)),
      "timeoutSeconds": JSONValue(exact: timeout),
    ]
    let answer = try await link.engine {
      try await $0.json(
        .POST, "/v1/agent-messages/request?encoding=base64", .json(body), isHarmless: false, wait: timeout)
    }
    return try Self.message(answer)
  }

  /// A message as the API has it.
  static func json(_ message: Message) -> JSONValue {
    var json: JSONValue = [
      "subject": .string(message.subject), "payloadBase64": .string(Base64.encode(message.payload)),
    ]
    json["replyTo"] = message.replyTo.map { .string($0) }
    return json
  }

  static func message(_ json: JSONValue) throws(EngineError) -> Message {
    Message(
      subject: try json.required("subject", \.stringValue), payload: try json.bytes("payload"),
      replyTo: json["replyTo"]?.stringValue)
  }
}

/// A subscription that is made again when its connection breaks; what was sent meanwhile is lost, as messages are. One task at a time
/// asks it for messages.
///
/// Beside what the server keeps for it, up to 64 KiB and what the system's sockets hold wait on this side of the connection.
private final class RemoteSubscription: Sendable {
  private struct State {
    var stream: RemoteEvents?
    var hasBroken = false
    var isCancelled = false
    /// What streams that have ended had dropped, and what this one has.
    var droppedBefore = 0
    var dropped = 0
  }

  private let link: RemoteLink
  private let target: String
  private let state = Mutex(State())

  init(_ link: RemoteLink, _ target: String) {
    self.link = link
    self.target = target
  }

  var dropped: Int { state.withLock { $0.droppedBefore + $0.dropped } }

  func cancel() {
    let stream = state.withLock { state in
      state.isCancelled = true
      return state.stream
    }
    stream?.cancel()
  }

  /// Connects, and waits until the server listens.
  @discardableResult
  func connect() async throws -> RemoteEvents {
    let stream = try await link.engine { try await $0.stream(target) }
    let isWanted = state.withLock { state in
      state.stream = stream
      state.droppedBefore += state.dropped
      state.dropped = 0
      return !state.isCancelled
    }
    if !isWanted { stream.cancel() }
    return stream
  }

  func next() async throws -> Message? {
    while !state.withLock({ $0.isCancelled }), !link.closing.isEnded {
      do {
        if let message = try await received() { return message }
      } catch let error as EngineError {
        if state.withLock({ $0.isCancelled }) || link.closing.isEnded { return nil }
        throw error
      }
    }
    return nil
  }

  /// The next message; nil: something else came, or the connection broke, and is to be made again.
  private func received() async throws -> Message? {
    let stream: RemoteEvents
    if let open = state.withLock({ $0.stream }) {
      stream = open
    } else {
      if state.withLock({ $0.hasBroken }) { try await link.pauseBeforeReconnecting() }
      stream = try await connect()
    }
    let event: RemoteEvents.Event?
    do {
      event = try await stream.next()
    } catch {
      try Task.checkCancellation()
      event = nil
    }
    switch event?.type {
    case "message"?: return try event.map { try RemoteMessages.message($0.data) }
    case "dropped"?:
      let count = Int(event?.data["count"]?.count ?? 0)
      state.withLock { $0.dropped = count }
    case "listening"?: break
    default: state.withLock { ($0.stream, $0.hasBroken) = (nil, true) }
    }
    return nil
  }
}
