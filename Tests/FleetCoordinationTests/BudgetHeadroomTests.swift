import Coordinator
import KubernetesCore
import MetricBridges
import RateBudget
import Testing

@testable import FleetCoordination

/// What other autoscalers are told of budgets.
@Suite struct BudgetHeadroomTests {
  private let key = ObjectKey(namespace: "team", name: "claude")
  private let limits =
    #"{"limits":{"requestsPerMinute":600,"inputTokensPerMinute":"10M","outputTokensPerMinute":"1M"},"target":{"lower":80,"upper":95}}"#

  private func headroom(_ fleet: inout TestFleet) -> (units: [String: Int64]?, why: String) {
    let entry = BudgetObject.headroom(of: fleet.budgets, fleet.state.report(now: fleet.now))[key]
    let readings = entry?.readings
    return (readings.map { Dictionary($0.map { ($0.dimension, $0.units) }) { $1 } }, entry?.why ?? "no entry")
  }

  @Test("A budget that nobody draws from has its spec's limits below the target, output at 90 % at most")
  func idle() throws {
    var fleet = TestFleet([try budget(limits)])
    #expect(headroom(&fleet).units == ["requests": 570, "inputTokens": 9_500_000, "outputTokens": 900_000])
    fleet = TestFleet([try budget("{}")])
    #expect(headroom(&fleet).units == nil)
    #expect(headroom(&fleet).why.contains("names no limits"))
    fleet = TestFleet([try budget(#"{"reserve":200}"#)])
    #expect(headroom(&fleet).units == nil)
    #expect(headroom(&fleet).why.contains("can't be used"))
  }

  @Test("What is used and what waits comes off it, and nothing is left of what is overdrawn")
  func used() throws {
    var fleet = TestFleet([try budget(limits)])
    fleet.join(worker("a"))
    for _ in 0..<120 {
      fleet.ask(worker("a"), 5, output: 100)
      fleet.run(.seconds(1), output: 100)
    }
    let report = try #require(fleet.state.report(now: fleet.now).groups.first?.report)
    let requests = try #require(report.dimensions.first { $0.dimension == .requests })
    let units = try #require(headroom(&fleet).units)
    #expect(requests.admitted > 250 && requests.admitted <= 320, "five each second: \(requests)")
    #expect(units["requests"] == 600 * requests.targetPercent / 100 - requests.offered)
    #expect(try #require(units["outputTokens"]) < 900_000)
    // Twice of what there is.
    for _ in 0..<60 {
      fleet.ask(worker("a"), 20, output: 100)
      fleet.run(.seconds(1), output: 100)
    }
    #expect(headroom(&fleet).units?["requests"] == 0)
    #expect(try #require(headroom(&fleet).units?["inputTokens"]) > 0, "requests alone are used up")
  }

  @Test("A new coordinator that takes over knows nothing until it has learned")
  func learning() throws {
    var fleet = TestFleet([try budget(limits)], isSuccessor: true)
    #expect(headroom(&fleet).units == nil)
    #expect(headroom(&fleet).why.contains("learned"))
    fleet.run(.seconds(20), output: 100)
    #expect(headroom(&fleet).units?["requests"] == 570)
  }
}
