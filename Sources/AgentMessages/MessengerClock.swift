/// The time that messages run by: since an arbitrary origin, never going back. Tests bring their own.
package protocol MessengerClock: Sendable {
  /// Now.
  var now: Duration { get }
  /// Waits until `time` has come; throws when the task is cancelled.
  func sleep(until time: Duration) async throws
}

/// The machine's clock.
package struct SystemMessengerClock: MessengerClock {
  private let origin = ContinuousClock.now

  /// A clock whose origin is now.
  package init() {}

  package var now: Duration { ContinuousClock.now - origin }

  package func sleep(until time: Duration) async throws {
    try await ContinuousClock().sleep(until: origin + time, tolerance: .milliseconds(1))
  }
}
