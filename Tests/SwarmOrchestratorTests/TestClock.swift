import LocalEngine
import SwarmOrchestrator
import Synchronization

/// A clock that a test moves, for an engine and a fleet on it. `advance` gives everybody who is awake the time to go to sleep again.
final class TestClock: EngineClock, FleetClock {
  private struct State {
    var now = Duration.zero
    var nextID: UInt64 = 0
    var changes = 0
    var sleepers: [UInt64: (deadline: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
    var cancelled: Set<UInt64> = []
  }

  private let state = Mutex(State())

  var now: Duration { state.withLock { $0.now } }
  var wall: Duration { .seconds(1_800_000_000) + now }
  private var changes: Int { state.withLock { $0.changes } }

  func advance(by duration: Duration, step: Duration = .milliseconds(250)) async {
    let end = now + duration
    while now < end {
      let due = state.withLock { state in
        state.now = min(end, state.now + step)
        state.changes += 1
        let due = state.sleepers.filter { $0.value.deadline <= state.now }
        for id in due.keys { state.sleepers[id] = nil }
        return due.values.sorted { $0.deadline < $1.deadline }.map(\.continuation)
      }
      for continuation in due { continuation.resume() }
      await settle()
    }
  }

  /// Waits until nobody has gone to sleep for a while: with `OneAtATime` everybody has run then.
  func settle() async {
    var (seen, calm) = (changes, 0)
    while calm < 40 {
      await Task.yield()
      let now = changes
      (seen, calm) = (now, now == seen ? calm + 1 : 0)
    }
  }

  func sleep(until time: Duration) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let result = state.withLock { state -> Result<Void, any Error>? in
          state.changes += 1
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

/// The clock of one process, which can be made to stand still: it sleeps on until it is let go, while the time goes on.
final class ProcessClock: FleetClock {
  private let base: any FleetClock
  private let isStopped = Mutex(false)

  init(_ base: any FleetClock) { self.base = base }

  var now: Duration { base.now }
  func stop(_ stopped: Bool) { isStopped.withLock { $0 = stopped } }

  func sleep(until time: Duration) async throws {
    try await base.sleep(until: time)
    while isStopped.withLock({ $0 }) { try await base.sleep(until: base.now + .milliseconds(250)) }
  }
}
