import NIOCore
import NIOPosix
import RateBudget
import SwarmCoordination
import Synchronization

/// An upstream that answers each request with the bytes of a script and remembers what it received, byte for byte.
final class ScriptedUpstream: Sendable {
  /// One request as it arrived.
  struct Received: Sendable {
    var head: String
    var body: [UInt8]
    /// In nanoseconds of the test's clock.
    var at: Int64

    /// The value of a header.
    func header(_ name: String) -> String? {
      head.split(separator: "\r\n").first { $0.lowercased().hasPrefix(name + ":") }
        .map { $0.drop { $0 != ":" }.dropFirst().drop { $0 == " " } }.map(String.init)
    }
  }

  typealias Script = @Sendable (Int, Received) -> String
  typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  private let received = Mutex<[Received]>([])
  private let listener: NIOAsyncChannel<Connection, Never>
  private let clock: any CoordinationClock
  private let script: Script

  var requests: [Received] { received.withLock { $0 } }
  var url: String { "http://127.0.0.1:\(listener.channel.localAddress?.port ?? 0)" }

  init(clock: any CoordinationClock, script: @escaping Script) async throws {
    self.clock = clock
    self.script = script
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.backlog, value: 256)
      .bind(host: "127.0.0.1", port: 0) { channel in
        channel.eventLoop.makeCompletedFuture { try Connection(wrappingChannelSynchronously: channel) }
      }
  }

  func run() async throws {
    try await listener.executeThenClose { connections in
      try await withThrowingDiscardingTaskGroup { group in
        for try await connection in connections {
          group.addTask { try? await self.serve(connection) }
        }
      }
    }
  }

  private func serve(_ connection: Connection) async throws {
    try await connection.executeThenClose { inbound, _ in
      var bytes = ByteBuffer()
      for try await var piece in inbound {
        bytes.writeBuffer(&piece)
        guard let request = Self.request(&bytes, at: self.clock.now.nanoseconds) else { continue }
        let index = self.received.withLock { received in
          received.append(request)
          return received.count - 1
        }
        // All of it is with the network before the connection closes, however much it is.
        try await connection.channel.writeAndFlush(ByteBuffer(string: self.script(index, request))).get()
        return
      }
    }
  }

  private static func request(_ bytes: inout ByteBuffer, at time: Int64) -> Received? {
    let view = bytes.readableBytesView
    // The head is short; only it is searched.
    let start = Array(view.prefix(16_384))
    guard let end = start.indices.first(where: { start[$0...].starts(with: "\r\n\r\n".utf8) }) else { return nil }
    let request = Received(head: String(decoding: start[..<end], as: UTF8.self), body: [], at: time)
    let length = request.header("content-length").flatMap { Int($0) } ?? 0
    guard view.count >= end + 4 + length else { return nil }
    bytes.moveReaderIndex(forwardBy: end + 4)
    return Received(head: request.head, body: bytes.readBytes(length: length) ?? [], at: time)
  }

  /// An answer with a length.
  static func answer(_ status: String, _ headers: [String] = [], body: String = "") -> String {
    "HTTP/1.1 \(status)\r\n" + headers.map { $0 + "\r\n" }.joined()
      + "content-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)"
  }

  /// A stream of events that ends properly.
  static func stream(_ events: [String]) -> String {
    answer(
      "200 OK", ["content-type: text/event-stream; charset=utf-8"], body: events.map { "data: \($0)\n\n" }.joined())
  }

  /// An answer of the Messages API.
  static let success = answer(
    "200 OK", ["content-type: application/json"],
    body: #"{"type":"message","content":[],"usage":{"input_tokens":7,"output_tokens":3}}"#)

  /// 429.
  static func limited(_ headers: [String]) -> String {
    answer(
      "429 Too Many Requests", ["content-type: application/json"] + headers,
      body: #"{"type":"error","error":{"type":"rate_limit_error","message":"limit"},"request_id":"req_1"}"#)
  }
}
