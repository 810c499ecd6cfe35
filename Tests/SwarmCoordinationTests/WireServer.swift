import NIOCore
import NIOPosix
import NIOSSL
import SwarmCoordination
import Synchronization

/// A server that a test writes byte by byte, to see what a client does with connections.
final class WireServer: Sendable {
  typealias Connection = NIOAsyncChannel<ByteBuffer, ByteBuffer>

  /// One connection, as its test sees it.
  struct Peer {
    /// Which one it is, in the order of arrival.
    let number: Int
    let server: WireServer
    fileprivate var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    fileprivate let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    fileprivate var bytes = ByteBuffer()

    /// The next request, head and body; nil: the client has closed.
    mutating func request() async throws -> String? {
      while true {
        let text = String(buffer: bytes)
        if let end = text.firstRange(of: "\r\n\r\n") {
          let mark = "content-length: "
          let length =
            text[..<end.lowerBound].lowercased().split(separator: "\r\n").first { $0.hasPrefix(mark) }
            .flatMap { Int($0.dropFirst(mark.count)) } ?? 0
          let whole = text.utf8.distance(from: text.startIndex, to: end.upperBound) + length
          if bytes.readableBytes >= whole {
            server.requests.withLock { $0 += 1 }
            return bytes.readString(length: whole)
          }
        }
        guard try await more() else { return nil }
      }
    }

    /// Waits for bytes; false: the client has closed.
    mutating func more() async throws -> Bool {
      guard var piece = try await inbound.next(isolation: #isolation) else { return false }
      bytes.writeBuffer(&piece)
      return true
    }

    /// Waits until the client closes.
    mutating func end() async {
      while (try? await more()) == true {}
    }

    /// Sends text.
    func send(_ text: String) async throws { try await outbound.write(ByteBuffer(string: text)) }

    /// Sends bytes.
    func send(_ bytes: ByteBuffer) async throws { try await outbound.write(bytes) }
  }

  /// What is done with a connection; it is closed afterwards.
  typealias Script = @Sendable (inout Peer) async throws -> Void

  fileprivate let requests = Mutex(0)
  private let connections = Mutex(0)
  private let script: Script
  private let listener: NIOAsyncChannel<Connection, Never>

  /// How many connections have come.
  var connectionCount: Int { connections.withLock { $0 } }
  /// How many whole requests have come.
  var requestCount: Int { requests.withLock { $0 } }
  var port: Int { listener.channel.localAddress?.port ?? 0 }

  private init(tls: NIOSSLContext?, script: @escaping Script) async throws {
    self.script = script
    listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0) { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
          return try Connection(wrappingChannelSynchronously: channel)
        }
      }
  }

  private func run() async throws {
    try await listener.executeThenClose { arriving in
      try await withThrowingDiscardingTaskGroup { group in
        for try await connection in arriving {
          group.addTask {
            let number = self.connections.withLock { count in
              count += 1
              return count
            }
            try? await connection.executeThenClose { inbound, outbound in
              var peer = Peer(
                number: number, server: self, inbound: inbound.makeAsyncIterator(), outbound: outbound)
              try await self.script(&peer)
            }
          }
        }
      }
    }
  }

  /// Runs a server and a client of it around `body`.
  static func with<Result: Sendable>(
    tls: NIOSSLContext? = nil, client configuration: TLSConfiguration? = nil, host: String = "127.0.0.1",
    limits: UpstreamLimits = UpstreamLimits(), script: @escaping Script,
    _ body: (UpstreamClient, WireServer) async throws -> Result
  ) async throws -> Result {
    let server = try await WireServer(tls: tls, script: script)
    let client = UpstreamClient(
      try UpstreamAddress("\(tls == nil ? "http" : "https")://\(host):\(server.port)"), tls: configuration,
      limits: limits)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { do { try await server.run() } catch is CancellationError {} }
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(client, server)) } catch { result = .failure(error) }
      await client.shutDown()
      group.cancelAll()
      return try result.get()
    }
  }
}
