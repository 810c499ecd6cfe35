package import CoordinationEngine
import JSON
package import TaskQueue

/// Why a request isn't answered with what it asks for.
package struct TaskAPIError: Error {
  var status: Int
  var type: String
  var message: String
  var retryAfter: Int?
  var allow: [String]
  /// What a program needs to know of it, beside the words for people; nil: nothing.
  var details: JSONValue?

  /// An error by its status of HTTP, its type and its words.
  package init(_ status: Int, _ type: String, _ message: String, retryAfter: Int? = nil, allow: [String] = []) {
    self.status = status
    self.type = type
    self.message = message
    self.retryAfter = retryAfter
    self.allow = allow
  }

  /// A queue's refusal.
  package init(_ error: TaskQueueError) {
    let (status, type, retryAfter): (Int, String, Int?) =
      switch error {
      case .invalid: (400, "invalid_request_error", nil)
      case .tooLarge: (413, "request_too_large", nil)
      case .full: (429, "queue_full", 5)
      case .shed(_, _, _, let retryAfter): (429, "lane_shed", Int(retryAfter.components.seconds))
      case .unavailable: (503, "engine_unavailable", 1)
      case .unknownTask: (404, "unknown_task", nil)
      case .staleTicket: (409, "stale_epoch", nil)
      case .checkpointConflict: (409, "checkpoint_conflict", nil)
      case .wrongState: (409, "wrong_state", nil)
      }
    self.init(status, type, "\(error)", retryAfter: retryAfter)
    details = error.details
  }

  /// The refusal of an engine's other parts.
  package init(_ error: EngineError) {
    let (status, type, retryAfter): (Int, String, Int?) =
      switch error {
      case .invalid: (400, "invalid_request_error", nil)
      case .tooLarge: (413, "request_too_large", nil)
      case .full: (429, "store_full", 5)
      case .unavailable: (503, "engine_unavailable", 1)
      case .notFound: (404, "unknown_item", nil)
      case .conflict: (409, "conflict", nil)
      case .compacted: (410, "compacted", nil)
      case .corrupt: (500, "corrupt", nil)
      }
    self.init(status, type, "\(error)", retryAfter: retryAfter)
    details = error.details
  }

  /// The error as the body of an answer.
  var json: JSONValue {
    var error: JSONValue = ["type": .string(type), "message": .string(message)]
    if let details { error["details"] = details }
    return ["type": "error", "error": error]
  }

  static func invalid(_ message: String) -> TaskAPIError { TaskAPIError(400, "invalid_request_error", message) }
}

/// The members of a JSON object, read with words for whoever wrote it.
struct TaskAPIFields {
  private let members: [String: JSONValue]
  /// What the object is called in messages, such as `tasks[3].`; empty for the body.
  private let place: String

  /// Reads the body of a request: an object with no other members than `known`.
  init(body: [UInt8], known: [String]) throws(TaskAPIError) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: body)
    } catch {
      throw .invalid("the body is not JSON: \(error)")
    }
    try self.init(json, place: "", known: known)
  }

  init(_ json: JSONValue, place: String, known: [String]) throws(TaskAPIError) {
    guard let members = json.objectValue else {
      throw .invalid("\(place.isEmpty ? "the body" : String(place.dropLast())): a JSON object is needed, such as {}")
    }
    if let unknown = members.keys.filter({ !known.contains($0) }).min() {
      throw .invalid(
        "\(place)\(unknown): there is no such field; there \(known.isEmpty ? "are none: send {}" : "are \(known.joined(separator: ", "))")"
      )
    }
    self.members = members
    self.place = place
  }

  subscript(name: String) -> JSONValue? {
    guard let value = members[name], value != .null else { return nil }
    return value
  }

  func string(_ name: String) throws(TaskAPIError) -> String? {
    guard let value = self[name] else { return nil }
    guard let string = value.stringValue else { throw .invalid("\(place)\(name): a string is needed") }
    return string
  }

  func required(_ name: String, such example: String) throws(TaskAPIError) -> String {
    guard let string = try string(name) else {
      throw .invalid("\(place)\(name) is missing: a string such as \"\(example)\"")
    }
    return string
  }

  func integer(_ name: String) throws(TaskAPIError) -> Int? {
    guard let value = self[name] else { return nil }
    guard let integer = value.intValue else { throw .invalid("\(place)\(name): a whole number is needed") }
    return Int(integer)
  }

  func boolean(_ name: String) throws(TaskAPIError) -> Bool? {
    guard let value = self[name] else { return nil }
    guard let boolean = value.boolValue else { throw .invalid("\(place)\(name): true or false is needed") }
    return boolean
  }

  /// Any bytes: as the text of the JSON in `name`, or as they are in `nameBase64`; nil: neither is there.
  func bytes(_ name: String) throws(TaskAPIError) -> [UInt8]? {
    guard let text = try string("\(name)Base64") else { return self[name]?.text }
    guard self[name] == nil else { throw .invalid("\(place)\(name): send it, or \(name)Base64, not both") }
    guard let bytes = Base64.decode(text) else {
      throw .invalid("\(place)\(name)Base64: Base64 of RFC 4648 with its padding is needed")
    }
    return bytes
  }

  /// A whole number from 0 on.
  func count(_ name: String) throws(TaskAPIError) -> UInt64? {
    guard let number = try integer(name) else { return nil }
    guard number >= 0 else { throw .invalid("\(place)\(name): 0 or more") }
    return UInt64(number)
  }

  /// The objects of an array, each with no other members than `known`; nil when the array isn't there.
  func objects(_ name: String, known: [String]) throws(TaskAPIError) -> [TaskAPIFields]? {
    guard let value = self[name] else { return nil }
    guard let items = value.arrayValue else { throw .invalid("\(place)\(name): an array is needed") }
    var objects: [TaskAPIFields] = []
    for (index, item) in items.enumerated() {
      objects.append(try TaskAPIFields(item, place: "\(place)\(name)[\(index)].", known: known))
    }
    return objects
  }

  /// An error about the member of a name.
  func invalid(_ name: String, _ what: String) -> TaskAPIError { .invalid("\(place)\(name)\(what)") }

  /// A number of seconds, fractions allowed.
  func seconds(_ name: String) throws(TaskAPIError) -> Duration? {
    switch self[name] {
    case nil: return nil
    case .int(let seconds) where (0...31_536_000).contains(seconds): return .seconds(seconds)
    case .double(let seconds) where (0...31_536_000).contains(seconds):
      // Up, so that what is beyond a limit by however little stays beyond it.
      return .nanoseconds(Int64((seconds * 1_000_000_000).rounded(.up)))
    default: throw .invalid("\(place)\(name): a number of seconds from 0 to a year is needed")
    }
  }
}

extension Duration {
  /// Seconds to the millisecond, as JSON.
  var secondsJSON: JSONValue {
    let (seconds, attoseconds) = components
    let milliseconds =
      seconds.multipliedReportingOverflow(by: 1_000).partialValue &+ attoseconds / 1_000_000_000_000_000
    return milliseconds.isMultiple(of: 1_000) ? .int(milliseconds / 1_000) : .double(Double(milliseconds) / 1_000)
  }
}
