import CoordinationEngine
import GRDB
import LocalEngine
import Synchronization
import TaskQueue

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Changes as rows, and rows as what an engine begins with.
final class SQLiteWriter: Sendable {
  private struct Known {
    /// The queues that the file has, by name.
    var queues: [String: Queue] = [:]
    var nextQueue: Int64 = 1
    var commits = 0
  }

  private struct Queue {
    var id: Int64
    /// The last number that was written: what is higher is new.
    var lastNumber: UInt64
  }

  /// Numbers of a queue's tasks have so many bits in the tables.
  private static let numberBits: Int64 = 40
  /// Only the database's queue looks at it: never contended.
  private let known = Mutex(Known())

  // MARK: Writing

  func write(_ changes: EngineChanges, _ db: Database) throws {
    try known.withLock { known in
      for queue in changes.queues { try write(queue, &known, db) }
    }
    for (key, item) in changes.state { try write(key, item, db) }
    for (name, value) in changes.counters { try write(name, value, db) }
    for (key, item) in changes.schedules { try write(key, item, db) }
    for blob in changes.blobs { try write(blob, db) }
    try db.run("UPDATE engine SET revision = ?, time = ?, wall = ?") {
      [Int64(bitPattern: changes.revision), changes.time.nanoseconds, changes.wall.nanoseconds]
    }
  }

  /// Notes that changes are in the file now.
  func committed(_ changes: EngineChanges) {
    known.withLock { known in
      known.commits += 1
      for queue in changes.queues { known.queues[queue.name]?.lastNumber = queue.totals.lastNumber }
    }
  }

  private func write(_ changes: TaskQueueChanges, _ known: inout Known, _ db: Database) throws {
    let queue = known.queues[changes.name] ?? Queue(id: known.nextQueue, lastNumber: 0)
    if known.queues[changes.name] == nil {
      known.queues[changes.name] = queue
      known.nextQueue += 1
    }
    let totals = changes.totals
    try db.run(
      "INSERT OR REPLACE INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    ) {
      [
        queue.id, changes.name, Int64(bitPattern: totals.lastNumber), totals.submitted, totals.duplicates, totals.done,
        totals.discarded, totals.claims, totals.failures, totals.expired, totals.released, totals.stale, totals.shed,
      ]
    }
    for task in changes.tasks {
      let id = queue.id << Self.numberBits | Int64(bitPattern: task.number)
      try write(task.record, id, isNew: task.number > queue.lastNumber, db)
    }
  }

  private func write(_ record: TaskRecord?, _ id: Int64, isNew: Bool, _ db: Database) throws {
    guard let record else {
      guard !isNew else { return }
      try db.run("DELETE FROM task WHERE id = ?") { [id] }
      return try db.run("DELETE FROM payload WHERE id = ?") { [id] }
    }
    let steps = Self.steps(of: record)
    if isNew {
      let task = record.task
      try db.run("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)") {
        [
          id, task.lane.rawValue, task.key?.name, Int64(bitPattern: task.key?.generation ?? 0), task.fairnessKey,
          task.cost, task.attempts, task.delay.nanoseconds, record.submitted.nanoseconds,
        ] + steps
      }
      guard !task.payload.isEmpty else { return }
      try db.run("INSERT INTO payload VALUES (?, ?)") { [id, Data(task.payload)] }
    } else {
      try db.run(
        """
        UPDATE task SET state = ?, until = ?, word = ?, result = ?, attempts = ?, epoch = ?, lastFailure = ?, step = ?, \
        checkpoint = ?, finished = ? WHERE id = ?
        """
      ) { steps + [id] }
      if case .done = record.state { try db.run("DELETE FROM payload WHERE id = ?") { [id] } }
    }
  }

  /// What changes of a task after its submission, from `state` to `finished`.
  private static func steps(of record: TaskRecord) -> [(any DatabaseValueConvertible)?] {
    let (state, until, word, result): (Int, Duration?, String?, [UInt8]?) =
      switch record.state {
      case .ready: (0, nil, record.lateWorker, nil)
      case .delayed(let until): (1, until, nil, nil)
      case .leased(let worker, let until): (2, until, worker, nil)
      case .done(let result): (3, nil, nil, result)
      case .dead(let reason): (4, nil, reason, nil)
      }
    return [
      state, until?.nanoseconds, word, result.map { Data($0) }, record.attempts, Int64(bitPattern: record.epoch),
      record.lastFailure, record.checkpoint.map { Int64(bitPattern: $0.step) },
      record.checkpoint.map { Data($0.reference) }, record.finished?.nanoseconds,
    ]
  }

