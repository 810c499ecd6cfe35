import BudgetSimulation

/// A job's steps and what they wait for: what no number of agents makes faster.
struct JobGraph: Sendable {
  /// Steps that must come before each step, by its number; all are lower.
  private(set) var before: [[Int]] = []

  /// A review of many files: a plan, for each file three steps one after the other, then a summary of two.
  static func review(files: Int) -> JobGraph {
    var graph = JobGraph()
    graph.before.append([])
    var ends: [Int] = []
    for _ in 0..<files {
      for step in 0..<3 { graph.before.append([step == 0 ? 0 : graph.before.count - 1]) }
      ends.append(graph.before.count - 1)
    }
    graph.before.append(ends)
    graph.before.append([graph.before.count - 1])
    return graph
  }

  /// Rounds that so many agents need, all steps as long as each other: each round takes the first steps that may begin.
  func rounds(agents: Int) -> Int {
    var done = [Bool](repeating: false, count: before.count)
    var left = Array(before.indices)
    var rounds = 0
    while !left.isEmpty {
      var begun: [Int] = []
      left.removeAll { step in
        guard begun.count < agents, before[step].allSatisfy({ done[$0] }) else { return false }
        begun.append(step)
        return true
      }
      for step in begun { done[step] = true }
      rounds += 1
    }
    return rounds
  }

  /// Useful time of all the time that so many agents have: E_graph.
  func efficiency(agents: Int) -> Double { Double(before.count) / Double(agents * rounds(agents: agents)) }
}

/// Speed-up = agents × E_coord × E_budget × E_graph: three reasons why agents stand still, of which only the first is the library's.
///
/// E_coord is rows 1 to 4. E_budget is the part of their time in which agents don't wait for the API's limit, simulated (`BudgetSimulation`) with agents that
/// call 6,000 tokens in and 900 out and think for 10 s in between. E_graph is what a job's own order allows.
struct SpeedUpRows: PromiseSource {
  /// They belong to the promises of efficiency.
  var promises: [Int] { [28] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let files = 400
    let graph = JobGraph.review(files: files)
    for agents in context.isQuick ? [10, 100] : [10, 100, 1_000, 5_000] {
      let coordination = report.rows.last { row in
        row.promise <= 4 && row.figures["baseline_efficiency"] != nil && row.what.contains(", \(agents) agents")
      }?.figures["efficiency"]
      var settings = FleetSimulation.Settings()
      settings.pods = max(1, agents / 10)
      settings.agentsPerPod = agents / settings.pods
      settings.fleets = 1
      settings.sizeError = 0.2
      settings.requestLimit = 1_000
      settings.inputLimit = 2_000_000
      settings.outputLimit = 400_000
      settings.warmUp = 90
      settings.end = context.isQuick ? 120 : 240
      var fleet = FleetSimulation(settings, seed: context.seed)
      let budget = fleet.run().unblocked
      let order = graph.efficiency(agents: agents)
      let all = Double(agents) * (coordination ?? 1) * budget * order
      var row = ReportRow(
        id: "28s", what: "speed-up of \(agents) agents: agents × E_coord × E_budget × E_graph",
        baseline: "one agent: 1", seed: "20–50× at 50 to 100 and more",
        measured:
          "\(all.text(0))×: E_coord \(coordination.map { ($0 * 100).text(1) + " %" } ?? "not measured"), E_budget "
          + "\((budget * 100).text(1)) % (2 M tokens in a minute), E_graph \((order * 100).text(1)) % (a review of \(files) files)",
        verdict: .shown)
      row.figures = ["speed_up": all, "e_budget": budget, "e_graph": order]
      report.add(row)
    }
  }
}
