import NIOCore
import NIOHTTP1

/// The Claude API within the budget: each request waits for its turn, is sent, measured and settled. 429s, overloads and
/// broken connections are tried again here; after the first event of a stream has been given out nothing is repeated.
public struct Claude: Sendable {
  let gateway: ClaudeGateway
  let headers: @Sendable () -> [String: String]

  /// Sends a request to `/v1/messages` and reads its answer as a whole.
  ///
  /// - Parameters:
  ///   - body: the request as JSON.
  ///   - headers: headers beside the usual ones (content type, version, credential), or in their place.
  ///   - priority: how urgent it is; nil: as the fleet's share says.
  /// - Throws: `ClaudeError` when the answer is an error, `CancellationError`, and the error of a connection that breaks in
  ///   the middle of the answer.
  public nonisolated(nonsending) func messages(
    _ body: some Sequence<UInt8>, headers: [String: String] = [:], priority: RequestPriority? = nil
  ) async throws -> ClaudeAnswer {
    try await gateway.withResponse(to: request(body, headers), priority: priority?.budgetPriority) { response in
      let bytes = try await Self.collect(response.body)
      guard (200..<300).contains(Int(response.status.code)) else { throw ClaudeError(response, bytes) }
      return ClaudeAnswer(
        status: Int(response.status.code), headers: Self.fields(response.headers), body: bytes)
    }
  }

  /// Sends a request with `"stream": true` to `/v1/messages` and gives its events to `read`, as fast as that takes them.
  /// When `read` ends the rest of the stream is cut off, which ends the production of tokens.
  ///
  /// - Parameters: as those of `messages`.
  /// - Throws: `ClaudeError` when the answer is an error or an event is one, `CancellationError`, the error of a connection
  ///   that breaks, and what `read` throws.
  public nonisolated(nonsending) func withEvents<Result>(
    of body: some Sequence<UInt8>, headers: [String: String] = [:], priority: RequestPriority? = nil,
    _ read: (ClaudeEvents) async throws -> Result
  ) async throws -> Result {
    try await gateway.withResponse(to: request(body, headers), priority: priority?.budgetPriority) { response in
      guard response.isEventStream, (200..<300).contains(Int(response.status.code)) else {
        let bytes = try await Self.collect(response.body)
        guard (200..<300).contains(Int(response.status.code)) else { throw ClaudeError(response, bytes) }
        throw ClaudeError(
          status: Int(response.status.code), type: "", message: "the answer is no stream: say \"stream\": true",
          requestID: response.headers.first(name: "request-id"))
      }
      return try await read(ClaudeEvents(response))
    }
  }

  private func request(_ body: some Sequence<UInt8>, _ own: [String: String]) -> ClaudeRequest {
    var fields = HTTPHeaders([("content-type", "application/json"), ("anthropic-version", "2023-06-01")])
    let isOwnCredential = own.keys.contains { ["x-api-key", "authorization"].contains($0.lowercased()) }
    let usual = headers().filter { field in
      !(isOwnCredential && ["x-api-key", "authorization"].contains(field.key.lowercased()))
    }
    for (name, value) in usual.sorted(by: { $0.key < $1.key }) + own.sorted(by: { $0.key < $1.key }) {
      fields.replaceOrAdd(name: name, value: value)
    }
    return ClaudeRequest(method: .POST, target: "/v1/messages", headers: fields, body: ByteBuffer(bytes: body))
  }

  private static func collect(_ body: ClaudeBody) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let piece = try await body.next() { bytes += piece.readableBytesView }
    return bytes
  }

  private static func fields(_ headers: HTTPHeaders) -> [String: String] {
    var fields: [String: String] = [:]
    for (name, value) in headers {
      let name = name.lowercased()
      fields[name] = fields[name].map { $0 + ", " + value } ?? value
    }
    return fields
  }
}

/// The events of one answer, as they come; to be read once, by one task.
public struct ClaudeEvents: AsyncSequence {
  /// What it gives.
  public typealias Element = ClaudeEvent
  private let response: ClaudeResponse

  init(_ response: ClaudeResponse) { self.response = response }

  /// Reads the events.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(response: response) }

  /// Reads the events.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let response: ClaudeResponse
    private var parser = EventParser()
    private var ready: [ClaudeEvent] = []

    init(response: ClaudeResponse) { self.response = response }

    /// The next event; nil: the stream is over.
    ///
    /// - Throws: `ClaudeError` for an event that is an error, `CancellationError`, the error of a connection that breaks.
    public mutating func next() async throws -> ClaudeEvent? {
      while ready.isEmpty {
        guard let piece = try await response.body.next() else { return nil }
        ready = parser.take(piece.readableBytesView)
        guard !parser.isTooLarge else {
          throw ClaudeError(
            status: Int(response.status.code), type: "", message: "an event is larger than \(EventParser.limit) bytes",
            requestID: response.headers.first(name: "request-id"))
        }
      }
      let event = ready.removeFirst()
      guard event.name != "error" else { throw ClaudeError(response, event.data) }
      return event
    }
  }
}

@available(*, unavailable)
extension ClaudeEvents: Sendable {}
@available(*, unavailable)
extension ClaudeEvents.AsyncIterator: Sendable {}

extension ClaudeError {
  fileprivate init(_ response: ClaudeResponse, _ body: [UInt8]) {
    let error = body.withUnsafeBytes { ErrorBody($0) }
    self.init(
      status: Int(response.status.code), type: error.type ?? "",
      message: error.message ?? (body.isEmpty ? "" : "see the API's documentation of this status"),
      requestID: response.headers.first(name: "request-id"))
  }
}
