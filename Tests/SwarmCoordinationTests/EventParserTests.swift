import Testing

@testable import SwarmCoordination

@Suite struct EventParserTests {
  private static let text =
    ": comment\nevent: a\ndata: {\"x\":1}\n\nevent:b\r\ndata: one\r\ndata:two\r\n\r\nid: 7\nretry: 3\n\ndata: last\r\r"

  @Test("Events are the same however the stream is cut", arguments: [1, 2, 3, 7, 1_000])
  func pieces(size: Int) {
    var parser = EventParser()
    var events: [ClaudeEvent] = []
    var rest = Array(Self.text.utf8)[...]
    while !rest.isEmpty {
      events += parser.take(rest.prefix(size))
      rest = rest.dropFirst(size)
    }
    #expect(events.map(\.name) == ["a", "b", ""])
    #expect(events.map { String(decoding: $0.data, as: UTF8.self) } == [#"{"x":1}"#, "one\ntwo", "last"])
  }

  @Test("An event without an end isn't kept without limit")
  func large() {
    var parser = EventParser()
    let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 1 << 20)
    _ = parser.take("data: ".utf8)
    var count = 0
    while !parser.isTooLarge, count < 64 {
      #expect(parser.take(piece).isEmpty)
      count += 1
    }
    #expect(count == 32)
  }
}
