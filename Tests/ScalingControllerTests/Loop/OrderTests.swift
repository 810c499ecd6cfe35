import KubernetesCore
import ScalingAPI
import ScalingDecision
import TestSupport
import Testing

@testable import ScalingController

@Suite struct OrderTests {
  @Test("Before the count falls, those who are to go are marked for Kubernetes, and those who work against it")
  func costs() async throws {
    let (loop, reports) = try workerLoop(
      LoopSpec.asking(), Array(repeating: busy, count: 5) + Array(repeating: idle, count: 3), asking: 6)
    try await loop.pass()
    #expect(loop.writes == [])
    #expect(
      reports.with { $0.timeouts } == [.seconds(1_860), .seconds(1_860)], "half an hour by default, and a minute more")
    for _ in 0..<4 { try await loop.pass() }
    #expect(loop.writes == [6] && loop.victims.count == 2)
    let costs = loop.cluster.with { $0.costs }
    for victim in loop.victims { #expect(costs[victim] == "\(VictimSelection.victimCost)") }
    for number in 0..<5 {
      let cost = try #require(costs[FakePod.name(number)].flatMap { Int($0) }, "busy workers cost something")
      #expect(cost >= 100)
    }
  }

  @Test("When pods can't be marked nothing is removed, and the user is told why")
  func refused() async throws {
    let (loop, _) = try workerLoop(LoopSpec.asking(), Array(repeating: idle, count: 8), asking: 6)
    loop.cluster.with { $0.refusesPodPatches = true }
    for _ in 0..<4 { try await loop.pass() }
    #expect(loop.writes == [])
    let condition = try #require(try loop.condition("AbleToScale"))
    #expect(condition.status == "False" && condition.reason == "FailedDrain")
    #expect(condition.message.contains("pod-deletion-cost"))
    loop.cluster.with { $0.refusesPodPatches = false }
    for _ in 0..<4 { try await loop.pass() }
    #expect(loop.writes == [6])
  }

  @Test("A drain order is taken back when the demand returns")
  func withdrawn() async throws {
    let (loop, reports) = try workerLoop(LoopSpec.asking(), Array(repeating: busy, count: 8), asking: 6)
    for _ in 0..<4 { try await loop.pass() }
    #expect(reports.with { $0.workers.values.count { $0.drain != .none } } == 2)
    loop.set("tasks", .number("8"))
    for _ in 0..<2 { try await loop.pass() }
    #expect(reports.with { $0.workers.values.count { $0.drain != .none } } == 0)
    #expect(loop.writes == [])
  }

  @Test("While a coordinator has just begun, a worker that it hasn't heard of may be at work: nobody goes")
  func learning() async throws {
    let reports = ScriptedReports()
    reports.with { $0.isLearning = true }
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking()), replicas: 8, reports: reports)
    loop.set("tasks", .number("6"))
    for _ in 0..<4 { try await loop.pass() }
    #expect(loop.writes == [])
    // The lease is over, and none has come: they don't embed the library.
    reports.with { $0.isLearning = false }
    for _ in 0..<2 { try await loop.pass() }
    #expect(loop.writes == [6])
  }

  @Test("A metric's own target holds its fleet further from the limit than the budget, never nearer")
  func target() throws {
    let report = BudgetReport(loads: [
      .init(.requests, limit: 100, offered: 50, band: .init(lower: 85, upper: 95)),
      .init(.outputTokens, limit: 100, offered: 50, band: .init(lower: 85, upper: 90)),
      .init(.inputTokens, limit: 100, offered: 50),
    ])
    #expect(
      report.aimed(lower: 60, upper: 70).loads.map(\.band) == Array(repeating: .init(lower: 60, upper: 70), count: 3))
    let near = report.aimed(lower: 93, upper: 98).loads.map(\.band)
    #expect(near == [.init(lower: 93, upper: 95), .init(lower: 90, upper: 90), .init(lower: 93, upper: 98)])
  }
}
