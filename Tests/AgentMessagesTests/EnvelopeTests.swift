import MessageFrames
import Testing

@testable import AgentMessages

@Suite struct EnvelopeTests {
  private static let id = CallID(incarnation: .max, number: 300)

  static let all: [Envelope.Content] = [
    .request(id, agent: "reviewer-é", milliseconds: 30_000, credit: 0, payload: [1, 2, 3]),
    .request(id, agent: "r", milliseconds: .max, credit: 32, payload: []),
    .reply(id, payload: [9]), .failure(id, code: .overloaded, text: "später"), .item(id, sequence: .max, payload: [4]),
    .end(id, items: 0), .credit(id, items: 16), .cancel(id), .published(payload: [0xff]),
  ]

  @Test("Every kind of message comes back as it was, within its overhead", arguments: all)
  func roundTrip(content: Envelope.Content) {
    let envelope = Envelope(from: "pod-1", content)
    #expect(Envelope(envelope.encoded) == envelope)
    #expect(envelope.encoded.count <= Envelope.overhead + 3)
  }

  @Test("A message that is cut off or of an unknown kind isn't read; chance never crashes")
  func damaged() {
    var random = SplitMix(seed: 1)
    var read = 0
    for content in Self.all {
      let bytes = Envelope(from: "pod-1", content).encoded
      for count in 0..<5 { #expect(Envelope(Array(bytes[..<count])) == nil) }
      for _ in 0..<300 {
        var damaged = bytes
        for _ in 0...random.below(3) { damaged[random.below(damaged.count)] = UInt8(random.below(256)) }
        if let envelope = Envelope(Array(damaged.prefix(1 + random.below(damaged.count)))) {
          read += 1
          #expect(Envelope(envelope.encoded) == envelope)
        }
      }
    }
    #expect(read > 0 && Envelope([8, 1, 0x61]) == nil)
  }

  @Test(
    "The words of a failure are cut to what a message holds, between characters' parts if need be",
    arguments: [("ü", 1_000), ("€", 666), ("a", 2_000), ("e" + String(repeating: "\u{301}", count: 200), 0)])
  func longWords(character: String, kept: Int) throws {
    let words = String(repeating: character, count: 100_000 / character.utf8.count)
    let read = try #require(Envelope(Envelope(from: "a", .failure(Self.id, code: .failed, text: words)).encoded))
    guard case .failure(_, _, let text) = read.content else { return #expect(Bool(false), "\(read)") }
    #expect(
      text.utf8.count <= Envelope.textBytes && text.utf8.count > Envelope.textBytes - 4
        && words.hasPrefix(text.dropLast()))
    if kept > 0 { #expect(text == String(repeating: character, count: kept)) }
  }
}
