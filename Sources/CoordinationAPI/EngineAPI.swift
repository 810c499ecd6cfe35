package import CoordinationEngine
import JSON
import TaskQueue

/// All verbs of an engine as requests and answers, whoever carries them: `/v1/tasks`, `/v1/state`, `/v1/blobs`, `/v1/counters`,
/// `/v1/schedules` and `/v1/agent-messages` (docs/api/coordination.yaml). The engine's server and the sidecar serve it.
package struct EngineAPI: Sendable {
  /// A request with its whole body.
  package struct Request: Sendable {
    /// The method.
    package var method: String
    /// The path and the query, as the request line has them.
    package var target: String
    /// The header `content-type`; empty: it wasn't sent.
    package var contentType: String
    /// The header `last-event-id`, by which clients of event streams say where they were.
    package var lastEventID: String?
    /// The body.
    package var body: [UInt8]

    /// Puts a request together.
    package init(
      _ method: String, _ target: String, contentType: String = "", lastEventID: String? = nil, body: [UInt8] = []
    ) {
      self.method = method
      self.target = target
      self.contentType = contentType
      self.lastEventID = lastEventID
      self.body = body
    }
  }

  /// What is answered.
  package enum Answer: Sendable {
    /// JSON.
    case json(TaskAPI.Answer)
    /// A blob: `application/octet-stream`.
    case bytes([UInt8])
    /// Events as they come: `text/event-stream`.
    case events(EventStream)
  }

  /// The largest body of a request, in bytes.
  package static let bodyBytes = TaskAPI.bodyBytes
  /// The areas below `/v1/` besides `tasks`. None is one of the Claude API, which the sidecar serves beside them: that has `messages`.
  package static let areas = ["engine", "state", "blobs", "counters", "schedules", "agent-messages"]

  /// The verbs of tasks.
  package let tasks: TaskAPI
  let engine: any CoordinationEngine
  private let ending = Ending()

  /// An API in front of an engine.
  package init(_ engine: any CoordinationEngine) {
    self.engine = engine
    tasks = TaskAPI(engine: engine.tasks)
  }

  /// Ends what waits: claims, and streams of events. For a server that ends.
  package func endWaiting() {
    engine.tasks.endWaiting()
    endStreams()
  }

  /// Ends streams of events.
  package func endStreams() { ending.end() }

  /// Why a request isn't for this machine; nil: it is. A page from elsewhere whose name is made to resolve to this machine still names
  /// itself in the header `host`.
  package static func refusal(host: String) -> TaskAPIError? {
    guard !["127.0.0.1", "localhost", "[::1]"].contains(where: { host == $0 || host.hasPrefix("\($0):") }) else {
      return nil
    }
    return TaskAPIError(403, "forbidden", "the host is 127.0.0.1 or localhost, not \"\(host.prefix(60))\"")
  }

  /// Whether a request is one of this API's by its path, those of tasks not counted.
  package static func serves(_ path: some StringProtocol) -> Bool {
    areas.contains { path == "/v1/\($0)" || path.hasPrefix("/v1/\($0)/") }
  }

  /// Whether an answer may take as long as somebody else takes: then it is worth looking whether the client is still there.
  package static func mayWait(_ target: String) -> Bool { target.hasPrefix("/v1/agent-messages/request") }

  /// Answers a request.
  ///
  /// - Throws: `CancellationError`, and what an engine shouldn't throw.
  package func respond(to request: Request) async throws -> Answer {
    let target = APITarget(request.target)
    // Each part by itself: a slash that is part of a name may be written as %2F.
    let parts = target.rawPath.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
      .map { APITarget.decoded($0) }
    do {
      guard parts.first == "v1", parts.count >= 2 else { throw Self.noPath(target.path) }
      if parts[1] == "tasks" {
        return .json(
          try await tasks.respond(
            method: request.method, path: target.path, query: target.query, contentType: request.contentType,
            body: request.body))
      }
      let call = Call(request: request, query: target.query, path: target.path, parts: Array(parts.dropFirst(2)))
      switch parts[1] {
      case "engine": return try about(call)
      case "state": return try await state(call)
      case "blobs": return try await blobs(call)
      case "counters": return try await counters(call)
      case "schedules": return try await schedules(call)
      case "agent-messages": return try await messages(call)
      default: throw Self.noPath(target.path)
      }
    } catch let error as TaskAPIError {
      return .json(TaskAPI.Answer(error))
    } catch let error as EngineError {
      return .json(TaskAPI.Answer(TaskAPIError(error)))
    }
  }

  // MARK: Helpers

  /// A request as the areas see it.
  struct Call {
    let request: Request
    let query: [String: String]
    let path: String
    /// What stands behind the area.
    let parts: [String]

    /// Refuses other methods than these, and JSON under another type.
    func only(_ methods: String...) throws(TaskAPIError) {
      guard methods.contains(request.method) else {
        throw TaskAPIError(
          405, "method_not_allowed",
          "\(request.method.prefix(20)) \(path.prefix(80)) is not served; docs/api/coordination.yaml lists what is",
          allow: methods)
      }
    }

    /// The members of the JSON in the body.
    func fields(_ known: [String]) throws(TaskAPIError) -> TaskAPIFields {
      try type("application/json")
      guard request.body.count <= EngineAPI.bodyBytes else {
        throw TaskAPIError(413, "request_too_large", "a body has at most \(EngineAPI.bodyBytes) bytes")
      }
      return try TaskAPIFields(body: request.body, known: known)
    }

    /// Refuses another content type. A web page can't send these to another origin without asking first.
    func type(_ type: String) throws(TaskAPIError) {
      guard request.contentType.prefix(while: { $0 != ";" }).lowercased() == type else {
        throw TaskAPIError(415, "unsupported_media_type", "send the header content-type: \(type)")
      }
    }

    /// A whole number of the query; nil: it isn't there.
    func number(_ name: String, _ range: ClosedRange<Int>) throws(TaskAPIError) -> Int? {
      guard let text = query[name] else { return nil }
      guard let number = Int(text), range.contains(number) else {
        throw .invalid("\(name): \(range.lowerBound) to \(range.upperBound), not \"\(text.prefix(20))\"")
      }
      return number
    }

    /// A revision of the query, or of another text; nil for nil.
    func revision(_ name: String, _ text: String?) throws(TaskAPIError) -> Revision? {
      guard let text else { return nil }
      guard let number = UInt64(text), number <= UInt64(Int64.max) else {
        throw .invalid("\(name): a revision, which is a whole number, not \"\(text.prefix(20))\"")
      }
      return Revision(number)
    }

    /// What stands behind the first `count` parts, whose slashes may be written as they are.
    func rest(_ count: Int) -> String { parts.dropFirst(count).joined(separator: "/") }
  }

  static func noPath(_ path: String) -> TaskAPIError {
    TaskAPIError(
      404, "not_found", "\(path.prefix(80)) is not served; docs/api/coordination.yaml lists what is")
  }

  static func ok(_ json: JSONValue, _ status: Int = 200) -> Answer { .json(TaskAPI.Answer(status, json)) }

  /// Events that end with the server.
  func stream(
    _ next: @escaping @Sendable () async throws -> [UInt8]?, end: @escaping @Sendable () -> Void = {}
  ) -> Answer {
    .events(EventStream(next: next, end: end, ending: ending))
  }

  // MARK: The engine itself

  private func about(_ call: Call) throws -> Answer {
    guard call.parts.isEmpty else { throw Self.noPath(call.path) }
    try call.only("GET")
    let (state, blobs) = (engine.state.limits, engine.blobs.limits)
    return Self.ok([
      "durability": .string(engine.durability.name),
      "limits": [
        "keyBytes": .int(Int64(state.keyBytes)), "valueBytes": .int(Int64(state.valueBytes)),
        "batchChanges": .int(Int64(state.batchChanges)), "batchBytes": .int(Int64(state.batchBytes)),
        "blobBytes": .int(Int64(min(blobs.blobBytes, Self.bodyBytes))), "listedBlobs": .int(Int64(blobs.listed)),
        "messageBytes": .int(Int64(engine.messages.messageBytes)),
      ],
    ])
  }
}
