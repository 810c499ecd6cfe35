import CoordinationEngine

/// E_coord over numbers of agents and lengths of tasks (1–4), what coordination costs (19), and whether a model of three numbers says it too (28).
struct FleetRows: PromiseSource {
  var promises: [Int] { [1, 2, 3, 4, 19, 28] }

  /// A length of tasks, and what is promised for it.
  private struct Goal {
    var task: Duration
    /// E_coord; nil: nothing is promised at this length.
    var target: Double?
  }

  private struct Case {
    var promise: Int
    var agents: Int
    var cells = 1
    /// The upper end of what the seed claims.
    var seed: Double
    var goals: [Goal]
  }

  private static let cases = [
    Case(
      promise: 1, agents: 10, seed: 0.99,
      goals: [
        Goal(task: .milliseconds(200), target: 0.994), Goal(task: .milliseconds(500)),
        Goal(task: .seconds(2), target: 0.999),
      ]),
    Case(
      promise: 2, agents: 100, seed: 0.97,
      goals: [
        Goal(task: .milliseconds(200), target: 0.98), Goal(task: .milliseconds(500)),
        Goal(task: .seconds(2), target: 0.995),
      ]),
    Case(
      promise: 3, agents: 1_000, seed: 0.90,
      goals: [
        Goal(task: .milliseconds(200), target: 0.95), Goal(task: .milliseconds(500)),
        Goal(task: .seconds(2), target: 0.985),
      ]),
    Case(
      promise: 4, agents: 5_000, cells: 5, seed: 0.80,
      goals: [
        Goal(task: .milliseconds(200)), Goal(task: .milliseconds(500), target: 0.92),
        Goal(task: .seconds(2), target: 0.96),
      ]),
  ]

  func measure(_ context: TableContext, into report: inout Report) async throws {
    var scale: [(agents: Int, result: Sample)] = []
    for this in Self.cases {
      for goal in this.goals where !context.isQuick || goal.task == quickTask(this) {
        let sample = try await fleet(.jetStream, this.agents, goal.task, cells: this.cells, context)
        let alone = try await fleet(.jetStream, 1, goal.task, context)
        let flat = this.cells > 1 ? try await fleet(.jetStream, this.agents, goal.task, context) : nil
        report.add(row(this, goal, sample, alone: alone, flat: flat))
        if goal.task == .seconds(2), this.agents == 1_000 { report.add(overhead(sample, alone)) }
        if goal.task == .milliseconds(500) { scale.append((this.agents, flat ?? sample)) }
      }
      if !context.isQuick { try await others(this, context, &report) }
    }
    if context.isQuick {
      let sample = try await fleet(.jetStream, 1_000, .seconds(2), context)
      report.add(overhead(sample, try await fleet(.jetStream, 1, .seconds(2), context)))
    }
    try await CostModel.measure(context, scale, into: &report) { agents in
      try await fleet(.jetStream, agents, .milliseconds(500), context)
    }
  }

  private func quickTask(_ this: Case) -> Duration { this.agents > 100 ? .seconds(2) : .milliseconds(200) }

  /// Several runs of the same.
  struct Sample {
    var runs: [FleetRun.Result]
    func middle(_ path: KeyPath<FleetRun.Result, Double>) -> Double {
      median(runs.map { $0[keyPath: path] })
    }
    var efficiency: Double { middle(\.efficiency) }
    /// The median with the least and the most.
    var text: String {
      let all = runs.map(\.efficiency).sorted()
      let spread = all.count > 1 ? " (\((all[0] * 100).text(2))–\((all[all.count - 1] * 100).text(2)))" : ""
      return "\((efficiency * 100).text(2)) %\(spread)"
    }
  }

  private func fleet(
    _ kind: EngineKind, _ agents: Int, _ task: Duration, cells: Int = 1, _ context: TableContext
  ) async throws -> Sample {
    // Three tasks' lengths at least, so that an agent's turns don't fall half out of the window.
    let window = context.isQuick ? max(.seconds(1), task * 2) : max(.seconds(4), task * 3)
    var runs: [FleetRun.Result] = []
    // One agent hardly varies; 5,000 with their backlog take half a minute a run.
    let rounds = agents == 1 ? 1 : agents >= 2_500 ? (context.rounds + 2) / 3 : context.rounds
    for _ in 0..<rounds {
      runs.append(
        try await FleetRun(kind: kind, agents: agents, task: task, cells: cells, window: window).measure())
    }
    return Sample(runs: runs)
  }

