import KubernetesCore
import ScalingDecision
import SlowTests
import Testing

@testable import StatusPage

/// The moment at which test scenes begin.
let start = Timestamp(secondsSinceEpoch: 1_790_000_000)

/// Makes observations of passes with real plans.
enum Scene {
  static func key(_ name: String, in namespace: String = "agents") -> ObjectKey {
    ObjectKey(namespace: namespace, name: name)
  }

  /// A fleet of `count` whose backlog asks for `demand`, and whose budget allows `allowed` (nil: no ceiling).
  static func record(
    _ key: ObjectKey, count: Int, demand: Int, allowed: Int? = nil, at now: Timestamp, workers: Int? = nil
  ) -> DecisionRecord {
    var metrics = [MetricSpec(name: "backlog", source: .backlog, target: .averageValue(milli: 1000))]
    var readings: [MetricReading] = [.backlog(BacklogReport(queued: Int64(demand), inFlight: 0))]
    if let allowed {
      metrics.append(MetricSpec(name: "API", source: .apiRate, target: .utilizationBand(lower: 85, upper: 95)))
      // The load of `count` workers is such that `allowed` of them would be at the upper edge.
      readings.append(
        .budget(
          BudgetReport(loads: [
            .init(.outputTokens, limit: 100_000, offered: Int64(95_000 * count / max(allowed, 1)))
          ])))
    }
    let spec = DecisionSpec(minReplicas: 1, maxReplicas: 100, metrics: metrics)
    let input = DecisionInput(
      now: now, specReplicas: count, statusReplicas: count,
      workers: (0..<(workers ?? count)).map { number in
        WorkerObservation(
          name: "\(key.name)-6f9c7d58b4-\(String(number + 46_656, radix: 36))",
          readiness: .init(isReady: true, since: now - .seconds(600)), createdAt: now - .seconds(900),
          startedAt: now - .seconds(890),
          requests: WorkerRequests(containers: [.init(name: "worker", cpu: 1000, memory: 1000)]))
      }, readings: readings)
    return DecisionRecord(
      program: "test", namespace: key.namespace, name: key.name, spec: spec, stateBefore: DecisionState(),
      input: input, plan: ScalingDecision.decide(spec, DecisionState(), input))
  }

  static func observation(_ record: DecisionRecord, signature: Int) -> PageModel.Observation {
    PageModel.Observation(
      key: ObjectKey(namespace: record.namespace, name: record.name), at: record.input.now,
      target: "Deployment/\(record.name)", plan: record.plan, ready: record.input.specReplicas, inFlight: 3,
      hasWritten: record.plan.write != nil, signature: signature)
  }

  static func budget(_ key: ObjectKey, used: Int64, rejected: Int64 = 0) -> BudgetSample {
    BudgetSample(
      key: key,
      dimensions: [
        .init(
          name: .outputTokens, limit: 1000, admitted: used, waiting: 0, foreign: 0, lowerPercent: 85, upperPercent: 95,
          source: "spec")
      ], waitP95Milliseconds: 12, rejectedForRate: rejected)
  }
}

@Suite struct PageModelTests {
  @Test("A pass gives a point with what was observed, asked for, allowed and decided")
  func point() throws {
    var model = PageModel()
    let key = Scene.key("reviewers")
    let record = Scene.record(key, count: 10, demand: 30, allowed: 10, at: start)
    model.note(Scene.observation(record, signature: 1), record: try record.line())
    let fleet = try #require(model.fleet(key))
    #expect(fleet.last.current.value == record.plan.write ?? 10)
    #expect(fleet.last.demand.value == 30)
    #expect(fleet.last.allowed.value == record.plan.proposals[1].replicas)
    #expect(fleet.last.desired.value == record.plan.desiredReplicas)
    #expect(fleet.series.points.count == 1)
    #expect(fleet.step == record.plan.bindingStep)
    #expect(model.decisions.newest(5).map(\.words) == [record.plan.logLine(name: "reviewers")])
  }

  @Test("A pass that says nothing new adds no point within a minute, and no decision ever")
  func sameAgain() throws {
    var model = PageModel()
    let key = Scene.key("reviewers")
    for seconds in stride(from: 0, through: 120, by: 15) {
      let record = Scene.record(key, count: 10, demand: 10, at: start + .seconds(seconds))
      model.note(Scene.observation(record, signature: 1), record: [])
    }
    #expect(model.fleet(key)?.series.points.map(\.at) == [0, 60, 120].map { start.pageSeconds + $0 })
    #expect(model.decisions.entries.count == 1)
  }

