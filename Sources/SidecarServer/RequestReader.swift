import NIOCore
import NIOHTTP1

/// A request with its whole body.
struct ReceivedRequest: Sendable {
  /// Its head.
  var head: HTTPRequestHead
  /// Its body; nil: none.
  var body: ByteBuffer?
  /// Whether the body is larger than what is taken; it isn't kept then.
  var isTooLarge = false

  /// The path, without the query.
  var path: Substring { head.uri.prefix { $0 != "?" } }
}

/// Reads the requests of one connection. Bodies are kept, since a retry needs them again.
struct RequestReader {
  /// What comes in.
  var inbound: NIOAsyncChannelInboundStream<HTTPServerRequestPart>.AsyncIterator
  /// Where a client is told to go on.
  let channel: any Channel
  /// The largest body.
  let limit: Int

  /// The next request; nil: the client has closed.
  mutating func next() async throws -> ReceivedRequest? {
    guard case .head(let head)? = try await inbound.next(isolation: #isolation) else { return nil }
    var request = ReceivedRequest(head: head)
    let length = head.headers.first(name: "content-length").flatMap { Int($0) }
    if let length, length > limit {
      request.isTooLarge = true
      return request
    }
    if head.headers.first(name: "expect")?.lowercased() == "100-continue" {
      try await channel.writeAndFlush(
        ResponsePart.head(HTTPResponseHead(version: head.version, status: .continue))
      ).get()
    }
    while let part = try await inbound.next(isolation: #isolation) {
      switch part {
      case .head: return nil
      case .body(var piece):
        if request.body == nil {
          request.body = piece
          if let length { request.body?.reserveCapacity(length) }
        } else {
          request.body?.writeBuffer(&piece)
        }
        if (request.body?.readableBytes ?? 0) > limit {
          request.body = nil
          request.isTooLarge = true
          return request
        }
      case .end: return request
      }
    }
    return nil
  }
}
