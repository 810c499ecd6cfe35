import Testing

@testable import WorkloadTrace

private func trace(_ rows: String..., file: String = "load_10s.csv") throws -> WorkloadTrace {
  try WorkloadTrace(parsing: Array(([WorkloadTrace.header] + rows).joined(separator: "\n").utf8), file: file)
}

@Suite struct WorkloadTraceTests {
  @Test("A trace is read, with the bin's length from the file's name")
  func reads() throws {
    let trace = try trace("0,3,300,30", "10,0,0,0", "30,1,7,9\r", "", file: "some/folder/load_10s.csv")
    #expect(trace.binLength == .seconds(10))
    #expect(trace.length == .seconds(40))
    #expect(trace.requests == 4)
    #expect(trace.bins[2] == .init(start: .seconds(30), requests: 1, inputTokens: 7, outputTokens: 9))
  }

  @Test(
    "Without a name that says it the bin's length is the distance of the first two lines",
    arguments: ["load.csv", "10s.csv", "load_s.csv", "load_0s.csv"])
  func distance(file: String) throws {
    #expect(try trace("0,1,0,0", "5,1,0,0", file: file).binLength == .seconds(5))
  }

  @Test(
    "What can't be read is refused with file, line, column and fix",
    arguments: [
      ("second,requests", "load_1s.csv:1: the header must be"),
      ("\(WorkloadTrace.header)", "load_1s.csv has no line below the header"),
      ("\(WorkloadTrace.header)\n0,1,2", "load_1s.csv:2: has 3 columns, and 4 are needed"),
      ("\(WorkloadTrace.header)\n0,1,2,3\n1,x,2,3", "load_1s.csv:3: column 2 (requests): \"x\" is not a whole number"),
      ("\(WorkloadTrace.header)\n0,1,2.5,3", "load_1s.csv:2: column 3 (input_tokens): \"2.5\""),
      ("\(WorkloadTrace.header)\n0,-1,2,3", "column 2 (requests): \"-1\""),
      ("\(WorkloadTrace.header)\n0,1,2,", "column 4 (output_tokens): \"\""),
      ("\(WorkloadTrace.header)\n0,0,2,0", "column 2 (requests): 0 requests can't have tokens"),
      ("\(WorkloadTrace.header)\n5,1,0,0\n5,1,0,0", "load_1s.csv:3: column 1 (second)"),
      ("\(WorkloadTrace.header)\n5,1,0,0\n4,1,0,0", "sort the lines"),
      ("", "load_1s.csv:1: the header must be"),
    ])
  func refused(text: String, words: String) {
    let error = #expect(throws: WorkloadTraceError.self) {
      try WorkloadTrace(parsing: Array(text.utf8), file: "load_1s.csv")
    }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }

  @Test("Bins that overlap and a lone line without a length are refused")
  func lengths() {
    #expect(throws: WorkloadTraceError.self) { try trace("0,1,0,0", "5,1,0,0", file: "load_10s.csv") }
    #expect(throws: WorkloadTraceError.self) { try trace("0,1,0,0", file: "load.csv") }
  }
}

@Suite struct WorkloadScheduleTests {
  @Test("The requests of a bin are spread over it evenly, and its tokens over them")
  func spread() throws {
    var schedule = WorkloadSchedule(try trace("0,4,10,6", "10,0,0,0", "20,1,5,5"))
    #expect(schedule.next == .milliseconds(1_250))
    #expect(schedule.due(at: .milliseconds(1_249), maximum: 10).isEmpty)
    let first = schedule.due(at: .seconds(10), maximum: 10)
    #expect(
      first.map(\.at) == [.milliseconds(1_250), .milliseconds(3_750), .milliseconds(6_250), .milliseconds(8_750)])
    #expect(first.map(\.inputTokens) == [2, 3, 2, 3])
    #expect(first.map(\.outputTokens) == [1, 2, 1, 2])
    #expect(schedule.next == .seconds(25))
    #expect(!schedule.isFinished)
    #expect(schedule.due(at: .seconds(99), maximum: 10).map(\.number) == [4])
    #expect(schedule.isFinished && schedule.next == nil)
  }

  @Test(
    "However often it is asked, and whatever the speed, the same requests come at the same moments",
    arguments: ["0.5", "1", "60", "10000"])
  func sameAtAnySpeed(speed: String) throws {
    let trace = try trace("0,7,100,9", "10,3,3,3", "40,11,1000,500", "50,0,0,0")
    var whole = WorkloadSchedule(trace)
    let expected = whole.due(at: trace.length, maximum: 1_000)
    let factor = try #require(WorkloadFactor(parsing: speed))
    var schedule = WorkloadSchedule(trace)
    var requests: [WorkloadSchedule.Request] = []
    var real = Duration.zero
    while !schedule.isFinished {
      real += .milliseconds(100)
      let now = factor.traceTime(after: real)
      let due = schedule.due(at: now, maximum: 5)
      #expect(due.allSatisfy { $0.at <= now })
      requests += due
    }
    #expect(requests == expected)
    #expect(requests.count == 21)
  }

  @Test(
    "At a fraction of the load rounding doesn't add up, and requests stay as large as they are",
    arguments: [("10", 100), ("33.3", 333), ("250", 2_500), ("100", 1_000)])
  func scaled(percent: String, count: Int) throws {
    let rows = (0..<1_000).map { "\($0),1,50,20" }
    let trace = try WorkloadTrace(
      parsing: Array(([WorkloadTrace.header] + rows).joined(separator: "\n").utf8), file: "load_1s.csv")
    var schedule = WorkloadSchedule(trace, scale: try #require(WorkloadFactor(parsing: percent)).percent)
    #expect(schedule.requests == count)
    let half = schedule.due(at: .seconds(500), maximum: .max)
    #expect(abs(half.count - count / 2) <= 1)
    let all = half + schedule.due(at: .seconds(1_000), maximum: .max)
    #expect(all.count == count)
    #expect(all.allSatisfy { $0.inputTokens == 50 && $0.outputTokens == 20 })
    #expect(zip(all, all.dropFirst()).allSatisfy { $0.at <= $1.at })
  }

  @Test(
    "A factor is a decimal number above 0",
    arguments: ["0", "", ".5", "1.", "-1", "1e3", "1.0000001", "nan", "10000000", "1,5"])
  func factors(bad: String) {
    #expect(WorkloadFactor(parsing: bad) == nil)
    #expect(WorkloadFactor(parsing: "1.50")?.description == "1.5")
    #expect(WorkloadFactor(parsing: "60")?.realTime(until: .seconds(30)) == .milliseconds(500))
    #expect(WorkloadFactor(parsing: "0.5")?.traceTime(after: .seconds(3)) == .milliseconds(1_500))
  }
}
