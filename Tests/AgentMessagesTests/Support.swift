import MessageFrames
import Synchronization
import Testing

@testable import AgentMessages

/// Seeded numbers.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// A value that tasks share.
final class Box<Value: Sendable>: Sendable {
  private let value: Mutex<Value>
  init(_ value: Value) { self.value = Mutex(value) }
  func withLock<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
    value.withLock { value in body(&value) }
  }
}

/// A clock that stands until a test moves it.
final class ManualClock: MessengerClock {
  private struct State {
    var now = Duration.zero
    var next = 0
    var sleepers: [Int: (until: Duration, continuation: CheckedContinuation<Void, Never>)] = [:]
  }

  private let state = Mutex(State())

  var now: Duration { state.withLock { $0.now } }
  var nextWake: Duration? { state.withLock { $0.sleepers.values.map(\.until).min() } }

  func sleep(until time: Duration) async throws {
    let number = state.withLock { state in
      state.next += 1
      return state.next
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isDone = state.withLock { state in
          guard state.now < time, !Task.isCancelled else { return true }
          state.sleepers[number] = (time, continuation)
          return false
        }
        if isDone { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.sleepers.removeValue(forKey: number) }?.continuation.resume()
    }
    try Task.checkCancellation()
  }

  func advance(to time: Duration) {
    let due = state.withLock { state in
      state.now = time
      let due = state.sleepers.filter { $0.value.until <= time }
      for key in due.keys { state.sleepers[key] = nil }
      return due.values.map(\.continuation)
    }
    for sleeper in due { sleeper.resume() }
  }
}

/// Runs messengers while `body` runs; each is listening when it begins.
///
/// Where connections break, `keepsTrying` begins a messenger again whose transport was unreachable, as a worker does.
func running<Result: Sendable>(
  _ messengers: [AgentMessenger], keepsTrying: Bool = false, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
  try await withThrowingTaskGroup(of: Result?.self) { group in
    for messenger in messengers {
      group.addTask {
        while true {
          do {
            try await messenger.run()
            return nil
          } catch MessagingError.unreachable where keepsTrying {
            try await Task.sleep(for: .milliseconds(10))
          }
        }
      }
    }
    // A messenger that can't listen ends the group with its error; whoever waits for it here is cancelled then.
    group.addTask {
      for messenger in messengers {
        while !messenger.isRunning {
          try Task.checkCancellation()
          await Task.yield()
        }
      }
      return try await body()
    }
    defer { group.cancelAll() }
    while let result = try await group.next() {
      if let result { return result }
    }
    throw MessagingError.stopped
  }
}
