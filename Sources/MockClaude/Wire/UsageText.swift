/// Usage as JSON.
enum UsageText {
  /// The complete usage object of a message.
  static func message(_ usage: TokenUsage, _ generation: Generation, output: Int) -> String {
    let fast = generation.request.isFast ? #","speed":"fast""# : ""
    return "{" + input(usage)
      + #","output_tokens":\#(output),"service_tier":\#(JSONValue.literal(generation.request.serviceTier))"#
      + #","inference_geo":"global"\#(fast)}"#
  }

  /// The fields of the input side.
  static func input(_ usage: TokenUsage) -> String {
    #""input_tokens":\#(usage.inputTokens),"cache_creation_input_tokens":\#(usage.cacheCreationTokens),"#
      + #""cache_read_input_tokens":\#(usage.cacheReadTokens),"cache_creation":{"ephemeral_5m_input_tokens":"#
      + #"\#(usage.cacheCreation5m),"ephemeral_1h_input_tokens":\#(usage.cacheCreation1h)}"#
  }

  /// The breakdown by sampling iterations.
  static func iterations(_ usage: TokenUsage) -> String {
    #","iterations":[{"type":"message",\#(input(usage)),"output_tokens":\#(usage.outputTokens)}]"#
  }
}
