import NATSTestSupport
import NIOCore
import Testing

@testable import NATSClient

@Suite struct ProtocolParserTests {
  private static let stream = """
    INFO {"server_id":"A","headers":true}\r
    PING\r
    +OK\r
    MSG a.b 1 5\r
    hello\r
    msg\ta.b  2 reply.x   0\r
    \r
    HMSG c 3 reply 23 28\r
    NATS/1.0\r
    Kind: a b\r
    \r
    world\r
    HMSG d 4 30 30\r
    NATS/1.0 503 No Responders\r
    \r
    \r
    PONG\r
    -ERR 'Slow Consumer'\r

    """

  private static let expected: [ServerOperation] = [
    .info(bytes(#"{"server_id":"A","headers":true}"#)), .ping, .ok,
    .message(sid: 1, NATSMessage(subject: "a.b", payload: bytes("hello"))),
    .message(sid: 2, NATSMessage(subject: "a.b", reply: "reply.x")),
    .message(sid: 3, NATSMessage(subject: "c", reply: "reply", headers: ["Kind": "a b"], payload: bytes("world"))),
    .message(sid: 4, NATSMessage(subject: "d", status: NATSStatus(code: 503, description: "No Responders"))),
    .pong, .error("Slow Consumer"),
  ]

  private func parse(_ parts: [ByteBuffer], limits: ProtocolParser.Limits = .init()) throws(NATSProtocolError) -> (
    [ServerOperation], ProtocolParser
  ) {
    var parser = ProtocolParser(limits: limits)
    var operations: [ServerOperation] = []
    for part in parts { try parser.parse(part, into: &operations) }
    return (operations, parser)
  }

  @Test("The same operations come out wherever the stream is cut in two, and byte by byte")
  func cuts() throws {
    let all = Array(Self.stream.utf8)
    for cut in 0...all.count {
      let (operations, parser) = try parse([ByteBuffer(bytes: all[..<cut]), ByteBuffer(bytes: all[cut...])])
      #expect(operations == Self.expected, "cut at \(cut)")
      #expect(parser.bufferedBytes == 0)
    }
    #expect(try parse(all.map { ByteBuffer(bytes: [$0]) }).0 == Self.expected)
  }

  @Test(
    "Bytes that no server sends are refused by name",
    arguments: [
      ("HELLO\r\n", NATSProtocolError.unknownOperation), ("MSG a 1\r\n", .malformedArguments),
      ("MSG a x 1\r\n", .malformedArguments), ("MSG a 1 -1\r\n", .malformedArguments),
      ("MSG a 1 b c 1\r\n", .malformedArguments), ("HMSG a 1 9 8\r\n", .malformedArguments),
      ("MSG a 1 99999999999999999999\r\n", .malformedArguments), ("MSG a 1 1\r\nxyz", .missingTerminator),
      ("HMSG a 1 4 4\r\nNOPE\r\n", .malformedHeaders),
      ("HMSG a 1 17 17\r\nNATS/1.0\r\nbad\r\n\r\n\r\n", .malformedHeaders),
      ("MSG a 1 67108865\r\n", .payloadTooLarge(67_108_865)), ("\r\n", .unknownOperation),
      ("PINGS\r\n", .unknownOperation),
    ])
  func refusals(text: String, error: NATSProtocolError) {
    #expect(throws: error) { try parse([bytes(text)]) }
    #expect(throws: error) { try parse(text.utf8.map { ByteBuffer(bytes: [$0]) }) }
  }

  @Test("A line without an end is refused at its bound, INFO at a larger one")
  func bounds() throws {
    var limits = ProtocolParser.Limits()
    limits.line = 100
    limits.info = 1000
    #expect(throws: NATSProtocolError.lineTooLong) {
      try parse([ByteBuffer(repeating: 0x4D, count: 200)], limits: limits)
    }
    let info = "INFO {\"server_id\":\"\(String(repeating: "x", count: 500))\"}\r\n"
    #expect(try parse([bytes(info)], limits: limits).0.count == 1)
    #expect(throws: NATSProtocolError.lineTooLong) {
      try parse([bytes("INFO " + String(repeating: "x", count: 2000))], limits: limits)
    }
  }