  private func write(_ key: String, _ item: StateTable.Item?, _ db: Database) throws {
    guard let item else { return try db.run("DELETE FROM state WHERE key = ?") { [key] } }
    try db.run("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)") {
      [key, Data(item.value), Int64(bitPattern: item.revision), item.end?.nanoseconds]
    }
  }

  private func write(_ name: String, _ value: Int64?, _ db: Database) throws {
    guard let value else { return try db.run("DELETE FROM counter WHERE name = ?") { [name] } }
    try db.run("INSERT OR REPLACE INTO counter VALUES (?, ?)") { [name, value] }
  }

  private func write(_ key: String, _ item: ScheduleTable.Item?, _ db: Database) throws {
    guard let item else { return try db.run("DELETE FROM schedule WHERE key = ?") { [key] } }
    let values: [(any DatabaseValueConvertible)?] =
      switch item.item {
      case .message(let message):
        [Data(message.payload), message.subject, message.replyTo, nil, nil, nil, nil, nil, nil, nil, nil]
      case .task(let task, let queue):
        [
          Data(task.payload), nil, nil, queue, task.lane.rawValue, task.key?.name,
          task.key.map { Int64(bitPattern: $0.generation) }, task.attempts, task.delay.nanoseconds, task.fairnessKey,
          task.cost,
        ]
      }
    try db.run("INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)") {
      [key, item.at.nanoseconds] + values
    }
  }

  private func write(_ blob: EngineChanges.Blob, _ db: Database) throws {
    let digest = Data(blob.digest.bytes)
    guard let item = blob.item else {
      try db.run("DELETE FROM blob WHERE digest = ?") { [digest] }
      return try db.run("DELETE FROM content WHERE digest = ?") { [digest] }
    }
    try db.run("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)") { [digest, item.count, item.used.nanoseconds] }
    guard let bytes = blob.bytes else { return }
    // Removed and put again since the last commit: the row is there.
    try db.run("INSERT OR REPLACE INTO content VALUES (?, ?)") { [digest, Data(bytes)] }
  }

  /// How many transactions were written.
  var commits: Int { known.withLock { $0.commits } }

  // MARK: Space

  /// Now and then gives pages back to the system that a backlog has left behind.
  func giveBack(_ db: Database) throws {
    let isTime = known.withLock { $0.commits.isMultiple(of: 256) }
    guard isTime, let free = try Int.fetchOne(db, sql: "PRAGMA freelist_count"),
      let all = try Int.fetchOne(db, sql: "PRAGMA page_count"), free > 1_024, free > all / 4
    else { return }
    // A part of them at a time: nobody waits for long.
    for _ in 0..<4 { try db.execute(sql: "PRAGMA incremental_vacuum(512)") }
  }

  // MARK: Reading

  func load(_ db: Database) throws -> EngineSnapshot {
    guard let engine = try Row.fetchOne(db, sql: "SELECT instance, revision, time, wall FROM engine") else {
      throw EngineError.corrupt("the table `engine` is empty: put a backup in the file's place")
    }
    var saved = EngineSnapshot(instance: engine["instance"])
    saved.revision = UInt64(bitPattern: engine["revision"])
    saved.time = .nanoseconds(engine["time"] as Int64)
    saved.wall = .nanoseconds(engine["wall"] as Int64)
    saved.queues = try loadQueues(db)
    for row in try Row.fetchAll(db, sql: "SELECT key, value, revision, end FROM state") {
      let item = StateTable.Item(
        value: row.bytes("value") ?? [], revision: UInt64(bitPattern: row["revision"]), end: row.duration("end"))
      saved.state.append((row["key"], item))
    }
    saved.counters = try Row.fetchAll(db, sql: "SELECT name, value FROM counter").map { ($0["name"], $0["value"]) }
    saved.schedules = try Row.fetchAll(db, sql: "SELECT * FROM schedule").map { row in
      (row["key"], ScheduleTable.Item(at: row.duration("at") ?? .zero, item: try Self.item(row)))
    }
    for row in try Row.fetchAll(db, sql: "SELECT digest, count, used FROM blob") {
      guard let digest = BlobDigest(bytes: row.bytes("digest") ?? []) else {
        throw EngineError.corrupt("the table `blob` has a digest that isn't one: put a backup in the file's place")
      }
      saved.blobs.append((digest, BlobTable.Item(count: row["count"], used: row.duration("used") ?? .zero)))
    }
    return saved
  }

