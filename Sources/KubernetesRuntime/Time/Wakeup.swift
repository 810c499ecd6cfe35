package import KubernetesCore
import Synchronization

/// A signal for one waiting task that coalesces: any number of signals before a wait let it through once.
///
/// The state that the signal is about lives elsewhere; whoever wakes looks at it again.
package final class Wakeup: Sendable {
  private struct State {
    var isSignalled = false
    var waiter: (id: UInt64, continuation: CheckedContinuation<Void, any Error>)?
    var nextID: UInt64 = 0
    var cancelled: Set<UInt64> = []
  }

  private let state = Mutex(State())

  /// Makes an unsignalled wakeup.
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
    state.withLock { _ = $0.cancelled.remove(id) }
  }

  /// Suspends until signalled or until `deadline`, whichever comes first; nil waits for the signal alone.
  package func wait(until deadline: MonotonicTime?, _ time: any TimeSource) async throws {
    guard let deadline else { return try await wait() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.wait() }
      group.addTask { try await time.sleep(until: deadline) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }
}

/// Runs `operation` until `deadline`: nil when the time ran out first, after the operation was cancelled and has ended.
///
/// An operation that ignores cancellation delays the return; the transports don't.
package func withDeadline<Value: Sendable>(
  _ deadline: MonotonicTime, _ time: any TimeSource, _ operation: @escaping @Sendable () async throws -> Value
) async throws -> Value? {
  try await withThrowingTaskGroup(of: Value?.self) { group in
    group.addTask { try await operation() }
    group.addTask {
      try await time.sleep(until: deadline)
      return nil
    }
    defer { group.cancelAll() }
    return try await group.next() ?? nil
  }
}
