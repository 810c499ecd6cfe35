import KubernetesCore
import ScalingAPI
import ScalingDecision
import SlowTests
import Testing

@testable import ScalingController

/// One row of the table of production trouble (cases/decisions.md) that takes its course over several passes.
///
/// The same rows on the pure core are in `DecisionCaseTests`; here they go through the whole controller. What workers and
/// budgets report (D01–D05, D07, D39–D45, D47) comes from `ScriptedReports`; D46 is between two fleets, in RateBudget's
/// tests.
struct LoopCase: Sendable, CustomTestStringConvertible {
  let id: String
  let situation: String
  /// Takes many seconds.
  let isSlow: Bool
  let check: @Sendable () async throws -> Void
  var testDescription: String { "\(id) \(situation)" }

  init(
    _ id: String, _ situation: String, isSlow: Bool = false, _ check: @escaping @Sendable () async throws -> Void
  ) {
    self.id = id
    self.situation = situation
    self.isSlow = isSlow
    self.check = check
  }
}

@Suite("The cases of production trouble, through the controller's loop")
struct LoopCaseTests {
  static let cases = podCases + sourceCases + historyCases + writerCases + workerCases + budgetCases

  @Test(
    "The loop gives the right answer to each case",
    arguments: cases.filter { !$0.isSlow })
  func rightAnswer(_ row: LoopCase) async throws { try await row.check() }

  @Test(
    "The loop gives the right answer to each case that takes hundreds of passes", .slow,
    arguments: cases.filter(\.isSlow))
  func rightAnswerInTheEnd(_ row: LoopCase) async throws { try await row.check() }

