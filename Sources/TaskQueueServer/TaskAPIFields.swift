import KubernetesCore
import TaskQueue

/// Why a request isn't answered with what it asks for.
struct TaskAPIError: Error {
  var status: Int
  var type: String
  var message: String
  var retryAfter: Int?

  init(_ status: Int, _ type: String, _ message: String, retryAfter: Int? = nil) {
    self.status = status
    self.type = type
    self.message = message
    self.retryAfter = retryAfter
  }

  init(_ error: TaskQueueError) {
    let (status, type, retryAfter): (Int, String, Int?) =
      switch error {
      case .invalid: (400, "invalid_request_error", nil)
      case .tooLarge: (413, "request_too_large", nil)
      case .full: (429, "queue_full", 5)
      case .shed(_, _, _, let retryAfter): (429, "lane_shed", Int(retryAfter.components.seconds))
      case .unavailable: (503, "engine_unavailable", 1)
      case .unknownTask: (404, "unknown_task", nil)
      case .staleTicket: (409, "stale_epoch", nil)
      case .wrongState: (409, "wrong_state", nil)
      }
    self.init(status, type, "\(error)", retryAfter: retryAfter)
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
      throw .invalid("\(place)\(unknown): there is no such field; there are \(known.joined(separator: ", "))")
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

  /// A number of seconds, fractions allowed.
  func seconds(_ name: String) throws(TaskAPIError) -> Duration? {
    switch self[name] {
    case nil: return nil
    case .int(let seconds) where (0...31_536_000).contains(seconds): return .seconds(seconds)
    case .double(let seconds) where (0...31_536_000).contains(seconds):
      return .milliseconds(Int64((seconds * 1_000).rounded()))
    default: throw .invalid("\(place)\(name): a number of seconds from 0 to a year is needed")
    }
  }
}

extension Duration {
  /// Seconds to the millisecond, as JSON.
  var secondsJSON: JSONValue {
    let milliseconds = nanosecondsClamped / 1_000_000
    return milliseconds.isMultiple(of: 1_000) ? .int(milliseconds / 1_000) : .double(Double(milliseconds) / 1_000)
  }
}
