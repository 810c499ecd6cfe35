package import KubernetesCore

/// Who may send now: at most so many requests in flight, urgent ones first; pure.
///
/// A class may start a request only while fewer than its ceiling are in flight in all, so that a slot is always left
/// for the classes above it: with 32 slots, writes may use 32, reads 28, status writes 20, events 12. Within a class
/// the order is that of arrival.
package struct RequestLimiterStateMachine<Waiter: Sendable>: Sendable {
  /// Bounds.
  package struct Limits: Hashable, Sendable {
    /// The most requests in flight.
    package var inFlight: Int
    /// The most events that wait; further ones are refused.
    package var waitingEvents: Int
    /// The longest that a 429 holds up status writes and events, whatever its Retry-After says.
    package var longestHold: Duration

    /// Makes bounds; `inFlight` is at least 1.
    package init(inFlight: Int = 32, waitingEvents: Int = 256, longestHold: Duration = .seconds(30)) {
      self.inFlight = max(1, inFlight)
      self.waitingEvents = waitingEvents
      self.longestHold = longestHold
    }

    /// How many requests may be in flight in all for one of `priority` to start; at least 1.
    func ceiling(for priority: APIRequest.Priority) -> Int {
      switch priority {
      case .write: inFlight
      case .read: max(1, inFlight - inFlight / 8)
      case .status: max(1, inFlight * 5 / 8)
      case .event: max(1, inFlight * 3 / 8)
      }
    }
  }

  /// What a request that wants to start does.
  package enum Decision: Equatable {
    /// Send; call `release` afterwards.
    case granted
    /// The waiter is kept and woken later.
    case wait
    /// The server asked for a pause: sleep, then ask again with the same id.
    case sleep(until: MonotonicTime)
    /// Too many events wait already: give this one up.
    case refused
  }

  private struct Queue {
    /// Ids in order of arrival; those given up meanwhile are missing in `waiters`.
    var order: [UInt64] = []
    var head = 0
    var waiters: [UInt64: Waiter] = [:]

    mutating func append(_ id: UInt64, _ waiter: Waiter) {
      order.append(id)
      waiters[id] = waiter
    }

    mutating func popFirst() -> (id: UInt64, waiter: Waiter)? {
      while head < order.count {
        let id = order[head]
        head += 1
        if head > 64, head * 2 > order.count {
          order.removeFirst(head)
          head = 0
        }
        if let waiter = waiters.removeValue(forKey: id) { return (id, waiter) }
      }
      return nil
    }

    mutating func removeAll() -> [Waiter] {
      let all = order[head...].compactMap { waiters[$0] }
      self = Queue()
      return all
    }
  }

  private let limits: Limits
  private(set) package var inFlight = 0
  private var queues: [Queue] = APIRequest.Priority.allCases.map { _ in Queue() }
  private var waitingEvents: Set<UInt64> = []
  private var heldUntil: MonotonicTime?

  /// Starts with nothing in flight.
  package init(limits: Limits) {
    self.limits = limits
  }

  /// How many requests of `priority` wait in the queue.
  package func waiting(_ priority: APIRequest.Priority) -> Int { queues[priority.rawValue].waiters.count }

  /// The request `id` wants to start.
  package mutating func acquire(
    _ id: UInt64, _ priority: APIRequest.Priority, _ waiter: Waiter, now: MonotonicTime
  ) -> Decision {
    if priority == .event, !waitingEvents.contains(id) {
      guard waitingEvents.count < limits.waitingEvents else { return .refused }
      waitingEvents.insert(id)
    }
    if let until = heldUntil, priority <= .status {
      if now < until { return .sleep(until: until) }
      heldUntil = nil
    }
    if inFlight < limits.ceiling(for: priority), !hasWaiter(atLeast: priority) {
      waitingEvents.remove(id)
      inFlight += 1
      return .granted
    }
    queues[priority.rawValue].append(id, waiter)
    return .wait
  }

  private func hasWaiter(atLeast priority: APIRequest.Priority) -> Bool {
    queues[priority.rawValue...].contains { !$0.waiters.isEmpty }
  }

  /// A request has ended; returns those that may start.
  package mutating func release() -> [Waiter] {
    inFlight -= 1
    return grants()
  }

  /// The request `id` doesn't want to start any more; returns its waiter if it was queued, and those that may start.
  package mutating func cancel(_ id: UInt64, _ priority: APIRequest.Priority) -> (own: Waiter?, granted: [Waiter]) {
    waitingEvents.remove(id)
    let own = queues[priority.rawValue].waiters.removeValue(forKey: id)
    return (own, grants())
  }

  /// The server answered 429: status writes and events pause.
  ///
  /// - Returns: the waiters of these classes, who ask again and are told how long to sleep.
  package mutating func hold(for duration: Duration, now: MonotonicTime) -> [Waiter] {
    let until = now + min(max(.zero, duration), limits.longestHold)
    heldUntil = max(heldUntil ?? until, until)
    return queues[APIRequest.Priority.status.rawValue].removeAll()
      + queues[APIRequest.Priority.event.rawValue].removeAll()
  }

  private mutating func grants() -> [Waiter] {
    var granted: [Waiter] = []
    for priority in APIRequest.Priority.allCases.reversed() {
      while inFlight < limits.ceiling(for: priority) {
        guard let first = queues[priority.rawValue].popFirst() else { break }
        waitingEvents.remove(first.id)
        inFlight += 1
        granted.append(first.waiter)
      }
    }
    return granted
  }
}
