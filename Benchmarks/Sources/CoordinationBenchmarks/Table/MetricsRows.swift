import CoordinationEngine
import Observability
import TaskQueue

/// What it costs to tell a backlog's age, busy slots and the rest to whoever scales by it (23).
struct MetricsRows: PromiseSource {
  var promises: [Int] { [23] }

  /// Prometheus and the controller ask this often.
  private static let period = 15.0

  func measure(_ context: TableContext, into report: inout Report) async throws {
    let tasks = context.isQuick ? 1_000 : 10_000
    for kind in [EngineKind.jetStream, .memory] {
      let figures = try await withPods(kind, 1) { engines in
        let engine = engines[0].tasks
        let batch = [NewTask](repeating: NewTask(payload: [UInt8](repeating: 7, count: 256)), count: 100)
        for _ in 0..<(tasks / 100) { _ = try await engine.submit(batch, to: "q") }
        // The first question reads all records; later ones what has changed.
        let first = try await ask(engine)
        let before = processSeconds()
        let asked = context.isQuick ? 5 : 20
        var last = first
        for _ in 0..<asked {
          try await Task.sleep(for: .milliseconds(100))
          last = try await ask(engine)
        }
        let each = (processSeconds() - before) / Double(asked)
        return (each: each, aged: (last.oldestPending - first.oldestPending).seconds, ready: last.ready.reduce(0, +))
      }
      let rendering = render(rounds: context.rounds)
      let share = (figures.each + rendering) / Self.period
      var row = ReportRow(
        id: "23",
        what: "CPU for a question after \(tasks) tasks' state and a page of metrics, each 15 s, \(kind.rawValue)",
        baseline: "queue's length: stays \(figures.ready) while the age rises by \(figures.aged.text(1)) s",
        target: Promise.all[22].target,
        measured:
          "\((figures.each * 1e3).text(2)) ms + \((rendering * 1e3).text(3)) ms: \((share * 100).text(3)) % of a core",
        verdict: Verdict(target: share < 0.001 && figures.aged > 0))
      row.figures = ["question_seconds": figures.each, "page_seconds": rendering, "share": share]
      if share >= 0.001 { row.why = "each question adds up the state of every task that is remembered" }
      report.add(row)
    }
  }

  private func ask(_ engine: any TaskEngine) async throws -> TaskQueueStatistics {
    try await engine.statistics(of: "q")["q"] ?? TaskQueueStatistics()
  }

  /// Seconds of CPU for the page of a worker: as many families as the sidecar has, with ten series each.
  private func render(rounds: Int) -> Double {
    let families = (0..<30).map {
      MetricsRegistry.Family("swarmscale_benchmark_\($0)", .gauge, labels: ["lane"], help: "A number.")
    }
    let registry = MetricsRegistry(families)
    for family in families { for lane in 0..<10 { registry.set(family.name, to: Double(lane), ["lane\(lane)"]) } }
    return nanoseconds(rounds: max(3, rounds), count: 100) { for _ in 0..<100 { _ = registry.render() } } / 1e9
  }
}