  @Test("Workers that our writes took away are counted, those of refused writes and of growth aren't")
  func removed() throws {
    var model = PageModel()
    let key = Scene.key("reviewers")
    func pass(_ count: Int, to write: Int?, hasWritten: Bool = true, seconds: Int) throws -> String {
      let record = Scene.record(key, count: count, demand: count, at: start + .seconds(seconds))
      var observation = Scene.observation(record, signature: seconds)
      observation.plan?.write = write
      observation.hasWritten = hasWritten
      observation.removedBusy = 1
      observation.lostWork = 2
      model.note(observation, record: [])
      var json = JSONText()
      try #require(model.fleet(key)).write(to: &json) { _ in "" }
      return String(decoding: json.bytes, as: UTF8.self)
    }
    #expect(try pass(10, to: 30, seconds: 0).contains("\"removed\":0,\"removedBusy\":1,\"lostWork\":2"))
    #expect(try pass(10, to: 6, hasWritten: false, seconds: 60).contains("\"removed\":0,"))
    #expect(try pass(10, to: 6, seconds: 120).contains("\"removed\":4,"))
    #expect(try pass(6, to: nil, hasWritten: false, seconds: 150).contains("\"removed\":4,"))
    #expect(try pass(6, to: 5, seconds: 180).contains("\"removed\":5,"))
  }

  @Test("A trouble stands in the list once, and the fleet shows it until it is over")
  func trouble() {
    var model = PageModel()
    let key = Scene.key("reviewers")
    func pass(_ trouble: String?, signature: Int) {
      model.note(
        .init(key: key, at: start, target: "", plan: nil, trouble: trouble, signature: signature), record: [])
    }
    pass("can't read Deployment/reviewers", signature: 1)
    pass("can't read Deployment/reviewers", signature: 1)
    #expect(model.decisions.entries.map(\.words) == ["can't read Deployment/reviewers"])
    #expect(model.fleet(key)?.isTroubled == true)
    #expect(model.fleet(key)?.step == nil)
    let record = Scene.record(key, count: 4, demand: 4, at: start)
    model.note(Scene.observation(record, signature: 2), record: [])
    #expect(model.fleet(key)?.isTroubled == false)
  }

  @Test("An autoscaler that is gone is forgotten, and who follows is told")
  func forget() {
    var model = PageModel()
    let record = Scene.record(Scene.key("a"), count: 4, demand: 4, at: start)
    model.note(Scene.observation(record, signature: 1), record: [])
    let before = model.revision
    model.forget(Scene.key("a"))
    model.forget(Scene.key("never-there"))
    #expect(model.fleets.isEmpty)
    #expect(model.gone.map(\.key) == [Scene.key("a")])
    #expect(model.gone.allSatisfy { $0.revision > before })
    for number in 0..<600 {
      let key = Scene.key("f\(number)")
      let record = Scene.record(key, count: 4, demand: 4, at: start)
      model.note(Scene.observation(record, signature: 1), record: [])
      model.forget(key)
    }
    #expect(model.gone.count <= 256)
    #expect(model.forgottenRevision > 0)
  }

  @Test("With 1,000 autoscalers, 100 budgets and everything changing all the time it takes at most 1 MB", .slow)
  func bounds() throws {
    var model = PageModel()
    let names = (0..<1000).map { Scene.key("fleet-with-a-long-name-\($0)", in: "namespace-of-team-\($0 % 40)") }
    for step in 0..<40 {
      let now = start + .seconds(15 * step)
      for (index, key) in names.enumerated() {
        let record = Scene.record(key, count: 5 + (step + index) % 40, demand: 5 + (step * 7 + index) % 60, at: now)
        // Every tenth pass is news, which is far more than fleets ever have.
        let isNews = (step + index) % 10 == 0
        var observation = Scene.observation(record, signature: isNews ? step : 0)
        observation.hasWritten = isNews
        model.note(
          observation,
          record: isNews ? try (model.keepsWorkers(of: observation) ? record : record.withoutWorkers).line() : [])
      }
      model.note(
        (0..<100).map { Scene.budget(Scene.key("budget-of-team-\($0)"), used: Int64((step * 13 + $0) % 1000)) }, at: now
      )
      #expect(model.byteCount <= 1_000_000, "step \(step)")
    }
    #expect(model.fleets.count == 1000)
    #expect(model.fleets.allSatisfy { $0.series.points.count >= 8 }, "a history that shows nothing is none")
    #expect(model.decisions.entries.count > 50)
  }

  @Test("A few fleets keep hundreds of points and whole records, in the same megabyte", .slow)
  func fewFleets() throws {
    var model = PageModel()
    let key = Scene.key("reviewers")
    for step in 0..<2000 {
      let record = Scene.record(key, count: 5 + step % 90, demand: 5 + step * 7 % 90, at: start + .seconds(15 * step))
      model.note(Scene.observation(record, signature: step), record: try record.line())
    }
    #expect(model.byteCount <= 1_000_000)
    let points = try #require(model.fleet(key)).series.points
    #expect(points.count > 300 && points.count <= 480)
    #expect(points.first?.at == start.pageSeconds, "the oldest point stays: the span grows")
    #expect(zip(points, points.dropFirst()).allSatisfy { $0.at < $1.at })
    let kept = model.decisions.entries
    #expect(kept.last?.isAbridged == false)
    #expect(kept.last.map { !$0.record.isEmpty } == true)
    #expect(kept.contains { $0.isAbridged }, "older records lose their workers first")
    for entry in kept where !entry.record.isEmpty {
      let record = try DecisionRecord(line: entry.record)
      #expect(record.plan.logLine(name: "reviewers") == entry.words)
    }
  }

