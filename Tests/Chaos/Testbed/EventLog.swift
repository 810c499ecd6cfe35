import Foundation
import Synchronization

/// Lines of what this process has done, in a file that is only ever added to: the test's own truth, beside the engine's.
///
/// Each line is written by one call, without a buffer: `kill -9` loses none that was said. A line begins with the time since 1970, in seconds.
final class EventLog: Sendable {
  private let file: FileHandle

  init(_ path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    guard descriptor >= 0 else { throw Failure("can't write \(path): errno \(errno)") }
    file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  func add(_ fields: String) throws {
    try file.write(contentsOf: Data("\(Date().timeIntervalSince1970) \(fields)\n".utf8))
  }
}

/// That this process is to end; what waits for it is woken.
final class StopSignal: Sendable {
  private let state = Mutex((isSet: false, actions: [@Sendable () -> Void]()))

  var isSet: Bool { state.withLock { $0.isSet } }

  func set() {
    let actions = state.withLock { state in
      state.isSet = true
      defer { state.actions = [] }
      return state.actions
    }
    for action in actions { action() }
  }

  /// Does something when it is set; at once where it is.
  func whenSet(_ action: @escaping @Sendable () -> Void) {
    let isSet = state.withLock { state in
      if !state.isSet { state.actions.append(action) }
      return state.isSet
    }
    if isSet { action() }
  }
}

/// Agents of a worker that have nothing to do.
final class Slots: Sendable {
  private struct State {
    var free: Int
    var isEnded = false
    var waiter: CheckedContinuation<Int, Never>?
  }

  private let state: Mutex<State>

  init(_ count: Int) { state = Mutex(State(free: count)) }

  /// The number of free slots, once there is one; 0: no more are wanted. For one caller at a time.
  func free() async -> Int {
    await withCheckedContinuation { continuation in
      let free = state.withLock { state -> Int? in
        if state.isEnded { return 0 }
        if state.free > 0 { return state.free }
        state.waiter = continuation
        return nil
      }
      if let free { continuation.resume(returning: free) }
    }
  }

  func take(_ count: Int) { state.withLock { $0.free -= count } }

  func give() {
    let (waiter, free) = state.withLock { state in
      state.free += 1
      defer { state.waiter = nil }
      return (state.waiter, state.free)
    }
    waiter?.resume(returning: free)
  }

  func end() {
    let waiter = state.withLock { state in
      state.isEnded = true
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(returning: 0)
  }
}
