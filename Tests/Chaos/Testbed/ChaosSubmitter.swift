import CoordinationEngine
import Foundation
import JetStreamEngine
import TaskQueue

/// Submits tasks at a constant rate, whether or not the earlier ones are acknowledged; each has a key, and is said again until it is acknowledged.
///
/// `servers`, `lease`, `rate` (tasks a second), `log` (a file: `ack NUMBER ID SECONDS`). Ends on SIGTERM, when all are acknowledged.
struct ChaosSubmitter: Sendable {
  private let engine: JetStreamEngine
  private let stop: StopSignal
  private let log: EventLog
  private let rate: Double

  init(_ settings: Settings, _ engine: JetStreamEngine, _ stop: StopSignal) throws {
    self.engine = engine
    self.stop = stop
    log = try EventLog(settings.text("log"))
    rate = try settings.number("rate")
  }

  func run() async throws {
    let start = ContinuousClock.now
    try await withThrowingDiscardingTaskGroup { group in
      var number = 0
      while !stop.isSet {
        let due = start + .nanoseconds(Int64(Double(number) / rate * 1e9))
        try await Task.sleep(until: due, clock: .continuous)
        let next = number
        group.addTask { try await submit(next, due: due) }
        number += 1
      }
      try log.add("end \(number)")
    }
  }

  private func submit(_ number: Int, due: ContinuousClock.Instant) async throws {
    let task = NewTask(key: TaskKey("job-\(number)"), payload: Array("\(number)".utf8), attempts: 50)
    let id = try await untilTaken(task)
    let seconds = (ContinuousClock.now - due) / .seconds(1)
    try log.add("ack \(number) \(id) \(seconds)")
    // A client that didn't hear the answer says it again: it is the same task.
    if number % 20 == 0 {
      let again = try await untilTaken(task)
      if again != id { try log.add("doubled \(number) \(id) \(again)") }
    }
  }

  private func untilTaken(_ task: NewTask) async throws -> TaskID {
    while true {
      do {
        return try await engine.tasks.submit([task], to: "q")[0].id
      } catch TaskQueueError.unavailable {
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }
}
