import NATSClient
import NIOCore
import Synchronization
import TaskQueue

/// The tokens that claims of this engine hold, until their end or that of their leases.
final class HeldTokens: Sendable {
  struct Held: Sendable {
    var token: JetStreamMessage
    var record: StoredRecord
    /// The record's revision.
    var revision: UInt64
    var payload: [UInt8]
    var deadline: NIODeadline
  }

  private let client: NATSClient
  private let held = Mutex<[TaskTicket: Held]>([:])

  init(_ client: NATSClient) { self.client = client }

  var count: Int { held.withLock { $0.count } }

  subscript(ticket: TaskTicket) -> Held? { held.withLock { $0[ticket] } }

  func insert(_ ticket: TaskTicket, _ item: Held) {
    held.withLock { $0[ticket] = item }
    watch(ticket, until: item.deadline)
  }

  /// The record was changed; a lease may have got another end.
  func update(_ ticket: TaskTicket, _ record: StoredRecord, revision: UInt64, deadline: NIODeadline?) {
    let isEarlier = held.withLock { held in
      guard let old = held[ticket], old.revision < revision else { return false }
      held[ticket]?.record = record
      held[ticket]?.revision = revision
      guard let deadline else { return false }
      held[ticket]?.deadline = deadline
      return deadline < old.deadline
    }
    if isEarlier, let deadline { watch(ticket, until: deadline) }
  }

  func remove(_ ticket: TaskTicket) -> Held? { held.withLock { $0.removeValue(forKey: ticket) } }

  /// A timer for each claim: renewals don't touch it, it looks again when the old end has come.
  private func watch(_ ticket: TaskTicket, until deadline: NIODeadline) {
    client.eventLoop.scheduleTask(deadline: deadline) {
      let (ended, next) = self.held.withLock { held -> (Held?, NIODeadline?) in
        guard let item = held[ticket] else { return (nil, nil) }
        if item.deadline > self.client.eventLoop.now { return (nil, item.deadline) }
        return (held.removeValue(forKey: ticket), nil)
      }
      // The lease is over: the server would notice after its own wait only.
      try? ended?.token.nak()
      if let next { self.watch(ticket, until: next) }
    }
  }

  /// Tells the server that all are still held. All leave in one write.
  func keepAlive() {
    for item in held.withLock({ Array($0.values) }) { try? item.token.inProgress() }
  }

  /// Hands back all: the engine ends.
  func releaseAll() {
    let all = held.withLock { held in
      defer { held = [:] }
      return held.values.map(\.token)
    }
    for token in all { try? token.nak() }
  }
}
