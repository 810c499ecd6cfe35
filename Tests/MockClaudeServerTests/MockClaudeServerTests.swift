import MockClaude
import MockClaudeServer
import NIOCore
import NIOPosix
import Testing

/// A server whose answers begin at once and run a hundred times as fast.
private func fast() -> MockConfiguration {
  var configuration = MockConfiguration()
  configuration.clock.speed = 100
  configuration.pace.timeToFirstToken = 0
  return configuration
}

private func message(_ directives: String, stream: Bool = true, headers: String = "") -> String {
  let body =
    #"{"model":"claude-sonnet-4-5","max_tokens":1000,"stream":\#(stream),"messages":[{"role":"user","content":"\#(directives)"}]}"#
  return "POST /v1/messages HTTP/1.1\r\nhost: mock\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n\(headers)"
    + "connection: close\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
}

/// Sends text and reads until the server closes or `enough` has come; then closes.
private func exchange(
  _ server: MockClaudeServer, _ text: String, until enough: @escaping @Sendable (String) -> Bool = { _ in false }
) async throws -> String {
  let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
    .connect(host: "127.0.0.1", port: server.port) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
  return try await channel.executeThenClose { inbound, outbound in
    try await outbound.write(ByteBuffer(string: text))
    var received = ""
    for try await buffer in inbound {
      received += String(buffer: buffer)
      if enough(received) { break }
    }
    return received
  }
}

@Suite struct MockClaudeServerTests {
  @Test("A stream comes in chunks and ends properly")
  func stream() async throws {
    try await MockClaudeServer.withServer(configuration: fast()) { server in
      let text = try await exchange(server, message("<<out=20>>"))
      #expect(text.hasPrefix("HTTP/1.1 200 OK"))
      #expect(text.contains("transfer-encoding: chunked"))
      #expect(text.contains("event: message_stop"))
      #expect(text.hasSuffix("0\r\n\r\n"))
      #expect(server.withAPI { $0.engine.charges(at: server.clock.now).map(\.usage.outputTokens) } == [20])
    }
  }

  @Test("An answer without stream has a length")
  func nonStream() async throws {
    try await MockClaudeServer.withServer(configuration: fast()) { server in
      let text = try await exchange(server, message("<<out=20>>", stream: false))
      #expect(text.contains("content-length: "))
      #expect(text.contains(#""output_tokens":20"#))
    }
  }

  @Test("A client that goes away stops the production, and what was produced stays charged")
  func disconnect() async throws {
    var configuration = fast()
    configuration.clock.speed = 1
    try await MockClaudeServer.withServer(configuration: configuration) { server in
      _ = try await exchange(server, message("<<out=900>>")) { $0.contains("content_block_delta") }
      // Until the server has seen the end; then far beyond the end of the answer.
      while server.withAPI({ $0.engine.report(at: server.clock.now).pools.first?.running }) != 0, !Task.isCancelled {
        await Task.yield()
      }
      server.clock.advance(to: server.clock.now + .seconds(60))
      let charges = server.withAPI { $0.engine.charges(at: server.clock.now) }
      #expect(charges.map(\.outcome) == [.disconnected])
      #expect(charges.allSatisfy { (1..<900).contains($0.usage.outputTokens) })
    }
  }

  @Test("A closed stream has neither message_stop nor the last chunk", arguments: ["close;after=5", "reset;after=5"])
  func cut(fault: String) async throws {
    try await MockClaudeServer.withServer(configuration: fast()) { server in
      let text = (try? await exchange(server, message("<<out=20>>", headers: "x-mock-fault: \(fault)\r\n"))) ?? ""
      #expect(!text.contains("message_stop"))
      #expect(!text.hasSuffix("0\r\n\r\n"))
      let charged = server.withAPI { $0.engine.charges(at: server.clock.now + .seconds(60)).map(\.usage.outputTokens) }
      #expect(charged == [5])
    }
  }

  @Test("Unknown encodings and broken gzip are refused with their codes")
  func encodings() async throws {
    try await MockClaudeServer.withServer(configuration: fast()) { server in
      let unknown = try await exchange(server, message("x", headers: "content-encoding: zstd\r\n"))
      #expect(unknown.contains("request_body_encoding_unsupported"))
      let broken = try await exchange(server, message("x", headers: "content-encoding: gzip\r\n"))
      #expect(broken.contains("request_body_encoding_invalid"))
    }
  }

  @Test("The clock can be stopped and moved by an admin")
  func clock() async throws {
    try await MockClaudeServer.withServer(configuration: fast()) { server in
      func admin(_ body: String) async throws -> String {
        try await exchange(
          server,
          "POST /admin/clock HTTP/1.1\r\nhost: m\r\nconnection: close\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)"
        )
      }
      _ = try await admin(#"{"speed":0}"#)
      let before = server.clock.now
      #expect(server.clock.now == before)
      _ = try await admin(#"{"advanceSeconds":90}"#)
      #expect(server.clock.now == before + .seconds(90))
      #expect(try await admin(#"{"now":"tomorrow"}"#).contains("400 Bad Request"))
    }
  }
}
