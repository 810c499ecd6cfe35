import CoordinationEngine
import Logging
import NATSClient
import NIOCore
import Synchronization
import TaskQueue

/// A queue's streams and consumers as one engine knows them.
final class QueueHandle: Sendable {
  let name: String
  /// Tells a queue from one of the same name that was deleted.
  let instance: String
  let link: EngineLink
  let intake: LaneIntake
  let turns: Mutex<LaneShares>
  let consumers: Mutex<[TaskLane: PullConsumer]>
  /// What this engine alone has seen.
  let counts = Mutex((duplicates: 0, stale: 0, shed: 0))
  private let view = Mutex<QueueView?>(nil)

  private init(
    _ name: String, instance: String, _ link: EngineLink, consumers: [TaskLane: PullConsumer]
  ) throws {
    self.name = name
    self.instance = instance
    self.link = link
    self.consumers = Mutex(consumers)
    intake = try LaneIntake(link.client, consumers: consumers)
    turns = Mutex(LaneShares(policy: link.configuration.lanes))
  }

  private static let instanceKey = "swarmscale-instance"

  /// Makes what isn't there yet; with `create` false nil where there is nothing.
  static func open(_ name: String, _ link: EngineLink, create: Bool) async throws -> QueueHandle? {
    let layout = link.layout
    var records = StreamConfiguration(
      name: layout.recordStream(name), subjects: ["\(layout.prefix).r.\(layout.token(name)).>"])
    records.maximumMessagesPerSubject = 1
    records.allowsDirect = true
    records.allowsMessageTTL = true
    records.json["metadata"] = [(instanceKey): .string(String(UInt64.random(in: 0..<(1 << 40)), radix: 36))]
    let info: StreamInfo
    if create {
      info = try await link.patiently { try await link.ensure(records) }
    } else {
      do {
        info = try await link.patiently { try await link.jetStream.streamInfo(records.name) }
      } catch let error as JetStreamError where error.errorCode == JetStreamError.streamNotFound {
        return nil
      }
    }
    guard let instance = info.configuration.json["metadata"]?[instanceKey]?.string else {
      throw TaskQueueError.invalid("the stream \(records.name) isn't one of this engine's: choose another prefix")
    }
    try await link.patiently { try await link.ensure(tokens(name, link)) }
    var consumers: [TaskLane: PullConsumer] = [:]
    for lane in TaskLane.allCases {
      consumers[lane] = try await link.patiently { try await makeConsumer(name, lane, link) }
    }
    return try QueueHandle(name, instance: instance, link, consumers: consumers)
  }

  private static func tokens(_ name: String, _ link: EngineLink) -> StreamConfiguration {
    let layout = link.layout
    var stream = StreamConfiguration(
      name: layout.tokenStream(name), subjects: ["\(layout.prefix).q.\(layout.token(name)).>"])
    stream.retention = .workQueue
    // No limits here: a stream with schedules can't refuse what is new when it is full, and would drop what is old. `admit` is the bound.
    stream.allowsDirect = true
    stream.allowsSchedules = true
    stream.allowsAtomicBatches = true
    stream.duplicateWindow = .seconds(120)
    return stream
  }

  private static func makeConsumer(_ name: String, _ lane: TaskLane, _ link: EngineLink) async throws -> PullConsumer {
    var consumer = ConsumerConfiguration(durable: lane.name, filters: [link.layout.laneFilter(name, lane)])
    consumer.ackWait = link.configuration.ackWait
    consumer.maximumDeliveries = -1
    consumer.maximumAckPending = -1
    // Each waiting engine has an order of its own; the server's default of 512 is below what a fleet has.
    consumer.json["max_waiting"] = 16384
    do {
      return try await link.jetStream.createConsumer(link.layout.tokenStream(name), consumer)
    } catch let error as JetStreamError where error.errorCode == JetStreamError.streamNotFound {
      // Another engine has just made the stream, and not each server of the cluster knows of it: there in a moment.
      throw NATSError(.noResponders, "the stream of the queue \(name) isn't known to all servers yet")
    }
  }

  // MARK: Bounds

  private struct Fill {
    var messages = 0
    var bytes = 0
    var checked: NIODeadline?
  }

  private let fill = Mutex(Fill())

