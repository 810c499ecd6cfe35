/// Gathers messages for one write while the write before is under way, so that load makes batches and idleness makes no delay.
///
/// A message that finds nothing under way is written at once, with what else has come until that is done. What comes during a
/// write goes with the next one, which begins when that one has ended. Lanes whose messages can wait may be given a *linger*:
/// then they are written at most that often, unless enough has gathered, or a message of another lane takes them along. One
/// write at a time keeps the order within a lane.
///
/// Pure: time is `now`, on any clock that never goes back.
package struct Batcher<Item> {
  /// When a batch is full, and how much may wait.
  package struct Configuration: Hashable, Sendable {
    /// Messages of a batch.
    package var messages: Int
    /// Bytes of a batch; a single message may be larger.
    package var bytes: Int
    /// Messages of a lane that may wait. Each lane has its own bound, so that none takes another's room.
    package var waitingMessages: Int
    /// Bytes of a lane that may wait; a message that finds none of its lane waiting is taken however large it is.
    package var waitingBytes: Int
    private var lingers: [Duration]

    /// 512 messages and 256 KiB a batch (a quarter of what NATS takes), 2,048 messages and 1 MiB that may wait in each lane.
    /// `linger`: of bulk.
    package init(
      messages: Int = 512, bytes: Int = 256 << 10, waitingMessages: Int = 2_048, waitingBytes: Int = 1 << 20,
      linger: Duration = .zero
    ) {
      self.messages = max(1, messages)
      self.bytes = max(1, bytes)
      self.waitingMessages = max(1, waitingMessages)
      self.waitingBytes = max(1, waitingBytes)
      lingers = [.zero, .zero, .zero, max(.zero, linger)]
    }

    /// How long after a write the messages of a lane may be held to share the next; 0: not at all.
    package subscript(linger lane: MessageLane) -> Duration {
      get { lingers[Int(lane.rawValue)] }
      set { lingers[Int(lane.rawValue)] = lane == .critical ? .zero : max(.zero, newValue) }
    }
  }

  /// What is to be done now.
  package enum Action: Hashable, Sendable {
    /// Nothing: a write is under way, or nothing waits.
    case wait
    /// Look again at this time (`look`).
    case waitUntil(Duration)
    /// Begin a write: ask for its messages by `takeBatch` when they are about to be written, and call `written` after that.
    case write
  }

  /// What becomes of a message.
  package enum Addition: Hashable {
    /// It is taken; this is to be done.
    case taken(Action)
    /// So much waits that it isn't taken: add it again when `hasRoom` after a write.
    case refused
  }

  private enum Phase {
    /// Exits: `begun`.
    case idle
    /// A write was asked for. Exits: `writing` by `takeBatch`.
    case begun
    /// Exits: `idle` by `written`, or `begun` right away.
    case writing
  }

  /// The configuration.
  package let configuration: Configuration
  private var queue = LaneQueue<(item: Item, bytes: Int)>()
  private var phase = Phase.idle
  private var lastWrite: Duration?
  private var bytesByLane = [Int](repeating: 0, count: MessageLane.allCases.count)
  /// Writes and messages so far.
  package private(set) var writes = 0
  package private(set) var messages = 0

  /// A batcher with nothing in it.
  package init(_ configuration: Configuration = Configuration()) {
    self.configuration = configuration
  }

  /// Messages that wait.
  package var waiting: Int { queue.count }

  /// Whether nothing waits and nothing is under way.
  package var isIdle: Bool { queue.isEmpty && phase == .idle }

  /// Bytes that wait.
  package var waitingBytes: Int { bytesByLane.reduce(0, +) }

  /// Whether a message of `bytes` bytes would be taken.
  package func hasRoom(for bytes: Int, lane: MessageLane) -> Bool {
    let count = queue.count(of: lane)
    return count == 0
      || (count < configuration.waitingMessages
        && bytesByLane[Int(lane.rawValue)] + bytes <= configuration.waitingBytes)
  }

  /// Adds a message.
  package mutating func add(_ item: Item, bytes: Int, lane: MessageLane, now: Duration) -> Addition {
    guard hasRoom(for: bytes, lane: lane) else { return .refused }
    queue.append((item, bytes), lane: lane)
    bytesByLane[Int(lane.rawValue)] += bytes
    return .taken(look(now: now))
  }

  /// Notes that the write has ended, well or not.
  package mutating func written(now: Duration) -> Action {
    phase = .idle
    return look(now: now)
  }

  /// Looks whether a write is due.
  package mutating func look(now: Duration) -> Action {
    guard phase == .idle, !queue.isEmpty else { return .wait }
    let due = due
    if due > now, queue.count < configuration.messages, waitingBytes < configuration.bytes { return .waitUntil(due) }
    phase = .begun
    lastWrite = now
    writes += 1
    return .write
  }

  /// When the next write is due by the lingers of what waits.
  private var due: Duration {
    guard let lastWrite else { return .zero }
    let linger =
      MessageLane.allCases.filter { queue.count(of: $0) > 0 }
      .map { configuration[linger: $0] }.min() ?? .zero
    return linger == .zero ? .zero : lastWrite + linger
  }

  /// The messages of the write that has begun, in the order in which they go. What came since it began goes with it.
  package mutating func takeBatch() -> [Item] {
    precondition(phase == .begun, "a batch belongs to a write that has begun")
    phase = .writing
    var batch: [Item] = []
    var bytes = 0
    while batch.count < configuration.messages, let next = queue.first,
      batch.isEmpty || bytes + next.bytes <= configuration.bytes, let (taken, lane) = queue.popFirst()
    {
      bytes += taken.bytes
      bytesByLane[Int(lane.rawValue)] -= taken.bytes
      batch.append(taken.item)
    }
    messages += batch.count
    return batch
  }
}

extension Batcher: Sendable where Item: Sendable {}
extension Batcher.Addition: Sendable {}
