import Synchronization

/// Wakes one waiting task; a signal that comes while nobody waits is kept for the next wait.
final class Wakeup: Sendable {
  private struct State {
    var isSet = false
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  /// Wakes the waiting task, or the next one that waits.
  func signal() {
    let waiter = state.withLock { state in
      state.isSet = state.waiter == nil
      return state.waiter.take()
    }
    waiter?.resume()
  }

  /// Waits for the signal, until a time at most.
  ///
  /// - Throws: `CancellationError`.
  func wait(until deadline: Duration?, _ clock: any AgentClock) async throws {
    guard let deadline else { return try await wait() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.wait() }
      group.addTask { try await clock.sleep(until: deadline) }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func wait() async throws {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isDone = state.withLock { state in
          if state.isSet || Task.isCancelled {
            state.isSet = false
            return true
          }
          state.waiter = continuation
          return false
        }
        if isDone { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { $0.waiter.take() }
      waiter?.resume()
    }
    try Task.checkCancellation()
  }
}
