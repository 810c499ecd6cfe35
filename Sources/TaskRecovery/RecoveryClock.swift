/// The time that recovery runs by; tests bring their own.
package protocol RecoveryClock: Sendable {
  /// Now, on a clock that never goes back.
  var now: Duration { get }
  /// Waits until `time` has come; throws `CancellationError` when the task is cancelled before.
  func sleep(until time: Duration) async throws
}

/// The machine's own clock.
package struct SystemRecoveryClock: RecoveryClock {
  private let origin = ContinuousClock.now

  /// A clock whose origin is now.
  package init() {}

  package var now: Duration { ContinuousClock.now - origin }

  package func sleep(until time: Duration) async throws {
    try await ContinuousClock().sleep(until: origin + time, tolerance: .milliseconds(1))
  }
}
