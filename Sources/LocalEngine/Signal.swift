import Synchronization

/// A signal for one waiting task that coalesces: any number of signals before a wait let it through once.
final class Signal: Sendable {
  private struct State {
    var isSignalled = false
    var waiter: (id: UInt64, continuation: CheckedContinuation<Void, any Error>)?
    var nextID: UInt64 = 0
    var cancelled: UInt64?
  }

  private let state = Mutex(State())

  /// Wakes the waiting task, or lets the next wait through at once.
  func signal() {
    let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
      guard let waiter = state.waiter else {
        state.isSignalled = true
        return nil
      }
      state.waiter = nil
      return waiter.continuation
    }
    waiter?.resume()
  }

  /// Suspends until signalled; throws `CancellationError` when the task is cancelled before.
  func wait() async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let result = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled == id { return .failure(CancellationError()) }
          if state.isSignalled {
            state.isSignalled = false
            return .success(())
          }
          precondition(state.waiter == nil, "a signal is for one waiting task")
          state.waiter = (id, continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        guard let waiter = state.waiter, waiter.id == id else {
          state.cancelled = id
          return nil
        }
        state.waiter = nil
        return waiter.continuation
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  /// Suspends until signalled or until `deadline` on the clock; throws `CancellationError` when the task is cancelled before.
  func wait(until deadline: Duration, _ clock: any EngineClock) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.wait() }
      group.addTask { try await clock.sleep(until: deadline) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
