import NIOCore

/// Keeps a consumer's pulls topped up, as a value: what is on order, what a status takes back from it, when silence is suspicious.
package struct PullMachine: Sendable {
  package enum Event: Sendable, Equatable {
    /// A message of this many bytes.
    case message(bytes: Int)
    case status(NATSStatus, pendingMessages: Int?, pendingBytes: Int?)
    /// A new connection: what was on order on the old one is gone.
    case reconnected
    /// Neither message nor heartbeat for twice the heartbeat.
    case silence
  }

  package enum Outcome: Sendable, Equatable {
    case none
    /// The consumer can't be pulled from for the moment: no leader, no connection to it. Try again after a moment.
    case unavailable
    /// The consumer is gone, or refuses: pulling on makes no sense.
    case failed(NATSStatus)
  }

  /// One request for messages.
  package struct Pull: Sendable, Equatable {
    package var messages: Int
    package var bytes: Int?
  }

  private let batch: Int
  private let maximumBytes: Int?
  private(set) var ordered = 0
  private(set) var orderedBytes = 0

  package init(batch: Int, maximumBytes: Int? = nil) {
    self.batch = max(1, batch)
    self.maximumBytes = maximumBytes
  }

  /// What to order now: up to a full batch once half of it has come, so that the next one is on its way while the first is worked off.
  package mutating func next() -> Pull? {
    let isLow = ordered * 2 <= batch || (maximumBytes.map { orderedBytes * 2 <= $0 } ?? false)
    guard isLow, ordered < batch else { return nil }
    let pull = Pull(messages: batch - ordered, bytes: maximumBytes.map { max(1, $0 - orderedBytes) })
    ordered = batch
    if let maximumBytes { orderedBytes = maximumBytes }
    return pull
  }

  package mutating func handle(_ event: Event) -> Outcome {
    switch event {
    case .message(let bytes):
      ordered = max(0, ordered - 1)
      orderedBytes = max(0, orderedBytes - bytes)
    case .reconnected, .silence: forget()
    case .status(let status, let messages, let bytes):
      switch status.code {
      case NATSStatus.idle: break
      case NATSStatus.noMessages, NATSStatus.requestTimeout: takeBack(messages, bytes)
      case NATSStatus.conflict:
        let text = status.description.lowercased()
        if text.contains("consumer deleted") || text.contains("push based") || text.contains("exceeded maxrequest")
          || text.contains("exceeded max")
        {
          return .failed(status)
        }
        // Leadership change, server shutdown: none of what was ordered will come. "Message size exceeds maxbytes", "batch completed" name the rest.
        if messages != nil { takeBack(messages, bytes) } else { forget() }
        if text.contains("leadership") || text.contains("shutdown") { return .unavailable }
      case NATSStatus.pinMismatch:
        forget()
      case NATSStatus.noResponders:
        forget()
        return .unavailable
      default: return .failed(status)
      }
    }
    return .none
  }

  private mutating func takeBack(_ messages: Int?, _ bytes: Int?) {
    guard let messages else { return forget() }
    ordered = max(0, ordered - messages)
    orderedBytes = max(0, orderedBytes - (bytes ?? 0))
  }

  private mutating func forget() {
    ordered = 0
    orderedBytes = 0
  }
}
