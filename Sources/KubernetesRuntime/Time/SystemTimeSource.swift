package import KubernetesCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The machine's own clocks: `CLOCK_REALTIME`, and a monotonic clock that goes on while the machine sleeps.
///
/// Leases expire while a laptop or a paused virtual machine sleeps, so its monotonic time must not stop there:
/// `ContinuousClock` is `CLOCK_BOOTTIME` on Linux.
package struct SystemTimeSource: TimeSource {
  private let clock = ContinuousClock()
  private let origin: ContinuousClock.Instant

  /// Makes a source whose monotonic time begins now.
  package init() {
    origin = clock.now
  }

  package var wallNow: Timestamp {
    var now = timespec()
    // Can't fail: the clock exists on every system and the pointer is valid.
    clock_gettime(CLOCK_REALTIME, &now)
    return Timestamp(secondsSinceEpoch: Int64(now.tv_sec)) + .nanoseconds(Int64(now.tv_nsec))
  }

  package var monotonicNow: MonotonicTime {
    MonotonicTime(sinceOrigin: origin.duration(to: clock.now))
  }

  package func sleep(until deadline: MonotonicTime) async throws {
    try await clock.sleep(until: origin.advanced(by: deadline.sinceOrigin), tolerance: nil)
  }
}
