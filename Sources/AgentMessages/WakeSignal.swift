import Synchronization

/// Wakes one waiting task; a signal that comes while nobody waits is kept for the next wait.
package final class WakeSignal: Sendable {
  private struct State {
    var isSet = false
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  /// A signal that isn't set.
  package init() {}

  /// Wakes the waiting task, or the next one that waits.
  package func set() {
    let waiter = state.withLock { state in
      state.isSet = state.waiter == nil
      return state.waiter.take()
    }
    waiter?.resume()
  }

  /// Waits for the signal, or until the task is cancelled.
  package func wait() async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isDone = state.withLock { state in
          if state.isSet {
            state.isSet = false
            return true
          }
          state.waiter = continuation
          return false
        }
        if isDone { continuation.resume() }
      }
    } onCancel: {
      set()
    }
  }
}
