import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization
import Testing

@testable import SwarmCoordination

/// Counts what other tasks do.
private final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func add() { count.withLock { $0 += 1 } }
}

/// The connections to the API.
@Suite(.timeLimit(.minutes(10))) struct UpstreamClientTests {
  private struct Answer: Hashable {
    var status: UInt = 200
    var text = "ok"
  }

  private static let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

  /// Answers each request of a connection.
  private static func answering(_ text: String = ok) -> WireServer.Script {
    { peer in while try await peer.request() != nil { try await peer.send(text) } }
  }

  private static func start(
    _ client: UpstreamClient, _ method: HTTPMethod = .POST, body: ByteBuffer? = ByteBuffer(string: "{}"),
    isRepeatable: Bool = true
  ) -> UpstreamExchange {
    let headers = HTTPHeaders(
      [("host", "h")] + (body.map { [("content-length", String($0.readableBytes))] } ?? []))
    return client.start(
      HTTPRequestHead(version: .http1_1, method: method, uri: "/v1/messages", headers: headers), body: body,
      isRepeatable: isRepeatable)
  }

  /// Sends a request; status and body of the answer.
  @discardableResult
  private static func send(
    _ client: UpstreamClient, _ method: HTTPMethod = .POST, body: ByteBuffer? = ByteBuffer(string: "{}"),
    isRepeatable: Bool = true
  ) async throws -> Answer {
    let response = try await start(client, method, body: body, isRepeatable: isRepeatable).response()
    var text = ByteBuffer()
    while var chunk = try await response.body.next() { text.writeBuffer(&chunk) }
    return Answer(status: response.status.code, text: String(buffer: text))
  }

  /// Sends requests in turn, and expects the same answer to each.
  private static func expect(
    _ expected: Answer, _ count: Int, _ client: UpstreamClient, _ method: HTTPMethod = .POST,
    body: ByteBuffer? = ByteBuffer(string: "{}"), sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    for _ in 0..<count {
      let answer = try await send(client, method, body: body)
      #expect(answer == expected, sourceLocation: sourceLocation)
    }
  }

  /// Waits for something that other tasks do; the suite's time limit guards against what never comes.
  private static func until(_ condition: () -> Bool) async {
    while !condition(), !Task.isCancelled { await Task.yield() }
  }

  /// The same client on one event loop, where requests in turn find the connection of the one before.
  private static func onOneLoop(_ client: UpstreamClient) -> UpstreamClient {
    UpstreamClient(client.address, group: MultiThreadedEventLoopGroup.singleton.next())
  }

  // MARK: Keeping connections

  @Test("Requests in turn share a connection; requests at a time have one each")
  func reuse() async throws {
    try await WireServer.with(script: Self.answering()) { client, server in
      let client = Self.onOneLoop(client)
      try await Self.expect(Answer(), 3, client)
      #expect(server.connectionCount == 1 && server.requestCount == 3)
      let first = Self.start(client)
      let second = Self.start(client)
      let answers = [try await first.response(), try await second.response()]
      #expect(answers.map(\.status) == [.ok, .ok])
      #expect(server.connectionCount == 2)
      await client.shutDown()
    }
  }

  @Test("A connection that is idle too long is closed")
  func idle() async throws {
    let ends = Counter()
    try await WireServer.with(
      limits: UpstreamLimits(idle: .milliseconds(1)),
      script: { peer in
        try await Self.answering()(&peer)
        ends.add()
      }
    ) { client, _ in
      try await Self.send(client)
      await Self.until { ends.value == 1 }
    }
  }

  @Test("A kept connection that closes when it gets a request costs nothing: a fresh one has it")
  func closedWhenKept() async throws {
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      try await peer.send(Self.ok)
      // Its second request is taken and never answered.
      if peer.number == 1 { _ = try await peer.request() } else { await peer.end() }
    }) { client, server in
      let client = Self.onOneLoop(client)
      try await Self.expect(Answer(), 2, client)
      #expect(server.connectionCount == 2 && server.requestCount == 3)
      await client.shutDown()
    }
  }

  @Test("What mustn't be repeated isn't, and neither is what a fresh connection or a begun answer was lost with")
  func notRepeated() async throws {
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      switch peer.number {
      case 1:
        try await peer.send(Self.ok)
        _ = try await peer.request()
      case 2: break
      default:
        try await peer.send(Self.ok)
        _ = try await peer.request()
        try await peer.send("HTTP/1.1 200 O")
      }
    }) { client, server in
      let client = Self.onOneLoop(client)
      try await Self.send(client)
      await #expect(throws: (any Error).self) { try await Self.send(client, isRepeatable: false) }
      #expect(server.connectionCount == 1 && server.requestCount == 2)
      await #expect(throws: (any Error).self) { try await Self.send(client) }
      #expect(server.connectionCount == 2 && server.requestCount == 3)
      try await Self.send(client)
      await #expect(throws: (any Error).self) { try await Self.send(client) }
      #expect(server.connectionCount == 3 && server.requestCount == 5)
      await client.shutDown()
    }
  }

  @Test("An answer that comes before the request is sent leaves a connection that isn't used again")
  func early() async throws {
    try await WireServer.with(script: { peer in
      if peer.number == 1 {
        _ = try await peer.more()
        try await peer.send("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await peer.end()
      } else {
        try await Self.answering()(&peer)
      }
    }) { client, server in
      let client = Self.onOneLoop(client)
      let large = ByteBuffer(repeating: 0x61, count: 32 * 1_024 * 1_024)
      let refused = try await Self.send(client, body: large)
      #expect(refused.status == 413)
      try await Self.expect(Answer(), 1, client)
      #expect(server.connectionCount == 2)
      await client.shutDown()
    }
  }

  // MARK: Answers

  @Test(
    "The end of an answer is where HTTP/1.1 says",
    arguments: [
      (.GET, "200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, "abc", true),
      (.GET, "200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, "abc", true),
      (
        .GET,
        "100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        200, "", true
      ),
      (.HEAD, "200 OK\r\ncontent-length: 3\r\n\r\n", 200, "", true),
      (.GET, "204 No Content\r\n\r\n", 204, "", true),
      (.GET, "304 Not Modified\r\ncontent-length: 3\r\n\r\n", 304, "", true),
      (.GET, "200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc", 200, "abc", false),
    ] as [(HTTPMethod, String, UInt, String, Bool)])
  func framing(method: HTTPMethod, answer: String, status: UInt, text: String, isKept: Bool) async throws {
    try await WireServer.with(script: Self.answering("HTTP/1.1 " + answer)) { client, server in
      let client = Self.onOneLoop(client)
      try await Self.expect(Answer(status: status, text: text), 2, client, method, body: nil)
      #expect(server.connectionCount == (isKept ? 1 : 2))
      await client.shutDown()
    }
  }

  @Test("An answer without a length goes on until the connection ends")
  func untilClosed() async throws {
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      try await peer.send("HTTP/1.1 200 OK\r\n\r\nabc")
    }) { client, server in
      try await Self.expect(Answer(text: "abc"), 2, client)
      #expect(server.connectionCount == 2)
    }
  }

  @Test(
    "An answer that breaks off gives what has come, then an error",
    arguments: ["content-length: 9\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])
  func cut(answer: String) async throws {
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      try await peer.send("HTTP/1.1 200 OK\r\n" + answer)
    }) { client, server in
      let response = try await Self.start(client).response()
      #expect(try await response.body.next() == ByteBuffer(string: "abc"))
      await #expect(throws: (any Error).self) { _ = try await response.body.next() }
      #expect(server.requestCount == 1)
    }
  }

  @Test("A switch of protocols that nobody has asked for is an error")
  func switching() async throws {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    try await WireServer.with(script: Self.answering(answer)) { client, _ in
      await #expect(throws: UpstreamError.protocolSwitched) { try await Self.send(client) }
      return
    }
  }

  // MARK: Going away

  @Test(
    "A cancelled task closes its connection while it waits, for the head and for the body", arguments: [false, true])
  func cancelled(isInBody: Bool) async throws {
    let pieces = Counter()
    let arrived = Counter()
    let ended = Counter()
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      if isInBody { try await peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc") }
      arrived.add()
      await peer.end()
      ended.add()
    }) { client, _ in
      await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          let response = try await Self.start(client).response()
          while try await response.body.next() != nil { pieces.add() }
        }
        await Self.until { arrived.value == 1 && (!isInBody || pieces.value == 1) }
        group.cancelAll()
        await #expect(throws: CancellationError.self) { _ = try await group.next() }
      }
      await Self.until { ended.value == 1 }
    }
  }

  @Test("A body that is let go of before its end is cut off; one that was read isn't")
  func letGo() async throws {
    let ended = Counter()
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      try await peer.send(Self.ok)
      _ = try await peer.request()
      try await peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
      await peer.end()
      ended.add()
    }) { client, server in
      let client = Self.onOneLoop(client)
      try await Self.send(client)
      #expect(ended.value == 0)
      do {
        let response = try await Self.start(client).response()
        #expect(try await response.body.next() == ByteBuffer(string: "abc"))
      }
      await Self.until { ended.value == 1 }
      #expect(server.connectionCount == 1)
      await client.shutDown()
    }
  }

  @Test("Who shuts down ends what is on its way, and sends nothing more")
  func shutDown() async throws {
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      await peer.end()
    }) { client, server in
      let exchange = Self.start(client)
      await Self.until { server.requestCount == 1 }
      await client.shutDown()
      await #expect(throws: (any Error).self) { _ = try await exchange.response() }
      await #expect(throws: UpstreamError.shutDown) { try await Self.send(client) }
    }
  }

  // MARK: Much

  @Test("A reader that is slow holds the connection back: little more than the mark is ever here")
  func backPressure() async throws {
    let (size, pieces) = (1_024 * 1_024, 64)
    try await WireServer.with(script: { peer in
      _ = try await peer.request()
      try await peer.send("HTTP/1.1 200 OK\r\ncontent-length: \(size * pieces)\r\n\r\n")
      for number in 0..<pieces { try await peer.send(ByteBuffer(repeating: UInt8(number), count: size)) }
      await peer.end()
    }) { client, _ in
      let exchange = Self.start(client)
      let response = try await exchange.response()
      await Self.until { exchange.backlog.isPaused }
      // A connection reads up to four times 64 KiB before it looks whether it shall go on, and may have begun to once more.
      let bound = UpstreamExchange.highWatermark + 8 * 65_536
      var (count, most) = (0, exchange.backlog.bytes)
      while let chunk = try await response.body.next() {
        let ends = [0, chunk.readableBytes - 1]
        #expect(ends.allSatisfy { chunk.getInteger(at: chunk.readerIndex + $0) == UInt8((count + $0) / size) })
        count += chunk.readableBytes
        most = max(most, exchange.backlog.bytes)
      }
      #expect(count == size * pieces)
      #expect(most <= bound)
    }
  }

  // MARK: Security

  @Test("Over TLS the certificate counts: its authority, and the address or name that was dialled")
  func certificates() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("upstream-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("KubernetesClientTests/Support/make_certificates.sh")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = [script.path, folder.path]
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    func answer(server: String, authority: String, host: String) async throws -> UInt {
      let chain = try NIOSSLCertificate.fromPEMFile("\(folder.path)/\(server).crt").map {
        NIOSSLCertificateSource.certificate($0)
      }
      let key = try NIOSSLPrivateKey(file: "\(folder.path)/\(server).key", format: .pem)
      var trusting = TLSConfiguration.makeClientConfiguration()
      trusting.trustRoots = .file("\(folder.path)/\(authority).crt")
      return try await WireServer.with(
        tls: NIOSSLContext(
          configuration: .makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))),
        client: trusting, host: host, script: Self.answering()
      ) { client, _ in
        try await Self.send(client).status
      }
    }
    #expect(try await answer(server: "server", authority: "ca", host: "127.0.0.1") == 200)
    await #expect(throws: (any Error).self) {
      try await answer(server: "server", authority: "other-ca", host: "127.0.0.1")
    }
    await #expect(throws: (any Error).self) { try await answer(server: "named", authority: "ca", host: "127.0.0.1") }
    await #expect(throws: (any Error).self) { try await answer(server: "named", authority: "ca", host: "localhost") }
  }

  // MARK: Addresses

  @Test(
    "Addresses are read as URLs are",
    arguments: [
      ("https://api.anthropic.com", "api.anthropic.com", 443, "", "api.anthropic.com"),
      ("http://h/", "h", 80, "", "h"), ("http://h:8080/a/b/", "h", 8_080, "/a/b", "h:8080"),
      ("https://[::1]:8443", "::1", 8_443, "", "[::1]:8443"), ("https://h:443", "h", 443, "", "h"),
    ])
  func address(url: String, host: String, port: Int, path: String, authority: String) throws {
    let address = try UpstreamAddress(url)
    #expect(address.host == host && address.port == port && address.path == path && address.authority == authority)
    #expect(address.isSecure == url.hasPrefix("https"))
  }

  @Test(
    "What is no address is refused with what to do",
    arguments: ["", "api.anthropic.com", "ftp://h", "http://", "http://h:0", "http://h:x", "http://u@h", "http://h/?q"])
  func noAddress(url: String) {
    let error = #expect(throws: SwarmConfigurationError.self) { try UpstreamAddress(url) }
    #expect(
      error.map { "\($0)".contains("ANTHROPIC_UPSTREAM") && "\($0)".contains("https://api.anthropic.com") } == true)
  }
}
