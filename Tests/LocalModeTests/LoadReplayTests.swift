import KubernetesCore
import LocalAPI
import LocalEngine
import TaskQueue
import TaskQueueServer
import TestSupport
import Testing
import WorkloadTrace

@testable import LocalMode

@Suite struct LoadReplayTests {
  private let time = ManualTimeSource()

  private func replay(
    _ rows: [String], speed: String = "1", engine: any TaskEngine
  ) throws -> LoadReplay {
    let text = ([WorkloadTrace.header] + rows).joined(separator: "\n")
    let trace = try WorkloadTrace(parsing: Array(text.utf8), file: "load_10s.csv")
    return LoadReplay(
      name: "load_10s.csv", queue: "q", schedule: WorkloadSchedule(trace),
      speed: try #require(WorkloadFactor(parsing: speed)), engine: engine, time: time)
  }

  @Test("Tasks come when their time in the trace has come, and the replay ends with the trace")
  func replays() async throws {
    let engine = LocalEngine(time: time).tasks
    let replay = try replay(["0,2,20,10", "10,1,7,3"], speed: "10", engine: engine)
    async let run: Void = replay.run()
    // At ten times the speed: requests after 0.25, 0.75 and 1.5 s, the end after 2 s.
    for (wait, submitted) in [(250, 0), (750, 1), (1_500, 2)] {
      await time.waitForSleep(until: MonotonicTime(sinceOrigin: .milliseconds(wait)))
      #expect(replay.progress.submitted == submitted)
      time.advance(by: .milliseconds(wait) - time.monotonicNow.sinceOrigin)
    }
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(2)))
    #expect(!replay.progress.isOver)
    time.advance(by: .milliseconds(500))
    try await run
    #expect(replay.progress == .init(position: .seconds(20), submitted: 3, isHeld: false, isOver: true))
    let tasks = try await engine.claim(ClaimRequest(queue: "q", worker: "w", maximum: 10), wait: .zero)
    let payloads = try tasks.map { try JSONValue(parsing: $0.payload) }
    #expect(payloads.map { $0["inputTokens"] } == [10, 10, 7])
    #expect(payloads.map { $0["request"] } == [0, 1, 2])
  }

  @Test("While the queue is full the replay waits, and loses nothing")
  func held() async throws {
    var limits = TaskQueueLimits()
    limits.tasks = 1
    let engine = LocalEngine(limits: limits, time: time).tasks
    let replay = try replay(["0,2,0,0", "10,0,0,0"], engine: engine)
    async let run: Void = replay.run()
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .milliseconds(2_500)))
    time.advance(by: .milliseconds(2_500))
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .milliseconds(7_500)))
    time.advance(by: .seconds(5))
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .milliseconds(8_500)))
    #expect(replay.progress.isHeld && replay.progress.submitted == 1)
    let task = try #require(try await engine.claim(ClaimRequest(queue: "q", worker: "w"), wait: .zero).first)
    _ = try await engine.complete(task.ticket, result: [])
    time.advance(by: .seconds(1))
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(20)))
    #expect(!replay.progress.isHeld && replay.progress.submitted == 2)
    time.advance(by: .seconds(12))
    try await run
    #expect(try await engine.statistics(of: "q")["q"]?.submitted == 2)
  }

  @Test("Without a terminal a line comes each half minute, and both ends are told once")
  func report() throws {
    let replay = try replay(["0,2,0,0", "10,0,0,0"], engine: LocalEngine(time: time).tasks)
    var queue = TaskQueueStatistics()
    queue.pending = 2
    var report = LoadReport()
    let counts = [0, 1, 29, 30, 59, 61].map { second in
      report.lines(
        replay, .init(submitted: 2), queue, isTerminal: false, now: MonotonicTime(sinceOrigin: .seconds(second))
      ).count
    }
    #expect(counts == [1, 0, 0, 1, 0, 1])
    let over = LoadReplay.Progress(position: .seconds(20), submitted: 2, isHeld: false, isOver: true)
    let now = MonotonicTime(sinceOrigin: .seconds(90))
    #expect(report.lines(replay, over, queue, isTerminal: true, now: now).first?.contains("2 are outstanding") == true)
    #expect(report.lines(replay, over, queue, isTerminal: true, now: now).isEmpty)
    queue.pending = 0
    queue.done = 1
    queue.dead = 1
    #expect(report.lines(replay, over, queue, isTerminal: true, now: now).first?.contains("1 are dead letters") == true)
    #expect(report.lines(replay, over, queue, isTerminal: true, now: now).isEmpty)
  }

  @Test("The backlog is a metric of each queue; a queue that is asked for by name is empty before its first use")
  func metrics() async throws {
    let engine = LocalEngine(time: time).tasks
    _ = try await engine.submit([NewTask(payload: []), NewTask(payload: [])], to: "a")
    _ = try await engine.claim(ClaimRequest(queue: "a", worker: "w"), wait: .zero)
    time.advance(by: .milliseconds(2_500))
    let metrics = QueueMetrics(engine: engine)
    var values: [String: Int64] = [:]
    for name in metrics.names {
      values[name] = await metrics.values(of: name, matching: try Selector("queue=a")).first?.milliValue
    }
    #expect(values == ["tasks_outstanding": 2_000, "tasks_pending": 1_000, "tasks_oldest_seconds": 2_500])
    let both = await metrics.values(of: "tasks_pending", matching: try Selector("queue in (a,b)"))
    #expect(Set(both.map(\.labels)) == [["queue": "a"], ["queue": "b"]])
    #expect(await metrics.values(of: "tasks_pending", matching: .everything).count == 1)
  }
}
