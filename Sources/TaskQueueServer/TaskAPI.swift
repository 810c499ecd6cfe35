package import KubernetesCore
package import TaskQueue

/// The tasks' API as requests and answers, whoever carries them: `/v1/tasks` and what lies below (docs/task-queue.md).
package struct TaskAPI: Sendable {
  private let engine: any TaskEngine

  /// The longest wait of `/v1/tasks/next`, in seconds: below the timeouts of clients and proxies.
  static let longestWait = 60
  /// The largest body of a request, in bytes.
  package static let bodyBytes = 16 * 1_024 * 1_024

  /// An API in front of an engine.
  package init(engine: any TaskEngine) {
    self.engine = engine
  }

  /// What is answered.
  package struct Answer: Sendable {
    /// The status of HTTP.
    package var status: Int
    /// The body.
    package var json: JSONValue
    /// Seconds for the header `retry-after`.
    package var retryAfter: Int?
    /// Tasks that are handed out by this answer: release them if it can't be delivered.
    package var handedOut: [TaskTicket] = []
    /// Whether it answers a claim that got nothing: it may wait for more.
    var isEmpty = false

    init(_ status: Int, _ json: JSONValue) {
      self.status = status
      self.json = json
    }

    init(_ error: TaskAPIError) {
      self.init(
        error.status, ["type": "error", "error": ["type": .string(error.type), "message": .string(error.message)]])
      retryAfter = error.retryAfter
    }
  }

  /// Answers a request; `path` without the query, `contentType` as the header says.
  package func respond(
    method: String, path: String, query: [String: String], contentType: String, body: [UInt8]
  ) async throws -> Answer {
    do {
      let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
      guard parts.count >= 2, parts[0] == "v1", parts[1] == "tasks", parts.count <= 4 else { throw Self.noPath(path) }
      if method == "POST" {
        // A web page can't send this type to another origin without asking first: no page may submit tasks.
        guard contentType.prefix(while: { $0 != ";" }).lowercased() == "application/json" else {
          throw TaskAPIError(415, "unsupported_media_type", "send the header content-type: application/json")
        }
      }
      switch (method, parts.count) {
      case ("POST", 2): return try await submit(body)
      case ("POST", 3) where parts[2] == "next": return try await next(query, body)
      case ("GET", 3) where parts[2] == "stats": return try await statistics(query)
      case ("GET", 3) where parts[2] == "dead": return try await deadLetters(query)
      case ("GET", 3): return try await show(try Self.id(parts[2]))
      case ("POST", 4): return try await step(parts[3], try Self.id(parts[2]), body, path)
      default:
        throw TaskAPIError(
          405, "method_not_allowed", "\(method) \(path) is not served; docs/task-queue.md lists what is")
      }
    } catch let error as TaskAPIError {
      return Answer(error)
    } catch let error as TaskQueueError {
      return Answer(TaskAPIError(error))
    }
  }

  /// Hands back what an answer handed out that couldn't be delivered.
  package func takeBack(_ tickets: [TaskTicket]) async {
    // Where that fails the lease runs out: nothing is lost.
    for ticket in tickets { try? await engine.release(ticket) }
  }

  // MARK: Submitting

  private static let taskFields = [
    "payload", "lane", "key", "generation", "maxAttempts", "delaySeconds", "fairnessKey", "cost",
  ]

  private func submit(_ body: [UInt8]) async throws -> Answer {
    let fields = try TaskAPIFields(body: body, known: ["queue", "tasks"] + Self.taskFields)
    let queue = try fields.required("queue", such: "reviewers")
    var tasks: [NewTask] = []
    if let several = fields["tasks"] {
      guard let items = several.arrayValue else { throw TaskAPIError.invalid("tasks: an array is needed") }
      for (index, item) in items.enumerated() {
        let place = "tasks[\(index)]."
        tasks.append(try Self.task(TaskAPIFields(item, place: place, known: Self.taskFields), place))
      }
    } else {
      tasks = [try Self.task(fields, "")]
    }
    let answers = try await engine.submit(tasks, to: queue)
    return Answer(
      201,
      [
        "tasks": .array(answers.map { ["id": .string("\($0.id)"), "duplicate": .bool($0.isDuplicate)] })
      ])
  }

  private static func task(_ fields: TaskAPIFields, _ place: String) throws(TaskAPIError) -> NewTask {
    guard let payload = fields["payload"] else {
      throw .invalid("\(place)payload is missing: any JSON that the worker needs")
    }
    let name = try fields.string("lane") ?? TaskLane.normal.name
    guard let lane = TaskLane(name: name) else {
      throw .invalid(
        "\(place)lane: one of \(TaskLane.allCases.map(\.name).joined(separator: ", ")), not \"\(name.prefix(40))\"")
    }
    let generation = try fields.integer("generation") ?? 0
    guard generation >= 0 else { throw .invalid("\(place)generation: 0 or more") }
    return NewTask(
      lane: lane, key: try fields.string("key").map { TaskKey($0, generation: UInt64(generation)) },
      payload: payload.text, attempts: try fields.integer("maxAttempts"),
      delay: try fields.seconds("delaySeconds") ?? .zero, fairnessKey: try fields.string("fairnessKey") ?? "",
      cost: try fields.integer("cost"))
  }

  // MARK: Working

  private func next(_ query: [String: String], _ body: [UInt8]) async throws -> Answer {
    let fields = try TaskAPIFields(body: body, known: ["queue", "worker", "max", "leaseSeconds"])
    let request = ClaimRequest(
      queue: try fields.required("queue", such: "reviewers"),
      worker: try fields.required("worker", such: "reviewers-x7k2p"),
      maximum: try fields.integer("max") ?? 1, lease: try fields.seconds("leaseSeconds"))
    let text = query["wait"] ?? "0"
    guard let wait = Int(text), (0...Self.longestWait).contains(wait) else {
      throw TaskAPIError.invalid("wait: whole seconds from 0 to \(Self.longestWait), not \"\(text.prefix(20))\"")
    }
    let claimed = try await engine.claim(request, wait: .seconds(wait))
    var answer = Answer(200, ["tasks": .array(try claimed.map(Self.json))])
    answer.handedOut = claimed.map(\.ticket)
    answer.isEmpty = claimed.isEmpty
    return answer
  }

  private static func json(_ task: ClaimedTask) throws -> JSONValue {
    var json: JSONValue = [
      "id": .string("\(task.ticket.id)"), "epoch": .int(Int64(task.ticket.epoch)), "attempt": .int(Int64(task.attempt)),
      "lane": .string(task.lane.name), "leaseSeconds": task.lease.secondsJSON, "ageSeconds": task.age.secondsJSON,
      "payload": try JSONValue(parsing: task.payload),
    ]
    if let key = task.key {
      json["key"] = .string(key.name)
      json["generation"] = .int(Int64(key.generation))
    }
    return json
  }

  private func step(_ verb: String, _ id: TaskID, _ body: [UInt8], _ path: String) async throws -> Answer {
    switch verb {
    case "heartbeat":
      let fields = try TaskAPIFields(body: body, known: ["epoch", "leaseSeconds"])
      let lease = try await engine.renew(try Self.ticket(id, fields), lease: try fields.seconds("leaseSeconds"))
      return Answer(200, ["leaseSeconds": lease.secondsJSON])
    case "complete":
      let fields = try TaskAPIFields(body: body, known: ["epoch", "result"])
      let result = fields["result"] ?? .null
      let outcome = try await engine.complete(try Self.ticket(id, fields), result: result.text)
      return Answer(200, ["state": "done", "duplicate": .bool(outcome == .alreadyCommitted)])
    case "fail":
      let fields = try TaskAPIFields(body: body, known: ["epoch", "reason", "retry", "delaySeconds"])
      let outcome = try await engine.fail(
        try Self.ticket(id, fields), reason: try fields.string("reason") ?? "",
        isRetryable: try fields.boolean("retry") ?? true,
        delay: try fields.seconds("delaySeconds"))
      switch outcome {
      case .retried(let pause): return Answer(200, ["state": "delayed", "delaySeconds": pause.secondsJSON])
      case .dead: return Answer(200, ["state": "dead"])
      }
    case "release":
      try await engine.release(try Self.ticket(id, TaskAPIFields(body: body, known: ["epoch"])))
      return Answer(200, ["state": "ready"])
    case "retry":
      try await engine.retry(id)
      return Answer(200, ["state": "ready"])
    case "discard":
      try await engine.discard(id)
      return Answer(200, ["state": "discarded"])
    default: throw Self.noPath(path)
    }
  }

  private static func ticket(_ id: TaskID, _ fields: TaskAPIFields) throws(TaskAPIError) -> TaskTicket {
    guard let epoch = try fields.integer("epoch"), epoch > 0 else {
      throw .invalid("epoch is missing: the number that came with the task")
    }
    return TaskTicket(id: id, epoch: UInt64(epoch))
  }

  // MARK: Looking

  private func show(_ id: TaskID) async throws -> Answer {
    Answer(200, try Self.json(id, try await engine.record(id)))
  }

  private static func json(_ id: TaskID, _ record: TaskRecord) throws -> JSONValue {
    var json: JSONValue = [
      "id": .string("\(id)"), "queue": .string(id.queue), "state": .string(record.state.name.rawValue),
      "lane": .string(record.task.lane.name), "attempts": .int(Int64(record.attempts)),
    ]
    if let key = record.task.key {
      json["key"] = .string(key.name)
      json["generation"] = .int(Int64(key.generation))
    }
    if !record.lastFailure.isEmpty { json["lastFailure"] = .string(record.lastFailure) }
    switch record.state {
    case .ready, .delayed: break
    case .leased(let worker, _): json["worker"] = .string(worker)
    case .done(let result): json["result"] = try JSONValue(parsing: result)
    case .dead(let reason): json["reason"] = .string(reason)
    }
    return json
  }

  private func deadLetters(_ query: [String: String]) async throws -> Answer {
    guard let queue = query["queue"] else { throw TaskAPIError.invalid("queue is missing: /v1/tasks/dead?queue=NAME") }
    let limit = query["limit"].map { Int($0) ?? 0 } ?? 100
    guard (1...1_000).contains(limit) else { throw TaskAPIError.invalid("limit: 1 to 1000") }
    let letters = try await engine.deadLetters(of: queue, maximum: limit)
    return Answer(200, ["tasks": .array(try letters.map { try Self.json($0.id, $0.record) })])
  }

  private func statistics(_ query: [String: String]) async throws -> Answer {
    if let queue = query["queue"] {
      guard let statistics = try await engine.statistics(of: queue)[queue] else {
        throw TaskQueueError.unknownTask(queue)
      }
      return Answer(200, json(queue, statistics))
    }
    let all = try await engine.statistics(of: nil).sorted { $0.key < $1.key }
    return Answer(200, ["queues": .array(all.map { json($0.key, $0.value) })])
  }

  private func json(_ queue: String, _ statistics: TaskQueueStatistics) -> JSONValue {
    let numbers: [(String, Int)] = [
      ("submitted", statistics.submitted), ("duplicates", statistics.duplicates), ("pending", statistics.pending),
      ("delayed", statistics.delayed), ("leased", statistics.leased), ("outstanding", statistics.outstanding),
      ("done", statistics.done), ("dead", statistics.dead), ("discarded", statistics.discarded),
      ("lost", statistics.lost),
      ("claims", statistics.claims), ("failures", statistics.failures), ("expired", statistics.expired),
      ("released", statistics.released), ("stale", statistics.stale), ("payloadBytes", statistics.payloadBytes),
    ]
    var json = JSONValue.object(
      Dictionary(numbers.map { ($0.0, .int(Int64($0.1))) }, uniquingKeysWith: { first, _ in first }))
    json["queue"] = .string(queue)
    json["durable"] = .bool(engine.isDurable)
    json["oldestSeconds"] = statistics.oldestPending.secondsJSON
    json["ready"] = .object(
      Dictionary(
        zip(TaskLane.allCases, statistics.ready).map { ($0.name, .int(Int64($1))) },
        uniquingKeysWith: { first, _ in first }))
    return json
  }

  // MARK: Helpers

  private static func id(_ text: String) throws(TaskAPIError) -> TaskID {
    guard let id = TaskID(text) else {
      throw TaskAPIError(404, "unknown_task", "\"\(text.prefix(80))\" is not a task's id, such as reviewers-4fd1-17")
    }
    return id
  }

  private static func noPath(_ path: String) -> TaskAPIError {
    TaskAPIError(
      404, "not_found",
      "\(path.prefix(80)) is not served; tasks are submitted by POST /v1/tasks and taken by POST /v1/tasks/next")
  }
}
