package import JSON
package import TaskQueue

/// The tasks' API as requests and answers, whoever carries them: `/v1/tasks` and what lies below (docs/task-queue.md).
package struct TaskAPI: Sendable {
  private let engine: any TaskEngine

  /// The longest wait of `/v1/tasks/next`, in seconds: below the timeouts of clients and proxies.
  package static let longestWait = 60
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
    /// The methods that the path has, for the header `allow`; empty: it isn't sent.
    package var allow: [String] = []
    /// Tasks that are handed out by this answer: release them if it can't be delivered.
    package var handedOut: [TaskTicket] = []
    /// Whether it answers a claim that got nothing: it may wait for more.
    package var isEmpty = false

    /// The body as text, which ends with a line feed.
    package var body: [UInt8] { json.text + [UInt8(ascii: "\n")] }

    /// An answer without headers of its own.
    package init(_ status: Int, _ json: JSONValue) {
      self.status = status
      self.json = json
    }

    /// An error as its answer.
    package init(_ error: TaskAPIError) {
      self.init(error.status, error.json)
      retryAfter = error.retryAfter
      allow = error.allow
    }
  }

  /// Answers a request by its target: a path, and behind a `?` the query.
  package func respond(method: String, target: String, contentType: String, body: [UInt8]) async throws -> Answer {
    let target = APITarget(target)
    return try await respond(
      method: method, path: target.path, query: target.query, contentType: contentType, body: body)
  }

  /// Answers a request; `path` without the query, `contentType` as the header says.
  package func respond(
    method: String, path: String, query: [String: String], contentType: String, body: [UInt8]
  ) async throws -> Answer {
    do {
      let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
      guard parts.count >= 2, parts[0] == "v1", parts[1] == "tasks", parts.count <= 4 else { throw Self.noPath(path) }
      let allowed = Self.methods(parts)
      guard allowed.contains(method) else {
        throw TaskAPIError(
          405, "method_not_allowed",
          "\(method.prefix(20)) \(path.prefix(80)) is not served; docs/task-queue.md lists what is",
          allow: allowed)
      }
      if method == "POST" {
        // A web page can't send this type to another origin without asking first: no page may submit tasks.
        guard contentType.prefix(while: { $0 != ";" }).lowercased() == "application/json" else {
          throw TaskAPIError(415, "unsupported_media_type", "send the header content-type: application/json")
        }
      }
      switch (method, parts.count) {
      case ("POST", 2): return try await submit(body)
      case ("GET", 2): return try await list(query)
      case ("POST", 3) where parts[2] == "next": return try await next(query, body)
      case ("POST", 3): return try await steps(parts[2], body)
      case ("GET", 3) where parts[2] == "stats": return try await statistics(query)
      case ("GET", 3) where parts[2] == "backlog": return try await backlog(query)
      case ("GET", 3) where parts[2] == "dead": return try await deadLetters(query)
      case ("GET", 3): return try await show(try Self.id(parts[2]), query)
      default: return try await step(parts[3], try Self.id(parts[2]), body, path)
      }
    } catch let error as TaskAPIError {
      return Answer(error)
    } catch let error as TaskQueueError {
      return Answer(TaskAPIError(error))
    }
  }

  /// The methods of a path below `/v1/tasks`, by its parts.
  private static func methods(_ parts: [String]) -> [String] {
    switch (parts.count, parts.last) {
    case (2, _): ["GET", "POST"]
    case (3, "next"), (3, "heartbeat"), (3, "complete"), (3, "release"), (4, _): ["POST"]
    default: ["GET"]
    }
  }

  /// Hands back what an answer handed out that couldn't be delivered.
  package func takeBack(_ tickets: [TaskTicket]) async {
    // Where that fails the lease runs out: nothing is lost.
    for ticket in tickets { try? await engine.release(ticket) }
  }

  // MARK: Submitting

  static let taskFields = [
    "payload", "payloadBase64", "lane", "key", "generation", "maxAttempts", "delaySeconds", "fairnessKey", "cost",
  ]

  private func submit(_ body: [UInt8]) async throws -> Answer {
    let fields = try TaskAPIFields(body: body, known: ["queue", "tasks"] + Self.taskFields)
    let queue = try fields.required("queue", such: "reviewers")
    var tasks: [NewTask] = []
    if let several = try fields.objects("tasks", known: Self.taskFields) {
      for one in several { tasks.append(try Self.task(one)) }
    } else {
      tasks = [try Self.task(fields)]
    }
    let answers = try await engine.submit(tasks, to: queue)
    return Answer(
      201,
      [
        "tasks": .array(answers.map { ["id": .string("\($0.id)"), "duplicate": .bool($0.isDuplicate)] })
      ])
  }

  static func task(_ fields: TaskAPIFields) throws(TaskAPIError) -> NewTask {
    guard let payload = try fields.bytes("payload") else {
      throw fields.invalid("payload", " is missing: any JSON that the worker needs")
    }
    let name = try fields.string("lane") ?? TaskLane.normal.name
    guard let lane = TaskLane(name: name) else {
      throw fields.invalid(
        "lane", ": one of \(TaskLane.allCases.map(\.name).joined(separator: ", ")), not \"\(name.prefix(40))\"")
    }
    let generation = try fields.count("generation") ?? 0
    return NewTask(
      lane: lane, key: try fields.string("key").map { TaskKey($0, generation: generation) },
      payload: payload, attempts: try fields.integer("maxAttempts"),
      delay: try fields.seconds("delaySeconds") ?? .zero, fairnessKey: try fields.string("fairnessKey") ?? "",
      cost: try fields.integer("cost"))
  }

  // MARK: Working

  private func next(_ query: [String: String], _ body: [UInt8]) async throws -> Answer {
    let fields = try TaskAPIFields(body: body, known: ["queue", "worker", "max", "leaseSeconds", "room"])
    let request = ClaimRequest(
      queue: try fields.required("queue", such: "reviewers"),
      worker: try fields.required("worker", such: "reviewers-x7k2p"),
      maximum: try fields.integer("max") ?? 1, lease: try fields.seconds("leaseSeconds"), room: try Self.room(fields))
    let form = try BytesForm(query)
    let claimed = try await engine.claim(request, wait: try Self.wait(query))
    var answer = Answer(200, ["tasks": .array(claimed.map { Self.json($0, form) })])
    answer.handedOut = claimed.map(\.ticket)
    answer.isEmpty = claimed.isEmpty
    return answer
  }

  /// How long a claim waits.
  package static func wait(_ query: [String: String]) throws -> Duration {
    let text = query["wait"] ?? "0"
    guard let wait = Double(text), (0...Double(longestWait)).contains(wait) else {
      throw TaskAPIError.invalid("wait: seconds from 0 to \(longestWait), not \"\(text.prefix(20))\"")
    }
    return .milliseconds(Int64((wait * 1_000).rounded(.up)))
  }

  /// For how many tasks of each lane there is room: lanes that aren't named have none.
  private static func room(_ fields: TaskAPIFields) throws(TaskAPIError) -> LaneCounts? {
    guard let json = fields["room"] else { return nil }
    let lanes = try TaskAPIFields(json, place: "room.", known: TaskLane.allCases.map(\.name))
    var room = LaneCounts(all: 0)
    for lane in TaskLane.allCases { room[lane] = Int(clamping: try lanes.count(lane.name) ?? 0) }
    return room
  }

  private static func json(_ task: ClaimedTask, _ form: BytesForm) -> JSONValue {
    var json: JSONValue = [
      "id": .string("\(task.ticket.id)"), "epoch": .int(Int64(task.ticket.epoch)), "attempt": .int(Int64(task.attempt)),
      "lane": .string(task.lane.name), "leaseSeconds": task.lease.secondsJSON, "ageSeconds": task.age.secondsJSON,
    ]
    json.set("payload", task.payload, form)
    if let head = task.checkpoint { json["checkpoint"] = form.json(head) }
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
    case "checkpoint":
      let fields = try TaskAPIFields(body: body, known: ["epoch", "step", "replacing", "reference", "referenceBase64"])
      guard let step = try fields.integer("step"), step >= 0 else {
        throw TaskAPIError.invalid("step is missing: the number of the step that was finished, 0 or more")
      }
      guard let reference = try fields.bytes("reference") else {
        throw TaskAPIError.invalid("reference is missing: any JSON by which the next worker finds the state")
      }
      let replacing = try fields.integer("replacing")
      guard replacing ?? 0 >= 0 else { throw TaskAPIError.invalid("replacing: the step before, or null for none") }
      try await engine.checkpoint(
        try Self.ticket(id, fields), CheckpointHead(step: UInt64(step), reference: reference),
        replacing: replacing.map { UInt64($0) })
      return Answer(200, ["step": .int(Int64(step))])
    case "complete":
      let fields = try TaskAPIFields(body: body, known: ["epoch", "result", "resultBase64"])
      return Answer(
        200, Self.json(try await engine.complete(try Self.ticket(id, fields), result: try Self.result(fields))))
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
      _ = try TaskAPIFields(body: body, known: [])
      try await engine.retry(id)
      return Answer(200, ["state": "ready"])
    case "discard":
      _ = try TaskAPIFields(body: body, known: [])
      try await engine.discard(id)
      return Answer(200, ["state": "discarded"])
    default: throw Self.noPath(path)
    }
  }

  /// The same step of several tasks: an answer for each, in their order.
  private func steps(_ verb: String, _ body: [UInt8]) async throws -> Answer {
    switch verb {
    case "heartbeat":
      let fields = try TaskAPIFields(body: body, known: ["tasks", "leaseSeconds"])
      let tickets = try Self.several(fields, ["id", "epoch"], Self.ticket)
      let answers = try await engine.renew(tickets, lease: try fields.seconds("leaseSeconds"))
      return Self.answer(answers) { ["leaseSeconds": $0.secondsJSON] }
    case "complete":
      let fields = try TaskAPIFields(body: body, known: ["tasks"])
      let results = try Self.several(fields, ["id", "epoch", "result", "resultBase64"]) { one throws(TaskAPIError) in
        TaskResult(ticket: try Self.ticket(one), result: try Self.result(one))
      }
      return Self.answer(try await engine.complete(results)) { Self.json($0) }
    default:
      let fields = try TaskAPIFields(body: body, known: ["tasks"])
      let tickets = try Self.several(fields, ["id", "epoch"], Self.ticket)
      return Self.answer(try await engine.release(tickets)) { ["state": "ready"] }
    }
  }

  /// The most tasks in one request of several steps.
  package static let longestBatch = 1_000

  private static func several<Item>(
    _ fields: TaskAPIFields, _ known: [String], _ item: (TaskAPIFields) throws(TaskAPIError) -> Item
  ) throws(TaskAPIError) -> [Item] {
    let objects = try fields.objects("tasks", known: known) ?? []
    guard (1...longestBatch).contains(objects.count) else {
      throw .invalid("tasks: an array of 1 to \(longestBatch) objects, each with id and epoch")
    }
    var items: [Item] = []
    for object in objects { items.append(try item(object)) }
    return items
  }

  private static func answer<Value>(
    _ answers: [Result<Value, TaskQueueError>], _ json: (Value) -> JSONValue
  ) -> Answer {
    Answer(
      200,
      [
        "tasks": .array(
          answers.map { answer in
            switch answer {
            case .success(let value): json(value)
            case .failure(let error): TaskAPIError(error).json
            }
          })
      ])
  }

  private static func json(_ completion: Completion) -> JSONValue {
    ["state": "done", "duplicate": .bool(completion == .alreadyCommitted)]
  }

  private static func result(_ fields: TaskAPIFields) throws(TaskAPIError) -> [UInt8] {
    try fields.bytes("result") ?? JSONValue.null.text
  }

  private static func ticket(_ fields: TaskAPIFields) throws(TaskAPIError) -> TaskTicket {
    try ticket(try id(fields.required("id", such: "reviewers-4fd1-17")), fields)
  }

  private static func ticket(_ id: TaskID, _ fields: TaskAPIFields) throws(TaskAPIError) -> TaskTicket {
    guard let epoch = try fields.count("epoch"), epoch > 0 else {
      throw fields.invalid("epoch", " is missing: the number that came with the task")
    }
    return TaskTicket(id: id, epoch: epoch)
  }

  // MARK: Looking

  private func show(_ id: TaskID, _ query: [String: String]) async throws -> Answer {
    let form = try RecordForm(query)
    return Answer(200, form.json(id, try await engine.record(id)))
  }

  private func deadLetters(_ query: [String: String]) async throws -> Answer {
    let queue = try Self.queue(query, "/v1/tasks/dead?queue=NAME")
    let form = try RecordForm(query)
    let letters = try await engine.deadLetters(of: queue, maximum: try Self.limit(query))
    return Answer(200, ["tasks": .array(letters.map { form.json($0.id, $0.record) })])
  }

  private func backlog(_ query: [String: String]) async throws -> Answer {
    let queue = try Self.queue(query, "/v1/tasks/backlog?queue=NAME")
    let backlog = try await engine.backlog(of: queue)
    return Answer(
      200,
      [
        "queue": .string(queue), "waiting": .int(Int64(backlog.waiting)), "oldestSeconds": backlog.oldest.secondsJSON,
      ])
  }

  private func list(_ query: [String: String]) async throws -> Answer {
    let queue = try Self.queue(query, "/v1/tasks?queue=NAME")
    var list = TaskListQuery(queue: queue, maximum: try Self.limit(query))
    if let name = query["state"] {
      guard let state = TaskState.Name(rawValue: name) else {
        throw TaskAPIError.invalid("state: ready, delayed, leased, done or dead, not \"\(name.prefix(20))\"")
      }
      list.state = state
    }
    if let after = query["after"] {
      guard let id = TaskID(after) else {
        throw TaskAPIError.invalid("after: the id of the last task of the page before")
      }
      list.after = id.number
    }
    let form = try RecordForm(query)
    let found = try await engine.list(list)
    return Answer(200, ["tasks": .array(found.map { form.json($0.id, $0.record) })])
  }

  private static func queue(_ query: [String: String], _ example: String) throws -> String {
    guard let queue = query["queue"] else { throw TaskAPIError.invalid("queue is missing: \(example)") }
    try TaskQueues.check(queue)
    return queue
  }

  static func limit(_ query: [String: String]) throws(TaskAPIError) -> Int {
    let limit = query["limit"].map { Int($0) ?? 0 } ?? 100
    guard (1...1_000).contains(limit) else { throw .invalid("limit: 1 to 1000") }
    return limit
  }

  private func statistics(_ query: [String: String]) async throws -> Answer {
    if let queue = query["queue"] {
      try TaskQueues.check(queue)
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
      ("submitted", statistics.submitted), ("duplicates", statistics.duplicates), ("shed", statistics.shed),
      ("pending", statistics.pending),
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
    json["durability"] = .string(engine.durability.name)
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
