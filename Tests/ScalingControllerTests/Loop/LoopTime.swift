import KubernetesCore
import Synchronization

/// Virtual time for one task: a sleep moves it to its end at once.
///
/// The pauses between repeated requests then take their time in the decision's eyes, and none in the test's.
final class LoopTime: TimeSource {
  /// When loops begin: 2026-06-01T06:00:00Z, a Monday; Berlin is two hours ahead.
  static let start = Timestamp(secondsSinceEpoch: 1_780_293_600)

  private let elapsed = Mutex(Duration.zero)

  var wallNow: Timestamp { Self.start + elapsed.withLock { $0 } }

  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: elapsed.withLock { $0 }) }

  func sleep(until deadline: MonotonicTime) async throws { advance(to: deadline.sinceOrigin) }

  /// Moves to `moment` after the start, if that isn't past.
  func advance(to moment: Duration) { elapsed.withLock { $0 = max($0, moment) } }
}
