import NIOCore
import Synchronization

/// Wakes the one task that runs a client: for an event, or at a moment.
final class Attention: Sendable {
  private struct State {
    var isSignaled = false
    var waiter: CheckedContinuation<Void, Never>?
  }

  private let state = Mutex(State())

  func signal() {
    let waiter = state.withLock { state in
      guard let waiter = state.waiter else {
        state.isSignaled = true
        return nil as CheckedContinuation<Void, Never>?
      }
      state.waiter = nil
      return waiter
    }
    waiter?.resume()
  }

  /// Returns at once where something was signaled since the last wait.
  func wait(until deadline: NIODeadline?, on eventLoop: any EventLoop) async {
    let timer = deadline.map { eventLoop.scheduleTask(deadline: $0) { self.signal() } }
    await withCheckedContinuation { continuation in
      let isSignaled = state.withLock { state in
        if state.isSignaled {
          state.isSignaled = false
          return true
        }
        state.waiter = continuation
        return false
      }
      if isSignaled { continuation.resume() }
    }
    timer?.cancel()
  }
}
