import RateBudget
import Testing

/// Closed loops against an upstream that was written independently: what the issue calls the use of the binding limit.
@Suite struct SimulationTests {
  @Test("Input-bound: a thousand pods use 95 % of the limit, nothing is refused, fleets are equal", arguments: [1, 2] as [UInt64])
  func inputBound(seed: UInt64) {
    var simulation = FleetSimulation(.init(), seed: seed)
    let result = simulation.run()
    print("simulation: input-bound seed \(seed): \(result)")
    #expect(result.inputShare >= 0.99 * 0.95)
    #expect(result.inputShare <= 0.96)
    #expect(result.refused == 0)
    #expect(result.fairness >= 0.95)
  }

  @Test("Input-bound, with a shallow bucket upstream and hot pods")
  func shallow() {
    var settings = FleetSimulation.Settings()
    settings.depthSeconds = 5
    settings.hotFactor = 10
    var simulation = FleetSimulation(settings, seed: 3)
    let result = simulation.run()
    print("simulation: shallow, hot: \(result)")
    #expect(result.inputShare >= 0.99 * 0.95)
    #expect(Double(result.refused) / Double(result.admitted) < 0.001)
    #expect(result.fairness >= 0.95)
  }

  @Test("Output-bound: streams are let in by their rate: 90 % of the limit, next to nothing refused", arguments: [5.0, 60.0])
  func outputBound(depth: Double) {
    var settings = FleetSimulation.Settings()
    settings.meanInput = 3_000
    settings.meanOutput = 2_500
    settings.depthSeconds = depth
    settings.warmUp = 120
    settings.end = 300
    var simulation = FleetSimulation(settings, seed: 4)
    let result = simulation.run()
    print("simulation: output-bound depth \(depth): \(result)")
    #expect(result.outputShare >= 0.99 * 0.90)
    #expect(result.outputShare <= 0.92)
    #expect(Double(result.refused) / Double(result.admitted) < 0.005)
    #expect(result.fairness >= 0.95)
  }

  @Test("The same seed gives the same history, grant by grant")
  func determinism() {
    var settings = FleetSimulation.Settings()
    settings.pods = 100
    settings.end = 70
    var first = FleetSimulation(settings, seed: 9)
    var second = FleetSimulation(settings, seed: 9)
    var other = FleetSimulation(settings, seed: 10)
    let trace = first.run().trace
    #expect(trace == second.run().trace)
    #expect(trace != other.run().trace)
  }
}
