package import RateBudget

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The clocks of a driver, injected so that tests own the time.
package protocol BudgetClock: Sendable {
  /// The monotonic time now.
  var now: BudgetTime { get }
  /// The civil time now; it may step.
  var wall: WallTime { get }
  /// Suspends until `deadline` has come; throws `CancellationError` when the task is cancelled before.
  func sleep(until deadline: BudgetTime) async throws
}

/// The machine's own clocks. All of a process have the same origin, so that instants of different parts of it compare.
package struct SystemBudgetClock: BudgetClock {
  private static let origin = ContinuousClock.now

  /// Makes the clock.
  package init() {}

  package var now: BudgetTime {
    BudgetTime(nanoseconds: (ContinuousClock.now - Self.origin).wholeNanoseconds)
  }

  package var wall: WallTime {
    var now = timespec()
    // Can't fail: the clock exists on every system and the pointer is valid.
    clock_gettime(CLOCK_REALTIME, &now)
    return WallTime(milliseconds: Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000)
  }

  package func sleep(until deadline: BudgetTime) async throws {
    try await ContinuousClock().sleep(
      until: Self.origin.advanced(by: .nanoseconds(deadline.nanoseconds)), tolerance: .zero)
  }
}