  @Test("A record of many workers, or of one fleet among many, is kept without them and says so")
  func abridged() throws {
    var limits = PageModel.Limits()
    limits.fleetsWithWholeRecords = 2
    var model = PageModel(limits: limits)
    func whole(_ name: String, count: Int) throws -> Bool {
      let record = Scene.record(Scene.key(name), count: count, demand: count, at: start)
      let observation = Scene.observation(record, signature: model.fleets.count)
      let withWorkers = model.keepsWorkers(of: observation)
      model.note(observation, record: try (withWorkers ? record : record.withoutWorkers).line())
      let entry = try #require(model.decisions.entries.last)
      #expect(entry.isAbridged == !withWorkers)
      #expect(try DecisionRecord(line: entry.record).input.workers.count == (withWorkers ? count : 0))
      return withWorkers
    }
    #expect(try whole("a", count: 90))
    #expect(try !whole("b", count: 121))
    #expect(try whole("c", count: 5))
    #expect(try !whole("d", count: 5))
  }

  @Test("More fleets than are followed are said to be more")
  func tooMany() {
    var limits = PageModel.Limits()
    limits.fleets = 3
    var model = PageModel(limits: limits)
    for number in 0..<5 {
      let record = Scene.record(Scene.key("f\(number)"), count: 4, demand: 4, at: start)
      model.note(Scene.observation(record, signature: 1), record: [])
    }
    #expect(model.fleets.map(\.key.name) == ["f0", "f1", "f2"])
    #expect(model.isTruncated)
  }

  @Test("A clock that steps back takes the points with it that lie in the future")
  func clockStepsBack() {
    var series = BoundedSeries<BudgetPoint>()
    for seconds in [100, 110, 120] {
      series.append(BudgetPoint(Scene.budget(Scene.key("b"), used: Int64(seconds)), at: UInt32(seconds)), quota: 10)
    }
    series.append(BudgetPoint(Scene.budget(Scene.key("b"), used: 7), at: 105), quota: 10)
    #expect(series.points.map(\.at) == [100, 105])
  }

  @Test("Thinning keeps the peaks and the latest points", arguments: [2, 3, 8, 31])
  func thinning(quota: Int) {
    var series = BoundedSeries<BudgetPoint>()
    for seconds in 0..<500 {
      let used = Int64(seconds == 250 ? 990 : seconds % 7)
      series.append(BudgetPoint(Scene.budget(Scene.key("b"), used: used), at: UInt32(seconds)), quota: quota)
      #expect(series.points.count <= max(quota, 2))
    }
    #expect(series.points.last?.at == 499)
    if quota >= 8 { #expect(series.points.contains { $0.outputTokens.value == 990 }) }
    series.thin(to: 2)
    #expect(series.points.count == 2)
  }

  @Test("Budgets that aren't named any more are gone, and a new leadership begins with nothing")
  func budgetsAndReset() {
    var model = PageModel()
    model.note([Scene.budget(Scene.key("b"), used: 1), Scene.budget(Scene.key("a"), used: 2)], at: start)
    #expect(model.budgets.map(\.sample.key.name) == ["a", "b"])
    model.note([Scene.budget(Scene.key("b"), used: 3)], at: start + .seconds(1))
    #expect(model.budgets.map(\.sample.key.name) == ["b"])
    #expect(model.budgets.first?.series.points.count == 1, "a point each five seconds")
    #expect(model.budgets.first?.sample.dimensions.first?.admitted == 3, "the present is always new")
    let revision = model.revision
    model.reset()
    #expect(model.budgets.isEmpty && model.fleets.isEmpty && model.decisions.entries.isEmpty)
    #expect(model.revision > revision && model.forgottenRevision == model.revision)
  }

  @Test("A count that doesn't fit or isn't known is told from others")
  func counts() {
    #expect(CompactCount(nil as Int?).value == nil)
    #expect(CompactCount(-3).value == 0)
    #expect(CompactCount(1_000_000).value == 65_534)
    #expect(CompactCount(65_534).value == 65_534)
  }

  @Test("Long words are cut at the border of a character")
  func longWords() {
    let cut = String(repeating: "é", count: 2000).cut(toBytes: 101)
    #expect(cut.utf8.count <= 101)
    #expect(cut.hasSuffix("é…"))
    #expect("short".cut(toBytes: 101) == "short")
  }

  @Test("The steps name the one that had the last word, and leave no reason unsaid")
  func steps() throws {
    let key = Scene.key("reviewers")
    let plan = Scene.record(key, count: 10, demand: 40, allowed: 10, at: start).plan
    let steps = DecisionSteps(plan).steps
    #expect(steps.map(\.key) == DecisionSteps.Key.allCases)
    #expect(steps.count { $0.isBinding } == 1)
    let all = steps.flatMap(\.lines)
    for index in plan.proposals.indices { #expect(all.contains(plan.words(for: index))) }
    #expect(all.filter { $0.isEmpty }.isEmpty)
    let demand = try #require(steps.first { $0.key == .demand })
    #expect(demand.lines.contains("backlog wins with 40"))
  }
}
