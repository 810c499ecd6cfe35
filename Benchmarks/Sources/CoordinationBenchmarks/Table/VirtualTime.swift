import Foundation
import LocalEngine
import Synchronization
import TaskRecovery

/// Time that goes on when nobody has anything to do: all that a body starts runs on one thread, one after the other, and a minute takes no longer than the
/// work in it. The same seed gives the same run.
final class VirtualTime: EngineClock, RecoveryClock, TaskExecutor {
  private struct State {
    var now = Duration.seconds(1_000)
    var jobs: [UnownedJob] = []
    var sleepers: [UInt64: (until: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
    var cancelled: Set<UInt64> = []
    var nextID: UInt64 = 0
  }

  private final class Box<Value: Sendable>: Sendable {
    let value = Mutex<Result<Value, any Error>?>(nil)
  }

  private let state = Mutex(State())

  /// Runs `body` in a time of its own. What it starts must end with it, and may use no other threads.
  static func run<Value: Sendable>(
    _ body: @escaping @Sendable (VirtualTime) async throws -> Value
  ) async throws -> Value {
    let time = VirtualTime()
    return try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: time.drive(body)) }
    }
  }

  private func drive<Value: Sendable>(
    _ body: @escaping @Sendable (VirtualTime) async throws -> Value
  ) -> Result<Value, any Error> {
    let box = Box<Value>()
    // Owned: run here until it ends.
    Task(executorPreference: self) {
      let result: Result<Value, any Error>
      do { result = .success(try await body(self)) } catch { result = .failure(error) }
      box.value.withLock { $0 = result }
    }
    while true {
      let jobs = state.withLock { state in
        defer { state.jobs = [] }
        return state.jobs
      }
      for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
      if !jobs.isEmpty { continue }
      if let result = box.value.withLock({ $0 }) { return result }
      guard advance() else { return .failure(Unmeasurable(description: "everybody waits, and nothing will come")) }
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.withLock { $0.jobs.append(job) }
  }

  /// Wakes whoever is due first; false when nobody sleeps.
  private func advance() -> Bool {
    let due = state.withLock { state -> [CheckedContinuation<Void, any Error>] in
      guard let next = state.sleepers.values.lazy.map(\.until).min() else { return [] }
      state.now = max(state.now, next)
      // In the order in which they came: which of two that are due at once is first must not depend on a hash.
      let ids = state.sleepers.filter { $0.value.until <= state.now }.keys.sorted()
      return ids.compactMap { state.sleepers.removeValue(forKey: $0)?.continuation }
    }
    for continuation in due { continuation.resume() }
    return !due.isEmpty
  }

  var now: Duration { state.withLock { $0.now } }
  var wall: Duration { now }

  func sleep(for time: Duration) async throws { try await sleep(until: now + time) }

  func sleep(until time: Duration) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let outcome = state.withLock { state -> Result<Void, any Error>? in
          if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
          if state.now >= time { return .success(()) }
          state.sleepers[id] = (time, continuation)
          return nil
        }
        if let outcome { continuation.resume(with: outcome) }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        if state.sleepers[id] == nil { state.cancelled.insert(id) }
        return state.sleepers.removeValue(forKey: id)
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
    state.withLock { _ = $0.cancelled.remove(id) }
  }
}
