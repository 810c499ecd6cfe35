import ArgumentParser
import ScalingDecision

/// Decisions per second on one core, beside the HPA reference, and how the cost of one grows with their number.
struct DecideCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "decide", abstract: "Decide in memory, beside the HPA reference on the same inputs.")

  @Option(help: "How often each row is measured; product and reference take turns.")
  var rounds = 9
  @Option(help: "How many decisions one measurement of ten workers makes; of a hundred, a tenth of them.")
  var decisions = 40_000

  /// The target of issue 3 for ten workers.
  private static let wantedPerSecond = 200_000.0

  func validate() throws {
    guard rounds > 0, decisions > 99 else {
      throw ValidationError("--rounds must be greater than 0, --decisions at least 100.")
    }
  }

  func run() throws {
    print("Decisions on one core; 100 objects, \(rounds) rounds, product and reference in turn:")
    var table = Table(
      "scenario", "workers", "decisions", "ns median", "min", "max", "decisions/s", "HPA ns median", "min", "max",
      "HPA/product")
    var slowest = Double.infinity
    var worstRatio = Double.infinity
    for scenario in Scenario.allCases {
      for pods in [10, 100] {
        let row = measure(scenario, pods: pods)
        if pods == 10 { slowest = min(slowest, 1e9 / row.product.median) }
        if scenario.hasReference { worstRatio = min(worstRatio, row.reference.median / row.product.median) }
        table.add(
          scenario.rawValue, "\(pods)", grouped(Int64(row.decisions)), decimal(row.product.median, 0),
          decimal(row.product.minimum, 0), decimal(row.product.maximum, 0), decimal(1e9 / row.product.median, 0),
          decimal(row.reference.median, 0), decimal(row.reference.minimum, 0), decimal(row.reference.maximum, 0),
          decimal(row.reference.median / row.product.median, 2))
      }
    }
    print(table.text)
    print(
      "slowest scenario at 10 workers: \(decimal(slowest, 0)) decisions/s (target \(decimal(Self.wantedPerSecond, 0)): "
        + "\(slowest >= Self.wantedPerSecond ? "met" : "missed")); least HPA/product: \(decimal(worstRatio, 2)) "
        + "(target 1: \(worstRatio >= 1 ? "met" : "missed"))\n")
    measureFlatness()
    try measurePasses(sharesList: false)
    try measurePasses(sharesList: true)
  }

  private func measure(
    _ scenario: Scenario, pods: Int
  ) -> (product: Samples, reference: Samples, decisions: Int) {
    let objects = 100
    var fleet = DecisionFleet(scenario, objects: objects, pods: pods)
    let passes = max(1, decisions * 10 / pods / objects)
    var (product, reference) = (Samples(), Samples())
    var sum = 0
    for round in 0...rounds {
      let ours = seconds { for _ in 0..<passes { sum &+= fleet.decideAll() } }
      let theirs = scenario.hasReference ? seconds { for _ in 0..<passes { sum &+= fleet.reconcileAll() } } : .nan
      // The first round fills windows and caches.
      guard round > 0 else { continue }
      product.add(ours * 1e9 / Double(passes * objects))
      if scenario.hasReference { reference.add(theirs * 1e9 / Double(passes * objects)) }
    }
    precondition(sum > 0, "the decisions gave no counts")
    return (product, reference, passes * objects)
  }

  /// The cost of a decision must not depend on how many objects there are.
  ///
  /// Three series, each with its sizes in turn: every object with observations of its own, made long ahead; the same with the ten
  /// observations of the smallest size, which are in the cache as one is that was just made; and the HPA reference.
  private func measureFlatness() {
    let sizes = [10, 100, 1_000, 10_000]
    print("Cost of a decision by the number of objects; 10 workers, band, \(rounds) rounds, sizes in turn:")
    var fleets = sizes.map { DecisionFleet(.band, objects: $0, pods: 10) }
    var cold = sizes.map { _ in Samples() }
    var warm = cold
    var reference = cold
    var sum = 0
    for round in 0...rounds {
      for index in sizes.indices {
        let passes = max(1, decisions / sizes[index])
        let made = Double(passes * sizes[index])
        let ahead = seconds { for _ in 0..<passes { sum &+= fleets[index].decideAll() } }
        let fresh = seconds { for _ in 0..<passes { sum &+= fleets[index].decideAll(observationsOf: sizes[0]) } }
        let theirPasses = max(1, passes / 8)
        let theirs = seconds { for _ in 0..<theirPasses { sum &+= fleets[index].reconcileAll() } }
        // The first round fills windows and caches.
        guard round > 0 else { continue }
        cold[index].add(ahead * 1e9 / made)
        warm[index].add(fresh * 1e9 / made)
        reference[index].add(theirs * 1e9 / Double(theirPasses * sizes[index]))
      }
    }
    precondition(sum > 0, "the decisions gave no counts")
    var table = Table(
      "objects", "ns, observation in cache", "to 10", "ns, made long ahead", "to 10", "HPA ns, made long ahead",
      "to 10",
      "HPA/product")
    for index in sizes.indices {
      func cells(_ samples: [Samples]) -> [String] {
        let sample = samples[index]
        return [
          "\(decimal(sample.median, 0)) (\(decimal(sample.minimum, 0))–\(decimal(sample.maximum, 0)))",
          decimal(sample.median / samples[0].median, 2),
        ]
      }
      table.add(
        [grouped(Int64(sizes[index]))] + cells(warm) + cells(cold) + cells(reference)
          + [decimal(reference[index].median / cold[index].median, 1)])
    }
    print(table.text)
    for (name, samples) in [("observation in cache", warm), ("made long ahead", cold)] {
      let worst = samples.map { abs($0.median / samples[0].median - 1) }.max() ?? 0
      print(
        "\(name): at most \(decimal(worst * 100, 0)) % from 10 objects (target 20 %: \(worst <= 0.2 ? "met" : "missed"))"
      )
    }
  }
}

