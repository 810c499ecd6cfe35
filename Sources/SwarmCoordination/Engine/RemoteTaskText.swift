import CoordinationAPI
import CoordinationEngine
import JSON
import TaskQueue

/// Tasks as the API writes them.
enum RemoteTaskText {
  /// Bytes of one request of several steps, well below what a server takes.
  private static let batchBytes = 8 * 1_024 * 1_024

  // MARK: Writing

  /// A task that is submitted.
  static func json(_ task: NewTask) -> JSONValue {
    var json: JSONValue = [
      "lane": .string(task.lane.name), "payloadBase64": .string(Base64.encode(task.payload)),
      "delaySeconds": JSONValue(exact: task.delay), "fairnessKey": .string(task.fairnessKey),
    ]
    json["key"] = task.key.map { .string($0.name) }
    json["generation"] = task.key.map { JSONValue($0.generation) }
    json["maxAttempts"] = task.attempts.map { .int(Int64($0)) }
    json["cost"] = task.cost.map { .int(Int64($0)) }
    return json
  }

  /// A ticket.
  static func json(_ ticket: TaskTicket) -> JSONValue {
    ["id": .string("\(ticket.id)"), "epoch": JSONValue(ticket.epoch)]
  }

  /// A result.
  static func json(_ result: TaskResult) -> JSONValue {
    var json = json(result.ticket)
    json["resultBase64"] = .string(Base64.encode(result.result))
    return json
  }

  /// As many of `items` as one request takes, at least one.
  static func batch<Item>(_ items: ArraySlice<Item>, _ json: (Item) -> JSONValue) -> [JSONValue] {
    var batch: [JSONValue] = []
    var bytes = 0
    for item in items.prefix(TaskAPI.longestBatch) {
      let one = json(item)
      bytes += 256 + (one["resultBase64"]?.stringValue?.utf8.count ?? 0)
      guard batch.isEmpty || bytes <= batchBytes else { break }
      batch.append(one)
    }
    return batch
  }

  // MARK: Reading

  /// A task's id.
  static func id(_ json: JSONValue) -> TaskID? { json.stringValue.flatMap { TaskID($0) } }

  /// A task as a worker gets it.
  static func claimed(_ json: JSONValue) throws(EngineError) -> ClaimedTask {
    ClaimedTask(
      ticket: TaskTicket(id: try json.required("id", id), epoch: try json.required("epoch", \.count)),
      lane: try lane(json), key: key(json), payload: try json.bytes("payload"),
      attempt: Int(try json.required("attempt", \.intValue)), lease: try json.required("leaseSeconds", \.duration),
      age: try json.required("ageSeconds", \.duration), checkpoint: try checkpoint(json))
  }

  /// What is answered to a result.
  static func completion(_ json: JSONValue) throws(EngineError) -> Completion {
    try json.required("duplicate", \.boolValue) ? .alreadyCommitted : .committed
  }

  /// All that the queue keeps of a task.
  static func record(_ json: JSONValue) throws(EngineError) -> (id: TaskID, record: TaskRecord) {
    let task = NewTask(
      lane: try lane(json), key: key(json), payload: try json.bytes("payload"),
      attempts: json["maxAttempts"]?.intValue.map { Int($0) }, delay: try json.required("delaySeconds", \.duration),
      fairnessKey: try json.required("fairnessKey", \.stringValue), cost: json["cost"]?.intValue.map { Int($0) })
    var record = TaskRecord(
      task: task, state: try state(json), submitted: try json.required("submittedSeconds", \.duration))
    record.attempts = Int(try json.required("attempts", \.intValue))
    record.epoch = try json.required("epoch", \.count)
    record.lastFailure = json["lastFailure"]?.stringValue ?? ""
    record.checkpoint = try checkpoint(json)
    record.finished = json["finishedSeconds"]?.duration
    return (try json.required("id", id), record)
  }

  private static func state(_ json: JSONValue) throws(EngineError) -> TaskState {
    switch try json.required("state", { $0.stringValue.flatMap { TaskState.Name(rawValue: $0) } }) {
    case .ready: .ready
    case .delayed: .delayed(until: try json.required("untilSeconds", \.duration))
    case .leased:
      .leased(
        worker: try json.required("worker", \.stringValue), until: try json.required("untilSeconds", \.duration))
    case .done: .done(result: try json.bytes("result"))
    case .dead: .dead(reason: try json.required("reason", \.stringValue))
    }
  }

  private static func lane(_ json: JSONValue) throws(EngineError) -> TaskLane {
    try json.required("lane") { $0.stringValue.flatMap { TaskLane(name: $0) } }
  }

  private static func key(_ json: JSONValue) -> TaskKey? {
    json["key"]?.stringValue.map { TaskKey($0, generation: json["generation"]?.count ?? 0) }
  }

  private static func checkpoint(_ json: JSONValue) throws(EngineError) -> CheckpointHead? {
    guard let head = json["checkpoint"] else { return nil }
    return CheckpointHead(step: try head.required("step", \.count), reference: try head.bytes("reference"))
  }

  /// A queue's counts; what isn't there is 0.
  static func statistics(_ json: JSONValue) -> TaskQueueStatistics {
    var statistics = TaskQueueStatistics()
    let counts: [(String, WritableKeyPath<TaskQueueStatistics, Int>)] = [
      ("submitted", \.submitted), ("duplicates", \.duplicates), ("shed", \.shed), ("pending", \.pending),
      ("delayed", \.delayed), ("leased", \.leased), ("done", \.done), ("dead", \.dead), ("discarded", \.discarded),
      ("claims", \.claims), ("failures", \.failures), ("expired", \.expired), ("released", \.released),
      ("stale", \.stale), ("payloadBytes", \.payloadBytes),
    ]
    for (name, path) in counts { statistics[keyPath: path] = Int(json[name]?.intValue ?? 0) }
    statistics.ready = TaskLane.allCases.map { Int(json["ready"]?[$0.name]?.intValue ?? 0) }
    statistics.oldestPending = json["oldestSeconds"]?.duration ?? .zero
    return statistics
  }
}
