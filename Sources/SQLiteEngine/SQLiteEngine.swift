package import CoordinationEngine
import Dispatch
import GRDB
package import LocalEngine
package import TaskQueue

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The engine of one machine: a local engine whose changes are written to a SQLite file, many callers' in one transaction.
package enum SQLiteEngine {
  /// Where and how it keeps things.
  package struct Configuration: Hashable, Sendable {
    /// The folder with its files; made when it isn't there. One engine at a time can have it.
    package var directory: String
    /// `process` or `node`.
    package var durability: Durability
    /// The most bytes that the file may have; what goes beyond is refused.
    package var maximumBytes: Int

    /// Describes an engine.
    package init(directory: String, durability: Durability = .node, maximumBytes: Int = 8 * 1_024 * 1_024 * 1_024) {
      self.directory = directory
      self.durability = durability
      self.maximumBytes = maximumBytes
    }

    /// The file with everything; `-wal` beside it belongs to it.
    package var file: String { "\(directory)/swarmscale.db" }
  }

  /// Opens what is in the folder, or begins anew there. Throws `unavailable` when the folder can't be used now (another engine has it, no
  /// rights, no space), and `corrupt` when the file in it can't be.
  package static func open(
    _ configuration: Configuration, settings: LocalEngineSettings = LocalEngineSettings(),
    clock: any EngineClock = SystemEngineClock()
  ) async throws(EngineError) -> LocalEngine {
    guard [.process, .node].contains(configuration.durability) else {
      throw .invalid(
        "durability: process or node for SQLite, not \(configuration.durability.name); quorum is what JetStream offers")
    }
    let journal = try await SQLiteJournal.open(configuration)
    do {
      return try await LocalEngine(journal: journal, settings: settings, clock: clock)
    } catch {
      await journal.close()
      throw error
    }
  }
}

