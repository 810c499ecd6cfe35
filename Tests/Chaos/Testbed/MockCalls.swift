import NIOCore
import NIOHTTP1
import NIOPosix

/// Calls of MockClaude, each over a connection of its own.
struct MockCalls: Sendable {
  var port: Int

  /// The API answered with something else than 200, or not at all.
  struct Refused: Error {
    var status: UInt
  }

  private typealias Connection = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

  /// Calls the Messages API; `session` is what the mock's log has beside the call.
  func call(session: String, words: Int) async throws {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHTTPClientHandlers()
          return try Connection(wrappingChannelSynchronously: channel)
        }
      }
    let body = """
      {"model":"claude-sonnet-4-5","max_tokens":100,"messages":[{"role":"user","content":"\(session) <<out=\(words)>>"}]}
      """
    try await channel.executeThenClose { inbound, outbound in
      var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/v1/messages")
      head.headers = [
        "host": "127.0.0.1", "content-type": "application/json", "content-length": "\(body.utf8.count)",
        "x-api-key": "any", "anthropic-version": "2023-06-01", "x-claude-code-session-id": session,
      ]
      try await outbound.write(.head(head))
      try await outbound.write(.body(.byteBuffer(ByteBuffer(string: body))))
      try await outbound.write(.end(nil))
      for try await part in inbound {
        switch part {
        case .head(let head) where head.status != .ok: throw Refused(status: head.status.code)
        case .end: return
        case .head, .body: continue
        }
      }
      throw Refused(status: 0)
    }
  }
}
