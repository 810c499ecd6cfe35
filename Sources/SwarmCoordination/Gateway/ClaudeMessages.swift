package import NIOCore
package import NIOHTTP1

/// A request to the API, as its client wrote it.
package struct ClaudeRequest: Sendable {
  /// The method.
  package var method: HTTPMethod
  /// Path and query.
  package var target: String
  /// The headers, without those that are about the connection.
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
package final class ClaudeBody: AsyncSequence, AsyncIteratorProtocol {
  package typealias Element = ByteBuffer

  private var ready: [ByteBuffer]
  private var isOver: Bool
  private var upstream: (() async throws -> ByteBuffer?)?
  private let meter: ResponseMeter?

  /// A body that is there already.
  init(_ buffer: ByteBuffer) {
    ready = buffer.readableBytes > 0 ? [buffer] : []
    isOver = true
    meter = nil
  }

  /// A body of which `ready` is there already and the rest comes.
  init(ready: [ByteBuffer], isOver: Bool, meter: ResponseMeter?, upstream: @escaping () async throws -> ByteBuffer?) {
    self.ready = ready
    self.isOver = isOver
    self.meter = meter
    self.upstream = upstream
  }

  package func makeAsyncIterator() -> ClaudeBody { self }

  package func next() async throws -> ByteBuffer? {
    let chunk: ByteBuffer?
    if !ready.isEmpty {
      chunk = ready.removeFirst()
    } else if isOver {
      chunk = nil
    } else {
      chunk = try await upstream?()
    }
    if let chunk {
      meter?.take(chunk)
    } else {
      isOver = true
      upstream = nil
      meter?.end()
    }
    return chunk
  }
}

extension HTTPHeaders {
  /// The headers without those that are about one connection: those that RFC 9110 names, and those that `connection` does.
  package var withoutConnection: HTTPHeaders {
    var result = self
    for name in self[canonicalForm: "connection"] { result.remove(name: String(name)) }
    for name in [
      "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
      "transfer-encoding", "upgrade",
    ] {
      result.remove(name: name)
    }
    return result
  }
}