extension DecideCommand {
  /// The cost of one object's part of a pass by the number of objects: the observation made from raw inputs, then decided.
  private func measurePasses(sharesList: Bool) throws {
    let sizes = [10, 100, 1_000, 10_000]
    let list = sharesList ? "one list of metrics for all" : "a list of metrics each"
    print("\nWhole pure cost of an object in a pass: metrics read, observed, decided; \(list), 10 workers, band:")
    var fleets = sizes.map { PassFleet(objects: $0, pods: 10, sharesList: sharesList) }
    var samples = sizes.map { _ in Samples() }
    var sum = 0
    for round in 0...rounds {
      for index in sizes.indices {
        let passes = max(1, decisions / 4 / sizes[index])
        let time = try seconds { for _ in 0..<passes { sum &+= try fleets[index].passAll() } }
        // The first round fills windows and caches.
        guard round > 0 else { continue }
        samples[index].add(time * 1e9 / Double(passes * sizes[index]))
      }
    }
    precondition(sum > 0, "the passes gave no counts")
    var table = Table("objects", "ns an object median", "min", "max", "to 10", "objects/s")
    for (size, sample) in zip(sizes, samples) {
      table.add(
        grouped(Int64(size)), decimal(sample.median, 0), decimal(sample.minimum, 0), decimal(sample.maximum, 0),
        decimal(sample.median / samples[0].median, 2), decimal(1e9 / sample.median, 0))
    }
    print(table.text)
    let worst = samples.map { abs($0.median / samples[0].median - 1) }.max() ?? 0
    print(
      "whole pass, \(list): at most \(decimal(worst * 100, 0)) % from 10 objects "
        + "(target 20 %: \(worst <= 0.2 ? "met" : "missed"))"
    )
  }
}

/// Makes a fixed number of decisions and nothing else: for allocation counters and profilers.
struct RepeatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repeat", abstract: "Make a fixed number of passes over some objects; for valgrind and perf.")

  @Option(help: "The scenario: \(Scenario.allCases.map(\.rawValue).joined(separator: ", ")).")
  var scenario = "band"
  @Option(help: "How many workers.")
  var workers = 10
  @Option(help: "How many objects.")
  var objects = 1
  @Option(help: "How many passes over them; each decides once for every object.")
  var iterations = 1_000
  @Flag(help: "Run the HPA reference instead of the product.")
  var reference = false
  @Flag(help: "Make each observation from raw pods and metrics before its decision; the scenario band.")
  var observe = false

  func run() throws {
    guard let scenario = Scenario(rawValue: scenario) else {
      throw ValidationError("--scenario \(scenario) is none of: \(Scenario.allCases.map(\.rawValue)).")
    }
    guard objects > 0, workers > 0 else { throw ValidationError("--objects and --workers must be greater than 0.") }
    guard scenario.hasReference || !reference else {
      throw ValidationError("the HPA has no metrics like those of --scenario \(scenario.rawValue).")
    }
    guard !observe || (scenario == .band && !reference) else {
      throw ValidationError("--observe is for --scenario band, without --reference.")
    }
    var sum = 0
    if observe {
      var fleet = PassFleet(objects: objects, pods: workers, sharesList: false)
      for _ in 0..<iterations { sum &+= try fleet.passAll() }
      print("\(iterations * objects) passes, sum of counts \(sum)")
      return
    }
    var fleet = DecisionFleet(scenario, objects: objects, pods: workers)
    for _ in 0..<iterations { sum &+= reference ? fleet.reconcileAll() : fleet.decideAll() }
    print("\(iterations * objects) decisions, sum of counts \(sum)")
  }
}
