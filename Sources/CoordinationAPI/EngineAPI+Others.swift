import CoordinationEngine
import JSON
import TaskQueue

// Blobs, counters and schedules.
extension EngineAPI {
  // MARK: Blobs

  func blobs(_ call: Call) async throws -> Answer {
    switch (call.parts.count, call.parts.last) {
    case (0, _):
      try call.only("GET", "POST")
      return call.request.method == "GET" ? try await listBlobs(call) : try await put(call)
    case (1, let text?):
      try call.only("GET", "DELETE")
      let digest = try Self.digest(text)
      if call.request.method == "GET" { return .bytes(try await engine.blobs.get(digest)) }
      let isGone = try await engine.blobs.delete(digest, unused: try Self.unused(call.query))
      return Self.ok(["digest": .string("\(digest)"), "deleted": .bool(isGone)])
    case (2, "info"?):
      try call.only("GET")
      let digest = try Self.digest(call.parts[0])
      guard let info = try await engine.blobs.info(digest) else { throw EngineError.notFound("blob \(digest)") }
      return Self.ok(Self.json(info))
    default: throw Self.noPath(call.path)
    }
  }

  private func put(_ call: Call) async throws -> Answer {
    try call.type("application/octet-stream")
    let bytes = call.request.body
    let limit = min(engine.blobs.limits.blobBytes, Self.bodyBytes)
    guard bytes.count <= limit else { throw EngineError.tooLarge(what: "blob", bytes: bytes.count, limit: limit) }
    let digest = try await engine.blobs.put(bytes)
    return Self.ok(["digest": .string("\(digest)"), "bytes": .int(Int64(bytes.count))], 201)
  }

  private func listBlobs(_ call: Call) async throws -> Answer {
    let maximum = try call.number("limit", 1...engine.blobs.limits.listed) ?? min(100, engine.blobs.limits.listed)
    let blobs = try await engine.blobs.list(after: try call.query["after"].map(Self.digest), maximum: maximum)
    return Self.ok(["blobs": .array(blobs.map(Self.json))])
  }

  private static func digest(_ text: String) throws(TaskAPIError) -> BlobDigest {
    guard let digest = BlobDigest(text) else {
      throw .invalid("digest: the 64 hexadecimal digits of a SHA-256, not \"\(text.prefix(80))\"")
    }
    return digest
  }

  private static func unused(_ query: [String: String]) throws(TaskAPIError) -> Duration {
    guard let text = query["unusedSeconds"] else { return .zero }
    guard let seconds = Double(text), (0...31_536_000).contains(seconds) else {
      throw .invalid("unusedSeconds: seconds from 0 to a year, not \"\(text.prefix(20))\"")
    }
    return .milliseconds(Int64((seconds * 1_000).rounded(.up)))
  }

  private static func json(_ info: BlobInfo) -> JSONValue {
    [
      "digest": .string("\(info.digest)"), "bytes": .int(Int64(info.bytes)),
      "unusedSeconds": info.unused.secondsJSON,
    ]
  }

  // MARK: Counters

  func counters(_ call: Call) async throws -> Answer {
    guard !call.parts.isEmpty else { throw Self.noPath(call.path) }
    try call.only("GET", "POST", "DELETE")
    let name = call.rest(0)
    switch call.request.method {
    case "GET": return Self.counter(name, try await engine.counters.value(of: name))
    case "POST":
      let fields = try call.fields(["add"])
      guard let delta = try fields.integer("add") else {
        throw fields.invalid("add", " is missing: a whole number, such as 1 or -1")
      }
      return Self.counter(name, try await engine.counters.add(Int64(delta), to: name))
    default:
      try await engine.counters.remove(name)
      return Self.counter(name, 0)
    }
  }

  private static func counter(_ name: String, _ value: Int64) -> Answer {
    ok(["name": .string(name), "value": .int(value)])
  }

  // MARK: Schedules

  func schedules(_ call: Call) async throws -> Answer {
    guard !call.parts.isEmpty else {
      try call.only("GET")
      let pending = try await engine.schedules.pending()
      return Self.ok([
        "schedules": .array(
          pending.map { ["key": .string($0.key), "remainingSeconds": max($0.remaining, .zero).secondsJSON] })
      ])
    }
    try call.only("PUT", "DELETE")
    let key = call.rest(0)
    guard call.request.method == "PUT" else {
      return Self.ok(["key": .string(key), "cancelled": .bool(try await engine.schedules.cancel(key))])
    }
    let fields = try call.fields(["delaySeconds", "task", "message"])
    guard let delay = try fields.seconds("delaySeconds") else {
      throw fields.invalid("delaySeconds", " is missing: in how many seconds it comes")
    }
    try await engine.schedules.schedule(key, try Self.item(fields), after: delay)
    return Self.ok(["key": .string(key), "remainingSeconds": delay.secondsJSON])
  }

  private static func item(_ fields: TaskAPIFields) throws(TaskAPIError) -> ScheduledItem {
    switch (fields["task"], fields["message"]) {
    case (let json?, nil):
      let task = try TaskAPIFields(json, place: "task.", known: ["queue"] + TaskAPI.taskFields)
      return .task(try TaskAPI.task(task), queue: try task.required("queue", such: "reviewers"))
    case (nil, let json?): return .message(try message(TaskAPIFields(json, place: "message.", known: messageFields)))
    default: throw fields.invalid("task", ": send it, or message: what comes then")
    }
  }
}