  /// Refuses tasks that are too many for the queue. Engines that submit at once may go beyond the bound by what they submit within a second.
  func admit(_ tasks: Int, bytes: Int) async throws {
    let limits = link.configuration.taskLimits
    let now = link.client.eventLoop.now
    let isKnown = fill.withLock { fill in
      guard let checked = fill.checked, now - checked < .seconds(1), fill.messages + tasks <= limits.tasks,
        fill.bytes + bytes <= limits.totalPayloadBytes
      else { return false }
      fill.messages += tasks
      fill.bytes += bytes
      return true
    }
    if isKnown { return }
    let info = try await link.patiently { try await link.jetStream.streamInfo(link.layout.tokenStream(name)) }
    let held = (messages: Int(info.messages), bytes: Int(info.bytes))
    fill.withLock { $0 = Fill(messages: held.messages + tasks, bytes: held.bytes + bytes, checked: now) }
    guard held.messages + tasks <= limits.tasks else {
      throw TaskQueueError.full(queue: name, what: "tasks that are not done", limit: limits.tasks)
    }
    guard held.bytes + bytes <= limits.totalPayloadBytes else {
      throw TaskQueueError.full(queue: name, what: "bytes of payloads", limit: limits.totalPayloadBytes)
    }
  }

  // MARK: Waiting

  /// What waits in a lane, and since when its oldest task does. What was handed back and nobody has taken yet isn't seen.
  func waiting(_ lane: TaskLane) async throws -> (count: Int, oldest: Duration?) {
    let stream = link.layout.tokenStream(name)
    let info: ConsumerInfo
    do {
      info = try await link.patiently { try await link.jetStream.consumerInfo(stream, lane.name) }
    } catch let error as JetStreamError where error.code == 404 {
      // Whoever takes from the lane makes it again.
      return (0, nil)
    }
    guard info.pending > 0 else { return (0, nil) }
    let subject = link.layout.laneFilter(name, lane)
    let first = try await link.patiently {
      try await link.jetStream.message(stream, .next(subject: subject, from: info.deliveredSequence + 1), direct: true)
    }
    // Taken meanwhile.
    guard let first, let record = StoredRecord(first.message.headers) else { return (Int(info.pending), nil) }
    return (Int(info.pending), record.submitted)
  }

  private struct Age {
    var submitted: Duration?
    var checked: NIODeadline
  }

  private let ages = Mutex<[TaskLane: Age]>([:])

  /// The lanes whose backlog is older than their deadline, as it was within the last second; the least urgent first: it is what a mixed submission
  /// fails by.
  func overdue(among lanes: Set<TaskLane>) async throws -> [(TaskLane, (age: Duration, retryAfter: Duration))] {
    let policy = link.configuration.lanes
    var found: [(TaskLane, (age: Duration, retryAfter: Duration))] = []
    for lane in TaskLane.allCases.reversed() where lanes.contains(lane) && policy.deadlines[lane] != nil {
      let now = link.client.eventLoop.now
      var age = ages.withLock { $0[lane] }
      if age.map({ now - $0.checked >= .seconds(1) }) ?? true {
        let new = Age(submitted: try await waiting(lane).oldest, checked: now)
        ages.withLock { $0[lane] = new }
        age = new
      }
      guard let submitted = age?.submitted else { continue }
      let waited = EngineLink.wall - submitted
      if let pause = policy.retryAfter(lane, oldest: waited) { found.append((lane, (waited, pause))) }
    }
    return found
  }

  // MARK: Taking

  /// Tokens that are there now, by the lanes' turns. A lane whose consumer doesn't answer keeps nobody from the others' tokens: what they
  /// gave is returned; only where nothing came the trouble is mended, or told.
  func take(_ maximum: Int, room: LaneCounts) async throws -> [JetStreamMessage] {
    var left = room
    var open = TaskLane.allCases.filter { room[$0] > 0 }
    var taken: [JetStreamMessage] = []
    var failures: [(lane: TaskLane, error: any Error)] = []
    while taken.count < maximum, !open.isEmpty {
      let wanted = turns.withLock { $0.allot(maximum - taken.count, open: open, room: left) }
      guard wanted.total > 0 else { break }
      let asked = open
      let results = await withTaskGroup(of: (TaskLane, Result<[JetStreamMessage], any Error>).self) { group in
        for lane in asked where wanted[lane] > 0 {
          group.addTask {
            do { return (lane, .success(try await self.fair(lane, wanted[lane]))) } catch {
              return (lane, .failure(error))
            }
          }
        }
        return await group.reduce(into: []) { $0.append($1) }
      }
      var came = LaneCounts(all: 0)
      for (lane, result) in results {
        var batch: [JetStreamMessage] = []
        switch result {
        case .success(let messages): batch = messages
        case .failure(let error): failures.append((lane, error))
        }
        came[lane] = batch.count
        left[lane] -= batch.count
        taken += batch
        if batch.count < wanted[lane] || left[lane] <= 0 { open.removeAll { $0 == lane } }
      }
      turns.withLock { $0.took(came, open: asked) }
    }
    if taken.isEmpty { for failure in failures { try await mend(failure.lane, after: failure.error) } }
    return taken
  }

