import BudgetSimulation
import Foundation
import RateBudget
import SlowTests
import Testing

/// Closed loops against an upstream that was written independently, with the gates of the issue, each over several seeds:
///
/// - use of the binding limit at least 0.99 of the target (95 % of the limit; output 90 %), and not above it by more than
///   1 % of the limit;
/// - 429s below 0.1 % of the attempts (0.5 % where output binds);
/// - no 60 s above the limit by more than 1 %;
/// - Jain's index of two equal fleets at least 0.95;
/// - never 15 s, a lease, without an admission.
///
/// Measured from 90 s on. What the design prescribes is over then: 15 s of learning, in which a new coordinator grants a
/// twentieth of the limit, then the reserve of 2.5 s that is set aside once. For 150 s at least: a single request is up
/// to 150,000 tokens, two seconds' worth of these limits (4.5 s' worth where 20 pods share 2 M), and whether one falls
/// just before or just after the end of the window mustn't decide. Where the
/// budget can't know sizes beforehand it is 210 s.
///
/// `SWARMSCALE_BUDGET_SEEDS=40 swift test --filter SimulationTests` runs more seeds.
@Suite(.slow) struct SimulationTests {
  typealias Settings = FleetSimulation.Settings

  /// The seeds of each case: 1 and 2, or 1 to the number in the environment.
  static let seeds: [UInt64] = {
    let count = ProcessInfo.processInfo.environment["SWARMSCALE_BUDGET_SEEDS"].flatMap { UInt64($0) } ?? 2
    return Array(1...max(count, 1))
  }()

  /// A Start-tier organisation: 20 pods, small limits, so that single requests weigh much.
  private static func small() -> Settings {
    var settings = middle()
    settings.pods = 20
    settings.agentsPerPod = 10
    settings.requestLimit = 1_000
    settings.inputLimit = 2_000_000
    settings.outputLimit = 400_000
    settings.end = 330
    return settings
  }

  private static func middle() -> Settings {
    var settings = Settings()
    settings.pods = 200
    settings.agentsPerPod = 4
    settings.requestLimit = 5_000
    settings.inputLimit = 5_000_000
    settings.outputLimit = 1_000_000
    // As upstream's own estimate.
    settings.sizeError = 0.2
    settings.warmUp = 90
    settings.end = 240
    return settings
  }

  /// Holds a result to the gates. `foreign` is what others use, in parts of the limit.
  private func check(
    _ name: String, _ result: FleetSimulation.Result, isOutputBound: Bool = false, foreign: Double = 0,
    location: SourceLocation = #_sourceLocation
  ) {
    let target = isOutputBound ? 0.90 : 0.95
    let use = (isOutputBound ? result.outputUse : result.inputUse) + foreign
    let figures = [use / target, result.peak + foreign, result.fairness].map { ($0 * 10_000).rounded() / 10_000 }
    print(
      "simulation: \(name): use/target \(figures[0]), 429 share \(result.refusedShare), 60 s peak \(figures[1]),",
      "Jain \(figures[2]), longest gap \((result.gap * 10).rounded() / 10) s")
    #expect(use >= 0.99 * target, sourceLocation: location)
    #expect(use <= target + 0.01, sourceLocation: location)
    #expect(result.peak + foreign <= 1.01, sourceLocation: location)
    #expect(result.refusedShare < (isOutputBound ? 0.005 : 0.001), sourceLocation: location)
    #expect(result.fairness >= 0.95, sourceLocation: location)
    #expect(result.gap <= 15, "a lease without an admission is a standstill", sourceLocation: location)
  }

  @Test("20 pods of a small organisation use 95 % of the input limit", arguments: seeds)
  func twenty(seed: UInt64) {
    var simulation = FleetSimulation(Self.small(), seed: seed)
    check("20 pods, seed \(seed)", simulation.run())
  }

  @Test("200 pods whose bodies can't be read use 95 % of the input limit", arguments: seeds)
  func twoHundredBlind(seed: UInt64) {
    var settings = Self.middle()
    settings.sizeError = nil
    settings.end = 300
    var simulation = FleetSimulation(settings, seed: seed)
    check("200 pods, sizes unknown, seed \(seed)", simulation.run())
  }

  @Test("1,000 pods use 95 % of the input limit", arguments: seeds)
  func thousand(seed: UInt64) {
    var settings = Self.middle()
    settings.pods = 1_000
    settings.agentsPerPod = 2
    var simulation = FleetSimulation(settings, seed: seed)
    check("1,000 pods, seed \(seed)", simulation.run())
  }

