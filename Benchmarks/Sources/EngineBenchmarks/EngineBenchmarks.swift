import ArgumentParser
import CoordinationEngine
import Foundation
import LocalEngine
import SQLiteEngine
import TaskQueue

/// What engines do in a second, and how long each verb takes; Benchmarks/README.md says how to read it.
@main
struct EngineBenchmarks: AsyncParsableCommand {
  @Option(help: "Tasks in each run.")
  var tasks = 20_000

  @Option(help: "Bytes of a payload.")
  var bytes = 1_024

  @Option(help: "Runs; the median is printed, with the least and the most.")
  var runs = 5

  @Option(help: "Callers at once; 1 is the baseline: one transaction for each verb.")
  var callers = [1, 8, 64, 512]

  func run() async throws {
    print(
      "engine            callers  submit/s              p50 us  p99 us   claim+complete/s      p50 us  p99 us  commits/verb"
    )
    for engine in [Durability.memory, .process, .node] {
      for count in callers {
        var results: [Result] = []
        // One caller on a disk that syncs is slow: as many tasks as take about as long.
        let tasks = engine == .memory ? self.tasks : max(1_000, min(self.tasks, count * 1_000))
        for _ in 0..<runs { results.append(try await measure(engine, callers: count, tasks: tasks)) }
        print(Result.line(engine == .memory ? "memory" : "sqlite \(engine.name)", count, results))
      }
      let batched = try await withEngine(engine) { engine in try await measureBatches(engine) }
      print(
        "\(engine.name), batches of 100: submit \(Int(batched.0)) tasks/s, claim and complete \(Int(batched.1)) tasks/s"
      )
    }
  }

  private func withEngine<Answer>(
    _ durability: Durability, _ body: (LocalEngine) async throws -> Answer
  ) async throws -> Answer {
    guard durability != .memory else { return try await body(LocalEngine()) }
    let folder = NSTemporaryDirectory() + "swarmscale-bench-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let engine = try await SQLiteEngine.open(.init(directory: folder, durability: durability))
    let answer = try await body(engine)
    await engine.close()
    return answer
  }

  /// What one run gave.
  struct Result {
    var submits = 0.0
    var submitTimes: [Int64] = []
    var works = 0.0
    var workTimes: [Int64] = []
    var commits: Double?

    static func line(_ name: String, _ callers: Int, _ results: [Result]) -> String {
      func rate(_ values: [Double]) -> String {
        let sorted = values.sorted()
        return "\(Int(sorted[sorted.count / 2])) (\(Int(sorted[0]))-\(Int(sorted[sorted.count - 1])))".padded(22)
      }
      func times(_ lists: [[Int64]]) -> String {
        let all = lists.flatMap { $0 }.sorted()
        return "\(all[all.count / 2] / 1_000)".padded(8) + "\(all[all.count * 99 / 100] / 1_000)".padded(8)
      }
      let commits = results.compactMap(\.commits).sorted()
      return name.padded(18) + "\(callers)".padded(9) + rate(results.map(\.submits))
        + times(results.map(\.submitTimes)) + " " + rate(results.map(\.works)) + times(results.map(\.workTimes))
        + (commits.isEmpty ? "-" : String(format: "%.3f", commits[commits.count / 2]))
    }
  }

  private func measure(_ durability: Durability, callers: Int, tasks: Int) async throws -> Result {
    try await withEngine(durability) { engine in
      let payload = [UInt8](repeating: 7, count: bytes)
      var result = Result()
      let before = (engine.journal as? SQLiteJournal)?.commits
      (result.submits, result.submitTimes) = try await time(callers, tasks) {
        _ = try await engine.tasks.submit([NewTask(payload: payload)], to: "q")
      }
      (result.works, result.workTimes) = try await time(callers, tasks) {
        let request = ClaimRequest(queue: "q", worker: "w", lease: .seconds(600))
        for task in try await engine.tasks.claim(request, wait: .zero) {
          _ = try await engine.tasks.complete(task.ticket, result: [])
        }
      }
      if let before, let journal = engine.journal as? SQLiteJournal {
        result.commits = Double(journal.commits - before) / Double(3 * tasks)
      }
      guard try await engine.tasks.statistics(of: "q")["q"]?.done == tasks else {
        throw ValidationError("not all tasks were done: the figures would say nothing")
      }
      return result
    }
  }

  /// Runs `body` so often by so many at once; calls in a second, and how long each took in nanoseconds.
  private func time(
    _ callers: Int, _ calls: Int, _ body: @escaping @Sendable () async throws -> Void
  ) async throws -> (Double, [Int64]) {
    let clock = ContinuousClock()
    let begin = clock.now
    let times = try await withThrowingTaskGroup(of: [Int64].self) { group in
      for caller in 0..<callers {
        group.addTask {
          var times: [Int64] = []
          for _ in stride(from: caller, to: calls, by: callers) {
            let begin = clock.now
            try await body()
            let time = (clock.now - begin).components
            times.append(time.seconds * 1_000_000_000 + time.attoseconds / 1_000_000_000)
          }
          return times
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    return (Double(calls) / Self.seconds(clock.now - begin), times)
  }

  private func measureBatches(_ engine: LocalEngine) async throws -> (Double, Double) {
    let clock = ContinuousClock()
    let batch = [NewTask](repeating: NewTask(payload: [UInt8](repeating: 7, count: bytes)), count: 100)
    var begin = clock.now
    for _ in 0..<(tasks / 100) { _ = try await engine.tasks.submit(batch, to: "b") }
    let submits = Double(tasks) / Self.seconds(clock.now - begin)
    begin = clock.now
    for _ in 0..<(tasks / 100) {
      let request = ClaimRequest(queue: "b", worker: "w", maximum: 100, lease: .seconds(600))
      let claimed = try await engine.tasks.claim(request, wait: .zero)
      _ = try await engine.tasks.complete(claimed.map { TaskResult(ticket: $0.ticket, result: []) })
    }
    return (submits, Double(tasks) / Self.seconds(clock.now - begin))
  }

  private static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }
}

extension String {
  fileprivate func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
}
