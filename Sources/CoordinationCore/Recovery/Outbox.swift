/// Results that can't be handed over yet, because the engine is away or hasn't answered: kept in order, sent again until each is acknowledged.
///
/// The engine takes a key once, so that sending again is safe. The outbox is bounded: when it is full, its owner must not begin anything that
/// would end in a result. Pure; the shell keeps the entries on disk where that is promised.
package struct Outbox: Sendable {
  /// What it holds at most, and how it sends.
  package struct Policy: Hashable, Sendable {
    /// Results.
    package var entries = 10_000
    /// Their bytes.
    package var bytes = 64 << 20
    /// Results that are sent and not yet acknowledged.
    package var window = 64
    /// After how long without an acknowledgement one is sent again.
    package var patience = Duration.seconds(10)

    /// The policy that holds where nothing else is said.
    package init() {}
  }

  /// What is told.
  package enum Event: Hashable, Sendable {
    /// A result is to be handed over.
    case put(key: String, bytes: Int)
    /// The engine answers again.
    case connected
    /// It doesn't.
    case disconnected
    /// It has the result, from now or from before.
    case acknowledged(String)
    /// It will never take it: another claim holds the task.
    case refused(String)
    /// Time has passed.
    case tick
  }

  /// What the shell does.
  package enum Effect: Hashable, Sendable {
    /// Keeps the result where it survives what is promised.
    case store(String)
    /// Hands it over, for the so-manyth time.
    case send(String, attempt: Int)
    /// Forgets it: it is safe, or nobody wants it.
    case remove(String, isRefused: Bool)
    /// Doesn't take the result: it is full. Its owner waits with it, and with whatever would end in more.
    case reject(String)
  }

  private struct Entry: Sendable {
    var order: UInt64
    var bytes: Int
    var attempts = 0
    var sent: Duration?
  }

  private let policy: Policy
  private var entries: [String: Entry] = [:]
  /// Keys by order; those that are gone are passed over.
  private var queue: [(order: UInt64, key: String)] = []
  private var start = 0
  private var nextOrder: UInt64 = 0
  private var bytes = 0
  private var inFlight = 0
  private var isConnected: Bool

  /// An empty outbox.
  package init(policy: Policy = Policy(), isConnected: Bool = true) {
    self.policy = policy
    self.isConnected = isConnected
  }

  /// How many results it holds.
  package var count: Int { entries.count }

  /// How full it is, in percent, by number or by bytes: the ladder's `outbox`.
  package var fillPercent: Int { max(100 * entries.count / max(1, policy.entries), 100 * bytes / max(1, policy.bytes)) }

  /// When to call `tick`; nil: nothing is sent that isn't acknowledged.
  package var nextDeadline: Duration? {
    guard isConnected, inFlight > 0 else { return nil }
    return entries.values.compactMap(\.sent).min().map { $0 + policy.patience }
  }

  /// Takes note of an event.
  package mutating func handle(_ event: Event, now: Duration) -> [Effect] {
    switch event {
    case .put(let key, let size): return put(key, size, now)
    case .connected:
      isConnected = true
      return send(now)
    case .disconnected:
      isConnected = false
      // Whether it has them nobody knows: all are sent again.
      for key in entries.keys { entries[key]?.sent = nil }
      inFlight = 0
      start = 0
      queue = entries.map { ($0.value.order, $0.key) }.sorted { $0.0 < $1.0 }
      return []
    case .acknowledged(let key): return remove(key, isRefused: false, now)
    case .refused(let key): return remove(key, isRefused: true, now)
    case .tick:
      let late = entries.filter { $0.value.sent.map { now - $0 >= policy.patience } ?? false }
      for (key, entry) in late {
        entries[key]?.sent = nil
        queue.append((entry.order, key))
      }
      inFlight -= late.count
      if !late.isEmpty {
        queue = queue[start...].sorted { $0.order < $1.order }
        start = 0
      }
      return send(now)
    }
  }

  private mutating func put(_ key: String, _ size: Int, _ now: Duration) -> [Effect] {
    // The first result of a key is the result.
    guard entries[key] == nil else { return [] }
    guard entries.count < policy.entries, bytes + size <= policy.bytes || entries.isEmpty else { return [.reject(key)] }
    entries[key] = Entry(order: nextOrder, bytes: size)
    queue.append((nextOrder, key))
    nextOrder += 1
    bytes += size
    return [.store(key)] + send(now)
  }

  private mutating func remove(_ key: String, isRefused: Bool, _ now: Duration) -> [Effect] {
    guard let entry = entries.removeValue(forKey: key) else { return [] }
    bytes -= entry.bytes
    if entry.sent != nil { inFlight -= 1 }
    return [.remove(key, isRefused: isRefused)] + send(now)
  }

  private mutating func send(_ now: Duration) -> [Effect] {
    guard isConnected else { return [] }
    var effects: [Effect] = []
    while inFlight < policy.window, start < queue.count {
      let (order, key) = queue[start]
      start += 1
      guard var entry = entries[key], entry.order == order, entry.sent == nil else { continue }
      entry.attempts += 1
      entry.sent = now
      entries[key] = entry
      inFlight += 1
      effects.append(.send(key, attempt: entry.attempts))
    }
    if start > 1_024, 2 * start > queue.count {
      queue.removeFirst(start)
      start = 0
    }
    return effects
  }
}
