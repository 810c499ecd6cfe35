import BudgetSimulation

/// How much of a limit the coordinator's budget uses, and by how much it is overrun (7, 18), in virtual time against an API that was written independently.
///
/// The baseline is a fixed share for each pod, on the same fleet with the same seeds.
struct BudgetRows: PromiseSource {
  var promises: [Int] { [7, 18] }

  private struct Load {
    var promise: Int
    var what: String
    var settings: FleetSimulation.Settings
  }

  /// 200 pods, limits of a large organisation, sizes known as well as upstream knows them.
  private static var fleet: FleetSimulation.Settings {
    var settings = FleetSimulation.Settings()
    settings.pods = 200
    settings.agentsPerPod = 4
    settings.requestLimit = 5_000
    settings.inputLimit = 5_000_000
    settings.outputLimit = 1_000_000
    settings.sizeError = 0.2
    settings.warmUp = 90
    settings.end = 240
    return settings
  }

  private static var loads: [Load] {
    var hot = fleet
    hot.hotFactor = 10
    var bursts = fleet
    bursts.burstPeriod = 20
    var higher = fleet
    higher.targetPercent = 98
    var higherBursts = bursts
    higherBursts.targetPercent = 97
    return [
      Load(promise: 7, what: "input limit used, 200 pods that all want more", settings: fleet),
      Load(promise: 7, what: "the same with targetPercent 98 instead of 95", settings: higher),
      Load(promise: 7, what: "at 95, a tenth of the pods has ten times the work", settings: hot),
      Load(
        promise: 18, what: "used under bursts: all 800 agents ask at the same moments, 20 s apart", settings: bursts),
      Load(promise: 18, what: "the same with targetPercent 97", settings: higherBursts),
    ]
  }

  func measure(_ context: TableContext, into report: inout Report) async throws {
    for load in Self.loads {
      var (own, split): ([FleetSimulation.Result], [FleetSimulation.Result]) = ([], [])
      for round in 0..<context.rounds {
        let seed = context.seed &+ UInt64(round)
        var fleet = FleetSimulation(load.settings, seed: seed)
        own.append(fleet.run())
        var settings = load.settings
        settings.isSplit = true
        var alone = FleetSimulation(settings, seed: seed)
        split.append(alone.run())
      }
      report.add(row(load, own, split))
    }
  }

  private func row(_ load: Load, _ own: [FleetSimulation.Result], _ split: [FleetSimulation.Result]) -> ReportRow {
    let promise = Promise.all[load.promise - 1]
    let use = median(own.map(\.inputUse))
    let over = (own.map(\.peak).max() ?? 0) - 1
    let refused = own.map(\.refusedShare).max() ?? 0
    let goal = load.promise == 7 ? 0.97 : 0.95
    let isKept = over < 0.01 && refused < 0.005
    var row = ReportRow(
      id: "\(load.promise)", what: "\(load.what) (virtual time, \(own.count) seeds)", baseline: text(split),
      seed: promise.seed, target: promise.target, measured: text(own),
      verdict: Verdict(seed: use >= 0.85 && isKept && !promise.seed.isEmpty, target: use >= goal && isKept))
    row.figures = [
      "used": use, "over": max(0, over), "refused": refused, "baseline_used": median(split.map(\.inputUse)),
      "unblocked": median(own.map(\.unblocked)),
    ]
    if row.verdict != .met, use < goal {
      row.why =
        "the budget aims at 95 % of the limit by default (docs/rate-budget.md), and uses \((use / 0.95 * 100).text(1)) % of that: 97 % "
        + "would leave too little for what others use"
    }
    return row
  }

  private func text(_ results: [FleetSimulation.Result]) -> String {
    let uses = results.map { $0.inputUse * 100 }
    let over = ((results.map(\.peak).max() ?? 0) - 1) * 100
    return "\(median(uses).text(1)) % used (\((uses.min() ?? 0).text(1))–\((uses.max() ?? 0).text(1))), "
      + "\(max(0, over).text(2)) % over in any minute, \(((results.map(\.refusedShare).max() ?? 0) * 100).text(2)) % answered 429, "
      + "agents wait \(((1 - median(results.map(\.unblocked))) * 100).text(0)) % of their time"
  }
}