  /// Gone, or without a leader: making it again tells, and leaves it alone where it is there. Anything else is thrown.
  private func mend(_ lane: TaskLane, after error: any Error) async throws {
    guard let known = error as? NATSError, known.code == .noResponders || known.code == .serverError else {
      throw error
    }
    try await remake(lane)
  }

  private let ahead = Mutex<[TaskLane: LookAhead]>([:])

  /// How long a token that was taken in advance stays with this engine when nobody claims it: well within the server's wait for a sign of life.
  var longestHold: Duration { min(.seconds(1), link.configuration.ackWait / 4) }

  /// Tokens of a lane by the turns of their fairness keys, as far as this engine looks ahead.
  private func fair(_ lane: TaskLane, _ count: Int) async throws -> [JetStreamMessage] {
    // What comes first tells whether there are keys, and whether enough waits behind.
    for _ in 0..<2 {
      let missing = ahead.withLock { $0[lane, default: LookAhead()].missing(for: count) }
      guard missing > 0 else { break }
      let batch: [JetStreamMessage]
      do {
        batch = try await fetch(lane, missing)
      } catch {
        // What is there is handed out; the trouble is there again next time.
        guard ahead.withLock({ ($0[lane]?.count ?? 0) > 0 }) else { throw error }
        break
      }
      ahead.withLock { $0[lane, default: LookAhead()].push(batch) }
      if batch.count < missing { break }
    }
    let (tokens, left) = ahead.withLock { ahead in
      (ahead[lane, default: LookAhead()].pop(count), ahead[lane]?.count ?? 0)
    }
    if left > 0 {
      link.client.eventLoop.scheduleTask(in: .nanoseconds(longestHold.nanoseconds)) { self.handBack(lane) }
    }
    return tokens
  }

  /// Hands back what was taken in advance: others may have room for it.
  private func handBack(_ lane: TaskLane) {
    for token in ahead.withLock({ $0[lane]?.clear() ?? [] }) { try? token.nak() }
  }

  private func fetch(_ lane: TaskLane, _ count: Int) async throws -> [JetStreamMessage] {
    guard let consumer = consumers.withLock({ $0[lane] }) else { return [] }
    return try await consumer.fetch(
      count, expires: Self.answerWait, noWait: true,
      maximumBytes: max(link.configuration.taskLimits.claimPayloadBytes, 1024 * 1024))
  }

  /// For so long what other lanes gave waits for one whose server was killed in the middle of its answer. What comes later goes back.
  private static let answerWait = Duration.seconds(2)

  private func remake(_ lane: TaskLane) async throws {
    try await link.patiently { try await link.ensure(Self.tokens(name, link)) }
    let consumer = try await link.patiently { try await Self.makeConsumer(name, lane, link) }
    consumers.withLock { $0[lane] = consumer }
    intake.replace(lane, consumer)
  }

  // MARK: Stuck consumers

  /// Looks for lanes in which tasks wait, claims wait, and nothing comes; makes their consumers anew. Returns the lanes.
  func mend() async throws -> [TaskLane] {
    let moment = link.client.eventLoop.now - .nanoseconds(link.configuration.stuckAfter.nanoseconds)
    var mended: [TaskLane] = []
    for lane in intake.quiet(since: moment) {
      let stream = link.layout.tokenStream(name)
      guard let info = try? await link.jetStream.consumerInfo(stream, lane.name), info.pending > 0 else { continue }
      // What is held is handed out again by the new consumer; its records say until when it is left alone.
      try await link.jetStream.deleteConsumer(stream, lane.name)
      try await remake(lane)
      mended.append(lane)
    }
    return mended
  }

  // MARK: View

  /// The records as they are now; `start` runs it where it doesn't run yet.
  func currentView(start: (QueueView) throws -> Void) async throws -> QueueView {
    let (current, isNew) = view.withLock { view in
      if let view, !view.isEnded { return (view, false) }
      let new = QueueView(link, queue: name)
      view = new
      return (new, true)
    }
    if isNew { try start(current) }
    try await current.sync()
    return current
  }

  func end() {
    for lane in TaskLane.allCases { handBack(lane) }
    intake.stop()
  }
}
