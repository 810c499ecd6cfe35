import Synchronization

/// Something that ends once, and whoever waits for that.
package final class Ending: Sendable {
  private struct State {
    var isEnded = false
    var nextID: UInt64 = 0
    var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
  }

  private let state = Mutex(State())

  /// Makes one that hasn't come.
  package init() {}

  /// Whether it has come.
  package var isEnded: Bool { state.withLock { $0.isEnded } }

  /// Makes it come; saying it twice is harmless.
  package func end() {
    let waiters = state.withLock { state in
      defer { state.waiters = [:] }
      state.isEnded = true
      return state.waiters.values
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Waits for it, or until the task is cancelled.
  package func wait() async {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isDone = state.withLock { state in
          if state.isEnded || Task.isCancelled { return true }
          state.waiters[id] = continuation
          return false
        }
        if isDone { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
    }
  }
}
