import Synchronization

/// Wakes all that wait whenever something has changed. A change between a look and the wait after it isn't missed: `wait` gets what
/// `count` was before the look.
final class Wakeups: Sendable {
  private struct State {
    var count: UInt64 = 0
    var waiters: [UInt64: CheckedContinuation<Void, any Error>] = [:]
    var cancelled: Set<UInt64> = []
    var nextID: UInt64 = 0
  }

  private let state = Mutex(State())

  /// How often something has changed.
  var count: UInt64 { state.withLock { $0.count } }

  /// Something has changed.
  func signal() {
    let waiters = state.withLock { state in
      state.count += 1
      defer { state.waiters = [:] }
      return state.waiters.values
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Waits until something has changed since `count`; throws `CancellationError` when the task is cancelled before.
  func wait(after count: UInt64) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let outcome = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.count != count { return .success(()) }
          state.waiters[id] = continuation
          return nil
        }
        if let outcome { continuation.resume(with: outcome) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        if state.waiters[id] == nil { state.cancelled.insert(id) }
        return state.waiters.removeValue(forKey: id)
      }
      waiter?.resume(throwing: CancellationError())
    }
    state.withLock { _ = $0.cancelled.remove(id) }
  }

  /// The same, until `deadline` at the latest; nil: without one.
  func wait(after count: UInt64, until deadline: Duration?, _ clock: any RecoveryClock) async throws {
    guard let deadline else { return try await wait(after: count) }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.wait(after: count) }
      group.addTask { try await clock.sleep(until: deadline) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
