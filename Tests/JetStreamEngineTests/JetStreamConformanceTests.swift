import EngineConformance
import NATSTestSupport
import Testing

/// Each with a real nats-server of its own; one after the other, since two cores don't keep time for more.
@Suite("JetStream engine", .serialized, .enabled(if: hasNATSServer), .timeLimit(.minutes(5)))
enum JetStreamEngineTests {
  @Suite struct Conformance {
    @Test("The engine on JetStream does what engines do", arguments: ConformanceCase.all(with: [.restart, .outage]))
    func conformance(_ one: ConformanceCase) async throws {
      try await one.check(try await JetStreamHarness())
    }
  }
}
