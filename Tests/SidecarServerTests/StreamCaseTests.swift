import MockClaude
import MockClaudeServer
import NIOCore
import RateBudget
import SlowTests
import SwarmCoordination
import Testing

/// Rows about streams and about bytes that must not change.
@Suite(.alone) struct StreamCaseTests {
  // MARK: Usage

  @Test(
    "P06 P07 P08 the last usage value wins, field by field; nothing is added up",
    arguments: [
      (
        #""input_tokens":9,"cache_read_input_tokens":1"#,
        #""input_tokens":9,"cache_read_input_tokens":1,"output_tokens":16"#,
        Usage(input: 9, cacheRead: 1, output: 16), 9
      ),
      (
        #""input_tokens":8834,"output_tokens":1"#,
        #""input_tokens":18,"cache_read_input_tokens":8831,"output_tokens":5"#,
        Usage(input: 18, cacheRead: 8831, output: 5), 18
      ),
      (
        #""input_tokens":4,"output_tokens":1"#,
        #""input_tokens":4522,"cache_creation_input_tokens":4511,"output_tokens":5"#,
        Usage(input: 4522, cacheCreation: 4511, output: 5), 9033
      ),
      (
        #""input_tokens":4,"cache_creation_input_tokens":30,"cache_creation":{"ephemeral_1h_input_tokens":20}"#,
        #""cache_creation_input_tokens":30,"output_tokens":5"#,
        Usage(input: 4, cacheCreation: 10, cacheCreationHour: 20, output: 5), 34
      ),
    ])
  func usage(start: String, delta: String, usage: Usage, charged: Int64) async throws {
    let stream = ScriptedUpstream.stream([
      #"{"type":"message_start","message":{"id":"m","usage":{\#(start)}}}"#,
      #"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello"}}"#,
      #"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{\#(delta)}}"#,
      #"{"type":"message_stop"}"#,
    ])
    // In real time: a fast clock would put pings into the stream of a busy machine.
    try await Rig.withScript(speed: 1, script: { _, _ in stream }) { rig, _ in
      let answer = try await rig.send(stream: true)
      expectStatus(200, answer)
      // The body of the answer is what upstream wrote, byte for byte.
      let body = stream.firstRange(of: "\r\n\r\n").map { stream[$0.upperBound...] }
      #expect(body.map { answer.hasSuffix($0) } == true)
      #expect(rig.records.settled.map(\.usage) == [usage])
      #expect(rig.records.settled.map(\.isComplete) == [true])
      #expect(rig.authority.totalCharged(.inputTokens, of: Rig.key) == charged)
    }
  }

  @Test("P12 a stream that the client cuts after some 200 output tokens is charged about as many")
  func cutByClient() async throws {
    var configuration = Rig.fast(speed: 1)
    configuration.pace.tokensPerSecond = 1_000
    try await Rig.withMock(configuration) { rig, mock in
      _ = try await rig.exchange(Rig.request(body: Rig.message("<<out=100000>>", stream: true))) {
        $0.count(of: "event: content_block_delta") >= 40
      }
      await rig.until { !rig.records.settled.isEmpty }
      let settled = rig.records.settled
      let charged = rig.authority.totalCharged(.outputTokens, of: Rig.key)
      #expect(settled.map(\.isComplete) == [false])
      #expect(charged == settled.first?.usage.output)
      // 200 tokens of three and a half characters, at four characters a token; more when the cut is noticed late.
      #expect(charged >= 160)
      await rig.until { mock.withAPI { $0.engine.charges(at: mock.clock.now).first?.outcome } == .disconnected }
      let truth = mock.withAPI { $0.engine.charges(at: mock.clock.now).first?.usage.outputTokens } ?? 0
      #expect(charged <= Int64(truth) * 5 / 4)
    }
  }

  @Test("P19 a client that closes while it waits for headers cancels the request upstream and settles the reservation")
  func clientGone() async throws {
    var configuration = Rig.fast(speed: 1)
    configuration.pace.timeToFirstToken = 3_600
    try await Rig.withMock(configuration) { rig, mock in
      _ = try await rig.exchange(Rig.request(body: Rig.message(stream: true))) { _ in
        await rig.until { mock.withAPI { $0.engine.charges(at: mock.clock.now).count } == 1 }
        return true
      }
      await rig.until { mock.withAPI { $0.engine.charges(at: mock.clock.now).first?.outcome } == .disconnected }
      await rig.until { rig.authority.reports().first?.report.outstanding == 0 }
      await rig.until { rig.gateway.activity.oldest == nil && rig.gateway.activity.inFlight == 0 }
      #expect(rig.authority.totalCharged(.requests, of: Rig.key) == 1)
    }
  }