  @Test("Hot pods with ten times the work, and a bucket upstream that is no deeper than ours", arguments: seeds)
  func hotAndShallow(seed: UInt64) {
    var settings = Self.middle()
    settings.depthSeconds = 5
    settings.hotFactor = 10
    var simulation = FleetSimulation(settings, seed: seed)
    check("hot, shallow, seed \(seed)", simulation.run())
  }

  @Test("Everybody wishes at the same moments, 20 s apart", arguments: seeds)
  func bursts(seed: UInt64) {
    var settings = Self.middle()
    settings.burstPeriod = 20
    var simulation = FleetSimulation(settings, seed: seed)
    check("bursts, seed \(seed)", simulation.run())
  }

  @Test(
    "A pod dies each second, its streams cut and never settled; upstream's clock is two minutes off, either way",
    arguments: seeds)
  func dyingPods(seed: UInt64) {
    var settings = Self.middle()
    settings.skew = seed.isMultiple(of: 2) ? 120 : -120
    settings.faults = (20..<235).map { (Double($0), .killPod) }
    var simulation = FleetSimulation(settings, seed: seed)
    check("dying pods, skew \(settings.skew), seed \(seed)", simulation.run())
  }

  @Test("Limits are halved, and tripled later, while everything runs", arguments: seeds)
  func limits(seed: UInt64) {
    var settings = Self.middle()
    settings.faults = [(120, .limits(0.5)), (180, .limits(3))]
    settings.agentsPerPod = 8
    // So little output that input binds even while the streams of the old limit live on.
    settings.meanOutput = 300
    var simulation = FleetSimulation(settings, seed: seed)
    check("limits changed, seed \(seed)", simulation.run())
  }

  @Test(
    "Others begin to use a fifth of the input limit: within three minutes their part is left to them", arguments: seeds)
  func foreign(seed: UInt64) {
    var settings = Self.small()
    settings.faults = [(60, .foreign(0.2))]
    settings.warmUp = 240
    settings.end = 450
    var simulation = FleetSimulation(settings, seed: seed)
    check("foreign load, seed \(seed)", simulation.run(), foreign: 0.2)
  }

  @Test("Output-bound: streams are let in by their rate: 90 % of the limit", arguments: seeds)
  func outputBound(seed: UInt64) {
    var settings = Self.middle()
    settings.meanInput = 3_000
    settings.meanOutput = 2_500
    // No deeper than ours, or a minute's worth.
    settings.depthSeconds = seed.isMultiple(of: 2) ? 60 : 5
    var simulation = FleetSimulation(settings, seed: seed)
    check(
      "output-bound, depth \(settings.depthSeconds), seed \(seed)", simulation.run(isOutputBound: true),
      isOutputBound: true)
  }

  @Test(
    "The coordinator is gone for 20 s: work goes on, nothing is overrun, and a lease after the next one all is well",
    arguments: seeds)
  func coordinatorLoss(seed: UInt64) {
    var settings = Self.middle()
    settings.faults = [(120, .loseCoordinator), (140, .newCoordinator)]
    settings.end = 350
    var simulation = FleetSimulation(settings, seed: seed)
    let result = simulation.run()
    let upstream = simulation.upstream
    func use(_ from: Int, _ to: Int) -> Double {
      (upstream.inputUse(from: from, to: to) / 0.95 * 1_000).rounded() / 1_000
    }
    print(
      "simulation: coordinator lost, seed \(seed): use/target alone \(use(120, 135)), decaying \(use(135, 140)), learning",
      "\(use(140, 155)), the 15 s after that \(use(155, 170)), all after that \(use(155, 350)); 429 share",
      "\(result.refusedShare), 60 s peak \(result.peak), Jain \(result.fairness), longest gap \(result.gap) s")
    #expect(result.peak <= 1.01)
    #expect(result.refusedShare < 0.001)
    #expect(upstream.admissions.contains { (120.0...121.0).contains($0) }, "requests flow within a second of the loss")
    #expect(result.gap <= 15)
    #expect(use(120, 135) >= 0.6, "the last share, for one lease")
    #expect(use(155, 170) >= 0.9, "one lease after the new coordinator began")
    #expect(use(155, 350) >= 0.99)
    #expect(result.fairness >= 0.95)
  }

  @Test("The same seed gives the same history, grant by grant")
  func determinism() {
    var settings = Self.small()
    settings.end = 40
    settings.warmUp = 20
    var first = FleetSimulation(settings, seed: 14)
    var second = FleetSimulation(settings, seed: 14)
    var other = FleetSimulation(settings, seed: 15)
    let trace = first.run().trace
    #expect(trace == second.run().trace)
    #expect(trace != other.run().trace)
  }
}
