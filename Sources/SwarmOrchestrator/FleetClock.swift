/// The time that pods and orchestrators run by; tests bring their own.
package protocol FleetClock: Sendable {
  /// Now, on a clock that never goes back.
  var now: Duration { get }
  /// Waits until `time` has come; throws `CancellationError` when the task is cancelled before.
  func sleep(until time: Duration) async throws
}

/// The machine's own clock, from when it was made.
package struct SystemFleetClock: FleetClock {
  private let origin = ContinuousClock.now

  /// A clock whose origin is now.
  package init() {}

  package var now: Duration { ContinuousClock.now - origin }

  package func sleep(until time: Duration) async throws {
    try await ContinuousClock().sleep(until: origin + time, tolerance: .milliseconds(1))
  }
}

extension FleetClock {
  /// What `body` gives; nil when it fails, or has given nothing by a time: who asked must go on then, whatever it still does.
  func attempt<Answer: Sendable>(
    until deadline: Duration, _ body: @escaping @Sendable () async throws -> Answer
  ) async -> Answer? {
    await withTaskGroup(of: Answer?.self) { group in
      group.addTask { try? await body() }
      group.addTask {
        try? await sleep(until: deadline)
        return nil
      }
      defer { group.cancelAll() }
      return await group.next() ?? nil
    }
  }
}
