/// Who asks: an organisation and a workspace.
package struct Account: Hashable, Sendable {
  /// Sent as `anthropic-organization-id`; limits are counted by it.
  package var organization: String
  /// Sent as `anthropic-workspace-id`.
  package var workspace: String
  /// What the account may do.
  package var kind: KeyConfiguration.Kind

  /// An account.
  package init(organization: String, workspace: String, kind: KeyConfiguration.Kind = .standard) {
    self.organization = organization
    self.workspace = workspace
    self.kind = kind
  }
}

/// A request for one message, as the engine sees it: sizes and identities, no text.
package struct MessageRequest: Sendable {
  /// Who asks.
  package var account: Account
  /// The model by name; it selects the pool.
  package var model: String
  /// Bound of the output; never influences a limit.
  package var maxTokens: Int
  /// Whether the answer is streamed.
  package var isStream = true
  /// Whether `speed: "fast"` was asked for.
  package var isFast = false
  /// Echoed as `usage.service_tier`.
  package var serviceTier = "standard"
  /// All input tokens, cached or not.
  package var inputTokens: Int
  /// Length of the body, from which the input is estimated at admission.
  package var bodyBytes: Int
  /// Prefixes to be looked up and written in the prompt cache.
  package var cache = CachePlan()
  /// Length of the output; nil draws it.
  package var outputTokens: Int?
  /// Hash of the body: the same value is the same request sent again. Nil is never recognised.
  package var identity: UInt64?
  /// The client's session.
  package var session: String?
  /// Seconds until the first token after `message_start`, above what the configuration says.
  package var silence: Duration?
  /// Tokens of a thinking block; nil: as configured.
  package var thinkingTokens: Int?
  /// A tool call at the end of the answer.
  package var toolCall: ToolCall?
  /// A fault asked for by header or directive; wins over the plan's.
  package var fault: Fault?

  /// A tool call that the answer contains.
  package struct ToolCall: Hashable, Sendable {
    /// Name of the tool.
    package var name: String
    /// Its input, a JSON object.
    package var input: String

    /// A call.
    package init(name: String, input: String) {
      self.name = name
      self.input = input
    }
  }

  /// A request of the given size; `bodyBytes` defaults to four bytes a token.
  package init(
    account: Account, model: String, inputTokens: Int, outputTokens: Int? = nil, maxTokens: Int = 128_000,
    bodyBytes: Int? = nil, cache: CachePlan = CachePlan(), identity: UInt64? = nil, session: String? = nil
  ) {
    self.account = account
    self.model = model
    self.inputTokens = inputTokens
    self.outputTokens = outputTokens
    self.maxTokens = maxTokens
    self.bodyBytes = bodyBytes ?? inputTokens * 4
    self.cache = cache
    self.identity = identity
    self.session = session
  }
}

/// Tokens of one answer, as `usage` shows them and as they are charged.
package struct TokenUsage: Hashable, Codable, Sendable {
  /// Input after the last cache breakpoint.
  package var inputTokens = 0
  /// Written to the cache for 5 minutes.
  package var cacheCreation5m = 0
  /// Written to the cache for 1 hour.
  package var cacheCreation1h = 0
  /// Read from the cache.
  package var cacheReadTokens = 0
  /// Output, thinking included.
  package var outputTokens = 0

  /// No tokens.
  package init() {}

  /// Written to the cache.
  package var cacheCreationTokens: Int { cacheCreation5m + cacheCreation1h }
  /// All input.
  package var totalInput: Int { inputTokens + cacheCreationTokens + cacheReadTokens }
  /// Input that the cache-aware limit counts.
  package var uncachedInput: Int { inputTokens + cacheCreationTokens }
}
