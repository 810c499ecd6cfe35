import NIOCore

/// JetStream through its JSON API.
package struct JetStream: Sendable {
  package let client: NATSClient
  /// `$JS.API`, or that of a domain.
  let prefix: String
  /// How long calls wait for their answer.
  package var timeout: Duration

  package init(_ client: NATSClient, domain: String? = nil, timeout: Duration = .seconds(5)) {
    self.client = client
    prefix = domain.map { "$JS.\($0).API" } ?? "$JS.API"
    self.timeout = timeout
  }

  /// Calls an endpoint and reads its answer.
  ///
  /// - Throws: `JetStreamError` where the answer is an error.
  package func call(_ endpoint: String, _ body: JSONValue? = nil) async throws -> JSONValue {
    let subject = "\(prefix).\(endpoint)"
    guard NATSSubject.isSubscribable(subject) else {
      throw NATSError(.invalidSubject, "'\(endpoint)' has a blank or an empty token; is a filter wrong?")
    }
    return try Self.read(try await client.ask(subject, body?.buffer ?? ByteBuffer(), timeout: timeout))
  }

  static func read(_ answer: NATSMessage) throws -> JSONValue {
    guard let json = try? JSONValue(parsing: answer.payload) else {
      throw NATSError(.invalidAnswer, "JetStream answered something that isn't JSON")
    }
    if let error = JetStreamError(json) { throw error }
    return json
  }

  private static func check(_ name: String) throws(NATSError) {
    let isFine =
      !name.isEmpty
      && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && ![0x2E, 0x2A, 0x3E, 0x2F, 0x5C].contains($0) }
    guard isFine else {
      throw NATSError(
        .invalidArgument, "'\(name)' is no name of a stream or consumer: no blanks, dots, wildcards or slashes")
    }
  }

  /// What the account may use and uses.
  package func accountInfo() async throws -> JSONValue { try await call("INFO") }

  // MARK: Streams

  package func createStream(_ configuration: StreamConfiguration) async throws -> StreamInfo {
    try Self.check(configuration.name)
    return StreamInfo(json: try await call("STREAM.CREATE.\(configuration.name)", configuration.json))
  }

  package func updateStream(_ configuration: StreamConfiguration) async throws -> StreamInfo {
    try Self.check(configuration.name)
    return StreamInfo(json: try await call("STREAM.UPDATE.\(configuration.name)", configuration.json))
  }

  package func streamInfo(_ name: String) async throws -> StreamInfo {
    try Self.check(name)
    return StreamInfo(json: try await call("STREAM.INFO.\(name)"))
  }

  package func deleteStream(_ name: String) async throws {
    try Self.check(name)
    _ = try await call("STREAM.DELETE.\(name)")
  }

  /// Removes messages, all or those of a subject, perhaps but the newest, or only those before a sequence. Returns how many.
  @discardableResult
  package func purgeStream(
    _ name: String, subject: String? = nil, keeping: Int? = nil, before sequence: UInt64? = nil
  ) async throws -> Int {
    try Self.check(name)
    var body: JSONValue = [:]
    body["filter"] = subject.map(JSONValue.string)
    body["keep"] = keeping.map { .integer($0) }
    body["seq"] = sequence.map { .integer($0) }
    return try await call("STREAM.PURGE.\(name)", body)["purged"]?.int ?? 0
  }

  /// All names, page by page.
  package func streamNames(subject: String? = nil) async throws -> [String] {
    var names: [String] = []
    while true {
      var body: JSONValue = ["offset": .integer(names.count)]
      body["subject"] = subject.map(JSONValue.string)
      let answer = try await call("STREAM.NAMES", body)
      let page = answer["streams"]?.array?.compactMap(\.string) ?? []
      names += page
      if page.isEmpty || names.count >= answer["total"]?.int ?? 0 { return names }
    }
  }

  // MARK: Messages

  /// A message as a stream holds it.
  package struct StoredMessage: Sendable, Hashable {
    package var sequence: UInt64
    package var message: NATSMessage
    /// When it was stored, as RFC 3339 text of the server.
    package var time: String
  }

  /// Which stored message.
  package enum Selector: Sendable, Hashable {
    case sequence(UInt64)
    case last(subject: String)
    /// The first one at or behind a sequence.
    case next(subject: String, from: UInt64)
  }

  /// Reads one message; nil: there is none. `direct` may be answered by any replica, which can be a little behind; the stream has to allow it.
  package func message(_ stream: String, _ selector: Selector, direct: Bool = false) async throws -> StoredMessage? {
    try Self.check(stream)
    let body: JSONValue =
      switch selector {
      case .sequence(let sequence): ["seq": .integer(sequence)]
      case .last(let subject): ["last_by_subj": .string(subject)]
      case .next(let subject, let sequence): ["next_by_subj": .string(subject), "seq": .integer(sequence)]
      }
    if direct {
      var message = try await client.request("\(prefix).DIRECT.GET.\(stream)", body.buffer, timeout: timeout)
      if message.status?.code == NATSStatus.noMessages { return nil }
      guard message.status == nil, let sequence = message.headers["Nats-Sequence"].flatMap(UInt64.init) else {
        throw NATSError(
          .invalidAnswer, "a direct get was answered with \(message.status?.description ?? "no sequence")")
      }
      message.subject = message.headers["Nats-Subject"] ?? message.subject
      message.reply = nil
      return StoredMessage(
        sequence: sequence, message: message, time: message.headers["Nats-Time-Stamp"] ?? "")
    }
    let answer: JSONValue
    do {
      answer = try await call("STREAM.MSG.GET.\(stream)", body)
    } catch let error as JetStreamError where error.errorCode == JetStreamError.messageNotFound {
      return nil
    }
    guard let stored = answer["message"], let sequence = stored["seq"]?.uint64 else {
      throw NATSError(.invalidAnswer, "a message was answered without its sequence")
    }
    var message = NATSMessage(subject: stored["subject"]?.string ?? "")
    message.payload = ByteBuffer(bytes: Base64URL.decode(stored["data"]?.string ?? "") ?? [])
    if let headers = Base64URL.decode(stored["hdrs"]?.string ?? ""), !headers.isEmpty {
      message.headers = try headers.withUnsafeBytes { bytes throws(NATSProtocolError) in
        try NATSHeaders.parse(bytes).0
      }
    }
    return StoredMessage(sequence: sequence, message: message, time: stored["time"]?.string ?? "")
  }

  /// Removes one message from a stream.
  package func deleteMessage(_ stream: String, sequence: UInt64) async throws {
    try Self.check(stream)
    _ = try await call("STREAM.MSG.DELETE.\(stream)", ["seq": .integer(sequence), "no_erase": true])
  }

  // MARK: Consumers

  /// Makes a pull consumer, or leaves one with the same configuration as it is.
  package func createConsumer(_ stream: String, _ configuration: ConsumerConfiguration) async throws -> PullConsumer {
    try Self.check(stream)
    try Self.check(configuration.name)
    // A filter may stand in the subject, so that rights can be given for it.
    let suffix = configuration.json["filter_subject"]?.string.map { ".\($0)" } ?? ""
    let answer = try await call(
      "CONSUMER.CREATE.\(stream).\(configuration.name)\(suffix)",
      ["stream_name": .string(stream), "config": configuration.json])
    return PullConsumer(jetStream: self, info: ConsumerInfo(json: answer))
  }

  /// A consumer that exists.
  package func consumer(_ stream: String, _ name: String) async throws -> PullConsumer {
    PullConsumer(jetStream: self, info: try await consumerInfo(stream, name))
  }

  package func consumerInfo(_ stream: String, _ name: String) async throws -> ConsumerInfo {
    try Self.check(stream)
    try Self.check(name)
    return ConsumerInfo(json: try await call("CONSUMER.INFO.\(stream).\(name)"))
  }

  package func deleteConsumer(_ stream: String, _ name: String) async throws {
    try Self.check(stream)
    try Self.check(name)
    _ = try await call("CONSUMER.DELETE.\(stream).\(name)")
  }
}
