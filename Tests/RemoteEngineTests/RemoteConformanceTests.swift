import EngineConformance
import Testing

// The limit is for waits that never end: it names the case. Each takes milliseconds.
@Suite(.timeLimit(.minutes(10))) struct RemoteConformanceTests {
  @Test(
    "An engine behind its server does what engines do", arguments: ConformanceCase.all(with: RemoteHarness.all))
  func conformance(_ one: ConformanceCase) async throws {
    try await one.check(RemoteHarness())
  }
}
