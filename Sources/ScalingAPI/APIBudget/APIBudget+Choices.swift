extension APIBudget {
  /// Whose API a budget is of.
  package enum Provider: String, KnownText {
    /// The Anthropic API.
    case anthropic = "Anthropic"
  }

  /// How urgent a fleet's requests are.
  package enum Priority: String, KnownText {
    /// Somebody waits: served first, from the reserve as well.
    case interactive = "Interactive"
    /// Ordinary work.
    case normal = "Normal"
    /// Work that may wait until nobody else wants the budget.
    case bulk = "Bulk"
  }

  /// What a provider limits.
  package enum Dimension: String, KnownText {
    /// Requests.
    case requests = "RequestsPerMinute"
    /// Input tokens that are not read from a cache.
    case inputTokens = "InputTokensPerMinute"
    /// Output tokens.
    case outputTokens = "OutputTokensPerMinute"
  }

  /// Where a limit is known from.
  package enum LimitSource: String, KnownText {
    /// Written in the spec.
    case spec = "Spec"
    /// Learned from response headers.
    case headers = "Headers"
    /// Neither is known yet.
    case assumed = "Assumed"
  }
}
