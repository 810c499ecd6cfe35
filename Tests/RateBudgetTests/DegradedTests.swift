import BudgetSimulation
import RateBudget
import Testing

@Suite struct DegradedTests {
  private let configuration = BudgetConfiguration.plain(requests: 6_000, input: 6_000_000, burst: .seconds(5))

  private func coordinator(pods: Int) -> (GroupBudget, [ShareNotice]) {
    var budget = GroupBudget(configuration: configuration, now: .zero)
    for pod in 0..<pods { budget.connect(client: "pod\(pod)", fleet: "f", now: .zero) }
    let notices = budget.shares(now: .zero)
    for notice in notices { budget.noteTold(notice) }
    return (budget, notices)
  }

  private func pod(_ notice: ShareNotice) -> LocalBudget {
    var local = LocalBudget(
      configuration: configuration, initial: Share(rates: .zero, floor: .zero), now: .zero)
    _ = local.connect(now: .zero)
    local.tell(notice.share, now: .zero)
    return local
  }

  @Test("Shares add up to the budget, and busy pods have more of it")
  func shares() {
    var (budget, notices) = coordinator(pods: 10)
    #expect(notices.map(\.client) == notices.map(\.client).sorted())
    #expect(notices.reduce(0) { $0 + $1.share.rates.inputTokens } == 6_000_000 * TokenBucket.unit)
    for number in 0..<10 { _ = budget.submit(request(UInt64(number), client: "pod3", input: 1_000), now: at(1)) }
    _ = budget.advance(now: at(1))
    notices = budget.shares(now: at(5))
    let sum = notices.reduce(0) { $0 + $1.share.rates.inputTokens }
    #expect(sum <= 6_000_000 * TokenBucket.unit && sum > 5_990_000 * TokenBucket.unit)
    #expect(notices[3].share.rates.inputTokens > notices[2].share.rates.inputTokens * 5)
    #expect(notices.map(\.isCut) == (0..<10).map { $0 != 3 }, "what the busy pod gains the others lose")
  }

  @Test("P25: without the coordinator a pod goes on at once at its share for one lease, then decays to its floor")
  func lost() {
    let (_, notices) = coordinator(pods: 20)
    var pods = notices.map(pod)
    // 6 M a minute by 20 pods: 5,000 a second each, floor 2,500.
    let lossAt = at(10)
    var perSecond = [Int64](repeating: 0, count: 200)
    var firsts: [BudgetTime] = []
    for index in pods.indices {
      pods[index].lose(now: lossAt)
      for number in 0..<2_000 {
        _ = pods[index].budget.submit(
          request(UInt64(number), client: "pod\(index)", input: 1_000, deadline: at(1_000)), now: lossAt)
      }
      var now = lossAt
      while now < at(200) {
        for id in granted(pods[index].advance(now: now)) {
          perSecond[Int(now.nanoseconds / 1_000_000_000)] += 1_000
          if firsts.count == index { firsts.append(now) }
          pods[index].budget.settle(id, usage: Usage(input: 1_000, output: 1), isFinal: true, now: now)
        }
        now = now + .milliseconds(250)
      }
    }
    #expect(firsts.count == 20 && firsts.allSatisfy { $0 <= at(11) }, "requests flow within a second")
    for start in 10..<140 {
      #expect(perSecond[start..<start + 60].reduce(0, +) <= 6_000_000 + 500_000, "never over the limit and its burst")
    }
    #expect(perSecond[16..<24].allSatisfy { $0 >= 80_000 }, "the share, for the lease: \(perSecond[16..<24])")
    #expect(perSecond[100..<200].allSatisfy { (30_000...70_000).contains($0) }, "the floor: \(perSecond[100..<200])")
  }

  @Test("P25: a pod that has just used more than its share is in debt when it is alone; back again it has full rights")
  func mirroring() {
    let (_, notices) = coordinator(pods: 20)
    var local = pod(notices[0])
    for number in 0..<100 { local.mirror(request(UInt64(number), client: "pod0", input: 1_000), now: at(1)) }
    local.lose(now: at(2))
    _ = local.budget.submit(request(1_000, client: "pod0", input: 1_000), now: at(2))
    #expect(local.advance(now: at(2)).isEmpty)
    let back = local.connect(now: at(3))
    #expect(!local.isAlone)
    #expect(back.waiting == [GrantID(client: "pod0", number: 1_000)])
    #expect(back.outstanding.count == 100)
    #expect(back.share == notices[0].share)
    #expect(local.advance(now: at(100)).isEmpty)
  }

  @Test("A coordinator keeps free what a lost pod may use alone, until it is gone for good")
  func lostShareIsKeptFree() {
    var (budget, _) = coordinator(pods: 2)
    func inflow() -> Int64 { budget.units(.inputTokens, at: at(11)) - budget.units(.inputTokens, at: at(10)) }
    _ = budget.submit(request(1, client: "pod0", input: 3_000_000), now: at(10))
    _ = budget.advance(now: at(10))
    #expect(inflow() == 100_000)
    budget.disconnect(client: "pod1", now: at(10))
    #expect(inflow() == 50_000)
    budget.remove(client: "pod1", now: at(10))
    #expect(inflow() == 100_000)
  }

