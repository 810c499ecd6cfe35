/// Text that is due at a moment of a stream.
package struct StreamFrame: Hashable, Sendable {
  /// When it's written.
  package var time: MockTime
  /// Whole events, unless it's the last frame of a cut stream.
  package var text: String

  /// The pieces in which it is written: whole, or so many bytes each.
  package func pieces(of size: Int) -> [ArraySlice<UInt8>] {
    let bytes = Array(text.utf8)
    guard size > 0 else { return [bytes[...]] }
    return stride(from: 0, to: bytes.count, by: size).map { bytes[$0..<min(bytes.count, $0 + size)] }
  }
}

/// A whole stream: its frames and how it ends.
package struct StreamScript: Hashable, Sendable {
  /// How a stream ends after its last frame.
  package enum Ending: Hashable, Sendable {
    /// Properly: the last chunk is written and the connection goes on.
    case complete
    /// With a reset.
    case reset
    /// Never.
    case stall
    /// The connection is closed without the last chunk.
    case close
  }

  /// In order of time.
  package var frames: [StreamFrame] = []
  /// How it ends.
  package var ending = Ending.complete

  /// The stream of a generation.
  package init(_ generation: Generation, style: StreamStyle, tokensPerDelta: Int) {
    var builder = StreamBuilder(generation: generation, style: style, tokensPerDelta: max(1, tokensPerDelta))
    builder.build()
    (frames, ending) = (builder.frames, builder.ending)
    guard style.eventsPerWrite > 1 else { return }
    frames = stride(from: 0, to: frames.count, by: style.eventsPerWrite).map { first in
      let part = frames[first..<min(frames.count, first + style.eventsPerWrite)]
      return StreamFrame(time: part[part.endIndex - 1].time, text: part.map(\.text).joined())
    }
  }

  /// An in-stream error event.
  package static func errorEvent(type: String, message: String, style: StreamStyle) -> String {
    StreamBuilder.event(
      "error",
      #"{"type":"error","error":{"type":\#(JSONValue.literal(type)),"message":\#(JSONValue.literal(message))}}"#, style)
  }
}

/// Builds the frames of a stream in the order of the real API.
private struct StreamBuilder {
  let generation: Generation
  let style: StreamStyle
  let tokensPerDelta: Int
  var frames: [StreamFrame] = []
  var ending = StreamScript.Ending.complete

  static func event(_ name: String, _ data: String, _ style: StreamStyle) -> String {
    let end = style.carriageReturns ? "\r\n" : "\n"
    return "event: \(name)\(end)data: \(data)\(end)\(end)"
  }

  init(generation: Generation, style: StreamStyle, tokensPerDelta: Int) {
    self.generation = generation
    self.style = style
    self.tokensPerDelta = tokensPerDelta
  }

  private mutating func send(_ name: String, _ data: String, at time: MockTime) {
    frames.append(StreamFrame(time: time, text: Self.event(name, data, style)))
  }

  private mutating func ping(at time: MockTime) {
    send("ping", #"{"type":"ping"}"#, at: time)
  }

  private mutating func comment(at time: MockTime) {
    guard style.comments else { return }
    let end = style.carriageReturns ? "\r\n" : "\n"
    frames.append(StreamFrame(time: time, text: ": mock comment\(end)\(end)"))
  }

  private var start: MockTime { generation.startsAt }

  mutating func build() {
    switch generation.fault?.inStream?.fault {
    case .errorAtOnce(let type):
      send("error", errorData(type), at: start)
      return
    case .resetAfterHeaders:
      ending = .reset
      return
    default: break
    }
    comment(at: start)
    sendMessageStart()
    if let (fault, tokens) = generation.fault?.inStream, tokens == 0 {
      fail(fault, at: start)
      return
    }
    for (index, block) in AnswerBlock.blocks(of: generation).enumerated() {
      guard sendBlock(block, index) else { return }
    }
    if style.unknownEvents {
      send("mock_future_event", #"{"type":"mock_future_event","value":1}"#, at: generation.endsAt)
    }
    sendMessageDeltas()
    send("message_stop", #"{"type":"message_stop"}"#, at: generation.endsAt)
  }

  private func errorData(_ type: String) -> String {
    let message = type == "overloaded_error" ? "Overloaded" : "Injected by the mock"
    return #"{"type":"error","error":{"type":\#(JSONValue.literal(type)),"message":\#(JSONValue.literal(message))}}"#
  }

  // MARK: Beginning and end

  private mutating func sendMessageStart() {
    var usage = generation.usage
    switch style.inputUsage {
    case .start, .startOnly: break
    case .delta: usage = TokenUsage()
    case .corrected:
      usage = TokenUsage()
      usage.inputTokens = generation.usage.totalInput
    }
    let output = generation.plannedOutput == 0 ? 0 : 1
    send(
      "message_start",
      #"{"type":"message_start","message":{"id":"\#(generation.messageID)","type":"message","role":"assistant","model":"#
        + JSONValue.literal(generation.request.model)
        + #","content":[],"stop_reason":null,"stop_sequence":null,"usage":"#
        + UsageText.message(usage, generation, output: output) + "}}",
      at: start)
  }

  private mutating func sendMessageDeltas() {
    let count = max(1, style.messageDeltas)
    for index in 1...count {
      let isLast = index == count
      let input = style.inputUsage == .startOnly || !isLast ? "" : UsageText.input(generation.usage) + ","
      let iterations = style.iterations && isLast ? UsageText.iterations(generation.usage) : ""
      let reason = isLast ? JSONValue.literal(generation.stopReason) : "null"
      send(
        "message_delta",
        #"{"type":"message_delta","delta":{"stop_reason":\#(reason),"stop_sequence":null},"usage":{\#(input)"output_tokens":"#
          + "\(generation.usage.outputTokens * index / count)\(iterations)}}",
        at: generation.endsAt)
    }
  }

  // MARK: Blocks

  /// Sends a block; false if a fault cut it.
  private mutating func sendBlock(_ block: AnswerBlock, _ index: Int) -> Bool {
    let begin = block.first == 0 ? start : generation.time(ofToken: block.first)
    send(
      "content_block_start",
      #"{"type":"content_block_start","index":\#(index),"content_block":\#(emptyBlock(block.kind))}"#, at: begin)
    if index == 0 {
      ping(at: begin)
      sendSilence()
    }
    let deltas = (block.end - block.first + tokensPerDelta - 1) / tokensPerDelta
    for number in 0..<deltas {
      let first = block.first + number * tokensPerDelta
      let end = min(block.end, first + tokensPerDelta)
      if let (fault, tokens) = generation.fault?.inStream, end >= tokens {
        if first < tokens { sendDelta(block, index, first, tokens, number, deltas) }
        fail(fault, at: generation.time(ofToken: min(tokens, generation.plannedOutput)))
        return false
      }
      sendDelta(block, index, first, end, number, deltas)
    }
    let over = generation.time(ofToken: block.end)
    if case .thinking = block.kind {
      let signature = JSONValue.literal(AnswerBlock.signature(generation))
      send("content_block_delta", delta(index, #"{"type":"signature_delta","signature":\#(signature)}"#), at: over)
    }
    send("content_block_stop", #"{"type":"content_block_stop","index":\#(index)}"#, at: over)
    return true
  }

  private func emptyBlock(_ kind: AnswerBlock.Kind) -> String {
    switch kind {
    case .thinking: #"{"type":"thinking","thinking":"","signature":""}"#
    case .text: #"{"type":"text","text":""}"#
    case .tool(let call):
      #"{"type":"tool_use","id":"\#(AnswerBlock.toolID(generation))","name":\#(JSONValue.literal(call.name)),"input":{}}"#
    }
  }

  private func delta(_ index: Int, _ delta: String) -> String {
    #"{"type":"content_block_delta","index":\#(index),"delta":\#(delta)}"#
  }

  private mutating func sendDelta(
    _ block: AnswerBlock, _ index: Int, _ first: Int, _ end: Int, _ number: Int, _ deltas: Int
  ) {
    let words = AnswerText.tokens(from: first, to: end, seed: generation.number)
    let text =
      switch block.kind {
      case .thinking: #"{"type":"thinking_delta","thinking":\#(JSONValue.literal(words))}"#
      case .text: #"{"type":"text_delta","text":\#(JSONValue.literal(words))}"#
      case .tool(let call):
        #"{"type":"input_json_delta","partial_json":\#(JSONValue.literal(AnswerText.part(call.input, number, of: deltas)))}"#
      }
    let time = generation.time(ofToken: end)
    if number % 8 == 7 { comment(at: time) }
    send("content_block_delta", delta(index, text), at: time)
  }

  /// The silence before the first token, broken by pings where these are configured.
  private mutating func sendSilence() {
    let interval = Duration.milliseconds(Int64(style.pingInterval * 1000))
    guard interval > .zero else { return }
    var time = start + interval
    while time < generation.firstTokenAt {
      ping(at: time)
      time = time + interval
    }
  }

  // MARK: Faults

  private mutating func fail(_ fault: Fault.InStreamFault, at time: MockTime) {
    switch fault {
    case .error(let type), .errorAtOnce(let type): send("error", errorData(type), at: time)
    case .resetAfterHeaders: ending = .reset
    case .reset:
      // The first half of an event that never comes to its end.
      frames.append(StreamFrame(time: time, text: "event: content_block_delta\ndata: {\"type\":\"content_block_de"))
      ending = .reset
    case .stall: ending = .stall
    case .close: ending = .close
    case .endWithoutStop: ending = .complete
    }
  }
}
