import JSON
import TaskQueue

/// How an answer has bytes that may be JSON or not.
enum BytesForm {
  /// As JSON where they are JSON, else in Base64 under a name of its own: for whoever submits JSON alone.
  case json
  /// In Base64 always: the very bytes come back.
  case base64

  /// Reads the query's `encoding`.
  init(_ query: [String: String]) throws(TaskAPIError) {
    switch query["encoding"] {
    case nil, "json"?: self = .json
    case "base64"?: self = .base64
    case let other?: throw .invalid("encoding: json or base64, not \"\(other.prefix(20))\"")
    }
  }

  /// A checkpoint's head.
  func json(_ head: CheckpointHead) -> JSONValue {
    var json: JSONValue = ["step": JSONValue(head.step)]
    json.set("reference", head.reference, self)
    return json
  }
}

extension JSONValue {
  /// Puts bytes into an object: `name`, or `name` with `Base64` behind it.
  mutating func set(_ name: String, _ bytes: [UInt8], _ form: BytesForm) {
    if case .json = form, let value = try? JSONValue(parsing: bytes) {
      self[name] = value
    } else {
      self["\(name)Base64"] = .string(Base64.encode(bytes))
    }
  }
}

/// How an answer has what the queue keeps of a task.
struct RecordForm {
  private let bytes: BytesForm
  private let isFull: Bool

  /// Reads the query's `encoding` and `full`.
  init(_ query: [String: String]) throws(TaskAPIError) {
    bytes = try BytesForm(query)
    switch query["full"] {
    case nil, "false"?: isFull = false
    case "true"?: isFull = true
    case let other?: throw .invalid("full: true or false, not \"\(other.prefix(20))\"")
    }
  }

  /// A task: what people look at, and with `full` all the rest, times as seconds on the queue's clock.
  func json(_ id: TaskID, _ record: TaskRecord) -> JSONValue {
    var json: JSONValue = [
      "id": .string("\(id)"), "queue": .string(id.queue), "state": .string(record.state.name.rawValue),
      "lane": .string(record.task.lane.name), "attempts": .int(Int64(record.attempts)),
    ]
    if let key = record.task.key {
      json["key"] = .string(key.name)
      json["generation"] = JSONValue(key.generation)
    }
    if let head = record.checkpoint { json["checkpoint"] = bytes.json(head) }
    if !record.lastFailure.isEmpty { json["lastFailure"] = .string(record.lastFailure) }
    switch record.state {
    case .ready, .delayed: break
    case .leased(let worker, _): json["worker"] = .string(worker)
    case .done(let result): json.set("result", result, bytes)
    case .dead(let reason): json["reason"] = .string(reason)
    }
    if isFull { addRest(record, to: &json) }
    return json
  }

  private func addRest(_ record: TaskRecord, to json: inout JSONValue) {
    json["epoch"] = JSONValue(record.epoch)
    json["delaySeconds"] = record.task.delay.secondsJSON
    json["fairnessKey"] = .string(record.task.fairnessKey)
    json["submittedSeconds"] = record.submitted.secondsJSON
    json.set("payload", record.task.payload, bytes)
    if let attempts = record.task.attempts { json["maxAttempts"] = .int(Int64(attempts)) }
    if let cost = record.task.cost { json["cost"] = .int(Int64(cost)) }
    if let finished = record.finished { json["finishedSeconds"] = finished.secondsJSON }
    switch record.state {
    case .delayed(let until), .leased(_, let until): json["untilSeconds"] = until.secondsJSON
    case .ready, .done, .dead: break
    }
  }
}
