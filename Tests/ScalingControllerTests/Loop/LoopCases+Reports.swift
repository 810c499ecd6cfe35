import KubernetesCore
import ScalingAPI
import ScalingDecision
import TestSupport
import Testing

@testable import ScalingController

let idle = WorkerActivity(inFlight: 0)
let busy = WorkerActivity(inFlight: 1, oldestWorkAt: LoopTime.start - .seconds(600))

/// Budgets, each for the count of workers and the seconds since the start.
private typealias Budget = @Sendable (_ replicas: Int, _ seconds: Int64) -> BudgetReport

/// A loop whose fleet has the budget `claude` and no embedded library, as with the sidecar.
private func budgetLoop(
  _ metrics: String, replicas: Int = 20, cpuPercent: Int64? = nil, _ budget: @escaping Budget
) throws -> ControllerLoop {
  let reports = ScriptedReports()
  reports.with { $0.budgets["claude"] = budget }
  let loop = try ControllerLoop(
    spec: LoopSpec.spec(metrics, LoopSpec.budget), replicas: replicas, reports: reports)
  loop.pods = { replicas, _ in FakePod.ready(replicas, percent: cpuPercent) }
  return loop
}

/// A loop whose workers report what they do.
func workerLoop(
  _ metrics: String, _ activities: [WorkerActivity], cpuPercent: Int64? = nil, asking: Int? = nil, max: Int = 100
) throws -> (loop: ControllerLoop, reports: ScriptedReports) {
  let reports = ScriptedReports()
  reports.setWorkers(activities)
  let loop = try ControllerLoop(
    spec: LoopSpec.spec(metrics, max: max), replicas: activities.count, reports: reports)
  loop.pods = { _, _ in reports.pods(cpuPercent: cpuPercent) }
  if let asking { loop.set("tasks", .number("\(asking)")) }
  return (loop, reports)
}

extension ControllerLoop {
  /// Whom the plans' writes removed, in order.
  var victims: [String] { passes.compactMap(\.plan).filter { $0.write != nil }.flatMap(\.victims) }
}

let workerCases: [LoopCase] = [
  LoopCase("D01", "idle workers go, busy ones stay") {
    let six = Array(repeating: busy, count: 6)
    let (loop, _) = try workerLoop(LoopSpec.asking(), six + Array(repeating: idle, count: 4), asking: 7)
    try await loop.pass()
    #expect(loop.writes == [], "nobody goes before it has confirmed to take no work")
    for _ in 0..<4 { try await loop.pass() }
    #expect(loop.writes == [7])
    #expect(loop.victims.count == 3 && loop.victims.allSatisfy { $0 >= FakePod.name(6) })
  },
  LoopCase("D02", "all are busy: three drain, and go one by one as they finish") {
    let (loop, reports) = try workerLoop(LoopSpec.asking(), Array(repeating: busy, count: 8), asking: 5)
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [])
    let told = reports.with { $0.workers.filter { $0.value.drain != .none }.keys.sorted() }
    #expect(told.count == 3)
    for (worker, right) in zip(told, [7, 6, 5]) {
      reports.change(worker) { $0.inFlight = 0 }
      for _ in 0..<3 { try await loop.pass() }
      #expect(loop.writes.last == right && loop.victims.last == worker)
    }
    #expect(loop.writes == [7, 6, 5])
  },
  LoopCase("D03", "work in flight needs its workers") {
    let (loop, reports) = try workerLoop(
      "\(LoopSpec.cpuBand),\(LoopSpec.backlog)", Array(repeating: busy, count: 6) + Array(repeating: idle, count: 3),
      cpuPercent: 10)
    reports.with { $0.backlog = BacklogReport(queued: 0, inFlight: 6) }
    for _ in 0..<8 { try await loop.pass() }
    #expect(loop.writes == [6])
    #expect(loop.victims.allSatisfy { $0 >= FakePod.name(6) })
  },
  LoopCase("D04", "a lowered maximum removes no busy worker, and stops growth at once") {
    let (loop, reports) = try workerLoop(
      LoopSpec.asking(), Array(repeating: busy, count: 60) + Array(repeating: idle, count: 40), asking: 100)
    try await loop.pass()
    #expect(loop.writes == [])
    try loop.cluster.apply("fleet", spec: LoopSpec.spec(LoopSpec.asking(), max: 50))
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [60])
    #expect(loop.victims.count == 40 && loop.victims.allSatisfy { $0 >= FakePod.name(60) })
    let told = reports.with { $0.workers.filter { $0.value.drain != .none }.keys.sorted() }
    #expect(told.count == 10)
    for worker in told { reports.change(worker) { $0.inFlight = 0 } }
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [60, 50])
  },
  LoopCase("D05", "the two idle ones of seven go") {
    let loads = [0, 0, 9, 9, 9, 9, 9]
    let (loop, _) = try workerLoop(
      LoopSpec.asking(), loads.map { WorkerActivity(inFlight: $0, slots: 10) }, asking: 5)
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [5])
    #expect(loop.victims == [FakePod.name(0), FakePod.name(1)])
  },
  LoopCase("D07", "a worker that took work after it was chosen stays, and another idle one goes") {
    let (loop, reports) = try workerLoop(
      LoopSpec.asking(), Array(repeating: busy, count: 5) + Array(repeating: idle, count: 3), asking: 6)
    try await loop.pass()
    let chosen = try unwrap(
      reports.with { $0.workers.filter { $0.value.drain != .none }.keys.sorted() }.first, "a worker told to drain")
    reports.change(chosen) { $0.inFlight = 1 }
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [7, 6])
    #expect(!loop.victims.contains(chosen) && loop.victims.allSatisfy { $0 >= FakePod.name(5) })
  },
  LoopCase("D43", "workers that wait for the API aren't idle") {
    let waiting = WorkerActivity(inFlight: 1, isWaitingForAPI: true)
    let (loop, _) = try workerLoop(LoopSpec.cpuBand, Array(repeating: waiting, count: 12), cpuPercent: 5)
    for _ in 0..<10 { try await loop.pass() }
    #expect(loop.writes == [])
    #expect(loop.passes.last?.plan?.logLine(name: "fleet").contains("rate limited") == true)
  },
]