/// Writes an engine's changes to SQLite.
///
/// One connection, whose queue is the single writer; nothing else has the file open (`locking_mode` EXCLUSIVE), so that no reader
/// keeps the write-ahead log from being emptied and no second engine can work on the same tasks.
package final class SQLiteJournal: EngineJournal {
  /// "Swsc": tells the file from other programs' files.
  static let applicationID = 0x5377_7363
  package let durability: Durability
  private let database: DatabaseQueue
  private let file: String
  /// What it knows of the file; only looked at on the database's queue.
  private let writer: SQLiteWriter

  private init(_ database: DatabaseQueue, _ configuration: SQLiteEngine.Configuration) {
    self.database = database
    durability = configuration.durability
    file = configuration.file
    writer = SQLiteWriter()
  }

  static func open(_ configuration: SQLiteEngine.Configuration) async throws(EngineError) -> SQLiteJournal {
    // Opening reads, writes and waits for the disk: not on a thread that other tasks need.
    let result = await withCheckedContinuation {
      (continuation: CheckedContinuation<Result<SQLiteJournal, EngineError>, Never>) in
      DispatchQueue.global().async {
        continuation.resume(
          returning: Result { () throws(EngineError) in
            do {
              return try openNow(configuration)
            } catch {
              throw SQLiteError.engineError(error, configuration.file)
            }
          })
      }
    }
    return try result.get()
  }

  private static func openNow(_ configuration: SQLiteEngine.Configuration) throws -> SQLiteJournal {
    try FileManager.default.createDirectory(
      atPath: configuration.directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    var settings = GRDB.Configuration()
    settings.label = "swarmscale.engine"
    settings.prepareDatabase { db in
      // Before anything is read: the lock is taken with the first read and kept.
      try db.execute(sql: "PRAGMA locking_mode = EXCLUSIVE")
      if try Int.fetchOne(db, sql: "PRAGMA page_count") == 0 {
        try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
      }
      let mode = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
      guard mode == "wal" else {
        throw EngineError.unavailable("\(configuration.file) can't have a write-ahead log: put it on a local disk")
      }
      // FULL syncs the log with each commit; NORMAL leaves that to the system, and syncs before the log is emptied.
      try db.execute(sql: "PRAGMA synchronous = \(configuration.durability >= .node ? "FULL" : "NORMAL")")
      try db.execute(sql: "PRAGMA journal_size_limit = \(64 * 1_024 * 1_024)")
      let page = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4_096
      _ = try Int.fetchOne(db, sql: "PRAGMA max_page_count = \(max(64, configuration.maximumBytes / page))")
    }
    let isNew = !FileManager.default.fileExists(atPath: configuration.file)
    if isNew {
      // The log gets the same rights: payloads are nobody else's business, whatever the folder allows.
      _ = FileManager.default.createFile(
        atPath: configuration.file, contents: nil, attributes: [.posixPermissions: 0o600])
    }
    let database = try DatabaseQueue(path: configuration.file, configuration: settings)
    let journal = SQLiteJournal(database, configuration)
    try SQLiteSchema.prepare(database, configuration.file)
    try database.writeWithoutTransaction { db in try journal.checkDurability(db) }
    // A file whose name isn't on the disk is gone after a loss of power, however well it was written itself.
    if isNew { synchronize(directory: configuration.directory) }
    return journal
  }

  /// Settings can be reset by libraries and builds of SQLite: what is promised is looked at, not assumed.
  private func checkDurability(_ db: Database) throws {
    let level = try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? 0
    guard level == (durability >= .node ? 2 : 1) else {
      throw EngineError.unavailable(
        "\(file): SQLite doesn't keep the setting `synchronous` (\(level)): use another build of it")
    }
  }

  package func load() async throws(EngineError) -> EngineSnapshot {
    try await onQueue { [writer] db in try writer.load(db) }
  }

  package func blob(_ digest: BlobDigest) async throws(EngineError) -> [UInt8]? {
    try await onQueue { db in
      try Data.fetchOne(
        db.cachedStatement(sql: "SELECT bytes FROM content WHERE digest = ?"), arguments: [Data(digest.bytes)]
      )
      .map { Array($0) }
    }
  }

  package func commit(
    _ take: @escaping @Sendable () -> EngineChanges?,
    done: @escaping @Sendable (_ sequence: UInt64?, _ error: EngineError?) -> Void
  ) {
    database.asyncWriteWithoutTransaction { [writer, file] db in
      guard let changes = take() else { return done(nil, nil) }
      do {
        try db.inTransaction {
          try writer.write(changes, db)
          return .commit
        }
        writer.committed(changes)
        // The tasks' answers don't wait for this.
        done(changes.sequence, nil)
        try? writer.giveBack(db)
      } catch {
        done(nil, SQLiteError.engineError(error, file))
      }
    }
  }

  package func close() async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      database.asyncWriteWithoutTransaction { [database] _ in
        DispatchQueue.global().async {
          // Empties the log into the file. Where that fails the next to open does it.
          try? database.close()
          continuation.resume()
        }
      }
    }
  }

  /// Asks SQLite whether the file is whole; for tests and for people who want to know.
  package func integrityCheck() async throws(EngineError) -> [String] {
    try await onQueue { db in try String.fetchAll(db, sql: "PRAGMA integrity_check") }
  }

  /// Runs a statement on the connection, such as one that lets it fail; for tests.
  func execute(_ sql: String) async throws(EngineError) {
    try await onQueue { db in _ = try Row.fetchAll(db, sql: sql) }
  }

  /// The values of settings, as SQLite has them now; for tests.
  func values(_ pragmas: [String]) async throws(EngineError) -> [String] {
    try await onQueue { db in try pragmas.map { try String.fetchOne(db, sql: "PRAGMA \($0)") ?? "" } }
  }

  /// The rows of a table; for tests.
  func count(_ table: String) async throws(EngineError) -> Int {
    try await onQueue { db in try Int.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0 }
  }

  /// How many transactions were written.
  package var commits: Int { writer.commits }

  private func onQueue<Answer: Sendable>(
    _ body: @escaping @Sendable (Database) throws -> Answer
  ) async throws(EngineError) -> Answer {
    let result = await withCheckedContinuation {
      (continuation: CheckedContinuation<Result<Answer, any Error>, Never>) in
      database.asyncWriteWithoutTransaction { db in continuation.resume(returning: Result { try body(db) }) }
    }
    do {
      return try result.get()
    } catch {
      throw SQLiteError.engineError(error, file)
    }
  }
}

/// Writes a folder's list of names to the disk.
private func synchronize(directory: String) {
  let descriptor = open(directory, O_RDONLY)
  guard descriptor >= 0 else { return }
  fsync(descriptor)
  close(descriptor)
}

/// SQLite's errors in words for whoever runs the engine.
enum SQLiteError {
  static func engineError(_ error: any Error, _ file: String) -> EngineError {
    if let error = error as? EngineError { return error }
    guard let error = error as? DatabaseError else {
      return .unavailable("\(file): \(error): see that the folder exists and may be written to")
    }
    let words = error.message ?? "no details"
    switch error.resultCode {
    case .SQLITE_FULL:
      return .unavailable(
        "\(file) can't grow: the disk is full or the file has its largest size; make room, the engine goes on by itself"
      )
    case .SQLITE_CORRUPT, .SQLITE_NOTADB:
      return .corrupt(
        "\(file) is damaged (\(words)): move it and \(file)-wal away and put a backup in their place, or start without, without its tasks"
      )
    case .SQLITE_BUSY, .SQLITE_LOCKED:
      return .unavailable("\(file) is in use by another process: end that one, or choose another folder")
    case .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_PERM:
      return .unavailable("\(file) can't be written to (\(words)): give this user the rights to the folder")
    default:
      return .unavailable("\(file): SQLite says \(error.extendedResultCode.rawValue), \(words); the engine tries again")
    }
  }
}
