import CoordinationAPI
import CoordinationEngine
import JSON
import NIOHTTP1
import TaskQueue

/// A remote engine's queues.
struct RemoteTasks: TaskEngine {
  let link: RemoteLink

  /// The longest wait of one claim, as the API has it.
  private static let longestWait = Duration.seconds(TaskAPI.longestWait)

  var durability: Durability { link.durability }

  func endWaiting() { link.endingWaits.end() }

  /// A verb of the tasks: its ticket, or its key, says which it is, so that saying it twice does no more than once.
  private func post(
    _ path: String, _ body: JSONValue, isHarmless: Bool = true, wait: Duration = .zero
  ) async throws -> JSONValue {
    try await link.queue {
      try await $0.json(.POST, "/v1/tasks\(path)", .json(body), isHarmless: isHarmless, wait: wait)
    }
  }

  private func get(_ target: String) async throws -> JSONValue {
    try await link.queue { try await $0.json(.GET, "/v1/tasks\(target)", isHarmless: true) }
  }

  /// Reads an answer, with errors as a queue's.
  private func read<Value>(_ body: () throws -> Value) async throws -> Value {
    try await link.queue { _ in try body() }
  }

  func submit(_ tasks: [NewTask], to queue: String) async throws -> [Submission] {
    let answer = try await post(
      "", ["queue": .string(queue), "tasks": .array(tasks.map(RemoteTaskText.json))],
      // Without a key a second submission would be a second task.
      isHarmless: tasks.allSatisfy { $0.key != nil })
    return try await read {
      try answer.elements("tasks").map { one in
        Submission(
          id: try one.required("id", RemoteTaskText.id), isDuplicate: try one.required("duplicate", \.boolValue))
      }
    }
  }

  // MARK: Claiming

  func claim(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    var left = wait
    while true {
      let now = min(max(left, .zero), Self.longestWait)
      let claimed = try await claimOnce(request, wait: now)
      left -= now
      guard claimed.isEmpty, left > .zero, !link.endingWaits.isEnded else { return claimed }
    }
  }

  private func claimOnce(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    guard wait > .zero, !link.endingWaits.isEnded else { return try await claimNow(request, wait: .zero) }
    return try await withThrowingTaskGroup(of: [ClaimedTask].self) { group in
      group.addTask { try await claimNow(request, wait: wait) }
      // What it hands out at this very moment the server takes back.
      group.addTask {
        await link.endingWaits.wait()
        return []
      }
      defer { group.cancelAll() }
      return try await group.next() ?? []
    }
  }

  private func claimNow(_ request: ClaimRequest, wait: Duration) async throws -> [ClaimedTask] {
    var body: JSONValue = [
      "queue": .string(request.queue), "worker": .string(request.worker), "max": .int(Int64(request.maximum)),
    ]
    body["leaseSeconds"] = request.lease.map(JSONValue.init(exact:))
    if let room = request.room {
      body["room"] = .object(
        Dictionary(
          TaskLane.allCases.map { ($0.name, .int(Int64(max(0, room[$0])))) }, uniquingKeysWith: { first, _ in first }))
    }
    let seconds = Double(wait.components.seconds) + Double(wait.components.attoseconds) / 1e18
    let answer = try await post("/next?encoding=base64&wait=\(seconds)", body, wait: wait)
    return try await read { try answer.elements("tasks").map(RemoteTaskText.claimed) }
  }

  // MARK: Steps

  private func step(_ ticket: TaskTicket, _ verb: String, _ members: [String: JSONValue?]) async throws -> JSONValue {
    var body: JSONValue = ["epoch": JSONValue(ticket.epoch)]
    for (name, value) in members { body[name] = value }
    return try await post("/\(APITarget.encoded("\(ticket.id)"))/\(verb)", body)
  }

  func renew(_ ticket: TaskTicket, lease: Duration?) async throws -> Duration {
    let answer = try await step(ticket, "heartbeat", ["leaseSeconds": lease.map(JSONValue.init(exact:))])
    return try await read { try answer.required("leaseSeconds", \.duration) }
  }

  func checkpoint(_ ticket: TaskTicket, _ head: CheckpointHead, replacing expected: UInt64?) async throws {
    _ = try await step(
      ticket, "checkpoint",
      [
        "step": JSONValue(head.step), "replacing": JSONValue(expected),
        "referenceBase64": .string(Base64.encode(head.reference)),
      ])
  }

