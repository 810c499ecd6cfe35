import LocalEngine
import Synchronization

/// A clock that stands still until a test moves it.
package final class ManualEngineClock: EngineClock {
  private struct State {
    var now: Duration
    var wall: Duration
    var nextID: UInt64 = 0
    var sleepers: [UInt64: (deadline: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
    var cancelled: Set<UInt64> = []
  }

  private let state: Mutex<State>

  /// A clock at an origin of its own; the time of day is `wall` since 1970.
  package init(now: Duration = .zero, wall: Duration = .seconds(1_767_225_600)) {
    state = Mutex(State(now: now, wall: wall))
  }

  package var now: Duration { state.withLock { $0.now } }
  package var wall: Duration { state.withLock { $0.wall } }

  /// Moves both clocks, and wakes who is due.
  package func advance(by duration: Duration) {
    let due = state.withLock { state in
      state.now += duration
      state.wall += duration
      let due = state.sleepers.filter { $0.value.deadline <= state.now }
      for id in due.keys { state.sleepers[id] = nil }
      return due.values.sorted { $0.deadline < $1.deadline }.map(\.continuation)
    }
    for continuation in due { continuation.resume() }
  }

  /// Steps the time of day alone, as an administrator would.
  package func stepWall(by duration: Duration) {
    state.withLock { $0.wall += duration }
  }

  package func sleep(until time: Duration) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let result = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.now >= time { return .success(()) }
          state.sleepers[id] = (time, continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let continuation = state.withLock { state -> CheckedContinuation<Void, any Error>? in
        guard let sleeper = state.sleepers.removeValue(forKey: id) else {
          state.cancelled.insert(id)
          return nil
        }
        return sleeper.continuation
      }
      continuation?.resume(throwing: CancellationError())
    }
  }
}
