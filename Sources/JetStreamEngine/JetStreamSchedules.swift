package import CoordinationEngine
import Logging
import NATSClient
import NIOCore
import TaskQueue

/// Timers that the servers keep: a scheduled message comes out at its time, whoever is there, and one engine takes it and does what it says. It is told to be
/// done when that is stored; an engine that dies in between leaves it to another, and the task's name makes one of both.
package struct JetStreamSchedules: Schedules {
  let link: EngineLink
  let tasks: JetStreamTasks
  let messages: JetStreamMessages
  let logger: Logger

  init(_ link: EngineLink, tasks: JetStreamTasks, messages: JetStreamMessages, logger: Logger) {
    self.link = link
    self.tasks = tasks
    self.messages = messages
    self.logger = logger
  }

  private static let item = "Swarm-Item"
  private static let due = "Swarm-Due"
  private static let listed = 1_000

  private func ensure() async throws {
    guard !link.isClosed else { throw EngineError.unavailable("the engine is closed") }
    var stream = StreamConfiguration(
      name: link.layout.scheduleStream, subjects: ["\(link.layout.prefix).s.>"])
    stream.allowsDirect = true
    stream.allowsSchedules = true
    try await link.ensureOnce(stream)
  }

  private func subject(_ key: String) throws -> String {
    try StateLimits().check(key: key)
    return link.layout.scheduleSubjects + key
  }

  package func schedule(_ key: String, _ item: ScheduledItem, after delay: Duration) async throws {
    try await link.engine {
      let subject = try subject(key)
      let (json, payload) = try encode(item)
      try await ensure()
      let at = EngineLink.wall + max(.zero, delay)
      var options = PublishOptions()
      // A subject of its own for each, or a second one would come out in place of a first that nobody has taken yet.
      let name = link.client.makeInbox().split(separator: ".").joined(separator: "-")
      options.schedule = .init(at: at, target: "\(link.layout.dueSubjects)\(name)")
      let headers: NATSHeaders = [Self.item: json.text, Self.due: "\(at.nanoseconds / 1_000_000)"]
      let settings = options
      try await link.patiently {
        try await link.jetStream.publish(subject, ByteBuffer(bytes: payload), headers: headers, options: settings)
      }
    }
  }

  package func cancel(_ key: String) async throws -> Bool {
    try await link.engine {
      let subject = try subject(key)
      try await ensure()
      return try await link.patiently {
        try await link.jetStream.purgeStream(link.layout.scheduleStream, subject: subject)
      } > 0
    }
  }

  package func pending() async throws -> [PendingSchedule] {
    try await link.engine {
      try await ensure()
      return try await link.patiently {
        let now = EngineLink.wall
        var found: [String: Duration] = [:]
        let consumer = OrderedConsumer(
          link.jetStream, stream: link.layout.scheduleStream, filters: ["\(link.layout.scheduleSubjects)>"],
          deliver: .lastPerSubject, headersOnly: true, batch: 1024)
        try await consumer.readToEnd { message in
          let key = String(message.subject.dropFirst(link.layout.scheduleSubjects.count))
          guard let due = message.headers[Self.due].flatMap({ Int64($0) }) else { return }
          found[key] = max(.zero, .milliseconds(due) - now)
        }
        return found.sorted { $0.key < $1.key }.prefix(Self.listed).map {
          PendingSchedule(key: $0.key, remaining: $0.value)
        }
      }
    }
  }

  // MARK: Firing

  /// Takes what is due, until the engine ends.
  func run() async {
    while !link.isClosed {
      do {
        try await ensure()
        try await link.patiently { try await take() }
      } catch {
        if link.isClosed || Task.isCancelled { return }
        logger.debug("schedules wait for the engine", metadata: ["schedules.error": "\(error)"])
      }
      do { try await link.client.pause(.milliseconds(100)) } catch { return }
    }
  }

  private func take() async throws {
    var configuration = ConsumerConfiguration(durable: "due", filters: ["\(link.layout.dueSubjects)>"])
    configuration.ackWait = link.configuration.ackWait
    configuration.maximumDeliveries = -1
    configuration.json["max_waiting"] = 16384
    let pulls = try await link.jetStream.createConsumer(link.layout.scheduleStream, configuration)
      .messages(batch: 16, heartbeat: .seconds(5))
    defer { pulls.stop() }
    while let message = try await pulls.next() {
      do {
        try await fire(message)
        try await link.jetStream.deleteMessage(link.layout.scheduleStream, sequence: message.metadata.streamSequence)
        try message.ack()
      } catch let error as JetStreamError where error.code == 404 {
        // Gone: done by another engine.
        try message.ack()
      } catch {
        if link.isClosed { return }
        // Full, shed, away: what is due stays due.
        try? message.nak(delay: .seconds(1))
        logger.warning("what is due couldn't be done and is tried again", metadata: ["schedules.error": "\(error)"])
      }
    }
  }

  private func fire(_ message: JetStreamMessage) async throws {
    guard let item = decode(message) else {
      logger.error("a schedule can't be read and is dropped", metadata: ["schedules.subject": "\(message.subject)"])
      return
    }
    switch item {
    case .message(let content): try await messages.publish(content)
    case .task(let task, let queue):
      // The same however often it is taken: one task.
      let name = task.key.map(JetStreamTasks.hash) ?? "s" + Hex.text(Array("\(message.metadata.streamSequence)".utf8))
      _ = try await tasks.submit([task], to: queue, names: [name])
    }
  }

  private func encode(_ item: ScheduledItem) throws -> (JSONValue, [UInt8]) {
    switch item {
    case .message(let message):
      try StateLimits().check(key: message.subject)
      var json: JSONValue = ["m": .string(message.subject)]
      json["r"] = message.replyTo.map(JSONValue.string)
      return (json, message.payload)
    case .task(let task, let queue):
      do throws(TaskQueueError) {
        _ = try tasks.check(queue) { rules throws(TaskQueueError) in try rules.submit([task], now: .zero) }
      } catch {
        throw EngineError.invalid("\(error)")
      }
      var json = StoredRecord(task, keyHash: nil, submitted: .zero).json
      json["q"] = .string(queue)
      json["d"] = .duration(task.delay)
      return (json, task.payload)
    }
  }

  private func decode(_ message: JetStreamMessage) -> ScheduledItem? {
    guard let text = message.headers[Self.item], let json = try? JSONValue(parsing: ByteBuffer(string: text)) else {
      return nil
    }
    if let subject = json["m"]?.string {
      return .message(Message(subject: subject, payload: message.payload.bytes, replyTo: json["r"]?.string))
    }
    guard let queue = json["q"]?.string, let record = StoredRecord([StoredRecord.header: text]) else { return nil }
    return .task(
      NewTask(
        lane: record.lane, key: record.key, payload: message.payload.bytes, attempts: record.maximumAttempts,
        delay: json["d"]?.duration ?? .zero, fairnessKey: record.fairnessKey, cost: record.cost), queue: queue)
  }
}
