import CoordinationEngine
import EngineConformance
import LocalEngine
import Testing

/// The engine in memory, with a clock that is moved by hand.
private struct MemoryHarness: EngineHarness {
  let clock = ManualEngineClock()
  let local: LocalEngine
  private let running: Task<Void, any Error>

  init() {
    let engine = LocalEngine(clock: clock)
    local = engine
    running = Task { try await engine.run() }
  }

  var abilities: Set<EngineAbility> { [.manualTime] }
  var engine: any CoordinationEngine { local }

  func pass(_ duration: Duration) { clock.advance(by: duration) }

  func stop() async {
    await local.close()
    running.cancel()
    _ = await running.result
  }
}

// The limit is for waits that never end: it names the case. Each takes milliseconds.
@Suite(.timeLimit(.minutes(10))) struct MemoryConformanceTests {
  @Test("The engine in memory does what engines do", arguments: ConformanceCase.all(with: [.manualTime]))
  func conformance(_ one: ConformanceCase) async throws {
    try await one.check(MemoryHarness())
  }
}
