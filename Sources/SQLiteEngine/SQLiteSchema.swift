import CoordinationEngine
import GRDB

/// The file's tables. Times are nanoseconds of the engine's time; what is unsigned is kept by its bits.
enum SQLiteSchema {
  /// Makes or updates the tables; refuses files of others and of later versions.
  static func prepare(_ database: DatabaseQueue, _ file: String) throws {
    let migrator = migrator
    try database.read { db in
      let application = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
      let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") ?? 0
      guard application == SQLiteJournal.applicationID || (application == 0 && tables == 0) else {
        throw EngineError.corrupt("\(file) is another program's: choose another folder")
      }
      guard try !migrator.hasBeenSuperseded(db) else {
        throw EngineError.corrupt("\(file) was written by a later version of Swarmscale: start that one")
      }
    }
    try migrator.migrate(database)
  }

  /// The steps from an empty file to today's. One that was released is never changed: add one.
  private static var migrator: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1") { db in
      try db.execute(sql: "PRAGMA application_id = \(SQLiteJournal.applicationID)")
      try db.execute(sql: first)
      try db.execute(
        sql: "INSERT INTO engine VALUES (0, ?, 0, 0, 0)",
        // 40 bits: no two engines that a worker could take for one another share them.
        arguments: [String(UInt64.random(in: 0..<(1 << 40)), radix: 36)])
    }
    return migrator
  }

  /// `task.id` is the queue's id in the upper bits and the number in the lower 40. What changes with each step is apart from
  /// the payload, which never does, so that a step writes one page.
  private static let first = """
    CREATE TABLE engine (
      id INTEGER PRIMARY KEY CHECK (id = 0), instance TEXT NOT NULL, revision INTEGER NOT NULL, time INTEGER NOT NULL,
      wall INTEGER NOT NULL);
    CREATE TABLE queue (
      id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, lastNumber INTEGER NOT NULL, submitted INTEGER NOT NULL,
      duplicates INTEGER NOT NULL, done INTEGER NOT NULL, discarded INTEGER NOT NULL, claims INTEGER NOT NULL,
      failures INTEGER NOT NULL, expired INTEGER NOT NULL, released INTEGER NOT NULL, stale INTEGER NOT NULL,
      shed INTEGER NOT NULL);
    CREATE TABLE task (
      id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, key TEXT, generation INTEGER NOT NULL, fairnessKey TEXT NOT NULL,
      cost INTEGER, maxAttempts INTEGER, delay INTEGER NOT NULL, submitted INTEGER NOT NULL, state INTEGER NOT NULL,
      until INTEGER, word TEXT, result BLOB, attempts INTEGER NOT NULL, epoch INTEGER NOT NULL,
      lastFailure TEXT NOT NULL, step INTEGER, checkpoint BLOB, finished INTEGER);
    CREATE TABLE payload (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
    CREATE TABLE state (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL, revision INTEGER NOT NULL, end INTEGER);
    CREATE TABLE counter (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE schedule (
      key TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL, payload BLOB NOT NULL, subject TEXT, replyTo TEXT, queue TEXT,
      lane INTEGER, taskKey TEXT, generation INTEGER, maxAttempts INTEGER, delay INTEGER, fairnessKey TEXT,
      cost INTEGER);
    CREATE TABLE blob (digest BLOB PRIMARY KEY NOT NULL, count INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE content (digest BLOB PRIMARY KEY NOT NULL, bytes BLOB NOT NULL);
    """
}
