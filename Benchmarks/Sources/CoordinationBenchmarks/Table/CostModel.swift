/// Gunther's universal scalability law, X(N) = λN ÷ (1 + σ(N − 1) + κN(N − 1)): σ is what waits in one line, κ what talks to everybody.
struct ScalabilityLaw: Sendable {
  /// Tasks a second of one agent.
  var lambda: Double
  var sigma: Double
  var kappa: Double

  /// Fits σ and κ by least squares of λN ÷ X − 1 in units of itself plus one, so that errors count in parts of X; neither falls below 0.
  init(lambda: Double, points: [(agents: Int, rate: Double)]) {
    self.lambda = lambda
    (sigma, kappa) = (0, 0)
    let rows = points.map { point -> (a: Double, b: Double, y: Double) in
      let n = Double(point.agents)
      let load = lambda * n / point.rate
      return ((n - 1) / load, n * (n - 1) / load, (load - 1) / load)
    }
    let (aa, ab, bb) = rows.reduce((0.0, 0.0, 0.0)) { ($0.0 + $1.a * $1.a, $0.1 + $1.a * $1.b, $0.2 + $1.b * $1.b) }
    let (ay, by) = rows.reduce((0.0, 0.0)) { ($0.0 + $1.a * $1.y, $0.1 + $1.b * $1.y) }
    let determinant = aa * bb - ab * ab
    if determinant > 0 {
      sigma = (ay * bb - by * ab) / determinant
      kappa = (by * aa - ay * ab) / determinant
    }
    if sigma < 0 { (sigma, kappa) = (0, bb > 0 ? max(0, by / bb) : 0) }
    if kappa < 0 { (sigma, kappa) = (aa > 0 ? max(0, ay / aa) : 0, 0) }
  }

  func rate(_ agents: Int) -> Double {
    let n = Double(agents)
    return lambda * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))
  }
}

/// What a useful task costs: pods, engine, tokens.
///
/// The prices are examples, in dollars, to be replaced by one's own: a virtual CPU with 4 GB for an hour at 0.05 (order of list prices of large providers);
/// 3 and 15 for a million tokens in and out (list price of Claude Sonnet 4.5).
struct CostModel: Sendable {
  var podHour = 0.05
  /// Three servers of two CPUs.
  var engineHour = 0.30
  var input = 3e-6
  var output = 15e-6
  /// A step of the fleets that the budget is simulated with (Tests/RateBudgetTests).
  var tokensIn = 6_000.0
  var tokensOut = 900.0

  /// Dollars for a task at a rate; `machines` without tokens.
  func task(agents: Int, rate: Double) -> (all: Double, machines: Double) {
    let pods = Double((agents + FleetRun.podAgents - 1) / FleetRun.podAgents)
    let machines = (pods * podHour + engineHour) / 3_600 / rate
    return (machines + tokensIn * input + tokensOut * output, machines)
  }

  /// Fits the law to the fleets that were measured, and asks it about sizes that it hasn't seen.
  static func measure(
    _ context: TableContext, _ scale: [(agents: Int, result: FleetRows.Sample)], into report: inout Report,
    sample: (Int) async throws -> FleetRows.Sample
  ) async throws {
    var known = scale.map { ($0.agents, $0.result.middle(\.rate)) }
    if known.isEmpty {
      for agents in [10, 200, 1_000] { known.append((agents, try await sample(agents).middle(\.rate))) }
    }
    let one = try await sample(1).middle(\.rate)
    let law = ScalabilityLaw(lambda: one, points: known.map { (agents: $0.0, rate: $0.1) })
    let model = CostModel()
    var worst = 0.0
    var texts: [String] = []
    for agents in context.isQuick ? [500] : [50, 500, 2_500] {
      let rate = try await sample(agents).middle(\.rate)
      let (said, was) = (model.task(agents: agents, rate: law.rate(agents)), model.task(agents: agents, rate: rate))
      // Tokens cost the same on both sides: only machines can be wrong.
      worst = max(worst, abs(said.machines / was.machines - 1))
      texts.append(
        "\(agents): \((1 / was.all).text(1)) tasks/$, machines \((was.machines * 1e6).text(2)) µ$ (said \((said.machines * 1e6).text(2)))"
      )
    }
    let promise = Promise.all[27]
    var row = ReportRow(
      id: "28",
      what: "useful tasks a dollar (tasks of 500 ms, 6,000 tokens in and 900 out), sizes that the fit hasn't seen",
      baseline: "one agent: \((1 / model.task(agents: 1, rate: one).all).text(1)) tasks/$", seed: promise.seed,
      target: promise.target,
      measured:
        "σ = \(scientific(law.sigma)), κ = \(scientific(law.kappa)); \(texts.joined(separator: "; ")); machines off by "
        + "\((worst * 100).text(1)) % at most",
      verdict: Verdict(seed: true, target: worst <= 0.10))
    row.figures = ["sigma": law.sigma, "kappa": law.kappa, "worst_error": worst]
    if worst > 0.10 {
      row.why =
        "the law knows queues and talk, not the point at which two cores are used up: above it rates fall at once"
    }
    report.add(row)
  }

  private static func scientific(_ value: Double) -> String {
    guard value > 0 else { return "0" }
    var (mantissa, power) = (value, 0)
    while mantissa < 1 { (mantissa, power) = (mantissa * 10, power - 1) }
    return "\(mantissa.text(1))e\(power)"
  }
}
