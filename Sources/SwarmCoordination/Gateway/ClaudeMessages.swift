package import NIOCore
package import NIOHTTP1

/// A request to the API, as its client wrote it.
package struct ClaudeRequest: Sendable {
  /// The method.
  package var method: HTTPMethod
  /// Path and query.
  package var target: String
  /// The headers; those that are about the client's connection stay behind.
  package var headers: HTTPHeaders
  /// The body; nil: none.
  package var body: ByteBuffer?

  /// Makes a request.
  package init(method: HTTPMethod, target: String, headers: HTTPHeaders, body: ByteBuffer? = nil) {
    self.method = method
    self.target = target
    self.headers = headers
    self.body = body
  }

  /// Whether the budget counts it: what makes tokens. Everything else passes as it is.
  package var isMetered: Bool {
    guard method == .POST else { return false }
    let path = target.prefix { $0 != "?" }
    return path == "/v1/messages" || path.hasSuffix("/v1/messages")
  }
}

/// An answer of the API, or one in its form.
package struct ClaudeResponse {
  /// The status.
  package var status: HTTPResponseStatus
  /// The headers, without those that are about the connection.
  package var headers: HTTPHeaders
  /// Whether the body is a stream of events, into which pings may be put.
  package var isEventStream: Bool
  /// The body, as it comes.
  package var body: ClaudeBody
}

/// The body of an answer: pieces as they come from upstream. It can be read once, by one task.
///
/// What a piece means to the budget is found out when the next one is asked for: by then the piece has gone on to the
/// client, who doesn't wait for books to be kept.
package final class ClaudeBody: AsyncSequence, AsyncIteratorProtocol {
  package typealias Element = ByteBuffer

  private var ready: CircularBuffer<ByteBuffer>
  private var upstream: UpstreamBody?
  private let meter: ResponseMeter?
  private var afterFirst: (() -> Void)?
  private var unmeasured: ByteBuffer?

  /// A body of which `ready` is there already, and the rest comes; nil: there is no rest. `afterFirst` runs once, when the
  /// first piece has gone on, or when the body is closed.
  init(
    _ upstream: UpstreamBody?, ready: [ByteBuffer] = [], meter: ResponseMeter? = nil, afterFirst: (() -> Void)? = nil
  ) {
    self.ready = CircularBuffer(ready.filter { $0.readableBytes > 0 })
    self.upstream = upstream
    self.meter = meter
    self.afterFirst = afterFirst
  }

  package func makeAsyncIterator() -> ClaudeBody { self }

  package func next() async throws -> ByteBuffer? {
    measure()
    if let chunk = try await piece() {
      if meter != nil { unmeasured = chunk }
      return chunk
    }
    upstream = nil
    meter?.end()
    return nil
  }

  /// Whether `next` has something to say without waiting.
  package var isReady: Bool { !ready.isEmpty || upstream?.isReady ?? true }

  /// Whether the body is complete, and all of it was read: `next` gives nil.
  package var isAtEnd: Bool { ready.isEmpty && upstream?.isAtEnd ?? true }

  private func piece() async throws -> ByteBuffer? {
    if let chunk = ready.popFirst() { return chunk }
    return try await upstream?.next()
  }

  private func measure() {
    guard let chunk = unmeasured.take() else { return }
    meter?.take(chunk)
    afterFirst.take()?()
  }

  /// Ends it: what was delivered is measured, and what upstream still sends is cut off.
  func close() {
    measure()
    afterFirst.take()?()
    upstream = nil
  }
}

extension HTTPHeaders {
  /// The headers without those that are about one connection: those that RFC 9110 names, and those that `connection` does.
  var withoutConnection: HTTPHeaders { withoutConnection(and: []) }

  /// The same, without some others as well; `names` in small letters.
  func withoutConnection(and names: [String]) -> HTTPHeaders {
    // One pass: taking headers away one name at a time costs a search for each.
    let named = contains(name: "connection") ? self[canonicalForm: "connection"].map { $0.lowercased() } : []
    var result = HTTPHeaders()
    result.reserveCapacity(count + 2)
    for (name, value) in self {
      let isLeftOut = [Self.aboutConnection, names, named].contains { list in
        list.contains { Self.isSame(name, $0) }
      }
      if !isLeftOut { result.add(name: name, value: value) }
    }
    return result
  }

  private static let aboutConnection = [
    "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade",
  ]

  /// Whether a name is another one, which is in small letters.
  private static func isSame(_ name: String, _ small: String) -> Bool {
    guard name.utf8.count == small.utf8.count else { return false }
    return zip(name.utf8, small.utf8).allSatisfy { byte, letter in
      byte == letter || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) && byte | 0x20 == letter
    }
  }
}
