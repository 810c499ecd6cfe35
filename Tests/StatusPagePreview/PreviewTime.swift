import KubernetesCore
import Synchronization

/// The system's clocks, but the civil time can be set back, so that a past can be told before the present begins.
final class PreviewTime: TimeSource {
  private let clock = ContinuousClock()
  private let origin: ContinuousClock.Instant
  private let began: Timestamp
  private let shift = Mutex(Duration.zero)

  init(startingAt began: Timestamp) {
    self.began = began
    origin = clock.now
  }

  var wallNow: Timestamp { began + (clock.now - origin) + shift.withLock { $0 } }
  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: clock.now - origin) }

  /// Sets the civil time to `duration` from now; negative: into the past.
  func set(ahead duration: Duration) { shift.withLock { $0 = duration } }

  func sleep(until deadline: MonotonicTime) async throws {
    try await clock.sleep(until: origin + deadline.sinceOrigin)
  }
}

/// A small generator with a seed: the same past each time.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
