import NIOCore
import NIOHTTP1
import NIOPosix

/// A server that answers like the Messages API, without any thought of its own.
enum Upstream {
  /// Binds on loopback.
  static func bind(port: Int, group: any EventLoopGroup) async throws -> any Channel {
    try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1_024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
          try channel.pipeline.syncOperations.addHandler(UpstreamHandler())
        }
      }
      .bind(host: "127.0.0.1", port: port).get()
  }

  /// The limits that every answer tells: so wide that nothing waits.
  static let limits: [(String, String)] = ["requests", "input-tokens", "output-tokens"].flatMap { name in
    [
      ("anthropic-ratelimit-\(name)-limit", "100000000"), ("anthropic-ratelimit-\(name)-remaining", "99999000"),
      ("anthropic-ratelimit-\(name)-reset", "2026-01-01T00:00:00Z"),
    ]
  }

  /// The answer that isn't a stream.
  static let message =
    #"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","#
    + #""text":"The answer is short."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":400,"#
    + #""cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":8}}"#

  /// What a stream begins with.
  static let opening =
    event(
      "message_start",
      #""message":{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"#
        + #""stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":400,"cache_creation_input_tokens":0,"#
        + #""cache_read_input_tokens":0,"output_tokens":1}}"#)
    + event("content_block_start", #""index":0,"content_block":{"type":"text","text":""}"#)

  /// What it ends with.
  static func ending(events: Int) -> String {
    event("content_block_stop", #""index":0"#)
      + event(
        "message_delta",
        #""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":\#(events)}"#)
      + event("message_stop", "")
  }

  /// A text delta that tells when it was sent.
  static func delta() -> String {
    event(
      "content_block_delta",
      #""index":0,"delta":{"type":"text_delta","text":"\#(StreamShape.mark)\#(monotonicNanoseconds()) "}"#)
  }

  private static func event(_ type: String, _ fields: String) -> String {
    "event: \(type)\ndata: {\"type\":\"\(type)\"\(fields.isEmpty ? "" : ",")\(fields)}\n\n"
  }
}

/// Answers the requests of one connection. Everything happens on its event loop.
final class UpstreamHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private static let streamMark = Array(#""stream":true"#.utf8)

  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  private var isOpen = true

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body.clear()
    case .body(var part): body.writeBuffer(&part)
    case .end:
      guard let head else { return }
      if body.readableBytesView.firstRange(of: Self.streamMark) != nil {
        stream(StreamShape(head.headers), context)
      } else {
        message(context)
      }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    isOpen = false
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  private func message(_ context: ChannelHandlerContext) {
    write(
      [("content-type", "application/json"), ("content-length", String(Upstream.message.utf8.count))], context)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: Upstream.message)))), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  private func stream(_ shape: StreamShape, _ context: ChannelHandlerContext) {
    write([("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")], context)
    send(Upstream.opening, context)
    next(1, of: shape, at: .now() + shape.interval, context)
  }

  /// Sends the event with this number when it is due, and so on to the end.
  private func next(_ number: Int, of shape: StreamShape, at due: NIODeadline, _ context: ChannelHandlerContext) {
    _ = context.eventLoop.assumeIsolated().scheduleTask(deadline: due) {
      guard self.isOpen else { return }
      if number > shape.events {
        self.send(Upstream.ending(events: shape.events), context)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
      } else {
        self.send(Upstream.delta(), context)
        self.next(number + 1, of: shape, at: due + shape.interval, context)
      }
    }
  }

  private func write(_ fields: [(String, String)], _ context: ChannelHandlerContext) {
    let headers = HTTPHeaders(fields + [("request-id", "req_01")] + Upstream.limits)
    let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
  }

  private func send(_ text: String, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
  }
}
