import CoordinationEngine
import Crypto
import Logging
import NATSClient
import NIOCore
import Synchronization
package import TaskQueue

/// Queues of tasks on JetStream.
///
/// The truth about a task is its record, which changes by compare-and-set: of all that work on a task only the one whose epoch is in the record can
/// commit. Beside it a token lies in a work-queue stream, one stream a queue, one consumer a lane: the token brings the payload to a worker, and comes
/// again when its holder falls silent. A token without a record, and a record without its token, are both made whole by whoever meets the token again.
package final class JetStreamTasks: TaskEngine {
  let link: EngineLink
  let held: HeldTokens
  let jobs: EngineJobs
  let logger: Logger
  private struct Shared {
    var handles: [String: QueueHandle] = [:]
    var generator = SystemRandomNumberGenerator()
    var isWaitingEnded = false
    var mended = 0
  }
  private let shared = Mutex(Shared())

  init(_ link: EngineLink, jobs: EngineJobs, logger: Logger) {
    self.link = link
    self.jobs = jobs
    self.logger = logger
    held = HeldTokens(link.client)
  }

  package var durability: Durability { link.configuration.durability }

  /// Consumers that were stuck and were made anew.
  package var mendedConsumers: Int { shared.withLock { $0.mended } }

  package func endWaiting() {
    let handles = shared.withLock { shared in
      shared.isWaitingEnded = true
      return Array(shared.handles.values)
    }
    for handle in handles { handle.intake.endWaiting() }
  }

  var isWaitingEnded: Bool { shared.withLock { $0.isWaitingEnded } }

  func end() {
    endWaiting()
    held.releaseAll()
    for handle in shared.withLock({ Array($0.handles.values) }) { handle.end() }
  }

  // MARK: Queues

  /// The queue of a name, made where it isn't there.
  func queue(_ name: String) async throws -> QueueHandle {
    guard let handle = try await handle(name, create: true) else { throw TaskQueueError.invalid("queue: \(name)") }
    return handle
  }

  /// The queue of a name; nil where nobody has used it.
  func handle(_ name: String, create: Bool) async throws -> QueueHandle? {
    guard !link.isClosed else { throw TaskQueueError.unavailable("the engine is closed") }
    if let handle = shared.withLock({ $0.handles[name] }) { return handle }
    try check(name) { _ throws(TaskQueueError) in }
    guard let new = try await QueueHandle.open(name, link, create: create) else { return nil }
    let (handle, isNew) = shared.withLock { shared in
      if let known = shared.handles[name] { return (known, false) }
      shared.handles[name] = new
      return (new, true)
    }
    if isNew {
      try jobs.start { await handle.intake.run() }
      if isWaitingEnded { handle.intake.endWaiting() }
    } else {
      new.end()
    }
    return handle
  }

  /// The rules of the queues in memory, by asking an empty one.
  func check<Result>(
    _ name: String, _ body: (inout TaskQueue) throws(TaskQueueError) -> Result
  ) throws(TaskQueueError) -> Result {
    var rules = TaskQueues(instance: "rules", limits: link.configuration.taskLimits, policy: link.configuration.retries)
    return try rules.change(name, body)
  }

  func found(_ id: TaskID) async throws -> QueueHandle {
    guard let handle = try await handle(id.queue, create: false), handle.instance == id.instance else {
      throw TaskQueueError.unknownTask("\(id)")
    }
    return handle
  }

  /// Looks for stuck consumers, again and again.
  func mendConsumers() async {
    while !link.isClosed {
      do { try await link.client.pause(link.configuration.stuckAfter / 2) } catch { return }
      for handle in shared.withLock({ Array($0.handles.values) }) {
        guard let lanes = try? await handle.mend(), !lanes.isEmpty else { continue }
        shared.withLock { $0.mended += lanes.count }
        logger.error(
          "a consumer was stuck and was made anew",
          metadata: ["queue.name": "\(handle.name)", "queue.lanes": "\(lanes.map(\.name).joined(separator: ","))"])
      }
    }
  }

  // MARK: Submitting

  package func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    try await link.queue(queue) { try await submit(tasks, to: queue, names: tasks.map { $0.key.map(Self.hash) }) }
  }

  /// The name under which a key is kept.
  static func hash(_ key: TaskKey) -> String {
    Hex.text(Array(SHA256.hash(data: Array("k\(key.generation).\(key.name)".utf8)).prefix(16)))
  }

  /// `names` make the second submission of a task the same task; nil: each is one of its own.
  func submit(_ tasks: [NewTask], to queue: String, names: [String?]) async throws -> [Submission] {
    _ = try check(queue) { rules throws(TaskQueueError) in try rules.submit(tasks, now: .zero) }
    let handle = try await self.queue(queue)
    try await turnAway(tasks, names, handle)
    try await handle.admit(tasks.count, bytes: tasks.reduce(0) { $0 + $1.payload.count })
    let last = try await allocate(tasks.count, queue)
    let now = EngineLink.wall
    var submissions: [Submission] = []
    var fresh: [Fresh] = []
    var seen: [String: UInt64] = [:]
    for (offset, task) in tasks.enumerated() {
      let number = last - UInt64(tasks.count - 1 - offset)
      var owner = number
      if let name = names[offset] { owner = try await claimName(name, number, seen[name], handle) }
      if let name = names[offset] { seen[name] = owner }
      let isNew = owner == number ? true : try await !isKnown(owner, handle)
      // A name without a task: its submission ended between the two, and nobody was told of it.
      if isNew, !fresh.contains(where: { $0.number == owner }) {
        fresh.append(
          Fresh(number: owner, task: task, record: StoredRecord(task, keyHash: names[offset], submitted: now)))
      }
      let isDuplicate = owner != number
      if isDuplicate { handle.counts.withLock { $0.duplicates += 1 } }
      submissions.append(
        Submission(id: TaskID(queue: queue, instance: handle.instance, number: owner), isDuplicate: isDuplicate))
    }
    try await publishTokens(fresh, handle)
    await writeRecords(fresh, handle)
    return submissions
  }

  /// Turns new tasks of a lane away whose backlog is older than its deadline; those that are known already aren't new.
  private func turnAway(_ tasks: [NewTask], _ names: [String?], _ handle: QueueHandle) async throws {
    for (lane, overdue) in try await handle.overdue(among: Set(tasks.map(\.lane))) {
      var fresh = 0
      for (task, name) in zip(tasks, names) where task.lane == lane {
        if let name, try await owner(of: name, handle) != nil { continue }
        fresh += 1
      }
      guard fresh > 0 else { continue }
      let count = fresh
      handle.counts.withLock { $0.shed += count }
      throw TaskQueueError.shed(queue: handle.name, lane: lane, age: overdue.age, retryAfter: overdue.retryAfter)
    }
  }

  /// The task that has a name; nil: none has.
  private func owner(of name: String, _ handle: QueueHandle) async throws -> UInt64? {
    let (stream, subject) = (link.layout.recordStream(handle.name), link.layout.keySubject(handle.name, name))
    let message = try await link.patiently { try await link.jetStream.message(stream, .last(subject: subject)) }
    guard let known = message.flatMap({ UInt64($0.message.text) }),
      try await stored(known, handle)?.record.state != .discarded
    else { return nil }
    return known
  }

  struct Fresh: Sendable {
    var number: UInt64
    var task: NewTask
    var record: StoredRecord
  }

  /// Numbers for new tasks; gives the last one. A lost answer costs numbers, nothing else.
  private func allocate(_ count: Int, _ queue: String) async throws -> UInt64 {
    try await JetStreamCounters.ensure(link)
    let subject = "\(link.layout.counterSubjects)q.\(link.layout.token(queue))"
    var options = PublishOptions()
    options.increment = count
    let value = try await link.patiently { try await link.jetStream.publish(subject, options: options).value }
    guard let last = value.flatMap(UInt64.init) else {
      throw NATSError(.invalidAnswer, "a counter answered without its value")
    }
    return last
  }

  /// Makes a name that of a task, or gives the task that has it.
  private func claimName(_ name: String, _ number: UInt64, _ seen: UInt64?, _ handle: QueueHandle) async throws
    -> UInt64
  {
    if let seen { return seen }
    let subject = link.layout.keySubject(handle.name, name)
    let stream = link.layout.recordStream(handle.name)
    for _ in 0..<5 {
      do {
        _ = try await link.jetStream.compareAndSet(
          stream: stream, subject, ByteBuffer(string: "\(number)"), expected: 0,
          retryingFor: link.configuration.patience)
        return number
      } catch let error as JetStreamError where error.isWrongSequence {
        let stored = try await link.patiently { try await link.jetStream.message(stream, .last(subject: subject)) }
        if let known = stored.flatMap({ UInt64($0.message.text) }),
          try await self.stored(known, handle)?.record.state != .discarded
        {
          return known
        }
        // A marker of an expired one, one whose task was thrown away, or it went a moment ago.
        if let stored { try await link.jetStream.purgeStream(stream, subject: subject, before: stored.sequence + 1) }
      }
    }
    throw EngineLink.Away(text: "the key of a task changes all the time; submit it again")
  }

  private func isKnown(_ number: UInt64, _ handle: QueueHandle) async throws -> Bool {
    if try await stored(number, handle) != nil { return true }
    return try await token(number, handle) != nil
  }

  /// What a token is stored as: at once in its lane, or as a schedule that comes out there.
  func entry(_ number: UInt64, _ record: StoredRecord, _ payload: [UInt8], _ queue: String) -> JetStream.BatchEntry {
    let lane = link.layout.tokenSubject(queue, record.lane, number)
    let (body, headers) = PackedBody.pack(payload, record.headers)
    guard record.state == .delayed else { return .init(lane, body, headers: headers) }
    var options = PublishOptions()
    options.schedule = .init(at: record.until, target: lane)
    return .init(link.layout.delaySubject(queue, number), body, headers: headers, options: options)
  }

  /// Puts a token in; said twice it may be there twice, and the one that isn't named by the record is dropped.
  func publishToken(_ number: UInt64, _ record: StoredRecord, _ payload: [UInt8], _ queue: String) async throws {
    let entry = entry(number, record, payload, queue)
    var options = entry.options
    if options.schedule == nil { options.messageID = "\(number).\(record.turn)" }
    let settings = options
    try await link.patiently {
      try await link.jetStream.publish(entry.subject, entry.payload, headers: entry.headers, options: settings)
    }
  }

  /// From here on the tasks are there.
  private func publishTokens(_ fresh: [Fresh], _ handle: QueueHandle) async throws {
    if fresh.count == 1 {
      return try await publishToken(fresh[0].number, fresh[0].record, fresh[0].task.payload, handle.name)
    }
    guard !fresh.isEmpty else { return }
    let entries = fresh.map { entry($0.number, $0.record, $0.task.payload, handle.name) }
    // Whether it is stored after a lost answer is unknown: it isn't said again here, the caller does by the tasks' keys.
    _ = try await link.atomically(entries)
  }

  /// Where this fails the first claim writes it.
  private func writeRecords(_ fresh: [Fresh], _ handle: QueueHandle) async {
    await withTaskGroup(of: Void.self) { group in
      for (index, task) in fresh.enumerated() {
        if index >= 256 { await group.next() }
        group.addTask { [link] in
          var options = PublishOptions()
          options.expectedLastSubjectSequence = 0
          _ = try? await link.jetStream.publish(
            link.layout.recordSubject(handle.name, task.number), headers: task.record.headers, options: options)
        }
      }
    }
  }

  // MARK: Reading

  /// A record with its revision and body; nil where there is none. `consistent`: as the leader has it.
  func stored(
    _ number: UInt64, _ handle: QueueHandle, consistent: Bool = true
  ) async throws -> (record: StoredRecord, revision: UInt64, body: [UInt8])? {
    let message = try await link.patiently {
      try await link.jetStream.message(
        link.layout.recordStream(handle.name), .last(subject: link.layout.recordSubject(handle.name, number)),
        direct: !consistent)
    }
    guard let message, let record = StoredRecord(message.message.headers) else { return nil }
    return (record, message.sequence, try PackedBody.unpack(message.message.payload, message.message.headers))
  }

  /// A task's token, in its lane or before its time: the record of then, and the payload.
  func token(_ number: UInt64, _ handle: QueueHandle) async throws -> (record: StoredRecord, payload: [UInt8])? {
    let stream = link.layout.tokenStream(handle.name)
    let subjects =
      TaskLane.allCases.map { link.layout.tokenSubject(handle.name, $0, number) }
      + [link.layout.delaySubject(handle.name, number)]
    for subject in subjects {
      let message = try await link.patiently { try await link.jetStream.message(stream, .last(subject: subject)) }
      if let message, let record = StoredRecord(message.message.headers) {
        return (record, try PackedBody.unpack(message.message.payload, message.message.headers))
      }
    }
    return nil
  }

  package func record(_ id: TaskID) async throws -> TaskRecord {
    try await link.queue(id.queue) {
      let handle = try await found(id)
      guard let record = try await full(id.number, handle) else { throw TaskQueueError.unknownTask("\(id)") }
      return record
    }
  }

  private func full(_ number: UInt64, _ handle: QueueHandle) async throws -> TaskRecord? {
    let now = EngineLink.wall
    guard let stored = try await stored(number, handle) else {
      return try await token(number, handle).map { $0.record.record(body: $0.payload, now: now) }
    }
    switch stored.record.state {
    case .discarded: return nil
    case .done, .dead: return stored.record.record(body: stored.body, now: now)
    case .ready, .delayed, .leased:
      return stored.record.record(body: try await token(number, handle)?.payload ?? [], now: now)
    }
  }

  package func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    try await link.queue(query.queue) {
      guard let handle = try await handle(query.queue, create: false) else { return [] }
      let view = try await handle.currentView { view in try jobs.start { await view.run() } }
      let numbers = view.numbers(query, now: EngineLink.wall)
        .prefix(max(0, min(query.maximum, link.configuration.taskLimits.listedTasks)))
      var found: [(id: TaskID, record: TaskRecord)] = []
      for number in numbers {
        guard let record = try await full(number, handle) else { continue }
        found.append((TaskID(queue: query.queue, instance: handle.instance, number: number), record))
      }
      return found
    }
  }

  package func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    try await link.queue(queue ?? "") {
      var names = queue.map { [$0] } ?? []
      if queue == nil {
        names = try await link.patiently { try await link.jetStream.streamNames() }
          .compactMap(link.layout.queueOf(recordStream:)).sorted()
      }
      var result: [String: TaskQueueStatistics] = [:]
      for name in names {
        guard let handle = try await handle(name, create: false) else {
          result[name] = TaskQueueStatistics()
          continue
        }
        let view = try await handle.currentView { view in try jobs.start { await view.run() } }
        var statistics = view.statistics(now: EngineLink.wall)
        (statistics.duplicates, statistics.stale, statistics.shed) = handle.counts.withLock {
          ($0.duplicates, $0.stale, $0.shed)
        }
        result[name] = statistics
      }
      return result
    }
  }

  package func backlog(of queue: String) async throws -> TaskBacklog {
    try await link.queue(queue) {
      guard let handle = try await handle(queue, create: false) else { return TaskBacklog(waiting: 0, oldest: .zero) }
      var (waiting, oldest) = (0, Duration?.none)
      for lane in TaskLane.allCases {
        let found = try await handle.waiting(lane)
        waiting += found.count
        if let submitted = found.oldest { oldest = min(oldest ?? submitted, submitted) }
      }
      return TaskBacklog(waiting: waiting, oldest: oldest.map { max(.zero, EngineLink.wall - $0) } ?? .zero)
    }
  }

  func jitter() -> UInt32 { shared.withLock { UInt32.random(in: 0 ... .max, using: &$0.generator) } }
}
