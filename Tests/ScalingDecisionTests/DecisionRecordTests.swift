import KubernetesCore
import Testing

@testable import ScalingDecision

/// A decision's record survives its JSON, and what was read back decides the same again.
func expectReplay(
  _ spec: DecisionSpec, _ state: DecisionState, _ input: DecisionInput, _ plan: Plan,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let record = DecisionRecord(
    program: "test", namespace: "ns", name: "x", spec: spec, stateBefore: state, input: input, plan: plan)
  let line = try record.line()
  #expect(
    line.last == UInt8(ascii: "\n") && line.count { $0 == UInt8(ascii: "\n") } == 1, sourceLocation: sourceLocation)
  let read = try DecisionRecord(line: line)
  #expect(read.spec == spec, sourceLocation: sourceLocation)
  #expect(read.input == input, sourceLocation: sourceLocation)
  #expect(read.stateBefore == state, sourceLocation: sourceLocation)
  let difference = try read.firstDifference(from: read.replayed())
  #expect(difference == nil, sourceLocation: sourceLocation)
}

@Suite("Decision records")
struct DecisionRecordTests {
  private static func record() -> DecisionRecord {
    let workers = Fleet.ready(6)
    let spec = DecisionSpec.plain([.cpuBand, .apiRate])
    let input = DecisionInput(
      now: start + .nanoseconds(123_456_789), specReplicas: 6, statusReplicas: 6, workers: workers,
      readings: [Fleet.cpu(workers, percent: 95), .budget(50)])
    return DecisionRecord(
      program: "1.2.3", namespace: "prod", name: "reviewers", spec: spec, stateBefore: DecisionState(), input: input,
      plan: ScalingDecision.decide(spec, DecisionState(), input))
  }

  @Test("Moments keep their nanoseconds and durations are seconds for people")
  func legible() throws {
    let json = try KubernetesJSON.decode(JSONValue.self, from: Self.record().line())
    #expect(json["time"]?.stringValue?.hasSuffix(".123456789Z") == true)
    #expect(json["version"] == 1)
    #expect(json["spec"]?["limits"]?["freshness"] == "120s")
    #expect(json["plan"]?["write"]?.intValue == 7)
    #expect(json["plan"]?["bindingStep"] == "demand")
  }

  @Test(
    "Durations survive exactly",
    arguments: [
      .zero, .seconds(300), .milliseconds(250), .milliseconds(-250), .nanoseconds(1), .seconds(Int64.max),
      .seconds(Int64.min), Duration(secondsComponent: -3, attosecondsComponent: -1),
    ] as [Duration])
  func durations(duration: Duration) {
    #expect(ExactText.duration(ExactText.text(of: duration)) == duration)
  }

  @Test(
    "Texts that are no durations are refused", arguments: ["", "s", "5", "5m", "1.s", "+1s", "1.2.3s", "1e3s", "--1s"])
  func strangeDurations(text: String) {
    #expect(ExactText.duration(text) == nil)
  }

  @Test(
    "Moments survive exactly",
    arguments: [0, 1, -1, 999_999_999, -999_999_999, .max, .min, 1_790_000_000_500_000_000] as [Int64])
  func moments(nanoseconds: Int64) throws {
    let moment = Timestamp(nanosecondsSinceEpoch: nanoseconds)
    #expect(try Timestamp(rfc3339: ExactText.text(of: moment)) == moment)
  }

  @Test("The first difference is named, what was written before all else")
  func difference() throws {
    var record = Self.record()
    let replayed = record.plan
    record.plan.write = 9
    record.plan.desiredReplicas = 9
    #expect(
      try record.firstDifference(from: replayed) == PlanDifference(path: "plan.write", recorded: "9", replayed: "7"))
    record.plan = replayed
    record.plan.proposals[1].outcome = .allows(99)
    let found = try #require(try record.firstDifference(from: replayed))
    #expect(found.path.hasPrefix("plan.proposals[1].outcome"))
    record.plan = replayed
    record.plan.state.expectedReplicas = nil
    #expect(
      try record.firstDifference(from: replayed) == PlanDifference(path: "plan.state.n", recorded: nil, replayed: "7"))
  }

  @Test("A record of another version is refused with both versions named")
  func version() throws {
    var json = try KubernetesJSON.decode(JSONValue.self, from: Self.record().line())
    json["version"] = 7
    let line = try KubernetesJSON.encode(json)
    let error = #expect(throws: KubernetesError.self) { try DecisionRecord(line: line) }
    #expect(error?.message.contains("version 7") == true && error?.message.contains("version 1") == true)
  }

  @Test("Workers and samples that stand in another order decide alike")
  func order() throws {
    let record = Self.record()
    var json = try KubernetesJSON.decode(JSONValue.self, from: record.line())
    let workers = try #require(json["input"]?["workers"]?.arrayValue)
    var input = try #require(json["input"])
    input["workers"] = .array(workers.reversed())
    json["input"] = input
    let read = try DecisionRecord(line: KubernetesJSON.encode(json))
    #expect(read.replayed() == record.plan)
  }
}
