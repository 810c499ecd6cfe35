import NIOCore
import Synchronization

/// What happens to messages that come faster than they are taken.
package enum SlowConsumerPolicy: Sendable, Hashable {
  /// The newest message is dropped and counted (`NATSSubscription.dropped`): the connection goes on, as with the core protocol's own promise of at most once.
  case dropNewest
  /// The oldest message is dropped and counted: for states of which only the newest matters.
  case dropOldest
  /// The subscription ends with `slowConsumer`.
  case end
  /// Nothing more is read from the connection until half of the buffer is taken: nothing is lost here, but all other subscriptions and
  /// requests of this client wait too, and a server that can't get rid of its own buffer cuts the connection in the end.
  case pauseConnection
}

/// The bound of a subscription's buffer.
package struct SubscriptionLimits: Sendable, Hashable {
  package var messages: Int
  package var bytes: Int
  package var policy: SlowConsumerPolicy

  package init(messages: Int = 65536, bytes: Int = 64 * 1024 * 1024, policy: SlowConsumerPolicy = .dropNewest) {
    self.messages = messages
    self.bytes = bytes
    self.policy = policy
  }
}

/// Between the event loop that delivers and the task that takes: a bounded queue with one lock.
final class SubscriptionQueue: Sendable {
  private typealias Waiter = (id: UInt64, continuation: CheckedContinuation<Bool, Never>)

  enum Delivery { case accepted, pause, tooSlow }

  private struct State {
    var messages: [NATSMessage] = []
    var head = 0
    var bytes = 0
    var dropped = 0
    /// The connection that this queue pauses; a later one has to be paused anew.
    var pausedLink: Int?
    var isFinished = false
    var failure: NATSError?
    var waiters: [Waiter] = []
    var nextWaiter: UInt64 = 0
    var resume: (@Sendable () -> Void)?

    var count: Int { messages.count - head }

    mutating func popFirst() -> NATSMessage? {
      guard head < messages.count else { return nil }
      let message = messages[head]
      head += 1
      bytes -= message.size
      if head == messages.count {
        messages.removeAll(keepingCapacity: head <= 4096)
        head = 0
      } else if head >= 1024 && head * 2 >= messages.count {
        messages.removeFirst(head)
        head = 0
      }
      return message
    }
  }

  let limits: SubscriptionLimits
  /// Whether a mark is put between messages of different connections: for consumers of streams, whose pulls end with a connection.
  let marksReconnects: Bool
  private let state = Mutex(State())

  init(_ limits: SubscriptionLimits, marksReconnects: Bool = false) {
    self.limits = limits
    self.marksReconnects = marksReconnects
  }

  var dropped: Int { state.withLock { $0.dropped } }

  /// Called on the event loop. `resume` is called once when a queue that asked for a pause has room again.
  func deliver(_ messages: ArraySlice<NATSMessage>, from link: Int, resume: @escaping @Sendable () -> Void) -> Delivery
  {
    let (delivery, waiters) = state.withLock { state -> (Delivery, [Waiter]) in
      if state.isFinished { return (.accepted, []) }
      var delivery = Delivery.accepted
      for message in messages {
        let size = message.size
        if state.count >= limits.messages || state.bytes + size > limits.bytes {
          switch limits.policy {
          case .dropNewest:
            state.dropped += 1
            continue
          case .dropOldest:
            while state.count > 0, state.count >= limits.messages || state.bytes + size > limits.bytes {
              _ = state.popFirst()
              state.dropped += 1
            }
          case .end:
            delivery = .tooSlow
          case .pauseConnection:
            // What was read already is kept: one read's worth beyond the bound.
            if state.pausedLink != link {
              state.pausedLink = link
              state.resume = resume
              delivery = .pause
            }
          }
        }
        if delivery == .tooSlow { break }
        state.messages.append(message)
        state.bytes += size
      }
      let waiters = state.count > 0 ? state.waiters : []
      if !waiters.isEmpty { state.waiters = [] }
      return (delivery, waiters)
    }
    for waiter in waiters { waiter.continuation.resume(returning: true) }
    return delivery
  }

  func finish(_ failure: NATSError? = nil) {
    let (waiters, resume) = state.withLock { state -> ([Waiter], (@Sendable () -> Void)?) in
      guard !state.isFinished else { return ([], nil) }
      state.isFinished = true
      state.failure = failure
      defer {
        state.waiters = []
        state.resume = nil
      }
      return (state.waiters, state.resume)
    }
    for waiter in waiters { waiter.continuation.resume(returning: true) }
    resume?()
  }

  /// Up to so many messages at once; empty at the end, or when the task is cancelled. Waits while there are none.
  func next(max: Int) async throws -> [NATSMessage] { try await next(max: max, until: nil) ?? [] }

  /// As above; nil when the moment has come first.
  func next(max: Int, until deadline: NIODeadline, on eventLoop: any EventLoop) async throws -> [NATSMessage]? {
    // Most calls find messages and need no timer.
    let there = takeAvailable(max: max)
    if !there.isEmpty { return there }
    let late = Late()
    let timer = eventLoop.scheduleTask(deadline: deadline) {
      late.set()
      self.wake()
    }
    defer { timer.cancel() }
    return try await next(max: max, until: late)
  }

  /// Whether a timer has fired.
  private final class Late: Sendable {
    private let value = Mutex(false)
    func set() { value.withLock { $0 = true } }
    var isSet: Bool { value.withLock { $0 } }
  }

  private func wake() {
    let waiters = state.withLock { state in
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume(returning: false) }
  }

  private func next(max: Int, until late: Late?) async throws -> [NATSMessage]? {
    while true {
      let taken = takeAvailable(max: max)
      if !taken.isEmpty { return taken }
      let (isEmpty, isFinished, failure) = state.withLock { ($0.count == 0, $0.isFinished, $0.failure) }
      if !isEmpty { continue }
      if isFinished {
        if let failure { throw failure }
        return []
      }
      if Task.isCancelled { return [] }
      if late?.isSet ?? false { return nil }
      await wait(late)
    }
  }

  /// What is there, without waiting.
  func takeAvailable(max: Int) -> [NATSMessage] {
    let (taken, resume) = state.withLock { state in
      var taken: [NATSMessage] = []
      taken.reserveCapacity(min(max, state.count))
      while taken.count < max, let message = state.popFirst() { taken.append(message) }
      var resume: (@Sendable () -> Void)?
      if state.pausedLink != nil, state.count * 2 <= limits.messages, state.bytes * 2 <= limits.bytes {
        state.pausedLink = nil
        resume = state.resume
        state.resume = nil
      }
      return (taken, resume)
    }
    resume?()
    return taken
  }

  private func wait(_ late: Late?) async {
    let id = state.withLock { state in
      state.nextWaiter += 1
      return state.nextWaiter
    }
    _ = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isReady = state.withLock { state in
          if state.count > 0 || state.isFinished || Task.isCancelled || late?.isSet ?? false { return true }
          state.waiters.append((id, continuation))
          return false
        }
        if isReady { continuation.resume(returning: true) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) }
      }
      waiter?.continuation.resume(returning: false)
    }
  }
}
