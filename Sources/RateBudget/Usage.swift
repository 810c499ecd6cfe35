/// What upstream says a request used so far; nil: not known yet. All counts are cumulative.
package struct Usage: Hashable, Sendable {
  /// Input tokens after the last cache breakpoint.
  package var input: Int64?
  /// Tokens written to the cache for five minutes (or for an unnamed time).
  package var cacheCreation: Int64?
  /// Tokens written to the cache for an hour; not contained in `cacheCreation`.
  package var cacheCreationHour: Int64?
  /// Tokens read from the cache.
  package var cacheRead: Int64?
  /// Output tokens, thinking included.
  package var output: Int64?

  /// Makes a usage.
  package init(
    input: Int64? = nil, cacheCreation: Int64? = nil, cacheCreationHour: Int64? = nil, cacheRead: Int64? = nil,
    output: Int64? = nil
  ) {
    self.input = input
    self.cacheCreation = cacheCreation
    self.cacheCreationHour = cacheCreationHour
    self.cacheRead = cacheRead
    self.output = output
  }

  /// What the cache-aware limit charges: uncached input and cache writes; nil while the input isn't known.
  package var chargedInput: Int64? {
    input.map { Self.sane($0) + Self.sane(cacheCreation) + Self.sane(cacheCreationHour) }
  }

  /// What the other kind of limit charges: cache reads as well.
  package var totalInput: Int64? {
    chargedInput.map { $0 + Self.sane(cacheRead) }
  }

  static func sane(_ value: Int64?) -> Int64 {
    (value ?? 0).clamped(to: 0...1_000_000_000)
  }
}

/// Folds the usage reports of one response: the last value that isn't null wins, field by field; nothing is added up.
///
/// `message_start` carries the input side and a placeholder for the output, each `message_delta` the cumulative output
/// and now and then corrected input. A stream that is cut before its last `message_delta` counts at least one token for
/// each four characters that were delivered, which is how Anthropic's own gateway bills them.
package struct UsageAccumulator: Hashable, Sendable {
  /// Characters in a token, where nothing better is known.
  package static let charactersPerToken: Int64 = 4

  private var folded = Usage()
  private var characters: Int64 = 0

  /// Nothing yet.
  package init() {}

  /// Takes in one report.
  package mutating func fold(_ report: Usage) {
    folded.input = report.input ?? folded.input
    folded.cacheCreation = report.cacheCreation ?? folded.cacheCreation
    folded.cacheCreationHour = report.cacheCreationHour ?? folded.cacheCreationHour
    folded.cacheRead = report.cacheRead ?? folded.cacheRead
    folded.output = report.output ?? folded.output
  }

  /// Notes characters of content that were delivered.
  package mutating func deliver(characters count: Int) {
    characters = characters.addingSaturated(Int64(max(count, 0)))
  }

  /// The usage as far as it is known: the output is never below what the delivered characters make.
  package var usage: Usage {
    var result = folded
    let floor = (characters + Self.charactersPerToken - 1) / Self.charactersPerToken
    if floor > 0 || folded.output != nil { result.output = max(folded.output ?? 0, floor) }
    return result
  }

  /// The usage of a response that ended with its last `message_delta`: the reported values as they are.
  package var reported: Usage { folded }
}
