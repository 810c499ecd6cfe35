import TestSupport
import Testing

@Suite("Scale-downs in virtual time")
struct DrainTests {
  @Test("No work is lost", arguments: [UInt64(0)])
  func nothingLost(seed: UInt64) async throws {
    let outcome = try await Simulation(.drawn(seed: seed)).run()
    print(seed, outcome)
    #expect(outcome.tally.hit == [])
  }
}