let budgetCases: [LoopCase] = [
  LoopCase("D39", "the ceiling cuts the demand, and is named") {
    // 20 workers at 105 % of the budget: 95 % carry 18.
    let loop = try budgetLoop("\(LoopSpec.asking("cpu")),\(LoopSpec.asking("memory"))") { replicas, _ in
      BudgetReport(loads: [.init(.outputTokens, limit: 2000, offered: Int64(replicas) * 105)])
    }
    loop.set("cpu", .number("30"))
    loop.set("memory", .number("22"))
    let first = try await loop.pass()
    #expect(first.plan?.logLine(name: "fleet").contains("limited by API budget") == true)
    for _ in 0..<10 { try await loop.pass() }
    #expect(loop.writes == [18])
    #expect(try loop.cluster.autoscaler().status?.bindingStep == "ceiling")
  },
  LoopCase("D40", "429s freeze growth, then the budget decides") {
    let loop = try budgetLoop(LoopSpec.cpuBand, cpuPercent: 95) { replicas, _ in
      BudgetReport(
        loads: [.init(.outputTokens, limit: 100, offered: Int64(replicas) * 5)], throttledPPM: 300_000)
    }
    for _ in 0..<10 { try await loop.pass() }
    #expect(loop.writes == [19])
    let calm = try budgetLoop(LoopSpec.asking()) { replicas, seconds in
      BudgetReport(
        loads: [.init(.outputTokens, limit: 100, offered: Int64(replicas) * 3)],
        throttledPPM: seconds < 60 ? 300_000 : 0)
    }
    calm.set("tasks", .number("25"))
    try await calm.run(until: .seconds(60))
    #expect(calm.writes == [], "frozen while calls are refused")
    try await calm.run(until: .seconds(120))
    #expect(calm.writes.last == 25)
  },
  LoopCase("D41", "a quiet budget is no reason to shrink") {
    let loop = try budgetLoop(LoopSpec.cpuBand, cpuPercent: 80) { replicas, _ in
      BudgetReport(loads: [.init(.outputTokens, limit: 100, offered: Int64(replicas))])
    }
    for _ in 0..<10 { try await loop.pass() }
    #expect(loop.writes == [])
    #expect(loop.passes.last?.collected.allSatisfy { $0.failure == nil } == true)
  },
  LoopCase("D42", "the tightest dimension decides, and is named") {
    let loop = try budgetLoop(LoopSpec.asking()) { replicas, _ in
      let workers = Int64(replicas)
      return BudgetReport(loads: [
        .init(.requests, limit: 4000, offered: 80 * workers),
        .init(.inputTokens, limit: 2_000_000, offered: 50_000 * workers),
        .init(.outputTokens, limit: 400_000, offered: 19_200 * workers),
      ])
    }
    loop.set("tasks", .number("30"))
    let first = try await loop.pass()
    #expect(first.plan?.logLine(name: "fleet").contains("output tokens 96 %") == true)
    for _ in 0..<10 { try await loop.pass() }
    #expect(loop.writes == [19])
  },
  LoopCase("D44", "half the limit is half the ceiling at the next pass") {
    let loop = try budgetLoop(LoopSpec.asking()) { replicas, seconds in
      BudgetReport(loads: [.init(.requests, limit: seconds < 60 ? 2000 : 1000, offered: Int64(replicas) * 95)])
    }
    loop.set("tasks", .number("90"))
    try await loop.run(until: .seconds(150))
    #expect(loop.writes == [10])
    #expect(loop.writeTimes == [60])
  },
  LoopCase("D45", "a burst moves no worker; what lasts does") {
    let loop = try budgetLoop(LoopSpec.asking()) { replicas, seconds in
      let workers = Int64(replicas)
      let isBurst = (30..<50).contains(seconds)
      let lasts = seconds >= 120
      return BudgetReport(loads: [
        .init(
          .requests, limit: 1000, offered: isBurst || lasts ? 75 * workers : 45 * workers,
          sustained: lasts ? 75 * workers : 45 * workers)
      ])
    }
    loop.set("tasks", .number("40"))
    try await loop.run(until: .seconds(120))
    #expect(loop.writes == [])
    try await loop.run(until: .seconds(200))
    #expect(loop.writes == [12])
  },
  LoopCase("D47", "the budgets of 64 autoscalers cost no request", isSlow: true) {
    var requests: [Int] = []
    for metrics in [LoopSpec.asking(), "\(LoopSpec.asking()),\(LoopSpec.budget)"] {
      let reports = ScriptedReports()
      reports.with { state in
        state.budgets["claude"] = { _, _ in BudgetReport(loads: [.init(.requests, limit: 1000, offered: 500)]) }
      }
      let loop = try ControllerLoop(spec: LoopSpec.spec(metrics), replicas: 20, reports: reports)
      loop.set("tasks", .number("20"))
      let names = ["fleet"] + (1..<64).map { "fleet-\($0)" }
      for name in names.dropFirst() { try loop.cluster.apply(name, spec: LoopSpec.spec(metrics, target: name)) }
      for round in 0..<3 {
        loop.time.advance(to: .seconds(15 * round))
        for name in names {
          let pass = try await loop.pass(over: name, movesTime: false)
          #expect(pass.trouble == nil && pass.plan?.desiredReplicas == 20)
          #expect(pass.collected.allSatisfy { $0.failure == nil })
        }
      }
      requests.append(loop.cluster.with { $0.requests })
      #expect(reports.with { $0.budgetReads } == (metrics.contains("APIRate") ? 3 * 64 : 0))
    }
    #expect(requests[0] == requests[1] && requests[0] >= 3 * 64)
  },
]

