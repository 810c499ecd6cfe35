import CoordinationEngine
import EngineConformance
import Foundation
import LocalEngine
import Synchronization
import TaskQueue

@testable import SQLiteEngine

/// A folder of its own that is removed at the end.
struct TemporaryFolder: Sendable {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "swarmscale-sqlite-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// The engine on SQLite, with a clock that is moved by hand. A crash goes on with a copy of the files as they are, as the system has
/// them when the process is killed: the engine of before has no chance to write anything more.
final class SQLiteHarness: EngineHarness {
  private struct State {
    var engine: LocalEngine
    var running: Task<Void, any Error>
    var generation = 0
    var old: [LocalEngine] = []
  }

  private let state: Mutex<State>
  private let folder: TemporaryFolder
  private let durability: Durability
  let clock = ManualEngineClock()

  init(_ durability: Durability) async throws {
    folder = try TemporaryFolder()
    self.durability = durability
    let engine = try await SQLiteEngine.open(
      SQLiteEngine.Configuration(directory: folder.path + "/0", durability: durability), clock: clock)
    state = Mutex(State(engine: engine, running: Task { try await engine.run() }))
  }

  static let all: Set<EngineAbility> = [.restart, .manualTime, .outage]
  var abilities: Set<EngineAbility> { Self.all }
  var engine: any CoordinationEngine { state.withLock { $0.engine } }
  var directory: String { state.withLock { "\(folder.path)/\($0.generation)" } }

  func pass(_ duration: Duration) { clock.advance(by: duration) }

  func crash() async throws {
    let (old, next) = state.withLock { state in
      defer { state.generation += 1 }
      state.running.cancel()
      state.old.append(state.engine)
      return ("\(folder.path)/\(state.generation)", "\(folder.path)/\(state.generation + 1)")
    }
    try FileManager.default.createDirectory(atPath: next, withIntermediateDirectories: true)
    for name in ["swarmscale.db", "swarmscale.db-wal"] where FileManager.default.fileExists(atPath: "\(old)/\(name)") {
      try FileManager.default.copyItem(atPath: "\(old)/\(name)", toPath: "\(next)/\(name)")
    }
    let engine = try await SQLiteEngine.open(
      SQLiteEngine.Configuration(directory: next, durability: durability), clock: clock)
    state.withLock { state in
      state.engine = engine
      state.running = Task { try await engine.run() }
    }
  }

  func breakDown() async throws { try await execute("PRAGMA query_only = 1") }
  func restore() async throws { try await execute("PRAGMA query_only = 0") }

  private func execute(_ sql: String) async throws {
    let journal = state.withLock { $0.engine.journal as? SQLiteJournal }
    try await journal?.execute(sql)
  }

  func stop() async {
    let (engines, running) = state.withLock { ($0.old + [$0.engine], $0.running) }
    for engine in engines { await engine.close() }
    running.cancel()
    _ = await running.result
    folder.remove()
  }
}