  @Test("A new coordinator grants no more than connected pods bring with them for one lease, then everything")
  func learning() {
    let (_, notices) = coordinator(pods: 20)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    budget.startLearning(now: .zero)
    for notice in notices.prefix(10) {
      budget.connect(
        client: notice.client, fleet: "f", share: notice.share,
        outstanding: [
          AdoptedGrant(request: request(1, client: notice.client, input: 5_000, output: 500), age: .seconds(3))
        ],
        now: .zero)
      // A second hello changes nothing.
      budget.connect(
        client: notice.client, fleet: "f", share: notice.share,
        outstanding: [
          AdoptedGrant(request: request(1, client: notice.client, input: 5_000, output: 500), age: .seconds(3))
        ],
        now: .zero)
    }
    #expect(budget.outstandingCount == 10)
    #expect(budget.totalCharged(.inputTokens) == 0)
    #expect(budget.shares(now: at(1)).isEmpty, "nobody's share changes while it learns")
    for number in 0..<10_000 {
      _ = budget.submit(request(UInt64(100 + number), client: "pod0", input: 1_000), now: .zero)
    }
    let learning = budget.run(from: .zero, to: at(14.999)).count
    #expect((740...755).contains(learning), "ten of twenty shares: 50,000 a second, not \(learning)")
    #expect(budget.report(now: at(14.9)).isLearning)
    let after = budget.run(from: at(15), to: at(25)).count
    #expect((980...1_060).contains(after), "\(after)")
    #expect(budget.shares(now: at(25)).count == 10)
  }

  @Test(
    "A fleet that was at work goes on at its rate after a failover; one that was idle grows by the ramp",
    arguments: [true, false])
  func rampAfterFailover(wasAtWork: Bool) {
    var configuration = self.configuration
    configuration.ramp = RampPolicy()
    let (_, notices) = coordinator(pods: 20)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    budget.startLearning(now: .zero)
    for notice in notices {
      let open = AdoptedGrant(request: request(1, client: notice.client, input: 1_000), age: .seconds(3))
      budget.connect(
        client: notice.client, fleet: "f", share: notice.share, outstanding: wasAtWork ? [open] : [], now: .zero)
    }
    for number in 0..<10_000 {
      _ = budget.submit(request(UInt64(100 + number), client: "pod0", input: 1_000), now: .zero)
    }
    _ = budget.run(from: .zero, to: at(20))
    let granted = budget.run(from: at(20), to: at(30)).count
    // A second of the limit is 100 requests; the ramp begins at half of it.
    #expect(wasAtWork ? granted >= 980 : granted < 700, "\(granted)")
  }

  @Test("It goes on at its rate as well when the new coordinator learns the limit only afterwards, from headers")
  func rampAfterFailoverWithLearnedLimit() {
    var configuration = self.configuration
    configuration.ramp = RampPolicy()
    let (_, notices) = coordinator(pods: 20)
    configuration.limits = .limits()
    configuration.assumedLimits = .limits(input: 30_000)
    var budget = GroupBudget(configuration: configuration, now: .zero)
    budget.startLearning(now: .zero)
    for notice in notices {
      budget.connect(
        client: notice.client, fleet: "f", share: notice.share,
        outstanding: [AdoptedGrant(request: request(1, client: notice.client, input: 1_000), age: .seconds(3))],
        now: .zero)
    }
    for number in 0..<10_000 {
      _ = budget.submit(request(UInt64(100 + number), client: "pod0", input: 1_000), now: .zero)
    }
    _ = budget.run(from: .zero, to: at(5))
    var headers = RateHeaders(date: WallTime(milliseconds: 1_790_000_005_000))
    headers.readings.inputTokens = .init(limit: 6_000_000)
    budget.observe(headers, now: at(5))
    _ = budget.run(from: at(5), to: at(20))
    let granted = budget.run(from: at(20), to: at(30)).count
    #expect(granted >= 980, "\(granted)")
  }

  @Test("What pods say that they have used counts, also of those that have no grant open at the moment")
  func rampAfterFailoverByUse() {
    var configuration = self.configuration
    configuration.ramp = RampPolicy()
    let (_, notices) = coordinator(pods: 20)
    for (used, least) in [(Int64(300_000), 980), (Int64(0), 0)] {
      var budget = GroupBudget(configuration: configuration, now: .zero)
      budget.startLearning(now: .zero)
      for notice in notices {
        let micro = used * TokenBucket.unit
        budget.connect(
          client: notice.client, fleet: "f", share: notice.share,
          used: PerDimension(requests: 0, inputTokens: micro, inputTokensTotal: 0, outputTokens: 0), now: .zero)
      }
      for number in 0..<10_000 {
        _ = budget.submit(request(UInt64(100 + number), client: "pod0", input: 1_000), now: .zero)
      }
      _ = budget.run(from: .zero, to: at(20))
      let granted = budget.run(from: at(20), to: at(30)).count
      #expect(granted >= least && (least > 0 || granted < 700), "\(granted)")
    }
  }

  @Test("A pod remembers what it used before the coordinator was lost, for ten minutes")
  func usedLately() {
    let (_, notices) = coordinator(pods: 20)
    var pod = pod(notices[0])
    for number in 0..<50 { pod.mirror(request(UInt64(number), client: "pod0", input: 1_000), now: at(Double(number))) }
    let before = pod.usedLately(now: at(50)).inputTokens
    #expect(before > 40_000 * TokenBucket.unit)
    pod.lose(now: at(50))
    pod.lose(now: at(200))
    #expect(pod.usedLately(now: at(300)).inputTokens == before)
    #expect(pod.usedLately(now: at(651)).inputTokens == 0)
    _ = pod.connect(now: at(300))
    #expect(pod.usedLately(now: at(300)).inputTokens == 0, "with the coordinator only the last minute counts")
  }

  @Test("A new coordinator without any pod's memory still grants a little")
  func learningNeverStandsStill() {
    var budget = GroupBudget(configuration: configuration, now: .zero)
    budget.startLearning(now: .zero)
    budget.connect(client: "new", fleet: "f", now: .zero)
    _ = budget.submit(request(1, client: "new", input: 1_000), now: .zero)
    #expect(budget.run(from: .zero, to: at(1)).count == 1)
  }
}
