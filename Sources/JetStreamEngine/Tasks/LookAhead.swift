import NATSClient
import TaskQueue

/// Tokens of one lane that an engine has taken in advance, handed out by turns of their fairness keys.
///
/// The server gives tokens in the order of their submission, so fairness reaches as far as this looks ahead: a key whose tasks lie deeper waits for its place.
struct LookAhead: Sendable {
  /// How many tokens are taken in advance at most: each is with one engine for as long as `QueueHandle.longestHold`.
  static let depth = 32
  /// Nothing is taken in advance of a lane in which fewer wait: others may have room for it now.
  static let leastBacklog = 4 * depth

  private var lane = FairLane()
  private var tokens: [UInt64: JetStreamMessage] = [:]
  /// Whether tasks have fairness keys here; without any there is nothing to take turns.
  private var hasKeys = false
  /// What the server said last that waits behind.
  private var behind: UInt64 = 0

  var count: Int { tokens.count }

  mutating func push(_ batch: [JetStreamMessage]) {
    for token in batch {
      // What isn't a task of this engine is handed out like one without a key: whoever claims it puts it away.
      let record = StoredRecord(token.headers)
      let (key, number) = (record?.fairnessKey ?? "", token.metadata.streamSequence)
      if !key.isEmpty { hasKeys = true }
      lane.push(
        .init(
          number: number, cost: NewTask.fairnessCost(record?.cost, payloadBytes: record?.payloadBytes ?? 0),
          submitted: record?.submitted ?? .zero), key: key)
      tokens[number] = token
      behind = token.metadata.pending
    }
  }

  /// How many more to fetch before `count` are handed out.
  func missing(for count: Int) -> Int {
    let depth = hasKeys && behind >= Self.leastBacklog ? Self.depth : 0
    return max(0, count + depth - tokens.count)
  }

  /// Up to `count` tokens, whose turn it is.
  mutating func pop(_ count: Int) -> [JetStreamMessage] {
    var popped: [JetStreamMessage] = []
    while popped.count < count, let next = lane.pop() {
      if let token = tokens.removeValue(forKey: next.number) { popped.append(token) }
    }
    return popped
  }

  /// All that is left, in the order of the stream.
  mutating func clear() -> [JetStreamMessage] {
    let left = tokens.sorted { $0.key < $1.key }.map(\.value)
    self = LookAhead()
    return left
  }
}
