import CoordinationEngine
import EngineConformance
import Foundation
import GRDB
import LocalEngine
import TaskQueue
import Testing

@testable import SQLiteEngine

@Suite(.timeLimit(.minutes(10))) struct SQLiteEngineTests {
  private func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try await body(folder.path)
  }

  private func isUnavailable(_ error: any Error) -> Bool {
    switch error {
    case EngineError.unavailable, TaskQueueError.unavailable: true
    default: false
    }
  }

  @Test(
    "C13: the connection has the settings that the durability is made of, looked at after it was opened",
    arguments: [(Durability.process, 1), (.node, 2)])
  func settings(durability: Durability, synchronous: Int) async throws {
    try await withFolder { folder in
      let journal = try await SQLiteJournal.open(.init(directory: folder, durability: durability))
      let values = try await journal.values(["synchronous", "journal_mode", "locking_mode", "auto_vacuum"])
      #expect(values == ["\(synchronous)", "wal", "exclusive", "2"])
      #expect(journal.durability == durability)
      await journal.close()
    }
  }

  @Test("A mode that SQLite can't keep is refused", arguments: [Durability.memory, .quorum])
  func unkept(durability: Durability) async throws {
    try await withFolder { folder in
      await #expect(throws: EngineError.self) {
        _ = try await SQLiteEngine.open(.init(directory: folder, durability: durability))
      }
    }
  }

  @Test("A second engine on the same files is told so, and the first goes on; nobody else can read them")
  func second() async throws {
    try await withFolder { folder in
      let first = try await SQLiteEngine.open(.init(directory: folder))
      for name in ["swarmscale.db", "swarmscale.db-wal"] {
        let rights = try FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")[.posixPermissions]
        #expect(rights as? Int == 0o600, "\(name) can be read by others")
      }
      let error = await #expect(throws: EngineError.self) { _ = try await SQLiteEngine.open(.init(directory: folder)) }
      #expect(error.map { "\($0)".contains("in use by another") } == true)
      try await first.state.put("a", [1])
      await first.close()
      let next = try await SQLiteEngine.open(.init(directory: folder))
      #expect(try await next.state.get("a")?.value == [1])
      await next.close()
    }
  }

  @Test("A file that is no database, another program's or a later version's is refused with what to do, and left alone")
  func foreign() async throws {
    try await withFolder { folder in
      let file = "\(folder)/swarmscale.db"
      let nonsense = Data(repeating: 0x41, count: 10_000)
      try nonsense.write(to: URL(fileURLWithPath: file))
      var error = await #expect(throws: EngineError.self) { _ = try await SQLiteEngine.open(.init(directory: folder)) }
      #expect(error.map { "\($0)".contains("is damaged") && "\($0)".contains("backup") } == true)
      #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == nonsense)
      try FileManager.default.removeItem(atPath: file)

      let other = try DatabaseQueue(path: file)
      try await other.write { db in try db.execute(sql: "CREATE TABLE theirs (a)") }
      try other.close()
      error = await #expect(throws: EngineError.self) { _ = try await SQLiteEngine.open(.init(directory: folder)) }
      #expect(error.map { "\($0)".contains("another program's") } == true)
      try FileManager.default.removeItem(atPath: file)

      await (try SQLiteEngine.open(.init(directory: folder))).close()
      let later = try DatabaseQueue(path: file)
      try await later.write { db in try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('99')") }
      try later.close()
      error = await #expect(throws: EngineError.self) { _ = try await SQLiteEngine.open(.init(directory: folder)) }
      #expect(error.map { "\($0)".contains("later version") } == true)
    }
  }

  @Test("A page that was overwritten is found: what is read is refused, nothing is invented")
  func damaged() async throws {
    try await withFolder { folder in
      let engine = try await SQLiteEngine.open(.init(directory: folder))
      for number in 0..<50 {
        _ = try await engine.tasks.submit([NewTask(payload: [UInt8](repeating: UInt8(number), count: 3_000))], to: "q")
      }
      await engine.close()
      let file = try FileHandle(forUpdating: URL(fileURLWithPath: "\(folder)/swarmscale.db"))
      let end = try file.seekToEnd()
      for page in stride(from: UInt64(4_096 * 2), to: end, by: 4_096) {
        try file.seek(toOffset: page)
        try file.write(contentsOf: Data(repeating: 0xEE, count: 64))
      }
      try file.close()
      let error = await #expect(throws: EngineError.self) { _ = try await SQLiteEngine.open(.init(directory: folder)) }
      #expect(error.map { if case .corrupt = $0 { true } else { false } } == true, "\(String(describing: error))")
    }
  }

  @Test("A blob whose bytes were changed on the disk is refused")
  func changedBlob() async throws {
    try await withFolder { folder in
      let engine = try await SQLiteEngine.open(.init(directory: folder))
      let digest = try await engine.blobs.put([1, 2, 3])
      let journal = try #require(engine.journal as? SQLiteJournal)
      try await journal.execute("UPDATE content SET bytes = x'010204'")
      let error = await #expect(throws: EngineError.self) { _ = try await engine.blobs.get(digest) }
      #expect(error.map { if case .corrupt = $0 { true } else { false } } == true)
      await engine.close()
    }
  }

  @Test(
    "A file that may not grow: what doesn't fit is refused as unavailable, the rest is kept, and it goes on when there is room"
  )
  func full() async throws {
    try await withFolder { folder in
      let clock = ManualEngineClock()
      let engine = try await SQLiteEngine.open(
        .init(directory: folder, durability: .process, maximumBytes: 600_000), clock: clock)
      var kept = 0
      var refused: (any Error)?
      while refused == nil {
        try #require(kept < 1_000, "a bounded file takes everything")
        do {
          _ = try await engine.tasks.submit([NewTask(payload: [UInt8](repeating: 1, count: 20_000))], to: "q")
          kept += 1
        } catch { refused = error }
      }
      #expect(kept > 5)
      let error = try #require(refused)
      #expect(isUnavailable(error) && "\(error)".contains("disk is full"))
      // For a moment nothing is tried.
      await #expect(throws: TaskQueueError.self) { try await engine.tasks.statistics(of: "q") }
      clock.advance(by: .seconds(2))
      #expect(try await engine.tasks.statistics(of: "q")["q"]?.pending == kept)
      let journal = try #require(engine.journal as? SQLiteJournal)
      try await journal.execute("PRAGMA max_page_count = 1000000")
      _ = try await engine.tasks.submit([NewTask(payload: [UInt8](repeating: 1, count: 20_000))], to: "q")
      #expect(try await engine.tasks.statistics(of: "q")["q"]?.pending == kept + 1)
      #expect(try await journal.integrityCheck() == ["ok"])
      await engine.close()
    }
  }

  @Test("A time of day that was set back or far ahead while the engine was down: epochs go on, leases end")
  func wallClock() async throws {
    try await withFolder { folder in
      var clock = ManualEngineClock()
      var engine = try await SQLiteEngine.open(.init(directory: folder), clock: clock)
      _ = try await engine.tasks.submit([NewTask(payload: [1])], to: "q")
      var last = try #require(
        try await engine.tasks.claim(ClaimRequest(queue: "q", worker: "a", lease: .seconds(30)), wait: .zero).first)
      for step in [Duration.seconds(-86_400), .seconds(86_400 * 400), .zero] {
        await engine.close()
        let wall = clock.wall + step
        // A new process: its clock begins anywhere.
        clock = ManualEngineClock(now: .seconds(5), wall: wall)
        engine = try await SQLiteEngine.open(.init(directory: folder), clock: clock)
        clock.advance(by: .seconds(30))
        let next = try #require(
          try await engine.tasks.claim(ClaimRequest(queue: "q", worker: "b", lease: .seconds(30)), wait: .zero).first)
        #expect(next.ticket.epoch == last.ticket.epoch + 1)
        last = next
      }
      await engine.close()
    }
  }

  @Test("C17: what is done and forgotten leaves the file, and a backlog that is worked off gives its space back")
  func bounded() async throws {
    try await withFolder { folder in
      var settings = LocalEngineSettings()
      settings.tasks.rememberedResults = 10
      let engine = try await SQLiteEngine.open(.init(directory: folder, durability: .process), settings: settings)
      for _ in 0..<8 {
        let tasks = (0..<250).map { _ in NewTask(payload: [UInt8](repeating: 7, count: 8_000)) }
        _ = try await engine.tasks.submit(tasks, to: "q")
      }
      let journal = try #require(engine.journal as? SQLiteJournal)
      let pages = try #require(Int(try await journal.values(["page_count"])[0]))
      #expect(pages > 3_000)
      while let first = try await engine.tasks.claim(ClaimRequest(queue: "q", worker: "w", maximum: 4), wait: .zero)
        .first
      {
        _ = try await engine.tasks.complete(first.ticket, result: [])
        let rest = try await engine.tasks.list(TaskListQuery(queue: "q", state: .leased, maximum: 3))
        _ = try await engine.tasks.complete(
          rest.map { TaskResult(ticket: TaskTicket(id: $0.id, epoch: $0.record.epoch), result: []) })
      }
      #expect(try await engine.tasks.statistics(of: "q")["q"]?.done == 2_000)
      #expect(try await journal.count("task") == 10)
      #expect(try await journal.count("payload") == 0)
      let left = try #require(Int(try await journal.values(["page_count"])[0]))
      #expect(left < pages / 2, "\(left) of \(pages) pages are left")
      await engine.close()
    }
  }

  @Test("Many callers at once share transactions")
  func groups() async throws {
    try await withFolder { folder in
      let engine = try await SQLiteEngine.open(.init(directory: folder, durability: .node))
      let journal = try #require(engine.journal as? SQLiteJournal)
      let before = journal.commits
      try await withThrowingTaskGroup(of: Void.self) { group in
        for number in 0..<400 { group.addTask { try await engine.state.put("k\(number)", [1]) } }
        try await group.waitForAll()
      }
      #expect(journal.commits - before < 200, "\(journal.commits - before) commits for 400 puts")
      #expect(try await engine.state.list("").entries.count == 400)
      await engine.close()
    }
  }
}
