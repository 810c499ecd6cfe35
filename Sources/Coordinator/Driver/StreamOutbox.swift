import CoordinationProtocol
import RateBudget
import Synchronization

/// What is to be told on one stream: filled by the engine, emptied by the stream's writer, bounded.
///
/// While a write is under way what comes gathers, so that a slow reader gets few large frames. One that leaves more than
/// the bound unread loses its stream; it joins again and brings with it what it holds.
final class StreamOutbox: Sendable {
  /// How many notes may wait. A worker has at most a few thousand requests in line.
  static let limit = 16_384

  private struct State {
    var welcome: CoordinatorWelcome?
    var frame = CoordinatorFrame()
    var closed: CloseReason?
  }

  /// What the writer does next.
  enum Next {
    case welcome(CoordinatorWelcome)
    case frame(CoordinatorFrame)
    case close(CloseReason)
  }

  private let state = Mutex(State())
  private let signal = Wakeup()

  /// Adds a welcome, which goes before everything else.
  func put(_ welcome: CoordinatorWelcome) {
    state.withLock { $0.welcome = welcome }
    signal.signal()
  }

  /// Adds a note; false: it is beyond the bound, and the stream ends.
  @discardableResult
  func put(_ note: CoordinatorNote) -> Bool {
    let isFine = state.withLock { state -> Bool in
      guard state.closed == nil else { return true }
      guard state.frame.count < Self.limit else {
        state.closed = .tooSlow(pending: state.frame.count)
        return false
      }
      state.frame.add(note)
      return true
    }
    signal.signal()
    return isFine
  }

  /// Ends the stream, after what waits.
  func close(_ reason: CloseReason) {
    state.withLock { $0.closed = $0.closed ?? reason }
    signal.signal()
  }

  /// Waits for what is to be written next; throws `CancellationError` when the task is cancelled before.
  func next() async throws -> Next {
    while true {
      let next = state.withLock { state -> Next? in
        if let welcome = state.welcome {
          state.welcome = nil
          return .welcome(welcome)
        }
        if case .tooSlow = state.closed, let reason = state.closed { return .close(reason) }
        if !state.frame.isEmpty { return .frame(state.frame.takePart()) }
        return state.closed.map { .close($0) }
      }
      if let next { return next }
      try await signal.wait()
    }
  }
}

extension CoordinatorFrame {
  /// Adds a note. Of shares and leases the last one counts.
  mutating func add(_ note: CoordinatorNote) {
    switch note {
    case .grant(let grant): grants.append(grant)
    case .refusal(let refusal): refusals.append(refusal)
    case .answer(let answer): answers.append(answer)
    case .share(let group, let share):
      if let place = shares.firstIndex(where: { $0.group == group }) {
        shares[place].share = share
      } else {
        shares.append((group, share))
      }
    case .lease(let duration): lease = duration
    case .drain(let order): drains.append(order)
    case .group(let group):
      groups.removeAll {
        $0.modelGroup == group.modelGroup && $0.organization == group.organization && $0.workspace == group.workspace
      }
      groups.append(group)
    }
  }
}
