package import MockClaude
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// MockClaude behind HTTP/1.1 on loopback.
///
/// ```swift
/// try await MockClaudeServer.withServer(configuration: configuration) { server in
///   // server.url, server.clock, server.withAPI { $0.engine.report(at: server.clock.now) }
/// }
/// ```
package final class MockClaudeServer: Sendable {
  typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPPart<HTTPResponseHead, ByteBuffer>>

  /// Largest request body: 32 MiB, as the network in front of the API allows.
  package static let maximumBody = 32 * 1024 * 1024

  private let api: Mutex<MockClaudeAPI>
  private let listener: NIOAsyncChannel<Connection, Never>
  /// The time of the mock.
  package let clock: MockClock
  /// The port that was bound.
  package let port: Int

  /// Binds to a port of 127.0.0.1; 0 takes a free one. Nothing is accepted before `run`.
  package init(configuration: MockConfiguration = MockConfiguration(), port: Int = 0) async throws {
    let start = MockClock.wallTime
    clock = MockClock(start: start, speed: configuration.clock.speed)
    api = Mutex(MockClaudeAPI(configuration: configuration, start: start))
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.backlog, value: 1024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .bind(host: "127.0.0.1", port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
          try channel.pipeline.syncOperations.addHandler(ResponsePartHandler())
          return try Connection(wrappingChannelSynchronously: channel)
        }
      }
    self.port = listener.channel.localAddress?.port ?? port
  }

  /// What clients use as base URL.
  package var url: String { "http://127.0.0.1:\(port)" }

  /// Reads or changes the state: the oracle, limits, faults.
  package func withAPI<Result>(_ body: (inout sending MockClaudeAPI) -> sending Result) -> sending Result {
    api.withLock(body)
  }

  /// Runs a server around `body` and ends it afterwards.
  package static func withServer<Result: Sendable>(
    configuration: MockConfiguration = MockConfiguration(), port: Int = 0,
    _ body: @Sendable (MockClaudeServer) async throws -> Result
  ) async throws -> Result {
    let server = try await MockClaudeServer(configuration: configuration, port: port)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      do {
        let result = try await body(server)
        group.cancelAll()
        while (try? await group.next()) != nil {}
        return result
      } catch {
        group.cancelAll()
        while (try? await group.next()) != nil {}
        throw error
      }
    }
  }

  /// Serves until the task is cancelled; then open connections are closed.
  package func run() async throws {
    do {
      try await listener.executeThenClose { connections in
        try await withThrowingDiscardingTaskGroup { group in
          for try await connection in connections {
            group.addTask { await self.serve(connection) }
          }
        }
      }
    } catch is CancellationError {}
  }

  // MARK: Connections

  /// Serves the requests of a connection in turn. A client that goes away cancels what is being answered.
  private func serve(_ connection: Connection) async {
    let (closed, whenClosed) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    connection.channel.closeFuture.whenComplete { _ in whenClosed.finish() }
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        for await _ in closed {}
      }
      group.addTask {
        // Errors here are connections that broke, by the client or by a fault on purpose.
        try? await connection.executeThenClose { inbound, outbound in
          var pending: PendingRequest?
          for try await part in inbound {
            guard let request = try await self.collect(part, into: &pending, outbound) else { continue }
            let exchange = Exchange(server: self, channel: connection.channel, outbound: outbound, request: request)
            guard try await exchange.answer() else { return }
          }
        }
      }
      await group.next()
      group.cancelAll()
    }
  }

  /// A request whose body is still coming.
  private struct PendingRequest {
    var head: HTTPRequestHead
    var bytes: [UInt8] = []
    var count = 0
    var slowness: Fault?
  }

  /// Adds a part; the whole request once it's complete. The body is counted but not kept above the limit.
  private func collect(
    _ part: HTTPServerRequestPart, into pending: inout PendingRequest?,
    _ outbound: NIOAsyncChannelOutboundWriter<HTTPPart<HTTPResponseHead, ByteBuffer>>
  ) async throws -> ReceivedRequest? {
    switch part {
    case .head(let head):
      let fault = head.headers["x-mock-fault"].first.flatMap { try? Fault($0) }
      pending = PendingRequest(head: head, slowness: fault)
      if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
        try await outbound.write(.head(HTTPResponseHead(version: head.version, status: .continue)))
      }
      return nil
    case .body(let buffer):
      guard var request = pending else { return nil }
      request.count += buffer.readableBytes
      if request.count <= Self.maximumBody {
        pending = nil
        request.bytes.append(contentsOf: buffer.readableBytesView)
      } else {
        request.bytes = []
      }
      pending = request
      if case .slowRead(let rate)? = request.slowness {
        try await clock.sleep(
          until: clock.now + .nanoseconds(Int64(buffer.readableBytes) * 1_000_000_000 / Int64(rate)))
      }
      return nil
    case .end:
      guard let request = pending else { return nil }
      pending = nil
      return Self.received(request)
    }
  }

  private static func received(_ pending: PendingRequest) -> ReceivedRequest {
    let head = pending.head
    let body =
      pending.count > maximumBody
      ? APIRequest.Body.tooLarge : decode(pending.bytes, encoding: head.headers["content-encoding"].first)
    let request = APIRequest(
      method: head.method.rawValue, target: head.uri, headers: head.headers.map { ($0.name, $0.value) }, body: body)
    return ReceivedRequest(request: request, version: head.version, isKeepAlive: head.isKeepAlive)
  }

  private static func decode(_ bytes: [UInt8], encoding: String?) -> APIRequest.Body {
    switch encoding?.lowercased() {
    case nil, "identity": return .bytes(bytes)
    case "gzip", "deflate":
      do {
        return .bytes(try Gzip.decompress(bytes, limit: maximumBody))
      } catch .tooLarge {
        return .tooLarge
      } catch {
        return .undecodable
      }
    case let other?: return .unsupportedEncoding(other)
    }
  }

  /// Applies what `POST /admin/clock` asks for, and shows the result.
  func change(_ change: ClockChange) -> HTTPReply {
    if let speed = change.speed { clock.setSpeed(speed) }
    if let seconds = change.advanceSeconds { clock.advance(to: clock.now + .milliseconds(Int64(seconds * 1000))) }
    let moment = change.now.map { MockTime(rfc3339: $0) }
    if let moment, let moment { clock.advance(to: moment) }
    guard moment == nil || moment != .some(nil) else {
      return HTTPReply(
        status: 400, headers: [("content-type", "application/json")],
        body: #"{"error":"now: RFC 3339 in UTC is needed, such as 2026-05-18T11:42:16Z"}"#)
    }
    return HTTPReply(
      status: 200, headers: [("content-type", "application/json")], body: #"{"now":"\#(clock.now.rfc3339)"}"#)
  }
}

/// A request and what its connection needs to know.
struct ReceivedRequest: Sendable {
  var request: APIRequest
  var version: HTTPVersion
  var isKeepAlive: Bool

  /// Whether the client knows chunked bodies: all since HTTP/1.1.
  var speaksChunks: Bool { version.major > 1 || version.major == 1 && version.minor >= 1 }
}

/// Gives the HTTP encoder the buffers of the asynchronous channel in its own form.
private final class ResponsePartHandler: ChannelOutboundHandler {
  typealias OutboundIn = HTTPPart<HTTPResponseHead, ByteBuffer>
  typealias OutboundOut = HTTPServerResponsePart

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let part: HTTPServerResponsePart =
      switch unwrapOutboundIn(data) {
      case .head(let head): .head(head)
      case .body(let buffer): .body(.byteBuffer(buffer))
      case .end(let trailers): .end(trailers)
      }
    context.write(wrapOutboundOut(part), promise: promise)
  }
}
