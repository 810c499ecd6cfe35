package import RateBudget

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The time that the library runs by; tests bring their own.
package protocol CoordinationClock: Sendable {
  /// Now, on a clock that never goes back.
  var now: BudgetTime { get }
  /// Now, as the time of day.
  var wall: WallTime { get }
  /// Waits until `time` has come; throws when the task is cancelled.
  func sleep(until time: BudgetTime) async throws
}

/// The machine's own clocks: the only place of the library that reads one or sleeps.
package struct SystemClock: CoordinationClock {
  private let origin = ContinuousClock.now

  /// A clock whose origin is now.
  package init() {}

  package var now: BudgetTime {
    BudgetTime(nanoseconds: (ContinuousClock.now - origin).wholeNanoseconds)
  }

  package var wall: WallTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
  }

  package func sleep(until time: BudgetTime) async throws {
    try await ContinuousClock().sleep(
      until: origin + .nanoseconds(time.nanoseconds), tolerance: .milliseconds(1))
  }
}
