package import NIOCore

/// The subscriptions of a client: the truth that each new connection is told. No I/O.
package struct SubscriptionRegistry<Sink: Sendable>: Sendable {
  package struct Entry: Sendable {
    package var subject: String
    package var queue: String?
    package var sink: Sink
    /// Messages in all after which it ends; nil: never.
    package var maximum: Int?
    /// Messages that arrived, over all connections.
    package var delivered = 0
    /// Of those, the ones before this connection: the server counts from its own SUB.
    package var deliveredBefore = 0
  }

  /// By id.
  package private(set) var entries: [UInt64: Entry] = [:]
  private var nextID: UInt64 = 1

  package init() {}

  /// A new subscription's id.
  package mutating func add(subject: String, queue: String?, maximum: Int? = nil, sink: Sink) -> UInt64 {
    let sid = nextID
    nextID += 1
    entries[sid] = Entry(subject: subject, queue: queue, sink: sink, maximum: maximum)
    return sid
  }

  package mutating func remove(_ sid: UInt64) -> Entry? { entries.removeValue(forKey: sid) }

  /// Counts messages. Returns the sink, how many of them it may have, and whether it is at its end.
  package mutating func delivered(_ sid: UInt64, count: Int) -> (sink: Sink, accepted: Int, isLast: Bool)? {
    guard let at = entries.index(forKey: sid) else { return nil }
    guard let maximum = entries.values[at].maximum else {
      entries.values[at].delivered += count
      return (entries.values[at].sink, count, false)
    }
    let accepted = max(0, min(count, maximum - entries.values[at].delivered))
    entries.values[at].delivered += accepted
    let sink = entries.values[at].sink
    let isLast = entries.values[at].delivered >= maximum
    if isLast { entries.remove(at: at) }
    return (sink, accepted, isLast)
  }

  /// Sets an end after so many messages in all. Returns the number for UNSUB on this connection, or nil when the end is here already.
  package mutating func limit(_ sid: UInt64, to maximum: Int) -> (remaining: Int?, entry: Entry)? {
    guard var entry = entries[sid] else { return nil }
    entry.maximum = maximum
    if entry.delivered >= maximum {
      entries[sid] = nil
      return (nil, entry)
    }
    entries[sid] = entry
    return (maximum - entry.deliveredBefore, entry)
  }

  /// Writes SUB for all, in the order in which they were made, and UNSUB for those that have an end.
  package mutating func resubscribe(into buffer: inout ByteBuffer, where isIncluded: (Entry) -> Bool = { _ in true }) {
    for sid in entries.keys.sorted() {
      guard var entry = entries[sid], isIncluded(entry) else { continue }
      entry.deliveredBefore = entry.delivered
      entries[sid] = entry
      ProtocolEncoder.subscribe(sid: sid, subject: entry.subject, queue: entry.queue, into: &buffer)
      if let maximum = entry.maximum {
        ProtocolEncoder.unsubscribe(sid: sid, after: maximum - entry.delivered, into: &buffer)
      }
    }
  }
}
