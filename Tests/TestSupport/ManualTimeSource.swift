package import KubernetesCore
import Synchronization

/// A time source that stands still until a test moves it, with a handshake instead of sleeps.
///
/// The code under test goes to sleep; the test awaits ``waitForSleepers(count:)`` or ``nextSleep()`` and then calls
/// ``advance(by:)``, which wakes due sleepers in the order of their deadlines.
package final class ManualTimeSource: TimeSource {
  private struct Sleeper {
    var deadline: MonotonicTime
    var continuation: CheckedContinuation<Void, any Error>
  }

  private struct CountWaiter {
    var id: UInt64
    var count: Int
    var continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var wall: Timestamp
    var monotonic: MonotonicTime
    var nextID: UInt64 = 0
    var sleepers: [UInt64: Sleeper] = [:]
    var cancelled: Set<UInt64> = []
    var countWaiters: [CountWaiter] = []
    var unseenSleeps: [MonotonicTime] = []
    var sleepWaiters: [CheckedContinuation<MonotonicTime, Never>] = []

    mutating func makeID() -> UInt64 {
      nextID += 1
      return nextID
    }

    /// Takes out the waiters for a number of sleepers that is now reached.
    mutating func takeSatisfiedCountWaiters() -> [CheckedContinuation<Void, Never>] {
      let satisfied = countWaiters.filter { $0.count <= sleepers.count }
      countWaiters.removeAll { $0.count <= sleepers.count }
      return satisfied.map(\.continuation)
    }
  }

  private let state: Mutex<State>

  /// Makes a source; the wall clock begins at 2026-01-01T00:00:00Z unless told otherwise, the monotonic one at zero.
  package init(wall: Timestamp = Timestamp(secondsSinceEpoch: 1_767_225_600)) {
    state = Mutex(State(wall: wall, monotonic: MonotonicTime(sinceOrigin: .zero)))
  }

  package var wallNow: Timestamp { state.withLock { $0.wall } }

  package var monotonicNow: MonotonicTime { state.withLock { $0.monotonic } }

  package func sleep(until deadline: MonotonicTime) async throws {
    let id = state.withLock { $0.makeID() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        self.register(id: id, deadline: deadline, continuation: continuation)
      }
    } onCancel: {
      let sleeper = state.withLock { state -> Sleeper? in
        if let sleeper = state.sleepers.removeValue(forKey: id) { return sleeper }
        state.cancelled.insert(id)
        return nil
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
  }

  private enum Registration {
    case cancelled
    case due
    case asleep([CheckedContinuation<Void, Never>], CheckedContinuation<MonotonicTime, Never>?)
  }

  private func register(id: UInt64, deadline: MonotonicTime, continuation: CheckedContinuation<Void, any Error>) {
    let registration = state.withLock { state -> Registration in
      if state.cancelled.remove(id) != nil { return .cancelled }
      if deadline <= state.monotonic { return .due }
      state.sleepers[id] = Sleeper(deadline: deadline, continuation: continuation)
      var sleepWaiter: CheckedContinuation<MonotonicTime, Never>?
      if state.sleepWaiters.isEmpty {
        state.unseenSleeps.append(deadline)
      } else {
        sleepWaiter = state.sleepWaiters.removeFirst()
      }
      return .asleep(state.takeSatisfiedCountWaiters(), sleepWaiter)
    }
    switch registration {
    case .cancelled: continuation.resume(throwing: CancellationError())
    case .due: continuation.resume()
    case .asleep(let countWaiters, let sleepWaiter):
      for waiter in countWaiters { waiter.resume() }
      sleepWaiter?.resume(returning: deadline)
    }
  }

  /// The deadlines of the tasks that sleep now, earliest first.
  package var sleepingUntil: [MonotonicTime] {
    state.withLock { $0.sleepers.values.map(\.deadline).sorted() }
  }

  /// Moves both clocks by `duration` and wakes due sleepers, the earliest first; each sees the time of its deadline.
  ///
  /// A sleeper runs after this returns; await its next sleep, request or result before looking at its effects.
  package func advance(by duration: Duration) {
    precondition(duration >= .zero, "time doesn't go back; use stepWall(by:) for the wall clock")
    let target = monotonicNow + duration
    while true {
      let due = state.withLock { state -> Sleeper? in
        let next = state.sleepers.filter { $0.value.deadline <= target }
          .min { ($0.value.deadline, $0.key) < ($1.value.deadline, $1.key) }
        guard let next else {
          state.wall = state.wall + (target - state.monotonic)
          state.monotonic = target
          return nil
        }
        if next.value.deadline > state.monotonic {
          state.wall = state.wall + (next.value.deadline - state.monotonic)
          state.monotonic = next.value.deadline
        }
        return state.sleepers.removeValue(forKey: next.key)
      }
      guard let due else { return }
      due.continuation.resume()
    }
  }

  /// Moves to the deadline of the earliest sleeper and wakes it; returns false when nobody sleeps.
  @discardableResult
  package func advanceToNextSleeper() -> Bool {
    guard let deadline = sleepingUntil.first else { return false }
    advance(by: max(.zero, deadline - monotonicNow))
    return true
  }

  /// Steps the wall clock alone, as an administrator or a wild NTP server would.
  package func stepWall(by duration: Duration) {
    state.withLock { $0.wall = $0.wall + duration }
  }

  /// Suspends until at least `count` tasks sleep at the same time.
  package func waitForSleepers(count: Int) async {
    await withCheckedContinuation { continuation in
      let satisfied = state.withLock { state -> Bool in
        if state.sleepers.count >= count { return true }
        let id = state.makeID()
        state.countWaiters.append(CountWaiter(id: id, count: count, continuation: continuation))
        return false
      }
      if satisfied { continuation.resume() }
    }
  }

  /// Suspends until a task goes to sleep and gives its deadline; each sleep is given once, in order.
  @discardableResult
  package func nextSleep() async -> MonotonicTime {
    await withCheckedContinuation { continuation in
      let deadline = state.withLock { state -> MonotonicTime? in
        if !state.unseenSleeps.isEmpty { return state.unseenSleeps.removeFirst() }
        state.sleepWaiters.append(continuation)
        return nil
      }
      if let deadline { continuation.resume(returning: deadline) }
    }
  }

  /// Suspends until a task sleeps until exactly `deadline`, passing over sleeps seen meanwhile.
  package func waitForSleep(until deadline: MonotonicTime) async {
    if sleepingUntil.contains(deadline) { return }
    while await nextSleep() != deadline {}
  }
}
