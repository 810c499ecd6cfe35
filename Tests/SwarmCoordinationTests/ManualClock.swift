import RateBudget
import SwarmCoordination
import Synchronization

/// A clock that stands until the test moves it.
final class ManualClock: CoordinationClock {
  private struct State {
    var now = BudgetTime.zero
    var number = 0
    var sleepers: [Int: (until: BudgetTime, continuation: CheckedContinuation<Void, any Error>)] = [:]
    var cancelled: Set<Int> = []
  }

  private let state = Mutex(State())

  var now: BudgetTime { state.withLock { $0.now } }
  var wall: WallTime { WallTime(milliseconds: now.nanoseconds / 1_000_000) }

  /// Until when tasks sleep.
  var deadlines: [BudgetTime] { state.withLock { $0.sleepers.values.map(\.until).sorted() } }

  func advance(to time: BudgetTime) {
    let due = state.withLock { state in
      state.now = max(state.now, time)
      let due = state.sleepers.filter { $0.value.until <= state.now }
      for key in due.keys { state.sleepers[key] = nil }
      return due.values.map(\.continuation)
    }
    for continuation in due { continuation.resume() }
  }

  func sleep(until time: BudgetTime) async throws {
    let number = state.withLock { state in
      state.number += 1
      return state.number
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let result: Result<Void, any Error>? = state.withLock { state in
          if state.cancelled.contains(number) { return .failure(CancellationError()) }
          if time <= state.now { return .success(()) }
          state.sleepers[number] = (time, continuation)
          return nil
        }
        if let result { continuation.resume(with: result) }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        state.cancelled.insert(number)
        return state.sleepers.removeValue(forKey: number)
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
  }
}
