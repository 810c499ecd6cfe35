/// Whole bodies.
enum MessageText {
  /// The answer of a request without `stream`.
  static func message(_ generation: Generation, iterations: Bool) -> String {
    let content = AnswerBlock.blocks(of: generation).map { block in
      let words = AnswerText.tokens(from: block.first, to: block.end, seed: generation.number)
      return switch block.kind {
      case .thinking:
        #"{"type":"thinking","thinking":\#(JSONValue.literal(words)),"signature":\#(JSONValue.literal(AnswerBlock.signature(generation)))}"#
      case .text: #"{"type":"text","text":\#(JSONValue.literal(words))}"#
      case .tool(let call):
        #"{"type":"tool_use","id":"\#(AnswerBlock.toolID(generation))","name":\#(JSONValue.literal(call.name)),"input":\#(call.input)}"#
      }
    }
    var usage = UsageText.message(generation.usage, generation, output: generation.usage.outputTokens)
    if iterations { usage = usage.dropLast() + UsageText.iterations(generation.usage) + "}" }
    return #"{"id":"\#(generation.messageID)","type":"message","role":"assistant","model":"#
      + JSONValue.literal(generation.request.model) + #","content":[\#(content.joined(separator: ","))],"stop_reason":"#
      + #"\#(JSONValue.literal(generation.stopReason)),"stop_sequence":null,"usage":\#(usage)}"#
  }

  /// The body of an error.
  static func error(_ error: APIError, requestID: String) -> String {
    let details = error.code.map { #","details":{"error_code":\#(JSONValue.literal($0))}"# } ?? ""
    return
      #"{"type":"error","error":{"type":\#(JSONValue.literal(error.type)),"message":\#(JSONValue.literal(error.message))"#
      + #"\#(details)},"request_id":"\#(requestID)"}"#
  }

  /// A page of the network in front of the API.
  static func page(_ title: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en-US"><head><title>\(title)</title></head>
    <body><h1>\(title)</h1><p>api.anthropic.com | Cloudflare</p></body></html>

    """
  }
}