  @Test("A message that was handed out keeps its bytes while the parser goes on")
  func noAliasing() throws {
    var parser = ProtocolParser()
    var operations: [ServerOperation] = []
    try parser.parse(bytes("MSG a 1 5\r\nfirst\r\nMSG a 1 6\r\nsec"), into: &operations)
    try parser.parse(bytes("ond\r\nMSG a 1 5\r\nthird\r\n"), into: &operations)
    let texts = operations.compactMap { operation -> String? in
      if case .message(_, let message) = operation { message.text } else { nil }
    }
    #expect(texts == ["first", "second", "third"])
  }

  /// A frame as a server might write it, with what it has to become.
  private func frame(_ random: inout SeededRandom) -> ([UInt8], ServerOperation) {
    let payload = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    let sid = UInt64.random(in: 1...99_999, using: &random)
    let reply = Bool.random(using: &random) ? "_INBOX.\(random.name(length: 5)).1" : nil
    var message = NATSMessage(subject: "s.\(random.name(length: 4))", reply: reply, payload: ByteBuffer(bytes: payload))
    var head = "\(message.subject) \(sid)" + (reply.map { " \($0)" } ?? "")
    guard Bool.random(using: &random) else {
      return (Array("MSG \(head) \(payload.count)\r\n".utf8) + payload + [13, 10], .message(sid: sid, message))
    }
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      message.headers.append(random.name(length: 3), random.name(length: Int.random(in: 0...9, using: &random)))
    }
    var block = ByteBuffer()
    message.headers.encode(into: &block)
    head += " \(block.readableBytes) \(block.readableBytes + payload.count)"
    return (
      Array("HMSG \(head)\r\n".utf8) + Array(block.readableBytesView) + payload + [13, 10], .message(sid: sid, message)
    )
  }

  @Test(
    "Seeded: frames cut at random give the same messages; damaged ones give an error or messages, never a crash or a full buffer",
    arguments: 0..<40)
  func fuzz(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    for _ in 0..<50 {
      let frames = (0..<Int.random(in: 1...20, using: &random)).map { _ in frame(&random) }
      var wire = frames.flatMap(\.0)
      func parts() -> [ByteBuffer] {
        var parts: [ByteBuffer] = []
        var rest = wire[...]
        while !rest.isEmpty {
          let length = min(rest.count, Int.random(in: 1...30, using: &random))
          parts.append(ByteBuffer(bytes: rest.prefix(length)))
          rest = rest.dropFirst(length)
        }
        return parts
      }
      #expect(try parse(parts()).0 == frames.map(\.1), "seed \(seed)")
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<wire.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: wire[at] = UInt8.random(in: 0...255, using: &random)
        case 1: wire.remove(at: at)
        default: wire.insert(UInt8.random(in: 0...255, using: &random), at: at)
        }
        if wire.isEmpty { break }
      }
      // Cut differently, damage has the same outcome: the state between two reads decides nothing.
      func outcome(_ parts: [ByteBuffer]) -> ([ServerOperation], NATSProtocolError?) {
        var parser = ProtocolParser()
        var operations: [ServerOperation] = []
        for part in parts {
          do throws(NATSProtocolError) { try parser.parse(part, into: &operations) } catch {
            return (operations, error)
          }
        }
        #expect(parser.bufferedBytes <= wire.count)
        return (operations, nil)
      }
      let whole = outcome([ByteBuffer(bytes: wire)])
      let cut = outcome(parts())
      #expect(whole.0 == cut.0 && whole.1 == cut.1, "seed \(seed)")
    }
  }

  @Test("Seeded: any bytes at all")
  func noise() {
    for seed in 0..<2000 {
      var random = SeededRandom(seed: UInt64(seed))
      let letters = Array("MSGHINFOPE+-ERR 0123456789\r\n\t.{}:'".utf8)
      let noise = (0..<Int.random(in: 1...200, using: &random)).map { _ in letters.randomElement(using: &random)! }
      var parser = ProtocolParser()
      var operations: [ServerOperation] = []
      try? parser.parse(ByteBuffer(bytes: noise), into: &operations)
      #expect(parser.bufferedBytes <= noise.count)
    }
  }
}

