package import MockClaude
import Synchronization

/// The server's time: the real one, or one that runs faster, stands, or has been moved forward.
///
/// It is the only place of the mock that reads a clock or sleeps.
package final class MockClock: Sendable {
  private struct State {
    var base: MockTime
    var since: ContinuousClock.Instant
    var speed: Double
  }

  /// The longest real sleep without a look at the state: a jump or a new speed takes effect within it.
  private static let slice = Duration.milliseconds(50)

  private let state: Mutex<State>

  /// A clock that shows `start` now.
  package init(start: MockTime, speed: Double = 1) {
    state = Mutex(State(base: start, since: .now, speed: max(0, speed)))
  }

  /// The wall clock's time, as a start.
  package static var wallTime: MockTime {
    let (seconds, attoseconds) = SystemTime.sinceEpoch
    return MockTime(nanoseconds: seconds * 1_000_000_000 + attoseconds)
  }

  /// What the clock shows.
  package var now: MockTime { state.withLock { Self.reading($0) } }

  private static func reading(_ state: State) -> MockTime {
    let elapsed = Double((ContinuousClock.now - state.since).wholeNanoseconds) * state.speed
    return MockTime(nanoseconds: state.base.nanoseconds + Int64(elapsed))
  }

  /// Changes the speed; 0 stops the clock.
  package func setSpeed(_ speed: Double) {
    state.withLock { $0 = State(base: Self.reading($0), since: .now, speed: max(0, speed)) }
  }

  /// Moves the clock forward to `time`; earlier times change nothing.
  package func advance(to time: MockTime) {
    state.withLock { state in
      let shown = Self.reading(state)
      state = State(base: max(shown, time), since: .now, speed: state.speed)
    }
  }

  /// Sleeps until the clock shows `time`, whatever happens to it meanwhile.
  package func sleep(until time: MockTime) async throws {
    while true {
      let (shown, speed) = state.withLock { (Self.reading($0), $0.speed) }
      guard shown < time else { return }
      let real = speed > 0 ? Double((time - shown).wholeNanoseconds) / speed : Double.infinity
      let pause = real < Double(Self.slice.wholeNanoseconds) ? Duration.nanoseconds(Int64(real) + 1) : Self.slice
      try await ContinuousClock().sleep(for: pause, tolerance: .zero)
    }
  }
}