  private func row(_ this: Case, _ goal: Goal, _ sample: Sample, alone: Sample, flat: Sample?) -> ReportRow {
    let promise = Promise.all[this.promise - 1]
    let length = "\(goal.task.seconds.text(1)) s"
    let place = this.cells > 1 ? " in \(this.cells) cells" : ""
    var baseline = "one agent \(alone.text)"
    if let flat { baseline += ", \(this.agents) in one cell \(flat.text)" }
    let isSeedBeaten = sample.efficiency > this.seed
    let verdict =
      goal.target.map { Verdict(seed: isSeedBeaten, target: sample.efficiency >= $0) }
      ?? (isSeedBeaten ? .shown : .missed)
    var row = ReportRow(
      id: "\(this.promise)", what: "E_coord, \(this.agents) agents\(place) × \(length), JetStream", baseline: baseline,
      seed: promise.seed, target: goal.target.map { "\(($0 * 100).text(1)) %" } ?? "",
      measured: "\(sample.text); \(sample.middle(\.rate).text(0)) tasks/s, ramp \(sample.middle(\.ramp).text(2)) s",
      verdict: verdict)
    row.figures = [
      "efficiency": sample.efficiency, "baseline_efficiency": alone.efficiency,
      "tasks_per_second": sample.middle(\.rate),
      "ramp_seconds": sample.middle(\.ramp), "cpu_microseconds_per_task": sample.middle(\.cpu),
    ]
    let possible = Double(this.agents) / goal.task.seconds
    if verdict == .missed || verdict == .beaten, sample.middle(\.rate) < 0.9 * possible {
      row.why =
        "\(this.agents) agents could end \(possible.text(0)) tasks/s; client and server share these cores, the client alone takes "
        + "\(sample.middle(\.cpu).text(0)) µs of CPU a task"
    } else if verdict != .met, goal.target != nil {
      let lost = goal.task.seconds * (1 / sample.efficiency - 1)
      row.why = "\((lost * 1e3).text(1)) ms go by between two tasks of an agent"
    }
    return row
  }

  /// The engines of one machine, for comparison.
  private func others(_ this: Case, _ context: TableContext, _ report: inout Report) async throws {
    var single = context
    single.rounds = 1
    for kind in [EngineKind.memory, .sqlite] {
      for goal in this.goals {
        let sample = try await fleet(kind, this.agents, goal.task, single)
        report.add(
          "\(this.promise)", "E_coord, \(this.agents) agents × \(goal.task.seconds.text(1)) s, \(kind.rawValue)",
          baseline: "JetStream, above",
          measured: "\(sample.text); \(sample.middle(\.rate).text(0)) tasks/s, ramp \(sample.middle(\.ramp).text(2)) s",
          figures: ["efficiency": sample.efficiency, "tasks_per_second": sample.middle(\.rate)])
      }
    }
  }

  private func overhead(_ sample: Sample, _ alone: Sample) -> ReportRow {
    let (lost, cpu) = (1 - sample.efficiency, sample.middle(\.cpu))
    var row = ReportRow(
      id: "19", what: "1 − E_coord at 1,000 agents × 2 s; CPU of the client for a task",
      baseline: "one agent: \(((1 - alone.efficiency) * 100).text(2)) %", seed: Promise.all[18].seed,
      target: Promise.all[18].target, measured: "\((lost * 100).text(2)) %; \(cpu.text(0)) µs a task",
      // The seed claims a range: its better end doesn't bind, its worse one does.
      verdict: Verdict(seed: lost < 0.25, target: lost <= 0.015 && cpu <= 40))
    row.figures = ["overhead": lost, "cpu_microseconds_per_task": cpu]
    if cpu > 40 {
      row.why =
        "a claim and a result are a message taken, two records changed by compare-and-set, a key renewed, an acknowledgement: five round "
        + "trips, where the target's prototype had two"
    }
    return row
  }
}