  @Test("P18 upstream's pings are relayed through 320 s of silence")
  func relayedPings() async throws {
    try await Rig.withMock(Rig.fast(speed: 1_000)) { rig, _ in
      let answer = try await rig.send("<<silence=320>><<out=5>>", stream: true)
      #expect(answer.contains("event: message_stop"))
      #expect(answer.count(of: "event: ping") >= 10)
    }
  }

  @Test("P18 a silent stream gets pings of the sidecar's own, between whole events only")
  func ownPings() async throws {
    var configuration = Rig.fast(speed: 1_000)
    configuration.stream.pingInterval = 0
    configuration.stream.splitBytes = 7
    try await Rig.withMock(configuration) { rig, _ in
      let answer = try await rig.send("<<silence=320>><<out=50>>", stream: true)
      let events = Self.events(answer)
      #expect(events.contains { $0.contains("message_stop") })
      #expect(events.filter { $0.hasPrefix("event: ping") }.count >= 5)
      for event in events { #expect(event.hasPrefix("event: ") && event.contains("\ndata: {"), "\(event)") }
    }
  }

  /// The events of a chunked answer.
  private static func events(_ answer: String) -> [Substring] {
    guard let end = answer.firstRange(of: "\r\n\r\n") else { return [] }
    var (rest, body) = (answer[end.upperBound...], "")
    while let line = rest.firstRange(of: "\r\n"), let size = Int(rest[..<line.lowerBound], radix: 16), size > 0 {
      let bytes = Array(rest[line.upperBound...].utf8)
      body += String(decoding: bytes.prefix(size), as: UTF8.self)
      rest = Substring(String(decoding: bytes.dropFirst(size + 2), as: UTF8.self))
    }
    return body.split(separator: "\n\n")
  }

  @Test(
    "A stream is measured rightly, however it is cut into pieces and whatever lines end with", arguments: [0, 1, 7])
  func pieces(split: Int) async throws {
    var configuration = Rig.fast()
    configuration.stream.splitBytes = split
    configuration.stream.unknownEvents = true
    configuration.stream.comments = true
    configuration.stream.carriageReturns = true
    try await Rig.withMock(configuration) { rig, mock in
      _ = try await rig.send("<<out=20>>", stream: true)
      let charge = mock.withAPI { $0.engine.charges(at: mock.clock.now).first?.usage }
      #expect(rig.records.settled.first?.usage.output == 20)
      #expect(rig.records.settled.first?.usage.input == charge.map { Int64($0.inputTokens) })
    }
  }

  // MARK: Bytes

  @Test("P04 a body that can't be read is admitted on a learned mean, and others aren't blocked")
  func unreadable() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      let broken = #"{"model": "claude-sonnet-4-5", broken"#
      expectStatus(200, try await rig.exchange(Rig.request(body: broken)))
      expectStatus(200, try await rig.send())
      #expect(upstream.requests.map { String(decoding: $0.body, as: UTF8.self) }.first == broken)
      #expect(rig.authority.totalCharged(.requests, of: Rig.key) == 2)
    }
  }

  @Test("P26 bodies of 32 MiB are forwarded byte for byte, whatever their encoding", arguments: ["gzip", "zstd"])
  func large(encoding: String) async throws {
    var body = ByteBuffer()
    body.writeRepeatingByte(0x5A, count: 32 * 1024 * 1024 - 4)
    body.writeInteger(UInt32(0xDEAD_BEEF))
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { [body] rig, upstream in
      var request = ByteBuffer(
        string: "POST /v1/messages HTTP/1.1\r\nhost: s\r\nx-api-key: k\r\ncontent-encoding: \(encoding)\r\n"
          + "connection: close\r\ncontent-length: \(body.readableBytes)\r\n\r\n")
      request.writeImmutableBuffer(body)
      expectStatus(200, try await rig.exchange(request))
      let received = upstream.requests.first
      #expect(received?.header("content-encoding") == encoding)
      #expect(received.map { ByteBuffer(bytes: $0.body) == body } == true)
    }
  }

  @Test("Answers that are larger than what the network takes at once arrive whole", arguments: [true, false])
  func largeAnswer(hasLength: Bool) async throws {
    let size = 16 * 1024 * 1024
    let length = hasLength ? "content-length: \(size)\r\n" : ""
    let answer =
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\(length)\r\n"
      + String(repeating: "z", count: size)
    try await Rig.withScript(script: { _, _ in answer }) { rig, _ in
      // The client reads nothing until upstream has answered.
      let received = try await rig.exchange(Rig.request(body: Rig.message())) { text in
        if text.isEmpty { await rig.until { rig.records.events.contains(.answered(group: "wide", status: 200)) } }
        return false
      }
      // In chunks there are some bytes more: their lengths.
      let count = received.firstRange(of: "\r\n\r\n").map { received[$0.upperBound...].utf8.count } ?? 0
      #expect(hasLength ? count == size : (size + 1..<size + size / 100).contains(count))
      #expect(received.contains("transfer-encoding: chunked") == !hasLength)
      #expect(received.hasSuffix(hasLength ? "zz" : "zz\r\n0\r\n\r\n"))
    }
  }

  @Test("A body above 32 MiB is refused before it is read")
  func tooLarge() async throws {
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      let head = "POST /v1/messages HTTP/1.1\r\nhost: s\r\ncontent-length: 33554433\r\n\r\n"
      let answer = try await rig.exchange(head)
      #expect(answer.status == 413 && answer.contains("request_too_large"))
      #expect(upstream.requests.isEmpty)
    }
  }

  @Test(
    "P27 what isn't known passes through unmetered, with its query",
    arguments: [
      "GET /v1/models?limit=5", "GET /v1/files", "HEAD /api/hello", "POST /v1/messages/count_tokens?beta=true",
      "DELETE /v1/files/a%20b", "POST /v1/oauth/token", "GET /v1/messages",
    ])
  func unmetered(line: String) async throws {
    try await Rig.withScript(script: { _, request in
      request.head.hasPrefix("HEAD")
        ? "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\nx-mark: 1\r\n\r\n"
        : ScriptedUpstream.answer("418 I'm a teapot", ["x-mark: 1"], body: "{}")
    }) { rig, upstream in
      let answer = try await rig.exchange(Rig.request(line, body: line.hasPrefix("POST") ? "{}" : nil))
      #expect(answer.status == (line.hasPrefix("HEAD") ? 200 : 418))
      #expect(answer.header("x-mark") == "1" && answer.header("content-length") == "2")
      #expect(upstream.requests.first?.head.hasPrefix(line + " HTTP/1.1") == true)
      #expect(rig.authority.reports().isEmpty)
    }
  }

  @Test("P28 unknown fields, odd spacing and odd order reach upstream as the identical bytes, and all headers do")
  func identical() async throws {
    let body =
      "{ \"x\" :[ 1,  {\"model\":\"no\"}],\n\t\"stream\":  false ,\"new_field\":{\"a\":\"\\u00e9\\\"}\"}, \"max_tokens\":5,"
      + " \"messages\" :[] , \"model\":\"claude-sonnet-4-5\"  }\n"
    let headers = [
      "anthropic-beta: a,b", "X-Claude-Code-Session-Id: s-1", "x-claude-code-new: 1", "Authorization: Bearer t",
      "X-Stainless-Retry-Count: 0", "anthropic-workspace-id: w", "Connection: x-hop", "X-Hop: 1", "TE: trailers",
    ]
    try await Rig.withScript(script: { _, _ in ScriptedUpstream.success }) { rig, upstream in
      let request = Rig.request("POST /v1/messages?beta=true", body: body, headers: headers)
      expectStatus(200, try await rig.exchange(request))
      let received = upstream.requests.first
      #expect(received.map { String(decoding: $0.body, as: UTF8.self) } == body)
      for header in headers.prefix(6) {
        #expect(received?.head.contains("\r\n" + header + "\r\n") == true, "\(header)")
      }
      #expect(received?.header("x-hop") == nil && received?.header("te") == nil)
      #expect(received?.head.hasPrefix("POST /v1/messages?beta=true HTTP/1.1\r\n") == true)
    }
  }
}
