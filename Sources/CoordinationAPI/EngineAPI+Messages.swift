import CoordinationEngine
import JSON
import Synchronization

extension EngineAPI {
  static let messageFields = ["subject", "replyTo", "payload", "payloadBase64"]
  /// The longest that a request may wait for its answer, in seconds.
  package static let longestRequest = 300

  func messages(_ call: Call) async throws -> Answer {
    switch call.parts {
    case []:
      try call.only("GET", "POST")
      if call.request.method == "GET" { return try await subscribe(call) }
      let message = try Self.message(call.fields(Self.messageFields))
      try await engine.messages.publish(message)
      return Self.ok(["subject": .string(message.subject)], 202)
    case ["request"]:
      try call.only("POST")
      return try await request(call)
    default: throw Self.noPath(call.path)
    }
  }

  static func message(_ fields: TaskAPIFields) throws(TaskAPIError) -> Message {
    Message(
      subject: try fields.required("subject", such: "events.reviews"), payload: try fields.bytes("payload") ?? [],
      replyTo: try fields.string("replyTo"))
  }

  private func request(_ call: Call) async throws -> Answer {
    let fields = try call.fields(["subject", "payload", "payloadBase64", "timeoutSeconds"])
    let form = try BytesForm(call.query)
    let timeout = try fields.seconds("timeoutSeconds") ?? .seconds(10)
    guard timeout > .zero, timeout <= .seconds(Self.longestRequest) else {
      throw fields.invalid("timeoutSeconds", ": more than 0, and at most \(Self.longestRequest)")
    }
    let message = try await engine.messages.request(
      try fields.required("subject", such: "reviewers.status"), try fields.bytes("payload") ?? [], timeout: timeout)
    return Self.ok(Self.json(message, form))
  }

  private func subscribe(_ call: Call) async throws -> Answer {
    let form = try BytesForm(call.query)
    let subject: MessageSubject
    switch (call.query["subject"], call.query["prefix"]) {
    case (let name?, nil): subject = .exactly(name)
    case (nil, let prefix?): subject = .below(prefix)
    default:
      throw TaskAPIError.invalid(
        "subject: what to listen to, or prefix, such as events. for all below it; one of them is needed")
    }
    let subscription = try await engine.messages.subscribe(
      subject, buffer: try call.number("buffer", 1...65_536) ?? 1_000)
    let position = Mutex(SubscriptionPosition())
    return stream(
      { try await Self.next(subscription, position, form) }, end: { subscription.cancel() })
  }

  /// The next event of a subscription: first that it is heard, then messages, and before one how many were dropped.
  private static func next(
    _ subscription: MessageSubscription, _ position: borrowing Mutex<SubscriptionPosition>, _ form: BytesForm
  ) async throws -> [UInt8]? {
    let isFirst = position.withLock { position in
      defer { position.hasBegun = true }
      return !position.hasBegun
    }
    if isFirst { return EventStream.frame("listening", [:]) }
    var messages = subscription.makeAsyncIterator()
    guard let message = try await messages.next() else { return nil }
    let frame = EventStream.frame("message", json(message, form))
    let dropped = subscription.dropped
    let isMore = position.withLock { position in
      defer { position.dropped = dropped }
      return dropped > position.dropped
    }
    return isMore ? EventStream.frame("dropped", ["count": .int(Int64(dropped))]) + frame : frame
  }

  private static func json(_ message: Message, _ form: BytesForm) -> JSONValue {
    var json: JSONValue = ["subject": .string(message.subject)]
    if let replyTo = message.replyTo { json["replyTo"] = .string(replyTo) }
    json.set("payload", message.payload, form)
    return json
  }
}

/// Where a subscriber stands.
private struct SubscriptionPosition: Sendable {
  /// Whether it was told that it is heard.
  var hasBegun = false
  /// How many dropped messages it was told of.
  var dropped = 0
}
