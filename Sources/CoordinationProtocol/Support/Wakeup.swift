package import RateBudget
import Synchronization

/// A signal for one waiting task that coalesces: any number of signals before a wait let it through once.
///
/// What the signal is about lives elsewhere; whoever wakes looks at it again.
package final class Wakeup: Sendable {
  private struct State {
    var isSignalled = false
    var waiter: (id: UInt64, continuation: CheckedContinuation<Void, any Error>)?
    var nextID: UInt64 = 0
    var cancelled: Set<UInt64> = []
  }

  private let state = Mutex(State())

  /// Makes a signal that hasn't been given.
  package init() {}

  /// Wakes the waiting task, or lets the next wait through at once.
  package func signal() {
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
  package func wait() async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    defer { state.withLock { _ = $0.cancelled.remove(id) } }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let result = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.isSignalled {
            state.isSignalled = false
            return .success(())
          }
          precondition(state.waiter == nil, "a Wakeup is for one waiting task")
          state.waiter = (id, continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        guard let waiter = state.waiter, waiter.id == id else {
          state.cancelled.insert(id)
          return nil
        }
        state.waiter = nil
        return waiter.continuation
      }
      waiter?.resume(throwing: CancellationError())
    }
  }

  /// Suspends until signalled or until `deadline`, whichever comes first; nil waits for the signal alone.
  package func wait(until deadline: BudgetTime?, _ clock: any BudgetClock) async throws {
    try await wait(until: deadline, now: clock.now) { try await clock.sleep(until: $0) }
  }

  /// The same by any clock: `sleep` suspends until an instant of the one that `now` is of.
  package func wait(
    until deadline: BudgetTime?, now: BudgetTime, _ sleep: @escaping @Sendable (BudgetTime) async throws -> Void
  ) async throws {
    guard let deadline else { return try await wait() }
    guard deadline > now else { return try Task.checkCancellation() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.wait() }
      group.addTask { try await sleep(deadline) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}
