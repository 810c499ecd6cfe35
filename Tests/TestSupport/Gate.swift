import Synchronization

/// A gate that tasks wait at until a test opens it; once open it stays open.
package final class Gate: Sendable {
  private struct State {
    var isOpen = false
    var nextID: UInt64 = 0
    var waiters: [UInt64: CheckedContinuation<Void, any Error>] = [:]
    var cancelled: Set<UInt64> = []
  }

  private let state = Mutex(State())

  /// Makes a closed gate.
  package init() {}

  /// Whether the gate has been opened.
  package var isOpen: Bool { state.withLock { $0.isOpen } }

  /// Opens the gate and lets all waiters through.
  package func open() {
    let waiters = state.withLock { state in
      state.isOpen = true
      let waiters = state.waiters.sorted { $0.key < $1.key }.map(\.value)
      state.waiters = [:]
      return waiters
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Suspends until the gate is open; throws `CancellationError` when the task is cancelled before.
  package func wait() async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let result = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.isOpen { return .success(()) }
          state.waiters[id] = continuation
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        if let waiter = state.waiters.removeValue(forKey: id) { return waiter }
        state.cancelled.insert(id)
        return nil
      }
      waiter?.resume(throwing: CancellationError())
    }
  }
}

/// Values that arrive one by one and that a test awaits in order, in place of polling.
package final class Inbox<Element: Sendable>: Sendable {
  private struct State {
    var values: [Element] = []
    var all: [Element] = []
    var waiters: [CheckedContinuation<Element, Never>] = []
  }

  private let state = Mutex(State())

  /// Makes an empty inbox.
  package init() {}

  /// Puts a value in.
  package func put(_ value: Element) {
    let waiter = state.withLock { state -> CheckedContinuation<Element, Never>? in
      state.all.append(value)
      if state.waiters.isEmpty {
        state.values.append(value)
        return nil
      }
      return state.waiters.removeFirst()
    }
    waiter?.resume(returning: value)
  }

  /// Every value ever put in, in order.
  package var all: [Element] { state.withLock { $0.all } }

  /// The values that nobody has taken yet.
  package var pending: [Element] { state.withLock { $0.values } }

  /// Takes the next value, waiting for it.
  package func next() async -> Element {
    await withCheckedContinuation { continuation in
      let value = state.withLock { state -> Element? in
        if !state.values.isEmpty { return state.values.removeFirst() }
        state.waiters.append(continuation)
        return nil
      }
      if let value { continuation.resume(returning: value) }
    }
  }

  /// Takes the next `count` values, waiting for them.
  package func next(_ count: Int) async -> [Element] {
    var values: [Element] = []
    for _ in 0..<count { values.append(await next()) }
    return values
  }
}
