import KubernetesCore
import ScalingDecision
import Testing

@testable import UserCommands

/// Collects what a command writes.
final class Recorder {
  var lines: [String] = []
  var remarks: [String] = []
  var output: CommandOutput { CommandOutput(write: { self.lines.append($0) }, remark: { self.remarks.append($0) }) }
}

/// Decision logs for tests.
enum Log {
  static let start = Timestamp(secondsSinceEpoch: 1_790_000_000)

  /// A fleet of `count` ready workers that each use `percent` of their request of one core.
  static func input(_ count: Int, percent: Int64, now: Timestamp = start) -> DecisionInput {
    let workers = (0..<count).map { index in
      WorkerObservation(
        name: "w-\(index)", readiness: .init(isReady: true, since: now - .seconds(3000)),
        createdAt: now - .seconds(3600), startedAt: now - .seconds(3600),
        requests: WorkerRequests(containers: [.init(name: "main", cpu: 1000, memory: 1000)]))
    }
    let samples = workers.map { WorkerSample(worker: $0.name, milli: percent * 10, at: now, window: .seconds(30)) }
    return DecisionInput(
      now: now, specReplicas: count, statusReplicas: count, workers: workers, readings: [.perWorker(samples)])
  }

  static func spec(_ target: MetricTarget = .utilizationBand(lower: 70, upper: 85)) -> DecisionSpec {
    DecisionSpec(
      minReplicas: 5, maxReplicas: 100,
      metrics: [MetricSpec(name: "cpu", source: .resource(.cpu), target: target)])
  }

  /// Decisions of a fleet whose load rises, each remembered for the next.
  static func records(
    _ name: String = "reviewers", target: MetricTarget = .utilizationBand(lower: 70, upper: 85),
    percents: [Int64] = [75, 95, 80, 60]
  ) -> [DecisionRecord] {
    var (records, state, count, now): ([DecisionRecord], _, _, _) = ([], DecisionState(), 8, start)
    for percent in percents {
      let input = input(count, percent: percent, now: now)
      let plan = ScalingDecision.decide(spec(target), state, input)
      records.append(
        DecisionRecord(
          program: "test", namespace: "prod", name: name, spec: spec(target), stateBefore: state, input: input,
          plan: plan))
      state = plan.state
      count = plan.write ?? count
      now = now + .seconds(15)
    }
    return records
  }

  static func bytes(_ records: [DecisionRecord]) throws -> [UInt8] {
    try records.flatMap { try $0.line() }
  }

  /// A reader that gets `bytes` in chunks of `size`.
  static func reader(_ bytes: [UInt8], chunk size: Int = 1 << 20) -> LineReader {
    var rest = bytes[...]
    return LineReader { () throws(KubernetesError) -> [UInt8]? in
      guard !rest.isEmpty else { return nil }
      let chunk = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      return chunk
    }
  }
}

@Suite("Replay")
struct ReplayTests {
  private func run(_ bytes: [UInt8], _ replay: Replay = Replay()) throws -> (Replay.Ending, Recorder) {
    let recorder = Recorder()
    var lines = Log.reader(bytes)
    return (try replay.run(&lines, size: bytes.count, to: recorder.output), recorder)
  }

  @Test("A log decides the same again")
  func equal() throws {
    let (ending, recorder) = try run(Log.bytes(Log.records()))
    #expect(ending == .equal)
    #expect(recorder.lines == ["4 decisions replayed, all equal"])
  }

  @Test("The first difference is shown with line, field and both values, and ends the replay")
  func different() throws {
    var records = Log.records()
    records[1].plan.write = 77
    records[2].plan.write = 78
    let (ending, recorder) = try run(Log.bytes(records))
    #expect(ending == .different)
    #expect(recorder.lines[0].hasPrefix("line 2: prod/reviewers at "))
    #expect(recorder.lines[1] == "  field:    plan.write")
    #expect(recorder.lines[2] == "  recorded: 77")
    #expect(recorder.lines[3] == "  replayed: 10")
    #expect(!recorder.lines.contains { $0.contains("78") })
  }

