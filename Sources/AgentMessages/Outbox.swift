import MessageFrames

/// A message on its way out.
struct OutgoingMessage: Sendable {
  var message: FramedMessage
  /// The number of the call that it opens: it fails when the message can't be delivered.
  var call: UInt64?
  /// Who waits for it to be taken.
  var admission: UInt64?
}

/// What waits to be written to one place: critical messages in writes of their own, so that they don't wait for what is
/// under way.
struct Outbox: Sendable {
  /// The two writes that may be under way at a time.
  enum Channel: Int, Hashable, Sendable, CaseIterable {
    case critical
    case ordinary

    init(_ lane: MessageLane) { self = lane == .critical ? .critical : .ordinary }
  }

  /// What came of adding.
  struct Change: Sendable {
    /// Writes that are to begin: `takeBatch` has their messages.
    var writes: [Channel] = []
    /// Who needn't wait any more.
    var admitted: [UInt64] = []
  }

  private var batchers: [Batcher<OutgoingMessage>]
  /// What waits for room in its lane.
  private var blocked = LaneQueue<OutgoingMessage>()
  /// Numbers of calls and of waiting ones whose messages aren't to be written any more.
  private var forgotten: Set<UInt64> = []
  /// When each of them is to be looked at again.
  private var due: [Duration?] = [nil, nil]

  init(_ configuration: Batcher<OutgoingMessage>.Configuration) {
    batchers = [Batcher(configuration), Batcher(configuration)]
  }

  /// Whether nothing waits and nothing is under way.
  var isIdle: Bool { batchers.allSatisfy(\.isIdle) && blocked.isEmpty }

  /// Messages that wait for room.
  var blockedCount: Int { blocked.count }

  /// When `look` has something to do.
  var nextDue: Duration? {
    switch (due[0], due[1]) {
    case (let first?, let second?): min(first, second)
    case (let first, let second): first ?? second
    }
  }

  mutating func add(_ message: OutgoingMessage, now: Duration) -> Change {
    let lane = message.message.lane
    blocked.append(message, lane: lane)
    var change = Change()
    admit(lane, now, &change)
    return change
  }

  /// The messages of a write that has begun.
  mutating func takeBatch(_ channel: Channel, now: Duration) -> (messages: [OutgoingMessage], change: Change) {
    let messages = batchers[channel.rawValue].takeBatch()
    var change = Change()
    for lane in MessageLane.allCases where Channel(lane) == channel { admit(lane, now, &change) }
    return (messages, change)
  }

  mutating func written(_ channel: Channel, now: Duration) -> Change {
    var change = Change()
    apply(batchers[channel.rawValue].written(now: now), channel, &change)
    return change
  }

  mutating func look(now: Duration) -> Change {
    var change = Change()
    for channel in Channel.allCases where (due[channel.rawValue] ?? .seconds(Int64.max)) <= now {
      apply(batchers[channel.rawValue].look(now: now), channel, &change)
    }
    return change
  }

  /// Has the message of a call or of who waited for it to be taken not written any more, if it waits for room.
  mutating func forget(_ number: UInt64) {
    if blockedCount > 0 { forgotten.insert(number) }
  }

  private mutating func admit(_ lane: MessageLane, _ now: Duration, _ change: inout Change) {
    let channel = Channel(lane)
    while let next = blocked.first(of: lane) {
      let isForgotten = [next.call, next.admission].contains { $0.map(forgotten.contains) ?? false }
      let bytes = next.message.payload.count
      guard isForgotten || batchers[channel.rawValue].hasRoom(for: bytes, lane: lane),
        let message = blocked.popFirst(of: lane)
      else { break }
      guard !isForgotten else { continue }
      if let admission = message.admission { change.admitted.append(admission) }
      switch batchers[channel.rawValue].add(message, bytes: bytes, lane: lane, now: now) {
      case .refused: return assertionFailure("there was room")
      case .taken(let action): apply(action, channel, &change)
      }
    }
    if blocked.isEmpty { forgotten.removeAll() }
  }

  private mutating func apply(
    _ action: Batcher<OutgoingMessage>.Action, _ channel: Channel, _ change: inout Change
  ) {
    switch action {
    case .wait: due[channel.rawValue] = nil
    case .waitUntil(let time): due[channel.rawValue] = time
    case .write:
      due[channel.rawValue] = nil
      change.writes.append(channel)
    }
  }
}
