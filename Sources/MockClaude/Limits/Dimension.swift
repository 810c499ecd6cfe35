/// What a bucket counts.
package enum Dimension: String, CaseIterable, Codable, Sendable {
  /// Requests a minute.
  case requests
  /// Uncached input and cache writes; on some models cache reads, too.
  case inputTokens
  /// All input, cache reads included: only as a limit of a workspace.
  case inputTokensTotal
  /// Output tokens, as they are produced.
  case outputTokens
  /// Input tokens of requests with `speed: "fast"`.
  case fastInputTokens
  /// Output tokens of requests with `speed: "fast"`.
  case fastOutputTokens

  /// The limiter type in the Rate Limits API.
  package var limiterType: String {
    switch self {
    case .requests: "requests_per_minute"
    case .inputTokens: "input_tokens_per_minute_cache_aware"
    case .inputTokensTotal: "input_tokens_per_minute"
    case .outputTokens: "output_tokens_per_minute"
    case .fastInputTokens: "fast_itpmca"
    case .fastOutputTokens: "fast_otpm"
    }
  }

  /// The words of an error message.
  package var phrase: String {
    switch self {
    case .requests: "requests per minute"
    case .inputTokens, .inputTokensTotal: "input tokens per minute"
    case .outputTokens: "output tokens per minute"
    case .fastInputTokens: "fast mode input tokens per minute"
    case .fastOutputTokens: "fast mode output tokens per minute"
    }
  }
}