  @Test("Broken lines are reported by number, the others are replayed")
  func broken() throws {
    var bytes = try Log.bytes(Log.records())
    let cut = try #require(bytes.firstIndex(of: UInt8(ascii: "\n")))
    bytes.insert(contentsOf: Array("{\"version\":1,\n\n".utf8), at: cut + 1)
    let (ending, recorder) = try run(bytes + Array("{".utf8))
    #expect(ending == .unreadable)
    #expect(recorder.remarks.count == 2)
    #expect(recorder.remarks[0].hasPrefix("line 2: ") && recorder.remarks[1].hasPrefix("line 7: "))
    #expect(recorder.lines == ["4 decisions replayed, all equal; 2 lines can't be read"])
  }

  @Test("Another autoscaler's decisions are passed over, even where they differ")
  func filter() throws {
    var others = Log.records("indexers")
    others[0].plan.write = 77
    let (ending, recorder) = try run(Log.bytes(others + Log.records()), Replay(autoscaler: "prod/reviewers"))
    #expect(ending == .equal)
    #expect(recorder.lines == ["4 decisions replayed, all equal; 4 decisions of other autoscalers passed over"])
  }

  @Test("With explanations each decision is one line of words")
  func explanation() throws {
    let (_, recorder) = try run(Log.bytes(Log.records()), Replay(explains: true))
    #expect(recorder.lines.count == 5)
    #expect(recorder.lines[1].contains("prod/reviewers: scaled reviewers 8→10: cpu wants 10"))
  }

  @Test("Progress is told on big inputs")
  func progress() throws {
    var replay = Replay()
    replay.progressBytes = 1
    let recorder = Recorder()
    var lines = Log.reader(try Log.bytes(Log.records()), chunk: 4096)
    _ = try replay.run(&lines, size: nil, to: recorder.output)
    #expect(recorder.remarks.count > 1)
    #expect(recorder.remarks.allSatisfy { $0.hasPrefix("… 0 MiB, ") })
  }

  @Test("Lines come out whole whatever the size of the chunks", arguments: [1, 2, 3, 7, 100])
  func chunks(size: Int) throws {
    var reader = Log.reader(Array("one\n\ntwo three\nlast".utf8), chunk: size)
    var lines: [String] = []
    var numbers: [Int] = []
    while let line = try reader.next() {
      lines.append(String(decoding: line.bytes, as: UTF8.self))
      numbers.append(line.number)
    }
    #expect(lines == ["one", "", "two three", "last"])
    #expect(numbers == [1, 2, 3, 4])
  }
}

@Suite("Comparison with the HPA")
struct HPAComparisonTests {
  private func compare(_ records: [DecisionRecord]) throws -> HPAComparison.Report {
    var lines = Log.reader(try Log.bytes(records))
    return try HPAComparison().compare(&lines, to: Recorder().output)
  }

  @Test("Where the target is an HPA's own, both grow alike")
  func alike() throws {
    let report = try compare(Log.records(target: .utilization(percent: 70), percents: [70, 90]))
    #expect(report.compared == 2)
    #expect(report.rows.isEmpty, "\(report.rows)")
    #expect(report.translations.isEmpty)
  }

  @Test("A band counts as a target of 77 %, and that is said")
  func band() throws {
    // 84 % is inside the band, and within the HPA's tolerance of 77 %; 85 % is inside the band, but not within it.
    let report = try compare(Log.records(percents: [84, 85]))
    #expect(report.compared == 2)
    #expect(report.rows.map(\.line) == [2])
    #expect(report.rows.first?.swarmscale == 8 && report.rows.first?.hpa == 9)
    #expect(report.more == 1 && report.fewer == 0)
    #expect(report.translations.contains { $0.contains("77 %") })
  }

  @Test("A decision whose metrics no HPA has isn't compared")
  func incomparable() throws {
    var record = Log.records()[0]
    record.spec.metrics = [MetricSpec(name: "schedule", source: .schedule, target: .replicas)]
    record.input.readings = [.schedule(replicas: 9, until: nil)]
    record.plan = record.replayed()
    let report = try compare([record])
    #expect(report.compared == 0 && report.incomparable == 1)
  }

  @Test("A failed metric holds the HPA where it is")
  func failed() throws {
    var record = Log.records(target: .utilization(percent: 70))[0]
    record.input.readings = [.unavailable(.sourceFailed)]
    record.plan = record.replayed()
    let report = try compare([record])
    #expect(report.compared == 1 && report.rows.isEmpty)
  }
}
