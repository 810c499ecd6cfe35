import AgentRuntime
import EngineConformance
import Foundation
import LocalEngine
import Logging
import Observability
import PayloadCompression
import Testing

@Suite struct AgentMetricsTests {
  @Test("Each metric that is declared is given, and stands in docs/agents.md")
  func all() async throws {
    let pod = Pod(slots: 1)
    pod.gauges.set(limit: 1_000, used: 100)
    let services = AgentServices(
      engine: LocalEngine(), owner: "pod", clock: pod.clock,
      logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    for _ in 0..<2 {
      pod.resources.look()
      pod.clock.advance(by: .seconds(1))
    }
    let text = AgentMetrics.text(
      pod.agents.statistics, pod.resources.statistics, parked: await pod.parking.statistics,
      collector: services.collector.statistics)
    let page = try String(
      contentsOf: URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("docs/agents.md"), encoding: .utf8)
    for family in AgentMetrics.families {
      #expect(text.contains("# TYPE \(family.name) "), "\(family.name) isn't given")
      #expect(page.contains("`\(family.name.dropFirst("swarmscale_agents_".count))"), "\(family.name) has no row")
    }
  }
}
