import CoordinationEngine
import Foundation
import JetStreamEngine
import TaskQueue

/// Reads what the engine has, when all is over.
///
/// `servers`, `lease`, `ids` (a file with a task's id a line), `output` (a file: `task ID STATE RESULT`, `keys COUNT`, `dead COUNT`, `statistic NAME COUNT`).
struct ChaosCheck: Sendable {
  private let engine: JetStreamEngine
  private let ids: [String]
  private let output: String

  init(_ settings: Settings, _ engine: JetStreamEngine) throws {
    self.engine = engine
    ids = try String(contentsOfFile: settings.text("ids"), encoding: .utf8).split(separator: "\n").map(String.init)
    output = try settings.text("output")
  }

  func run() async throws {
    var lines: [String] = []
    try await withThrowingTaskGroup(of: String.self) { group in
      for (index, text) in ids.enumerated() {
        if index >= 64, let line = try await group.next() { lines.append(line) }
        group.addTask {
          guard let id = TaskID(text) else { throw Failure("not a task's id: \(text)") }
          do {
            let record = try await engine.tasks.record(id)
            guard case .done(let result) = record.state else { return "task \(text) \(record.state)" }
            return "task \(text) done \(String(decoding: result, as: UTF8.self))"
          } catch TaskQueueError.unknownTask {
            return "task \(text) unknown"
          }
        }
      }
      for try await line in group { lines.append(line) }
    }
    lines.append("keys \(try await engine.state.list("").entries.count)")
    lines.append("dead \(try await engine.tasks.deadLetters(of: "q", maximum: 1_000).count)")
    if let counts = try await engine.tasks.statistics(of: "q")["q"] {
      for (name, count) in [
        ("submitted", counts.submitted), ("done", counts.done), ("pending", counts.pending), ("leased", counts.leased),
        ("claims", counts.claims), ("expired", counts.expired), ("lost", counts.lost),
      ] {
        lines.append("statistic \(name) \(count)")
      }
    }
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: output))
  }
}