  func complete(_ ticket: TaskTicket, result: [UInt8]) async throws -> Completion {
    let answer = try await step(ticket, "complete", ["resultBase64": .string(Base64.encode(result))])
    return try await read { try RemoteTaskText.completion(answer) }
  }

  func fail(
    _ ticket: TaskTicket, reason: String, isRetryable: Bool, delay: Duration?
  ) async throws -> FailureOutcome {
    let answer = try await step(
      ticket, "fail",
      [
        "reason": .string(reason), "retry": .bool(isRetryable), "delaySeconds": delay.map(JSONValue.init(exact:)),
      ])
    return try await read {
      if answer["state"] == "dead" { return .dead }
      return .retried(after: try answer.required("delaySeconds", \.duration))
    }
  }

  func release(_ ticket: TaskTicket) async throws { _ = try await step(ticket, "release", [:]) }

  // MARK: Several at once

  func renew(_ tickets: [TaskTicket], lease: Duration?) async throws -> [Result<Duration, TaskQueueError>] {
    try await each(tickets, "heartbeat", ["leaseSeconds": lease.map(JSONValue.init(exact:))], RemoteTaskText.json) {
      try $0.required("leaseSeconds", \.duration)
    }
  }

  func complete(_ results: [TaskResult]) async throws -> [Result<Completion, TaskQueueError>] {
    try await each(results, "complete", [:], RemoteTaskText.json) { try RemoteTaskText.completion($0) }
  }

  func release(_ tickets: [TaskTicket]) async throws -> [Result<Void, TaskQueueError>] {
    try await each(tickets, "release", [:], RemoteTaskText.json) { _ in }
  }

  private func each<Item, Value>(
    _ items: [Item], _ verb: String, _ members: [String: JSONValue?], _ json: (Item) -> JSONValue,
    _ value: (JSONValue) throws -> Value
  ) async throws -> [Result<Value, TaskQueueError>] {
    var answers: [Result<Value, TaskQueueError>] = []
    var left = items[...]
    while !left.isEmpty {
      let batch = RemoteTaskText.batch(left, json)
      left = left.dropFirst(batch.count)
      var body: JSONValue = ["tasks": .array(batch)]
      for (name, value) in members { body[name] = value }
      let answer = try await post("/\(verb)", body)
      answers += try await read {
        let answers = try answer.elements("tasks")
        guard answers.count == batch.count else { throw RemoteLink.misunderstood }
        return try answers.map { one in
          guard let error = APIErrorText(one) else { return .success(try value(one)) }
          return .failure(TaskQueueError(error) ?? .unavailable(error.message))
        }
      }
    }
    return answers
  }

  // MARK: Dead letters

  func retry(_ id: TaskID) async throws { _ = try await post("/\(APITarget.encoded("\(id)"))/retry", [:]) }

  func discard(_ id: TaskID) async throws { _ = try await post("/\(APITarget.encoded("\(id)"))/discard", [:]) }

  // MARK: Looking

  func record(_ id: TaskID) async throws -> TaskRecord {
    let answer = try await get("/\(APITarget.encoded("\(id)"))?full=true&encoding=base64")
    return try await read { try RemoteTaskText.record(answer).record }
  }

  func list(_ query: TaskListQuery) async throws -> [(id: TaskID, record: TaskRecord)] {
    var target = "?full=true&encoding=base64&limit=\(query.maximum)&queue=\(APITarget.encoded(query.queue))"
    if let state = query.state { target += "&state=\(state.rawValue)" }
    // Only the number counts.
    if query.after > 0 { target += "&after=\(APITarget.encoded("\(query.queue)-0-\(query.after)"))" }
    let answer = try await get(target)
    return try await read { try answer.elements("tasks").map(RemoteTaskText.record) }
  }

  func statistics(of queue: String?) async throws -> [String: TaskQueueStatistics] {
    let answer = try await get("/stats" + (queue.map { "?queue=\(APITarget.encoded($0))" } ?? ""))
    return try await read {
      let all = queue == nil ? try answer.elements("queues") : [answer]
      var statistics: [String: TaskQueueStatistics] = [:]
      for one in all { statistics[try one.required("queue", \.stringValue)] = RemoteTaskText.statistics(one) }
      return statistics
    }
  }

  func backlog(of queue: String) async throws -> TaskBacklog {
    let answer = try await get("/backlog?queue=\(APITarget.encoded(queue))")
    return try await read {
      TaskBacklog(
        waiting: Int(try answer.required("waiting", \.intValue)),
        oldest: try answer.required("oldestSeconds", \.duration))
    }
  }
}