@Suite("Reports of workers and budgets in the loop")
struct ReportsLoopTests {
  @Test("Without a coordinator budgets and reported work are unknown, and the condition says why")
  func noCoordinator() async throws {
    let loop = try ControllerLoop(
      spec: LoopSpec.spec(LoopSpec.asking(), LoopSpec.budget, LoopSpec.backlog), replicas: 20)
    loop.set("tasks", .number("40"))
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [])
    let failures = try unwrap(loop.passes.last, "a pass").collected.compactMap(\.failure)
    #expect(failures.count == 2 && failures.allSatisfy { $0.contains("no coordinator runs") })
  }

  @Test("A budget that nobody has renewed is unknown: it holds growth")
  func staleBudget() async throws {
    for (age, right) in [(Duration.seconds(110), [40]), (.seconds(130), [])] {
      let reports = ScriptedReports()
      reports.with { state in
        state.budgets["claude"] = { _, _ in BudgetReport(loads: [.init(.requests, limit: 1000, offered: 100)]) }
        state.age = age
      }
      let loop = try ControllerLoop(
        spec: LoopSpec.spec(LoopSpec.asking(), LoopSpec.budget), replicas: 20, reports: reports)
      loop.set("tasks", .number("40"))
      for _ in 0..<20 { try await loop.pass() }
      #expect(Array(loop.writes.suffix(1)) == right, "age \(age)")
    }
  }

  @Test("Workers whose reports are old, or of another pod of their name, have lost contact: none is removed")
  func lostContact() async throws {
    for (age, uid, right) in [(Duration.seconds(60), nil, [7]), (.seconds(130), nil, []), (.zero, "another", [])]
      as [(Duration, String?, [Int])]
    {
      let (loop, reports) = try workerLoop(LoopSpec.asking(), Array(repeating: idle, count: 10), asking: 7)
      reports.with { state in
        state.age = age
        state.uid = uid
      }
      for _ in 0..<10 { try await loop.pass() }
      #expect(loop.writes == right, "age \(age), uid \(uid ?? "its own")")
    }
  }
}
