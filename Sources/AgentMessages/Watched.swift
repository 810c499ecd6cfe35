import Synchronization

/// A value behind a lock that tasks can wait for: each until it is as it should be.
package final class Watched<Value: Sendable>: Sendable {
  private struct Waiter {
    var isDone: @Sendable (Value) -> Bool
    var continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var value: Value
    var waiters: [UInt64: Waiter] = [:]
    var next: UInt64 = 0
  }

  private let state: Mutex<State>

  /// Begins with a value.
  package init(_ value: Value) { state = Mutex(State(value: value)) }

  /// Looks at the value.
  package func read<Result: Sendable>(_ body: (Value) -> Result) -> Result { state.withLock { body($0.value) } }

  /// Changes the value, and wakes who has waited for that.
  package func change<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
    let (result, woken) = state.withLock { state in
      let result = body(&state.value)
      let done = state.waiters.filter { $0.value.isDone(state.value) }
      for number in done.keys { state.waiters[number] = nil }
      return (result, done.values.map(\.continuation))
    }
    for waiter in woken { waiter.resume() }
    return result
  }

  /// Waits until the value is as it should be; it may have changed again when this returns.
  ///
  /// Throws `CancellationError`.
  package func wait(until isDone: @escaping @Sendable (Value) -> Bool) async throws {
    let number = state.withLock { state in
      state.next += 1
      return state.next
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          guard !isDone(state.value), !Task.isCancelled else { return true }
          state.waiters[number] = Waiter(isDone: isDone, continuation: continuation)
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: number) }?.continuation.resume()
    }
    try Task.checkCancellation()
  }
}
