import CoordinationEngine
import LocalEngine
import PayloadCompression
import Synchronization
import TaskQueue
import TaskRecovery
import Testing

/// Time that a test moves.
final class ManualClock: EngineClock, RecoveryClock {
  private struct State {
    var now = Duration.seconds(1_000)
    var isEager = false
    var sleepers: [UInt64: (until: Duration, continuation: CheckedContinuation<Void, any Error>)] = [:]
    var cancelled: Set<UInt64> = []
    var nextID: UInt64 = 0
    var watchers: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())

  var now: Duration { state.withLock { $0.now } }
  var wall: Duration { now }

  /// From now on whoever sleeps finds that it is time.
  func run() {
    state.withLock { $0.isEager = true }
    advance(.seconds(5))
  }

  func sleep(until time: Duration) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        let (outcome, watchers) = state.withLock {
          state -> (Result<Void, any Error>?, [CheckedContinuation<Void, Never>]) in
          if state.cancelled.remove(id) != nil { return (.failure(CancellationError()), []) }
          if state.isEager { state.now = max(state.now, time) }
          if state.now >= time { return (.success(()), []) }
          state.sleepers[id] = (time, continuation)
          defer { state.watchers = [] }
          return (nil, state.watchers)
        }
        if let outcome { continuation.resume(with: outcome) }
        for watcher in watchers { watcher.resume() }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        if state.sleepers[id] == nil { state.cancelled.insert(id) }
        return state.sleepers.removeValue(forKey: id)
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
  }

  /// Waits until somebody sleeps.
  func untilAsleep() async {
    await withCheckedContinuation { continuation in
      let isAsleep = state.withLock { state in
        if !state.sleepers.isEmpty { return true }
        state.watchers.append(continuation)
        return false
      }
      if isAsleep { continuation.resume() }
    }
  }

  func advance(_ time: Duration) {
    let due = state.withLock { state in
      state.now += time
      let due = state.sleepers.filter { $0.value.until <= state.now }
      for id in due.keys { state.sleepers[id] = nil }
      return due.values.map(\.continuation)
    }
    for continuation in due { continuation.resume() }
  }
}

/// An engine in memory with one task, and claims of it one after another.
struct Bench {
  let clock = ManualClock()
  let engine: LocalEngine
  let codec = PayloadCodec()

  init() async throws {
    engine = LocalEngine(clock: clock)
    _ = try await engine.tasks.submit([NewTask(payload: [1], attempts: 100)], to: "reviews.eu")
  }

  /// Claims the task, after its last lease has run out.
  func claim() async throws -> ClaimedTask {
    clock.advance(.seconds(31))
    let claimed = try await engine.tasks.claim(
      ClaimRequest(queue: "reviews.eu", worker: "w", lease: .seconds(30)), wait: .zero)
    return try #require(claimed.first)
  }

  func progress(_ task: ClaimedTask, through engine: (any CoordinationEngine)? = nil) -> TaskProgress {
    TaskProgress(
      ticket: task.ticket, head: task.checkpoint, engine: engine ?? self.engine, codec: codec, clock: clock)
  }
}

/// Counts calls by name, and remembers their keys.
final class Calls: Sendable {
  private let state = Mutex<[(name: String, key: String, isRepeat: Bool)]>([])

  var names: [String] { state.withLock { $0.map(\.name) } }
  var keys: [String] { state.withLock { $0.map(\.key) } }
  var repeats: [Bool] { state.withLock { $0.map(\.isRepeat) } }

  func made(_ name: String, _ call: TaskProgress.Call) -> [UInt8] {
    state.withLock { $0.append((name, call.idempotencyKey, call.isRepeat)) }
    return Array("answer to \(name)".utf8)
  }
}

struct Broken: Error {}

extension TaskProgress {
  /// A step whose call is counted.
  @discardableResult
  func take(_ name: String, _ calls: Calls) async throws -> String {
    String(
      decoding: try await step(name, request: Array(name.utf8)) { calls.made(name, $0) }, as: UTF8.self)
  }
}
