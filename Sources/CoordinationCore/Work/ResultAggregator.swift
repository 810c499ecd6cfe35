/// Gathers a pod's results into frames: one goes when it has waited for 50 ms, or holds 64 results, or is large enough.
///
/// Nothing is acknowledged to anybody before its frame is: it saves messages, not guarantees. Pure; the shell keeps the bytes.
package struct ResultAggregator<Item: Sendable>: Sendable {
  /// When a frame goes.
  package struct Policy: Hashable, Sendable {
    /// How long its first result waits.
    package var delay = Duration.milliseconds(50)
    /// Results of a frame.
    package var items = 64
    /// Bytes of a frame; a larger result goes alone. Below the 1 MB that NATS takes by default.
    package var bytes = 512 << 10
    /// Whether a result that comes while nothing has been sent for a delay goes at once: an idle pod adds no wait.
    package var sendsFirstAtOnce = true

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// What is told.
  package enum Event: Sendable {
    /// A result and its size.
    case add(Item, bytes: Int)
    /// Time has passed.
    case tick
    /// Whatever is there must go: a drain, or somebody waits.
    case flush
  }

  /// A frame to send, in the order in which its results came.
  package struct Effect: Sendable {
    /// The results.
    package var items: [Item]
    /// Their bytes.
    package var bytes: Int
  }

  private let policy: Policy
  private var items: [Item] = []
  private var bytes = 0
  private var since: Duration?
  private var lastSent: Duration?

  /// An aggregator without results.
  package init(policy: Policy = Policy()) { self.policy = policy }

  /// How many results wait.
  package var count: Int { items.count }

  /// When to call `tick`; nil: nothing waits.
  package var nextDeadline: Duration? { since.map { $0 + policy.delay } }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    switch event {
    case .flush: return send(now)
    case .tick: return nextDeadline.map { $0 <= now } ?? false ? send(now) : []
    case .add(let item, let size):
      var effects: [Effect] = []
      if !items.isEmpty, bytes + size > policy.bytes { effects += send(now) }
      let isIdle = items.isEmpty && (lastSent.map { now - $0 >= policy.delay } ?? true)
      if items.isEmpty { since = now }
      items.append(item)
      bytes += size
      let isDue = nextDeadline.map { $0 <= now } ?? false
      if items.count >= policy.items || bytes >= policy.bytes || isDue || (isIdle && policy.sendsFirstAtOnce) {
        effects += send(now)
      }
      return effects
    }
  }

  private mutating func send(_ now: Duration) -> [Effect] {
    guard !items.isEmpty else { return [] }
    let effect = Effect(items: items, bytes: bytes)
    items = []
    bytes = 0
    since = nil
    lastSent = now
    return [effect]
  }
}
