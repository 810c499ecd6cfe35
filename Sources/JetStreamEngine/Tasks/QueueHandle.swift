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
  let counts = Mutex((duplicates: 0, stale: 0))
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
    return try await link.jetStream.createConsumer(link.layout.tokenStream(name), consumer)
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

  // MARK: Taking

  /// Tokens that are there now, by the lanes' turns.
  func take(_ maximum: Int, room: LaneCounts) async throws -> [JetStreamMessage] {
    var left = room
    var open = TaskLane.allCases.filter { room[$0] > 0 }
    var taken: [JetStreamMessage] = []
    while taken.count < maximum, !open.isEmpty {
      let wanted = turns.withLock { $0.allot(maximum - taken.count, open: open, room: left) }
      guard wanted.total > 0 else { break }
      let asked = open
      let batches = try await withThrowingTaskGroup(of: (TaskLane, [JetStreamMessage]).self) { group in
        for lane in asked where wanted[lane] > 0 {
          group.addTask { (lane, try await self.fetch(lane, wanted[lane])) }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      var came = LaneCounts(all: 0)
      for (lane, batch) in batches {
        came[lane] = batch.count
        left[lane] -= batch.count
        taken += batch
        if batch.count < wanted[lane] || left[lane] <= 0 { open.removeAll { $0 == lane } }
      }
      turns.withLock { $0.took(came, open: asked) }
    }
    return taken
  }

  private func fetch(_ lane: TaskLane, _ count: Int) async throws -> [JetStreamMessage] {
    guard let consumer = consumers.withLock({ $0[lane] }) else { return [] }
    do {
      return try await consumer.fetch(
        count, expires: link.configuration.patience, noWait: true,
        maximumBytes: max(link.configuration.taskLimits.claimPayloadBytes, 1024 * 1024))
    } catch let error as NATSError where error.code == .noResponders || error.code == .serverError {
      // Gone, or without a leader: making it again tells, and leaves it alone where it is there.
      try await remake(lane)
      return []
    }
  }

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

  func end() { intake.stop() }
}
