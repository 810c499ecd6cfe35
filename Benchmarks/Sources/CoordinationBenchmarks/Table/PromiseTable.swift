import Foundation

/// All promises in one table, by those who measure them.
struct PromiseTable {
  /// A source is added here, one a line, and nowhere else. A promise without a source is absent from the figures, and the table says so.
  static func sources(_ options: CoordinationBenchmarks.Options) -> [any PromiseSource] {
    [
      AgentRows(options: options),  // 6, 16, 17, 22: first, while the process is as small as it starts
      MessageRows(options: options),  // 9, 10, 12, 13, 14
      FleetRows(),  // 1–4, 19, 28
      OrchestratorBenchmark(),  // 5, 26
      ConcurrencyRows(),  // 11
      LatencyRows(),  // 20
      BudgetRows(),  // 7, 18
      ScalingRows(),  // 21
      MetricsRows(),  // 23
      EffectRows(),  // 8
      CheckpointRows(),  // 15
      BreakerRows(),  // 24
      OutageRows(),  // 25
      RecoveryRows(),  // 27
      SpeedUpRows(),  // the three numbers behind 1–4
    ]
  }

  /// Measures by all sources whose promises are wanted; `only` is empty for all.
  static func measure(
    _ context: TableContext, _ sources: [any PromiseSource], only: Set<Int> = []
  ) async -> Report {
    var report = Report()
    for source in sources where only.isEmpty || !only.isDisjoint(with: source.promises) {
      FileHandle.standardError.write(
        Data("measuring \(source.promises.map(String.init).joined(separator: ", "))\n".utf8))
      do {
        try await source.measure(context, into: &report)
      } catch {
        for number in source.promises where !report.rows.contains(where: { $0.promise == number }) {
          report.add(absent(number, why: "\(error)"))
        }
      }
    }
    for promise in Promise.all where only.isEmpty || only.contains(promise.number) {
      if !report.rows.contains(where: { $0.promise == promise.number }) { report.add(absent(promise.number)) }
    }
    report.sort()
    return report
  }

  private static func absent(_ number: Int, why: String = "") -> ReportRow {
    let promise = Promise.all[number - 1]
    return ReportRow(
      id: "\(number)", what: "\(promise.name): \(promise.definition)", baseline: promise.baseline, seed: promise.seed,
      target: promise.target, measured: "–", verdict: .absent, why: why)
  }
}

/// Agents' lives, memory and admission as rows.
struct AgentRows: PromiseSource {
  var options: CoordinationBenchmarks.Options
  var promises: [Int] { [6, 16, 17, 22] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    var agents = try AgentBenchmark(source: options.payloads(), rounds: context.rounds, isQuick: context.isQuick)
    try await agents.run(&report)
  }
}

/// Messages, compression and memory as rows.
struct MessageRows: PromiseSource {
  var options: CoordinationBenchmarks.Options
  var promises: [Int] { [9, 10, 12, 13, 14] }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    PoolBenchmark(rounds: context.rounds).run(&report)
    try await BatchingBenchmark(rounds: context.rounds).run(&report)
    var compression = try CompressionBenchmark(source: options.payloads(), rounds: context.rounds)
    try compression.run(&report)
    var parking = try ParkingBenchmark(source: options.payloads(), rounds: context.rounds)
    try parking.run(&report)
  }
}