  private func loadQueues(_ db: Database) throws -> [TaskQueueChanges] {
    var tasks: [Int64: [TaskQueueChanges.Task]] = [:]
    let rows = try Row.fetchCursor(db, sql: "SELECT task.*, bytes FROM task LEFT JOIN payload USING (id) ORDER BY id")
    while let row = try rows.next() {
      let id: Int64 = row["id"]
      let number = UInt64(bitPattern: id & (1 << Self.numberBits - 1))
      tasks[id >> Self.numberBits, default: []].append(.init(number: number, record: try Self.record(row)))
    }
    var queues: [TaskQueueChanges] = []
    var known = Known()
    for row in try Row.fetchAll(db, sql: "SELECT * FROM queue ORDER BY id") {
      let id: Int64 = row["id"]
      var totals = TaskQueueChanges.Totals()
      totals.lastNumber = UInt64(bitPattern: row["lastNumber"])
      totals.submitted = row["submitted"]
      totals.duplicates = row["duplicates"]
      totals.done = row["done"]
      totals.discarded = row["discarded"]
      totals.claims = row["claims"]
      totals.failures = row["failures"]
      totals.expired = row["expired"]
      totals.released = row["released"]
      totals.stale = row["stale"]
      totals.shed = row["shed"]
      queues.append(TaskQueueChanges(name: row["name"], totals: totals, tasks: tasks[id] ?? []))
      known.queues[row["name"]] = Queue(id: id, lastNumber: totals.lastNumber)
      known.nextQueue = id + 1
    }
    self.known.withLock { old in
      known.commits = old.commits
      old = known
    }
    return queues
  }

  private static func record(_ row: Row) throws -> TaskRecord {
    var task = NewTask(
      lane: try lane(row["lane"]), payload: row.bytes("bytes") ?? [], attempts: row["maxAttempts"],
      delay: row.duration("delay") ?? .zero, fairnessKey: row["fairnessKey"], cost: row["cost"])
    task.key = (row["key"] as String?).map { TaskKey($0, generation: UInt64(bitPattern: row["generation"])) }
    let (until, word) = (row.duration("until") ?? .zero, row["word"] as String? ?? "")
    let state: TaskState
    switch row["state"] as Int {
    case 0: state = .ready
    case 1: state = .delayed(until: until)
    case 2: state = .leased(worker: word, until: until)
    case 3: state = .done(result: row.bytes("result") ?? [])
    case 4: state = .dead(reason: word)
    case let other:
      throw EngineError.corrupt("a task has the state \(other), which isn't one: put a backup in the file's place")
    }
    var record = TaskRecord(task: task, state: state, submitted: row.duration("submitted") ?? .zero)
    record.attempts = row["attempts"]
    record.epoch = UInt64(bitPattern: row["epoch"])
    record.lastFailure = row["lastFailure"]
    record.checkpoint = (row["step"] as Int64?).map {
      CheckpointHead(step: UInt64(bitPattern: $0), reference: row.bytes("checkpoint") ?? [])
    }
    record.finished = row.duration("finished")
    if case .ready = state { record.lateWorker = row["word"] }
    return record
  }

  private static func item(_ row: Row) throws -> ScheduledItem {
    let payload = row.bytes("payload") ?? []
    guard let queue = row["queue"] as String? else {
      return .message(Message(subject: row["subject"], payload: payload, replyTo: row["replyTo"]))
    }
    var task = NewTask(
      lane: try lane(row["lane"]), payload: payload, attempts: row["maxAttempts"],
      delay: row.duration("delay") ?? .zero, fairnessKey: row["fairnessKey"], cost: row["cost"])
    task.key = (row["taskKey"] as String?).map { TaskKey($0, generation: UInt64(bitPattern: row["generation"])) }
    return .task(task, queue: queue)
  }

  private static func lane(_ number: Int) throws -> TaskLane {
    guard let lane = TaskLane(rawValue: number) else {
      throw EngineError.corrupt("a task has the lane \(number), which isn't one: put a backup in the file's place")
    }
    return lane
  }
}

extension Database {
  /// Runs a statement that is prepared once.
  fileprivate func run(_ sql: String, _ arguments: () -> [(any DatabaseValueConvertible)?]) throws {
    try cachedStatement(sql: sql).execute(arguments: StatementArguments(arguments()))
  }
}

extension Row {
  fileprivate func duration(_ column: String) -> Duration? { (self[column] as Int64?).map { .nanoseconds($0) } }
  fileprivate func bytes(_ column: String) -> [UInt8]? { (self[column] as Data?).map { Array($0) } }
}

extension Duration {
  /// Whole nanoseconds; three centuries at most.
  var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
