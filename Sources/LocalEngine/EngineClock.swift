#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The time that an engine runs by; tests bring their own.
package protocol EngineClock: Sendable {
  /// Now, on a clock that never goes back and goes on while the machine sleeps.
  var now: Duration { get }
  /// Now, as the time since 1970; it may step.
  var wall: Duration { get }
  /// Waits until `time` has come; throws `CancellationError` when the task is cancelled before.
  func sleep(until time: Duration) async throws
}

/// The machine's own clocks.
package struct SystemEngineClock: EngineClock {
  private let origin = ContinuousClock.now

  /// A clock whose origin is now.
  package init() {}

  package var now: Duration { ContinuousClock.now - origin }

  package var wall: Duration {
    var time = timespec()
    // Can't fail: the clock exists on every system and the pointer is valid.
    clock_gettime(CLOCK_REALTIME, &time)
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
  }

  package func sleep(until time: Duration) async throws {
    try await ContinuousClock().sleep(until: origin + time, tolerance: .milliseconds(1))
  }
}
