/// What a request looks up in the prompt cache and what it writes there.
package struct CachePlan: Hashable, Sendable {
  /// The end of a block, by the hash of everything before it.
  package struct Boundary: Hashable, Sendable {
    /// Hash of model input up to here.
    package var hash: UInt64
    /// Tokens up to here.
    package var tokens: Int

    /// A boundary.
    package init(hash: UInt64, tokens: Int) {
      self.hash = hash
      self.tokens = tokens
    }
  }

  /// How long an entry lives after its last use.
  package enum Lifetime: Hashable, Sendable {
    case fiveMinutes, oneHour

    /// As a duration.
    package var duration: Duration { self == .fiveMinutes ? .seconds(300) : .seconds(3600) }
  }

  /// Boundaries where an entry may be found, in ascending order.
  package var lookups: [Boundary] = []
  /// Breakpoints, in ascending order.
  package var writes: [(boundary: Boundary, lifetime: Lifetime)] = []

  /// No caching.
  package init() {}

  /// One breakpoint, after `tokens` tokens with this hash, looked up and written.
  package init(prefix hash: UInt64, tokens: Int, lifetime: Lifetime = .fiveMinutes) {
    lookups = [Boundary(hash: hash, tokens: tokens)]
    writes = [(lookups[0], lifetime)]
  }

  package static func == (left: CachePlan, right: CachePlan) -> Bool {
    left.lookups == right.lookups && left.writes.elementsEqual(right.writes) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(lookups)
    for write in writes {
      hasher.combine(write.boundary)
      hasher.combine(write.lifetime)
    }
  }
}

/// The prompt cache of all organisations.
///
/// An entry is seen by others only after the first answer of its writer has begun: a fleet that starts cold writes the
/// same prefix once for each worker.
struct PromptCache: Sendable {
  private struct Key: Hashable {
    var organization, workspace, model: String
    var hash: UInt64
  }

  private struct Entry {
    var lifetime: CachePlan.Lifetime
    var expires: MockTime
  }

  private var entries: [Key: Entry] = [:]
  private var pruneAt = 10_000

  private static func key(_ request: MessageRequest, _ hash: UInt64) -> Key {
    Key(
      organization: request.account.organization, workspace: request.account.workspace, model: request.model, hash: hash
    )
  }

  /// Usage of a request's input side now. Prefixes below `minimum` tokens are not cached.
  func usage(of request: MessageRequest, minimum: Int, now: MockTime) -> TokenUsage {
    var usage = TokenUsage()
    usage.inputTokens = request.inputTokens
    guard let last = request.cache.writes.last?.boundary, last.tokens >= minimum else { return usage }
    let covered = min(last.tokens, request.inputTokens)
    let found = request.cache.lookups.last { boundary in
      guard boundary.tokens >= minimum, boundary.tokens <= covered,
        let entry = entries[Self.key(request, boundary.hash)]
      else { return false }
      return entry.expires > now
    }
    usage.cacheReadTokens = found?.tokens ?? 0
    let hour = request.cache.writes.last { $0.lifetime == .oneHour }.map { min($0.boundary.tokens, covered) } ?? 0
    usage.cacheCreation1h = max(0, hour - usage.cacheReadTokens)
    usage.cacheCreation5m = covered - usage.cacheReadTokens - usage.cacheCreation1h
    usage.inputTokens = request.inputTokens - covered
    return usage
  }

  /// Renews the entry that a request reads.
  mutating func touch(_ request: MessageRequest, readTokens: Int, now: MockTime) {
    guard readTokens > 0 else { return }
    for boundary in request.cache.lookups where boundary.tokens == readTokens {
      let key = Self.key(request, boundary.hash)
      if let entry = entries[key], entry.expires > now {
        entries[key] = Entry(lifetime: entry.lifetime, expires: now + entry.lifetime.duration)
      }
    }
  }

  /// Writes the entries of a request, whose answer has begun.
  mutating func write(_ request: MessageRequest, minimum: Int, now: MockTime) {
    for write in request.cache.writes where write.boundary.tokens >= minimum {
      let key = Self.key(request, write.boundary.hash)
      let lifetime = entries[key].map { $0.expires > now ? $0.lifetime : write.lifetime } ?? write.lifetime
      entries[key] = Entry(lifetime: lifetime, expires: now + lifetime.duration)
    }
    guard entries.count > pruneAt else { return }
    entries = entries.filter { $0.value.expires > now }
    pruneAt = max(10_000, entries.count * 2)
  }
}
