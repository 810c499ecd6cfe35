package import CoordinationEngine
package import JSON
package import TaskQueue

// An error as a program reads it: what an engine threw behind a server is thrown again in front of it.

extension TaskQueueError {
  /// What the error's type and words leave out; nil: nothing.
  package var details: JSONValue? {
    switch self {
    case .invalid, .unavailable: nil
    case .tooLarge(let what, let bytes, let limit):
      ["what": .string(what), "bytes": .int(Int64(bytes)), "limit": .int(Int64(limit))]
    case .full(let queue, let what, let limit):
      ["queue": .string(queue), "what": .string(what), "limit": .int(Int64(limit))]
    case .shed(let queue, let lane, let age, let retryAfter):
      [
        "queue": .string(queue), "lane": .string(lane.name), "ageSeconds": age.secondsJSON,
        "retryAfterSeconds": retryAfter.secondsJSON,
      ]
    case .unknownTask(let id): ["task": .string(id)]
    case .staleTicket(let ticket, let epoch, let state):
      [
        "task": .string("\(ticket.id)"), "epoch": JSONValue(ticket.epoch), "currentEpoch": JSONValue(epoch),
        "state": .string(state.rawValue),
      ]
    case .checkpointConflict(let id, let expected, let current):
      ["task": .string("\(id)"), "expected": JSONValue(expected), "current": JSONValue(current)]
    case .wrongState(let id, let state, let needed):
      ["task": .string("\(id)"), "state": .string(state.rawValue), "needed": .string(needed.rawValue)]
    }
  }

  /// The error of an answer; nil for what isn't a queue's.
  package init?(_ error: APIErrorText) {
    let details = error.details
    switch error.type {
    case "invalid_request_error": self = .invalid(error.message)
    case "engine_unavailable": self = .unavailable(error.message)
    case "request_too_large":
      guard let (what, bytes, limit) = details.size else { return nil }
      self = .tooLarge(what: what, bytes: bytes, limit: limit)
    case "queue_full":
      guard let queue = details["queue"]?.stringValue, let (what, limit) = details.fullness else { return nil }
      self = .full(queue: queue, what: what, limit: limit)
    case "lane_shed":
      guard let queue = details["queue"]?.stringValue,
        let lane = details["lane"]?.stringValue.flatMap({ TaskLane(name: $0) }),
        let age = details["ageSeconds"]?.duration, let retryAfter = details["retryAfterSeconds"]?.duration
      else { return nil }
      self = .shed(queue: queue, lane: lane, age: age, retryAfter: retryAfter)
    case "unknown_task":
      guard let task = details["task"]?.stringValue else { return nil }
      self = .unknownTask(task)
    case "stale_epoch":
      guard let id = details.task, let epoch = details["epoch"]?.count, let current = details["currentEpoch"]?.count,
        let state = details.state("state")
      else { return nil }
      self = .staleTicket(TaskTicket(id: id, epoch: epoch), currentEpoch: current, state: state)
    case "checkpoint_conflict":
      guard let id = details.task else { return nil }
      self = .checkpointConflict(id, expected: details["expected"]?.count, current: details["current"]?.count)
    case "wrong_state":
      guard let id = details.task, let state = details.state("state"), let needed = details.state("needed") else {
        return nil
      }
      self = .wrongState(id, is: state, needs: needed)
    default: return nil
    }
  }
}

extension EngineError {
  /// What the error's type and words leave out; nil: nothing.
  package var details: JSONValue? {
    switch self {
    case .invalid, .unavailable, .corrupt: nil
    case .conflict(let key, let expected, let current):
      ["key": .string(key), "expected": expected.json, "current": JSONValue(current?.number)]
    case .notFound(let what): ["what": .string(what)]
    case .tooLarge(let what, let bytes, let limit):
      ["what": .string(what), "bytes": .int(Int64(bytes)), "limit": .int(Int64(limit))]
    case .full(let what, let limit): ["what": .string(what), "limit": .int(Int64(limit))]
    case .compacted(let oldest): ["oldest": JSONValue(oldest.number)]
    }
  }

  /// The error of an answer; nil for what isn't an engine's.
  package init?(_ error: APIErrorText) {
    let details = error.details
    switch error.type {
    case "invalid_request_error": self = .invalid(error.message)
    case "engine_unavailable": self = .unavailable(error.message)
    case "corrupt": self = .corrupt(error.message)
    case "conflict":
      guard let key = details["key"]?.stringValue, let expected = details["expected"].flatMap(Expectation.init(json:))
      else { return nil }
      self = .conflict(key: key, expected: expected, current: details["current"]?.count.map { Revision($0) })
    case "unknown_item": self = .notFound(details["what"]?.stringValue ?? error.message)
    case "request_too_large":
      guard let (what, bytes, limit) = details.size else { return nil }
      self = .tooLarge(what: what, bytes: bytes, limit: limit)
    case "store_full":
      guard let (what, limit) = details.fullness else { return nil }
      self = .full(what: what, limit: limit)
    case "compacted":
      guard let oldest = details["oldest"]?.count else { return nil }
      self = .compacted(oldest: Revision(oldest))
    default: return nil
    }
  }
}

/// An error as the body of an answer has it.
package struct APIErrorText: Sendable {
  /// Its type, for programs.
  package var type: String
  /// Its words, for people.
  package var message: String
  /// What programs need beside the type; null: nothing.
  package var details: JSONValue

  /// Reads an answer's body, or what stands for one of several answers; nil for what is no error.
  package init?(_ json: JSONValue) {
    guard let error = json["error"], let type = error["type"]?.stringValue else { return nil }
    self.type = type
    message = error["message"]?.stringValue ?? type
    details = error["details"] ?? .null
  }
}

extension Expectation {
  fileprivate var json: JSONValue {
    switch self {
    case .any: "any"
    case .absent: "absent"
    case .revision(let revision): JSONValue(revision.number)
    }
  }

  fileprivate init?(json: JSONValue) {
    switch json {
    case "any": self = .any
    case "absent": self = .absent
    default:
      guard let number = json.count else { return nil }
      self = .revision(Revision(number))
    }
  }
}

extension JSONValue {
  /// A number of the engine's as JSON; null for none. Beyond 2^63 - 1 there is no number.
  package init(_ number: UInt64?) {
    self = number.map { .int(Int64(clamping: $0)) } ?? .null
  }

  /// A whole number from 0 on; nil for other values.
  package var count: UInt64? { intValue.flatMap { UInt64(exactly: $0) } }

  /// Seconds, to the millisecond; nil for other values.
  package var duration: Duration? {
    switch self {
    case .int(let seconds): .seconds(seconds)
    case .double(let seconds) where seconds.magnitude < 1e12: .milliseconds(Int64((seconds * 1_000).rounded()))
    default: nil
    }
  }

  fileprivate var size: (what: String, bytes: Int, limit: Int)? {
    guard let (what, limit) = fullness, let bytes = self["bytes"]?.intValue else { return nil }
    return (what, Int(bytes), limit)
  }

  fileprivate var fullness: (what: String, limit: Int)? {
    guard let what = self["what"]?.stringValue, let limit = self["limit"]?.intValue else { return nil }
    return (what, Int(limit))
  }

  fileprivate var task: TaskID? { self["task"]?.stringValue.flatMap { TaskID($0) } }

  fileprivate func state(_ name: String) -> TaskState.Name? {
    self[name]?.stringValue.flatMap { TaskState.Name(rawValue: $0) }
  }
}
