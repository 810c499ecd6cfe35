import CoordinationEngine
import NATSClient
import NIOCore
import TaskQueue

/// A task's record as the stream has it: what is small in one header, as JSON, so that it can be read without the body; a result or a dead letter's
/// payload in the body.
struct StoredRecord: Sendable, Hashable {
  enum State: String, Sendable, Hashable {
    case ready, delayed, leased, done, dead
    /// Thrown away; kept for a while for the counts.
    case discarded
  }

  var lane = TaskLane.normal
  var key: TaskKey?
  /// The hash under which the key is kept; also of submissions that have a name of the engine's own instead of a key.
  var keyHash: String?
  var maximumAttempts: Int?
  var fairnessKey = ""
  var cost: Int?
  var payloadBytes = 0
  /// Since 1970, as all times here.
  var submitted = Duration.zero
  var state = State.ready
  /// Of `delayed` and `leased`.
  var until = Duration.zero
  var worker = ""
  var attempts = 0
  var epoch: UInt64 = 0
  /// Counts the times that it was put into the stream of tokens: a token of an earlier turn is none any more.
  var turn: UInt64 = 0
  /// The token that is held, by its sequence: of two with the same turn the other one is a copy.
  var token: UInt64 = 0
  var lastFailure = ""
  var checkpoint: CheckpointHead?
  var finished: Duration?
  var failures = 0
  var expired = 0
  var released = 0

  static let header = "Swarm-Record"

  private static func milliseconds(_ duration: Duration) -> JSONValue { .integer(duration.nanoseconds / 1_000_000) }

  var json: JSONValue {
    var json: JSONValue = [
      "l": .string(lane.name), "ps": .integer(payloadBytes), "sub": Self.milliseconds(submitted),
      "s": .string(state.rawValue),
      "a": .integer(attempts), "e": .integer(epoch), "t": .integer(turn),
    ]
    if let key {
      json["k"] = .string(key.name)
      json["g"] = .integer(key.generation)
    }
    json["h"] = keyHash.map(JSONValue.string)
    json["am"] = maximumAttempts.map { .integer($0) }
    if !fairnessKey.isEmpty { json["f"] = .string(fairnessKey) }
    json["c"] = cost.map { .integer($0) }
    if state == .delayed || state == .leased { json["u"] = Self.milliseconds(until) }
    if state == .leased {
      json["w"] = .string(worker)
      json["tok"] = .integer(token)
    }
    if !lastFailure.isEmpty { json["lf"] = .string(lastFailure) }
    if let checkpoint {
      json["cs"] = .integer(checkpoint.step)
      json["cr"] = .string(Hex.text(checkpoint.reference))
    }
    json["fin"] = finished.map(Self.milliseconds)
    if failures > 0 { json["nf"] = .integer(failures) }
    if expired > 0 { json["nx"] = .integer(expired) }
    if released > 0 { json["nr"] = .integer(released) }
    return json
  }

  /// The record of a task that was just submitted.
  init(_ task: NewTask, keyHash: String?, submitted: Duration) {
    lane = task.lane
    key = task.key
    self.keyHash = keyHash
    maximumAttempts = task.attempts
    fairnessKey = task.fairnessKey
    cost = task.cost
    payloadBytes = task.payload.count
    self.submitted = submitted
    if task.delay > .zero {
      state = .delayed
      until = submitted + task.delay
    }
  }

  /// Nil for what isn't a record.
  init?(_ headers: NATSHeaders) {
    guard let text = headers[Self.header], let json = try? JSONValue(parsing: ByteBuffer(string: text)),
      let lane = json["l"]?.string.flatMap({ TaskLane(name: $0) }),
      let state = json["s"]?.string.flatMap(State.init(rawValue:))
    else { return nil }
    func time(_ name: String) -> Duration? { json[name]?.int.map { .milliseconds($0) } }
    self.lane = lane
    self.state = state
    if let name = json["k"]?.string { key = TaskKey(name, generation: json["g"]?.uint64 ?? 0) }
    keyHash = json["h"]?.string
    maximumAttempts = json["am"]?.int
    fairnessKey = json["f"]?.string ?? ""
    cost = json["c"]?.int
    payloadBytes = json["ps"]?.int ?? 0
    submitted = time("sub") ?? .zero
    until = time("u") ?? .zero
    worker = json["w"]?.string ?? ""
    attempts = json["a"]?.int ?? 0
    epoch = json["e"]?.uint64 ?? 0
    turn = json["t"]?.uint64 ?? 0
    token = json["tok"]?.uint64 ?? 0
    lastFailure = json["lf"]?.string ?? ""
    if let step = json["cs"]?.uint64 {
      checkpoint = CheckpointHead(step: step, reference: Hex.bytes(json["cr"]?.string ?? "") ?? [])
    }
    finished = time("fin")
    failures = json["nf"]?.int ?? 0
    expired = json["nx"]?.int ?? 0
    released = json["nr"]?.int ?? 0
  }

  var headers: NATSHeaders { [Self.header: json.text] }

  /// Whether a lease has run out at a time.
  func isExpired(_ now: Duration) -> Bool { state == .leased && until <= now }

  func name(at now: Duration) -> TaskState.Name {
    switch state {
    case .ready: .ready
    case .delayed: until <= now ? .ready : .delayed
    case .leased: until <= now ? .ready : .leased
    case .done: .done
    case .dead, .discarded: .dead
    }
  }

  /// The record as queues have it; `body` is a result or a payload.
  func record(body: [UInt8], now: Duration) -> TaskRecord {
    let task = NewTask(
      lane: lane, key: key, payload: state == .done ? [] : body, attempts: maximumAttempts, fairnessKey: fairnessKey,
      cost: cost)
    let taskState: TaskState =
      switch name(at: now) {
      case .ready: .ready
      case .delayed: .delayed(until: until)
      case .leased: .leased(worker: worker, until: until)
      case .done: .done(result: body)
      case .dead: .dead(reason: lastFailure)
      }
    var record = TaskRecord(task: task, state: taskState, submitted: submitted)
    record.attempts = attempts
    record.epoch = epoch
    record.lastFailure = lastFailure
    record.checkpoint = checkpoint
    record.finished = finished
    return record
  }
}

/// Bytes as text.
enum Hex {
  static func text(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  static func bytes(_ text: String) -> [UInt8]? {
    let digits = text.utf8.map { byte -> UInt8? in
      switch byte {
      case 0x30...0x39: byte - 0x30
      case 0x61...0x66: byte - 0x61 + 10
      default: nil
      }
    }
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digits[index], let low = digits[index + 1] else { return nil }
      bytes.append(high << 4 | low)
    }
    return bytes
  }
}
