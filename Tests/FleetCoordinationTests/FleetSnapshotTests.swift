import CoordinationProtocol
import Coordinator
import KubernetesCore
import RateBudget
import ScalingDecision
import ScalingObservation
import Testing

@testable import FleetCoordination

@Suite struct FleetSnapshotTests {
  @Test("A budget in use tells each fleet's load, and the band that is its own")
  func loads() throws {
    var fleet = TestFleet([
      try budget(#"{"limits":{"requestsPerMinute":600,"inputTokensPerMinute":"10M","outputTokensPerMinute":"1M"}}"#)
    ])
    fleet.join(worker("a"))
    fleet.join(worker("b", fleet: "writers"))
    // Both ask for 10 requests each second, which is twice what there is.
    for _ in 0..<90 {
      fleet.ask(worker("a"), 10, output: 100)
      fleet.ask(worker("b", fleet: "writers"), 10, output: 100)
      fleet.run(.seconds(1), output: 100)
    }
    let report = try #require(fleet.snapshot.budget("claude", of: reviewers))
    let load = try #require(report.loads.first { $0.dimension == .requests })
    #expect(load.band == BudgetReport.Load.Band(lower: 85, upper: 95))
    #expect(load.limit == 300, "half of the limit is this fleet's")
    #expect(load.offered > 600 && load.sustained > 600, "what waits is wanted as well: \(load)")
    let output = try #require(report.loads.first { $0.dimension == .outputTokens })
    #expect(output.band == BudgetReport.Load.Band(lower: 85, upper: 90), "output tokens are kept at 90")
    #expect(!report.isLearning)
    let allowance = Ceilings.allowance(
      report, lower: 1, upper: 1, current: 20, minuteAgo: 20, limits: DecisionLimits())
    #expect((allowance.replicas ?? 99) < 10, "20 workers offer more than twice the fleet's part: \(allowance)")
  }

  @Test("A budget that nobody has drawn from binds nobody; one that doesn't exist, or is wrong, is unknown")
  func idle() throws {
    var fleet = TestFleet([try budget("{}"), try budget(#"{"reserve":200}"#, "broken")])
    fleet.join(worker("a"))
    let snapshot = fleet.snapshot
    #expect(snapshot.budget("claude", of: reviewers) == BudgetReport(loads: [], at: start))
    #expect(snapshot.budget("broken", of: reviewers) == nil)
    #expect(snapshot.budget("other", of: reviewers) == nil)
    #expect(snapshot.budget("claude", of: ObjectKey(namespace: "elsewhere", name: "reviewers")) == nil)
  }

  @Test("Money is a ceiling: what is left of the day is spread over its rest")
  func money() throws {
    var fleet = TestFleet([try budget(#"{"spend":{"hourlyUSD":10,"dailyUSD":96}}"#)])
    fleet.join(worker("a"))
    fleet.ask(worker("a"), 10, output: 100_000)
    fleet.now = at(12 * 3_600)
    fleet.ask(worker("a"), 1, output: 100_000)
    fleet.run(.seconds(120), output: 100_000)
    let report = try #require(fleet.snapshot.budget("claude", of: reviewers))
    let hourly = try #require(report.loads.first { $0.dimension == .hourlySpend })
    let daily = try #require(report.loads.first { $0.dimension == .dailySpend })
    #expect(hourly.limit == 10_000_000)
    // A request of 1,000 input and 100,000 output tokens of Sonnet costs $1.503.
    #expect(hourly.offered > 0 && hourly.offered % 1_503_000 == 0, "\(hourly)")
    #expect(daily.offered == hourly.offered)
    let left = 96_000_000 - hourly.offered
    #expect(daily.limit == Int64(Int128(left) * 3_600 / Int128(12 * 3_600 - 120)))
  }

  @Test("Workers are reported by pod: busy by their word or by a request on its way, drained when they say so")
  func activities() throws {
    var fleet = TestFleet([])
    fleet.join(worker("busy"), Said(slots: 4, busy: 3, inFlight: 2, oldestAge: .seconds(90), queued: 5))
    fleet.join(worker("silent"), Said(inFlight: 1))
    fleet.join(worker("waits"), Said(slots: 4, busy: 1, waiting: 2))
    fleet.join(worker("idle"), Said(slots: 4))
    fleet.join(worker("mute"))
    let effects = fleet.state.drain(namespace: "team", pod: "idle", timeout: .seconds(60), now: fleet.now)
    guard case .tell(_, .drain(let order)) = try #require(effects.first) else {
      Issue.record("no order: \(effects)")
      return
    }
    #expect(fleet.snapshot.activity(of: reviewers)?.workers["idle"]?.activity.drain == .ordered(since: start))
    fleet.now = at(10)
    var answer = WorkerFrame()
    answer.drainAnswers = [DrainAnswer(order: order.order, state: .drained)]
    _ = fleet.say(worker("idle"), answer)
    let report = try #require(fleet.snapshot.activity(of: reviewers))
    #expect(report.expectsReports)
    #expect(
      Set(report.workers.keys) == ["busy", "silent", "waits", "idle"], "a worker that said nothing has no report")
    let busy = try #require(report.workers["busy"])
    #expect(busy.activity.inFlight == 3 && busy.activity.oldestWorkAt == start - .seconds(90))
    #expect(busy.uid == "uid-busy" && busy.at == start + .seconds(10), "a stream that lives vouches for its last word")
    #expect(report.workers["silent"]?.activity.isBusy == true)
    #expect(report.workers["waits"]?.activity.isWaitingForAPI == true)
    #expect(report.workers["idle"]?.activity.drain == .acknowledged(since: start))
    #expect(report.workers["idle"]?.activity.isBusy == false)
    // Requests that wait for the budget are no demand for workers; work that waits for a slot is.
    #expect(report.backlog == BacklogReport(queued: 5, inFlight: 4, slotsPerWorker: 3, at: start + .seconds(10)))
    #expect(fleet.snapshot.activity(of: writers) == nil)
  }

  @Test("A lost worker's report ages; a restarted one counts once, by its new process")
  func lost() throws {
    var fleet = TestFleet([])
    fleet.join(worker("a"), Said(slots: 1, busy: 1))
    fleet.now = at(5)
    fleet.lose(worker("a"))
    fleet.now = at(60)
    #expect(fleet.snapshot.activity(of: reviewers)?.workers["a"]?.at == start)
    fleet.join(worker("a", incarnation: "2"), Said(slots: 1))
    let again = try #require(fleet.snapshot.activity(of: reviewers)?.workers["a"])
    #expect(again.at == start + .seconds(60) && !again.activity.isBusy)
  }

  @Test("A new coordinator says that it learns, for one lease")
  func learning() throws {
    var fleet = TestFleet([try budget("{}")], isSuccessor: true)
    #expect(fleet.snapshot.isLearning)
    #expect(fleet.snapshot.budget("claude", of: reviewers)?.isLearning == true)
    fleet.now = at(16)
    #expect(!fleet.snapshot.isLearning)
    #expect(fleet.snapshot.budget("claude", of: reviewers)?.isLearning == false)
  }

  @Test("A namespace's budget is told to, and drawn from by, its own workers only")
  func namespaces() throws {
    var fleet = TestFleet([try budget(#"{"limits":{"requestsPerMinute":600}}"#)])
    let stranger = worker("x", namespace: "elsewhere")
    guard case .welcome(_, let welcome) = fleet.join(stranger).last else {
      Issue.record("no welcome")
      return
    }
    #expect(welcome.groups.isEmpty)
    fleet.join(worker("a"))
    fleet.ask(worker("a"), 1, output: 10)
    fleet.run(.seconds(1), output: 10)
    let before = fleet.state.report(now: fleet.now).groups
    #expect(before.map(\.key.modelGroup) == ["team/claude"])
    let key = GroupKey(organization: "", modelGroup: "team/claude")
    var frame = WorkerFrame()
    frame.groups = [key]
    frame.observations = [
      (key, RateHeaders { ["anthropic-ratelimit-requests-limit": "1"][$0] })
    ]
    frame.requests = [
      RequestNote(
        group: key,
        request: GrantRequest(
          id: GrantID(client: stranger.client, number: 1), fleet: stranger.fleetName, estimate: Estimate(input: 1),
          deadline: fleet.now + .seconds(60), model: "claude-sonnet-5"))
    ]
    let effects = fleet.say(stranger, frame)
    guard case .tell(_, .refusal(let refusal)) = effects.first else {
      Issue.record("not refused: \(effects)")
      return
    }
    #expect(refusal.number == 1)
    #expect(fleet.state.report(now: fleet.now).groups == before, "neither its request nor its headers leave a trace")
  }
}
