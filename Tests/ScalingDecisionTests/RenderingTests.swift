import KubernetesCore
import Testing

@testable import ScalingDecision

@Suite("Words for people")
struct RenderingTests {
  @Test("The log line names what each metric wants, and what limits")
  func logLine() {
    let workers = Fleet.ready(20)
    let report = BudgetReport(loads: [.init(.outputTokens, limit: 1000, offered: 830)])
    let plan = decideOnce(
      .plain([.backlog, .cpuBand, .apiRate]), replicas: 20,
      [.backlog(.init(queued: 100, inFlight: 8)), Fleet.cpu(workers, percent: 91), .budget(report)], workers: workers)
    #expect(
      plan.logLine(name: "reviewers")
        == "scaled reviewers 20→22: backlog wants 27 (108/4), cpu wants 23 (91 % of 70–85), "
        + "API allows 22 (output tokens 83 % of 95), limited by API budget")
  }

  @Test("A dry run, a hold and a drain are told apart")
  func heads() {
    let spec = DecisionSpec.plain([.external()], isDryRun: true)
    #expect(decideOnce(spec, replicas: 10, [.asking(12)]).logLine(name: "a").hasPrefix("would scale a 10→12: "))
    #expect(
      decideOnce(.plain([.external()]), replicas: 10, [.asking(10)]).logLine(name: "a")
        == "holding a at 10: external wants 10 (10/1)")
    let workers = (0..<8).map { Fleet.worker($0, activity: WorkerActivity(inFlight: 1)) }
    #expect(
      decideOnce(.plain([.external()]), replicas: 8, [.asking(5)], workers: workers).logLine(name: "a")
        == "moving a 8→5: external wants 5 (5/1), 3 busy workers drain, limited by workers that must drain")
  }

  @Test("Conditions carry the HPA's reasons")
  func conditions() {
    func condition(_ kind: PlanCondition.Kind, _ plan: Plan) -> String {
      guard let found = plan.conditions.first(where: { $0.kind == kind }) else { return "none" }
      return "\(found.isTrue) \(found.reason)"
    }
    let limited = decideOnce(.plain([.external()]), replicas: 10, [.asking(500)])
    #expect(condition(.scalingLimited, limited) == "true TooManyReplicas")
    #expect(condition(.ableToScale, limited) == "true SucceededRescale")
    let low = decideOnce(.plain([.external()]), replicas: 10, [.asking(1)])
    #expect(condition(.scalingLimited, low) == "true TooFewReplicas")
    let failed = decideOnce(.plain([.cpuBand]), replicas: 10, [.unavailable(.sourceFailed)])
    #expect(condition(.scalingActive, failed) == "false FailedGetResourceMetric")
    let off = decideOnce(.plain([.external()]), replicas: 0, [.asking(1)])
    #expect(condition(.scalingActive, off) == "false ScalingDisabled")
    let fine = decideOnce(.plain([.external()]), replicas: 10, [.asking(10)])
    #expect(condition(.scalingLimited, fine) == "false DesiredWithinRange")
    #expect(condition(.scalingActive, fine) == "true ValidMetricFound")
    let ceiling = decideOnce(.plain([.external(), .apiRate]), replicas: 20, [.asking(40), .budget(96)])
    #expect(condition(.apiBudgetLimited, ceiling) == "true CeilingReached")
  }

  @Test("Thousandths are written without needless zeros")
  func numbers() {
    #expect(
      [0, 1, 10, 1500, 108_000, -2500, .max].map(milliText) == [
        "0", "0.001", "0.01", "1.5", "108", "-2.5", "9223372036854775.807",
      ])
    #expect(percentText(915, of: 1000) == "91")
    #expect(percentText(9, of: 1000) == "0.9")
    #expect(percentText(1, of: 0) == "∞")
  }
}
