import RateBudget
import SwarmCoordination
import Testing

private func feed(_ text: String, pieces: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
  let bytes = Array(text.utf8)
  for start in stride(from: 0, to: bytes.count, by: pieces) {
    bytes[start..<min(start + pieces, bytes.count)].withUnsafeBytes { body($0) }
  }
}

@Suite struct RequestClassifierTests {
  private static func classify(_ text: String, pieces: Int) -> RequestClass {
    var classifier = RequestClassifier()
    feed(text, pieces: pieces) { classifier.take($0) }
    return classifier.result
  }

  @Test("A body is read in pieces of any size, whatever else stands in it", arguments: [1, 2, 3, 7, 1_000])
  func pieces(_ size: Int) {
    let text = """
       {"messages":[{"model":"no","stream":true,"a":"\\"}]{\\\\"},[[{}]],-1.5e3], "x":{"model":"no"},
      "max_tokens" : 128000 ,"metadata":{"user_id":"\\u00e9 {"}, "stream": true,"model":"claude-opus-5-5","tools":[]}
      """
    let result = Self.classify(text, pieces: size)
    #expect(result.model == "claude-opus-5-5")
    #expect(result.isStream)
    #expect(result.maxTokens == 128_000)
    #expect(result.kind == "tools")
    #expect(result.bodyBytes == Int64(text.utf8.count))
  }

  @Test(
    "What is no JSON object with a model is unknown, not an error",
    arguments: [
      "", "x", "[]", "{", #"{"model":"#, #"{"model":"a""#, #"{"model":1}"#, #"{"model" "a"}"#, "\u{0}\u{1}", "{}}",
    ])
  func broken(text: String) {
    let result = Self.classify(text, pieces: 3)
    #expect(result.model.isEmpty && result.bodyBytes == nil && result.maxTokens == nil)
  }

  @Test("Of a key that comes twice the last value counts; a huge model name is none")
  func oddities() {
    #expect(Self.classify(#"{"model":"a","model":"b"}"#, pieces: 5).model == "b")
    let long = String(repeating: "m", count: 10_000)
    #expect(Self.classify(#"{"model":"\#(long)"}"#, pieces: 100).model.isEmpty)
  }
}

@Suite struct EventStreamReaderTests {
  private static func read(_ text: String, pieces: Int) -> [EventStreamReader.Event] {
    var reader = EventStreamReader()
    var events: [EventStreamReader.Event] = []
    feed(text, pieces: pieces) { reader.take($0) { events.append($0) } }
    #expect(reader.isBetweenEvents)
    return events
  }

  @Test(
    "Events are read with every line end and in pieces of any size", arguments: ["\n", "\r\n", "\r"], [1, 2, 5, 1_000])
  func lineEnds(end: String, size: Int) {
    let lines = [
      ": comment", "event: message_start", #"data: {"type":"message_start","message":{"usage":{"input_tokens":5}}}"#,
      "",
      "id: 1", "event: content_block_delta",
      #"data:{"type":"content_block_delta","delta":{"text":"h\u00e9\nllo"}}"#, "", "event: other", "data: not json", "",
      "", "event: error", #"data: {"error":{"type":"overloaded_error"}}"#, "",
    ]
    let events = Self.read(lines.map { $0 + end }.joined(), pieces: size)
    #expect(events.map(\.type) == ["message_start", "content_block_delta", "other", "error"])
    #expect(events[0].usage == Usage(input: 5))
    #expect(events[1].characters == 6)
    #expect(events[3].errorType == "overloaded_error")
  }

  @Test("Between events means: after an empty line, and before the first byte")
  func between() {
    var reader = EventStreamReader()
    #expect(reader.isBetweenEvents)
    for (text, expected) in [("event: a\n", false), ("data: {}\n", false), ("\n", true), (":", false), ("\n\n", true)] {
      feed(text, pieces: 1_000) { reader.take($0) { _ in } }
      #expect(reader.isBetweenEvents == expected, "after \(text)")
    }
  }
}

@Suite struct ModelPatternTests {
  @Test(
    "A star stands for any text",
    arguments: [
      ("claude-*", "claude-opus-5", true), ("claude-*", "gpt", false), ("*", "", true),
      ("*sonnet*4*", "claude-sonnet-4-5", true),
      ("a*b", "aXbXb", true), ("a*b", "aXbX", false), ("", "", true), ("", "a", false), ("claude", "claude-x", false),
    ])
  func matches(pattern: String, model: String, expected: Bool) {
    #expect(ModelPattern(pattern).matches(model) == expected)
  }
}