  @Test(
    "A resource that nobody measures is refused by a condition that says what to write",
    arguments: ["Resource", "ContainerResource"])
  func unmeasuredResource(type: String) async throws {
    let member = type == "Resource" ? "resource" : "containerResource"
    let container = type == "Resource" ? "" : #""container":"main","#
    let loop = try ControllerLoop(
      spec: LoopSpec.spec(
        #"""
        {"type":"\#(type)","\#(member)":{"name":"ephemeral-storage",\#(container)
         "target":{"type":"Utilization","averageUtilization":70}}}
        """#), replicas: 10)
    try await loop.pass()
    let valid = try #require(try loop.condition("Valid"))
    #expect(valid.status == "False" && valid.reason == "InvalidSpec")
    #expect(valid.message.contains("spec.metrics[0].\(member).name"))
    #expect(valid.message.contains("write cpu or memory"))
    #expect(loop.writes == [])
  }

  @Test("No row stands twice in the table")
  func unique() {
    let ids = (podCases + sourceCases + historyCases + writerCases + workerCases + budgetCases).map(\.id)
    #expect(Set(ids).count == ids.count)
    #expect(ids.count >= 38)
  }
}

let podCases: [LoopCase] = [
  LoopCase("D06", "a worker that is starting is capacity, not idleness") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand), replicas: 6)
    loop.pods = { replicas, _ in
      FakePod.ready(5, percent: 80)
        + (5..<max(replicas, 5)).map {
          FakePod(name: FakePod.name($0), phase: "Pending", isReady: false, age: .seconds(40))
        }
    }
    try await loop.run(until: .seconds(60))
    #expect(loop.writes == [])
  },
  LoopCase("D08", "a rollout's surge changes nothing in 40 passes") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand), replicas: 100)
    loop.pods = { _, now in
      // One of the 25 new workers becomes ready each 30 s and takes its part of the load; the rest burn while they start.
      let ready = min(25, Int((now - LoopTime.start).components.seconds / 30))
      let percent = Int64(7700 / (100 + ready))
      let grown = (0..<ready).map { number in
        let since = now - (LoopTime.start + .seconds(30 * (number + 1)))
        return FakePod(name: FakePod.name(100 + number), age: since + .seconds(5), cpuMilli: percent * 10)
      }
      let starting = (ready..<25).map {
        FakePod(name: FakePod.name(100 + $0), isReady: false, age: .seconds(20), cpuMilli: 2000)
      }
      return FakePod.ready(100, percent: percent) + grown + starting
    }
    for _ in 0..<40 {
      let pass = try await loop.pass()
      #expect(pass.plan?.desiredReplicas == 100)
    }
    #expect(loop.writes == [])
  },
  LoopCase("D12", "terminating workers don't count") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand), replicas: 10)
    loop.pods = { _, _ in
      FakePod.ready(10, percent: 80)
        + (10..<15).map { FakePod(name: FakePod.name($0), isDeleting: true, cpuMilli: 0) }
    }
    try await loop.run(until: .seconds(60))
    #expect(loop.writes == [])
    let metric = try #require(try loop.cluster.autoscaler().status?.currentMetrics?.first)
    #expect(metric.resource?.current?.averageUtilization == 80)
  },
  LoopCase("D13", "evicted workers don't count") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand), replicas: 10)
    loop.pods = { replicas, _ in
      FakePod.ready(replicas, percent: Int64(950 / replicas))
        + (50..<80).map { FakePod(name: FakePod.name($0), phase: "Failed", isReady: false) }
    }
    try await loop.run(until: .seconds(60))
    #expect(loop.writes == [12])
  },
  LoopCase("D14", "pending workers don't hold up a shrink, which goes at the configured rate") {
    let behavior = LoopSpec.behavior(downPolicies: #"{"type":"Pods","value":3,"periodSeconds":60}"#)
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand, behavior: behavior), replicas: 20)
    loop.pods = { replicas, _ in
      FakePod.ready(min(replicas, 8), percent: 10)
        + (8..<max(replicas, 8)).map {
          FakePod(name: FakePod.name($0), phase: "Pending", isReady: false, age: .seconds(30))
        }
    }
    try await loop.run(until: .seconds(400))
    #expect(loop.writes == [17, 14, 11, 8, 5])
    #expect(zip(loop.writeTimes, loop.writeTimes.dropFirst()).allSatisfy { $1 - $0 == 60 })
  },
  LoopCase("D15", "a full cluster gets no further workers, and the condition says so") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand, LoopSpec.asking()), replicas: 20)
    loop.set("tasks", .number("40"))
    loop.pods = { _, now in
      let waiting = Duration.seconds(50) + (now - LoopTime.start)
      return FakePod.ready(8, percent: 120)
        + (8..<20).map {
          FakePod(name: FakePod.name($0), phase: "Pending", isReady: false, isScheduled: false, age: waiting)
        }
    }
    loop.time.advance(to: .seconds(11))
    try await loop.run(until: .seconds(90))
    #expect(loop.writes == [])
    let condition = try #require(try loop.condition("CapacityLimited"))
    #expect(condition.status == "True" && condition.reason == "MissingCapacity")
    #expect(condition.message.contains("12"))
  },
  LoopCase("D26", "what starting workers burn causes no growth") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpu(percent: 30), min: 1), replicas: 3)
    loop.pods = { replicas, now in
      FakePod.ready(3, percent: 40)
        + (3..<max(replicas, 3)).map { number in
          let age = now - LoopTime.start
          return FakePod(
            name: FakePod.name(number), isReady: age > .seconds(60), age: age > .seconds(60) ? age - .seconds(55) : age,
            cpuMilli: age > .seconds(60) ? 0 : 2000)
        }
    }
    try await loop.run(until: .seconds(75))
    #expect(loop.writes == [4])
  },
  LoopCase("D27", "a moment in which no worker is ready isn't a moment without load") {
    let metric =
      #"{"type":"External","external":{"metric":{"name":"latency"},"target":{"type":"Value","value":"1"}}}"#
    let loop = try ControllerLoop(spec: LoopSpec.spec(metric), replicas: 40)
    loop.set("latency", .number("5"))
    loop.pods = { replicas, _ in (0..<replicas).map { FakePod(name: FakePod.name($0), isReady: false) } }
    try await loop.run(until: .seconds(45))
    #expect(loop.writes == [])
  },
  LoopCase("D32", "no use means the minimum, with one write in 100 passes") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand, min: 15), replicas: 20)
    loop.pods = { replicas, _ in FakePod.ready(replicas, percent: 0) }
    for _ in 0..<100 { try await loop.pass() }
    #expect(loop.writes == [15])
  },
  LoopCase("D29", "a load that walks through the band moves nothing; beyond its edges it does, to inside the band") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.cpuBand), replicas: 20)
    loop.pods = { replicas, now in
      // From 70 % to 85 % of 20 workers, a step a minute; then 86 %, and after ten minutes of that 69 % of 20.
      let minute = (now - LoopTime.start).components.seconds / 60
      let total = minute < 16 ? 20 * (700 + 10 * minute) : minute < 26 ? 20 * 860 : 20 * 690
      return (0..<replicas).map { FakePod(name: FakePod.name($0), cpuMilli: total / Int64(replicas)) }
    }
    try await loop.run(until: .seconds(16 * 60))
    #expect(loop.writes == [])
    try await loop.run(until: .seconds(36 * 60))
    #expect(loop.writes.count == 2)
    for (count, total) in zip(loop.writes, [Int64(17_200), 13_800]) {
      #expect((700...850).contains(total / Int64(count)))
    }
  },
]

let sourceCases: [LoopCase] = [
  LoopCase("D16", "an unknown demand never shrinks, however long") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking(), LoopSpec.cpuBand), replicas: 30)
    loop.set("tasks", .number("12"))
    loop.cluster.with { $0.hasPodMetrics = false }
    for _ in 0..<20 { try await loop.pass() }
    #expect(loop.writes == [])
    #expect(try loop.cluster.autoscaler().status?.bindingStep == "unknownMetric")
  },
  LoopCase("D17", "an unknown ceiling never grows") {
    let budget = #"{"type":"APIRate","apiRate":{"budgetRef":{"name":"claude"},"target":{"lower":85,"upper":95}}}"#
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking(), budget), replicas: 30)
    loop.set("tasks", .number("40"))
    for _ in 0..<20 { try await loop.pass() }
    #expect(loop.writes == [])
    #expect(try loop.cluster.autoscaler().status?.bindingStep == "unknownMetric")
  },
  LoopCase("D18", "an unknown demand doesn't keep others from growing") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking(), LoopSpec.cpuBand), replicas: 30)
    loop.set("tasks", .number("40"))
    loop.cluster.with { $0.hasPodMetrics = false }
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [40])
  },
  LoopCase("D19", "an outage of all sources moves nothing in 20 passes, or goes to the fallback once") {
    for (fallback, right) in [("", []), (#""fallback":{"failureThreshold":3,"replicas":50}"#, [50])] {
      let loop = try ControllerLoop(
        spec: LoopSpec.spec(LoopSpec.asking(), LoopSpec.query("q"), more: fallback), replicas: 40)
      loop.set("tasks", .refused)
      loop.set("q", .refused)
      for _ in 0..<20 { try await loop.pass() }
      #expect(loop.writes == right)
      let active = try #require(try loop.condition("ScalingActive"))
      #expect(active.status == "False" || !right.isEmpty)
    }
  },
  LoopCase("D20", "a collapse within one sample is confirmed first") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking(), max: 60), replicas: 60)
    for value in ["80", "80", "0", "0", "80"] {
      loop.set("tasks", .number(value))
      try await loop.pass()
    }
    #expect(loop.writes == [])
    let fall = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.asking()), replicas: 60)
    for value in ["60", "0", "0", "0"] {
      fall.set("tasks", .number(value))
      try await fall.pass()
    }
    #expect(fall.writes == [5])
  },
  LoopCase("D21", "what is no number is unknown each time, from either source") {
    let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.query("q"), LoopSpec.asking()), replicas: 30)
    loop.set("tasks", .number("5"))
    let answers: [FakeCluster.Source] = [
      .answer(500, "internal error"), .answer(200, ""), .number("NaN"), .number("-1"), .number("1e300"),
      .answer(200, "null"), .answer(200, "{"), .number("+Inf"), .refused, .empty,
    ]
    for answer in answers {
      loop.set("q", answer)
      let pass = try await loop.pass()
      #expect(pass.plan?.proposals.first?.replicas == nil, "\(answer)")
      #expect(pass.plan?.desiredReplicas == 30, "\(answer)")
    }
    loop.set("q", .number("5"))
    for answer in [FakeCluster.Source.answer(500, ""), .answer(200, ""), .number("x"), .number("-1"), .refused, .empty]
    {
      loop.set("tasks", answer)
      let pass = try await loop.pass()
      #expect(pass.plan?.proposals.last?.replicas == nil, "\(answer)")
    }
    #expect(loop.writes == [])
  },
  LoopCase("D22", "the fallback of one source doesn't silence the others") {
    let loop = try ControllerLoop(
      spec: LoopSpec.spec(
        LoopSpec.asking("broken"), LoopSpec.asking(), more: #""fallback":{"failureThreshold":3,"replicas":6}"#),
      replicas: 20)
    loop.set("broken", .refused)
    loop.set("tasks", .number("14"))
    for _ in 0..<5 { try await loop.pass() }
    #expect(loop.writes == [14])
    #expect(try loop.condition("Fallback")?.status == "True")
  },
  LoopCase("D23", "a permanent failure leads to the fallback, once in 60 passes") {
    for from in [3, 30] {
      let loop = try ControllerLoop(
        spec: LoopSpec.spec(LoopSpec.asking(), min: 1, more: #""fallback":{"failureThreshold":3,"replicas":5}"#),
        replicas: from)
      loop.set("tasks", .refused)
      for _ in 0..<60 { try await loop.pass() }
      #expect(loop.writes == [5], "from \(from)")
    }
  },
  LoopCase("D24", "a schedule begins to the second, also when a source is broken") {
    let loop = try ControllerLoop(
      spec: LoopSpec.spec(LoopSpec.officeHours(20), LoopSpec.asking(), LoopSpec.asking("broken")), replicas: 10)
    loop.set("tasks", .number("8"))
    loop.set("broken", .refused)
    // 9 o'clock in Berlin is an hour after the start, plus seven seconds that no sync period meets.
    loop.time.advance(to: .seconds(7))
    try await loop.run(until: .seconds(3720))
    #expect(loop.writes == [20])
    #expect(loop.writeTimes == [3600])
  },
  LoopCase("D25", "an empty reply is zero, the last value, or unknown, as asked") {
    for (policy, right) in [("Zero", 5), ("Hold", 12), ("Fail", 12)] {
      let loop = try ControllerLoop(spec: LoopSpec.spec(LoopSpec.query("q", absent: policy)), replicas: 20)
      loop.set("q", .number("12"))
      try await loop.pass()
      #expect(loop.replicas == 12)
      loop.set("q", .empty)
      for _ in 0..<5 { try await loop.pass() }
      #expect(loop.replicas == right, "\(policy)")
      let isKnown = loop.passes.last?.plan?.proposals.first?.replicas != nil
      #expect(isKnown == (policy != "Fail"))
    }
  },
]