@Suite struct ProtocolEncoderTests {
  @Test("Operations are written as the protocol has them")
  func bytesOnTheWire() {
    var buffer = ByteBuffer()
    ProtocolEncoder.publish(subject: "a", reply: nil, headers: [:], payload: bytes("x"), into: &buffer)
    ProtocolEncoder.publish(subject: "a", reply: "r", headers: ["K": "v"], payload: bytes("xy"), into: &buffer)
    ProtocolEncoder.subscribe(sid: 7, subject: "a.>", queue: "q", into: &buffer)
    ProtocolEncoder.subscribe(sid: 8, subject: "b", queue: nil, into: &buffer)
    ProtocolEncoder.unsubscribe(sid: 7, into: &buffer)
    ProtocolEncoder.unsubscribe(sid: 8, after: 10, into: &buffer)
    ProtocolEncoder.ping(into: &buffer)
    ProtocolEncoder.pong(into: &buffer)
    #expect(
      String(buffer: buffer)
        == "PUB a 1\r\nx\r\nHPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nxy\r\nSUB a.> q 7\r\nSUB b 8\r\nUNSUB 7\r\nUNSUB 8 10\r\nPING\r\nPONG\r\n"
    )
  }

  @Test("Headers that could forge others, and empty names, are found")
  func headers() {
    #expect((["A": "b"] as NATSHeaders).invalidName == nil)
    for bad in [["A": "b\r\nC: d"], ["A ": "b"], ["": "b"], ["A:": "b"], ["A\n": "b"]] as [NATSHeaders] {
      #expect(bad.invalidName != nil)
    }
    var headers: NATSHeaders = ["A": "1", "B": "2"]
    headers.append("A", "3")
    #expect(headers["A"] == "1")
    headers["A"] = "4"
    #expect(headers.entries.map(\.value) == ["4", "2"])
    headers["A"] = nil
    #expect(headers.entries.map(\.name) == ["B"])
  }

  @Test(
    "Subjects: what can be published to, what can be subscribed to",
    arguments: [
      ("a", true, true), ("a.b.c", true, true), ("", false, false), (".a", false, false), ("a.", false, false),
      ("a..b", false, false), ("a b", false, false), ("a\r\nPING", false, false), ("a.*", false, true),
      ("a.>", false, true), (">", false, true), ("a.>.b", false, false), ("a*b", true, true), ("*.a", false, true),
    ])
  func subjects(subject: String, isPublishable: Bool, isSubscribable: Bool) {
    #expect(NATSSubject.isPublishable(subject) == isPublishable)
    #expect(NATSSubject.isSubscribable(subject) == isSubscribable)
  }
}

@Suite struct JSONValueTests {
  private func parse(_ text: String) throws -> JSONValue { try JSONValue(parsing: bytes(text)) }

  @Test("What is written can be read, with its order, its digits and its characters")
  func roundTrip() throws {
    let text = #"{"b":[1,-2.50,18446744073709551615,true,null,{}],"a":"\"\\\n\u0001é😀"}"#
    let value = try parse(text)
    #expect(value.text == text)
    #expect(try parse(value.text) == value)
    #expect(value["b"]?.array?[2].uint64 == .max && value["b"]?.array?[2].int == nil)
    #expect(try parse(#""\ud83d\ude00\ud83d x""#).string == "😀\u{FFFD} x")
    #expect(Duration.seconds(Int64.max).nanoseconds == .max)
  }

  @Test(
    "Anything else is refused",
    arguments: ["", "{", "[1,]", "{\"a\"}", "tru", "\"a", "1 2", "{\"a\":1,}", "\"\\q\"", "-"])
  func refusals(text: String) { #expect(throws: JSONError.self) { try parse(text) } }

  @Test("Nesting has a bound")
  func depth() {
    #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 100_000)) }
  }

  @Test("Seeded: damaged documents never crash the reader, and what it takes comes back as it was")
  func fuzz() throws {
    let original = Array(#"{"stream":"S","seq":12,"a":[true,{"b":"x\u00e9y"}],"n":-1.5e3}"#.utf8)
    for seed in 0..<3000 {
      var random = SeededRandom(seed: UInt64(seed))
      var text = original
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        text[Int.random(in: 0..<text.count, using: &random)] = UInt8.random(in: 0x20...0xFF, using: &random)
      }
      guard let value = try? JSONValue(parsing: ByteBuffer(bytes: text)) else { continue }
      #expect(try JSONValue(parsing: value.buffer) == value, "seed \(seed)")
    }
  }
}
