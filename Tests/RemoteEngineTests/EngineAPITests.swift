import CoordinationAPI
import CoordinationEngine
import JSON
import LocalEngine
import TaskQueue
import Testing

/// A generator that gives the same numbers for the same seed (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}

@Suite struct EngineAPITests {
  private let api = EngineAPI(LocalEngine())

  private func ask(
    _ method: String, _ target: String, _ json: JSONValue? = nil, type: String = "application/json"
  ) async throws -> (status: Int, json: JSONValue) {
    let request = EngineAPI.Request(method, target, contentType: json == nil ? "" : type, body: json?.text ?? [])
    guard case .json(let answer) = try await api.respond(to: request) else { return (200, .null) }
    return (answer.status, answer.json)
  }

  private func errorType(_ answer: (status: Int, json: JSONValue)) -> String {
    "\(answer.status) \(answer.json["error"]?["type"]?.stringValue ?? "none")"
  }

  @Test("JSON that is put comes back as JSON; bytes that are none in Base64, and with encoding=base64 always")
  func values() async throws {
    #expect(try await ask("PUT", "/v1/state/keys/a.b", ["value": ["n": 1]]).status == 200)
    let read = try await ask("GET", "/v1/state/keys/a.b")
    #expect(read.json["value"] == ["n": 1])
    _ = try await ask("PUT", "/v1/state/keys/raw", ["valueBase64": "AP8="])
    #expect(try await ask("GET", "/v1/state/keys/raw").json["valueBase64"] == "AP8=")
    let encoded = try await ask("GET", "/v1/state/keys/a.b?encoding=base64").json
    #expect(encoded["valueBase64"] == .string(Base64.encode(Array(#"{"n":1}"#.utf8))))
  }

  @Test("A key with slashes may be written with them or with %2F")
  func slashes() async throws {
    _ = try await ask("PUT", "/v1/state/keys/a/b", ["value": 1])
    #expect(try await ask("GET", "/v1/state/keys/a%2Fb").json["key"] == "a/b")
  }

  @Test("Compare-and-set: what isn't as expected is a conflict that names what is there")
  func conflicts() async throws {
    let first = try await ask("PUT", "/v1/state/keys/k", ["value": 1, "ifAbsent": true])
    let revision = try #require(first.json["revision"])
    let second = try await ask("PUT", "/v1/state/keys/k", ["value": 2, "ifAbsent": true])
    #expect(errorType(second) == "409 conflict")
    #expect(second.json["error"]?["details"] == ["key": "k", "expected": "absent", "current": revision])
    #expect(try await ask("PUT", "/v1/state/keys/k", ["value": 2, "ifRevision": revision]).status == 200)
    let deleted = try await ask("DELETE", "/v1/state/keys/k?ifRevision=\(revision.intValue ?? 0)")
    #expect(errorType(deleted) == "409 conflict")
  }

  @Test("No path of the Claude API, which the sidecar serves as well, is the engine's")
  func paths() {
    for path in [
      "/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/models", "/v1/files", "/v1/complete",
    ] {
      #expect(!EngineAPI.serves(path))
    }
    #expect(
      EngineAPI.serves("/v1/state") && EngineAPI.serves("/v1/agent-messages/request") && !EngineAPI.serves("/v1/states")
    )
  }

  @Test("Keys are listed in pages")
  func pages() async throws {
    for number in 0..<5 { _ = try await ask("PUT", "/v1/state/keys/p.\(number)", ["value": .int(Int64(number))]) }
    let first = try await ask("GET", "/v1/state?prefix=p.&limit=2")
    #expect(first.json["keys"]?.arrayValue?.count == 2 && first.json["more"] == true)
    let rest = try await ask("GET", "/v1/state?prefix=p.&limit=9&after=p.1")
    #expect(rest.json["keys"]?.arrayValue?.compactMap { $0["key"]?.stringValue } == ["p.2", "p.3", "p.4"])
    #expect(rest.json["more"] == false)
  }

  @Test("Several steps at once: each task has an answer of its own")
  func batches() async throws {
    _ = try await ask("POST", "/v1/tasks", ["queue": "q", "tasks": [["payload": 1], ["payload": 2]]])
    let claimed = try await ask("POST", "/v1/tasks/next", ["queue": "q", "worker": "w", "max": 2])
    let tasks = try #require(claimed.json["tasks"]?.arrayValue)
    let ids = tasks.compactMap { $0["id"] }
    #expect(ids.count == 2)
    let late: JSONValue = ["id": ids[1], "epoch": 9, "result": "late"]
    let done = try await ask(
      "POST", "/v1/tasks/complete", ["tasks": [["id": ids[0], "epoch": 1, "result": [1, 2]], late]])
    let answers = try #require(done.json["tasks"]?.arrayValue)
    #expect(answers.first == ["state": "done", "duplicate": false])
    #expect(answers.last?["error"]?["type"] == "stale_epoch")
    #expect(try await ask("GET", "/v1/tasks/\(ids[0].stringValue ?? "")").json["result"] == [1, 2])
  }

  @Test(
    "What can't be meant is refused by what it is",
    arguments: [
      ("GET", "/v1/state/keys/none", nil, "404 unknown_item"),
      ("GET", "/v1/state/keys/", nil, "400 invalid_request_error"),
      ("GET", "/v1/nothing", nil, "404 not_found"), ("GET", "/", nil, "404 not_found"),
      ("POST", "/v1/state", "{}", "405 method_not_allowed"),
      ("PUT", "/v1/state/keys/a", "{", "400 invalid_request_error"),
      ("PUT", "/v1/state/keys/a", #"{"value":1,"valueBase64":"AA=="}"#, "400 invalid_request_error"),
      ("PUT", "/v1/state/keys/a", #"{"valueBase64":"AA"}"#, "400 invalid_request_error"),
      ("PUT", "/v1/state/keys/a", #"{"value":1,"ttlSeconds":0.2}"#, "400 invalid_request_error"),
      ("PUT", "/v1/state/keys/a b", #"{"value":1}"#, "400 invalid_request_error"),
      ("POST", "/v1/state/batch", #"{"changes":[]}"#, "400 invalid_request_error"),
      ("GET", "/v1/state/watch?after=x", nil, "400 invalid_request_error"),
      ("GET", "/v1/state?limit=0", nil, "400 invalid_request_error"),
      ("GET", "/v1/blobs/12", nil, "400 invalid_request_error"),
      ("POST", "/v1/blobs", "{}", "415 unsupported_media_type"),
      ("GET", "/v1/blobs/\(String(repeating: "0", count: 64))", nil, "404 unknown_item"),
      ("POST", "/v1/counters/n", "{}", "400 invalid_request_error"),
      ("POST", "/v1/counters/n", #"{"add":1.5}"#, "400 invalid_request_error"),
      ("PUT", "/v1/schedules/s", #"{"delaySeconds":1}"#, "400 invalid_request_error"),
      ("PUT", "/v1/schedules/s", #"{"task":{"queue":"q","payload":1}}"#, "400 invalid_request_error"),
      ("GET", "/v1/agent-messages", nil, "400 invalid_request_error"),
      ("POST", "/v1/agent-messages/request", #"{"subject":"nobody"}"#, "404 unknown_item"),
      ("POST", "/v1/agent-messages/request", #"{"subject":"a","timeoutSeconds":301}"#, "400 invalid_request_error"),
    ] as [(String, String, String?, String)])
  func refusals(_ method: String, _ target: String, _ body: String?, _ expected: String) async throws {
    let request = EngineAPI.Request(
      method, target, contentType: body == nil ? "" : "application/json", body: Array((body ?? "").utf8))
    guard case .json(let answer) = try await api.respond(to: request) else {
      Issue.record("\(method) \(target) is served")
      return
    }
    #expect(errorType((answer.status, answer.json)) == expected)
  }

  @Test("Requests made up by a seed are answered or refused in words, and none ends the program", arguments: 0..<8)
  func fuzz(_ seed: UInt64) async throws {
    var random = SeededGenerator(seed)
    let methods = ["GET", "PUT", "POST", "DELETE", "PATCH", ""]
    let paths = [
      "/v1/state", "/v1/state/keys/a", "/v1/state/batch", "/v1/state/watch", "/v1/blobs", "/v1/blobs/info",
      "/v1/counters/n", "/v1/schedules/s", "/v1/agent-messages", "/v1/agent-messages/request", "/v1/tasks",
      "/v1/tasks/next", "/v1/tasks/complete", "/v1/tasks/q-1-1/fail", "/v1/engine",
    ]
    let pieces = [
      "?", "&", "=", "%", "%2", "%2F", "%00", "%zz", "/", "//", "after=", "prefix=", "limit=", "99999999999999999999",
      "-1", "encoding=base64", "full=true", "wait=", "nan", "1e308", "\u{e9}", "..", "_",
    ]
    let values = [
      "{", "}", "[", "]", ":", ",", "\"key\"", "\"value\"", "\"valueBase64\"", "\"changes\"", "\"tasks\"", "\"epoch\"",
      "\"add\"", "\"delaySeconds\"", "\"task\"", "\"message\"", "\"subject\"", "\"a\"", "null", "true", "-0", "1e999",
      "9223372036854775807", "18446744073709551616", "\"\\ud800\"", "\u{0}",
    ]
    for _ in 0..<400 {
      var target = paths.randomElement(using: &random) ?? ""
      for _ in 0..<Int.random(in: 0...4, using: &random) { target += pieces.randomElement(using: &random) ?? "" }
      var body = Int.random(in: 0...1, using: &random) == 0 ? "{" : ""
      for _ in 0..<Int.random(in: 0...8, using: &random) { body += values.randomElement(using: &random) ?? "" }
      let type = ["application/json", "application/octet-stream", ""].randomElement(using: &random) ?? ""
      let request = EngineAPI.Request(
        methods.randomElement(using: &random) ?? "", target, contentType: type,
        lastEventID: pieces.randomElement(using: &random),
        body: Array(body.utf8))
      guard case .json(let answer) = try await api.respond(to: request) else { continue }
      if answer.status >= 400 {
        #expect(answer.status < 500, "\(request.method) \(target) \(body): \(answer.json)")
        #expect(answer.json["error"]?["message"]?.stringValue?.isEmpty == false)
      }
    }
  }

  @Test("Base64 of any bytes is read as it was written, and nothing else is read", arguments: 0..<4)
  func base64(_ seed: UInt64) {
    var random = SeededGenerator(seed)
    for count in 0..<70 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let text = Base64.encode(bytes)
      #expect(Base64.decode(text) == bytes)
      guard let place = text.indices.randomElement(using: &random) else { continue }
      var changed = text
      changed.replaceSubrange(place...place, with: ["*", "=", "-", "\u{e9}"].randomElement(using: &random) ?? "*")
      if let decoded = Base64.decode(changed) { #expect(Base64.encode(decoded) == changed) }
    }
    // RFC 4648, section 10.
    #expect(Base64.encode(Array("foobar".utf8)) == "Zm9vYmFy" && Base64.encode(Array("fooba".utf8)) == "Zm9vYmE=")
    #expect(Base64.decode("Zm9vYmE=") == Array("fooba".utf8) && Base64.decode("Zm9vYmF=") == nil)
  }

  @Test("Each error of an engine and of a queue is the same in front of the server as behind it")
  func errors() throws {
    let id = TaskID(queue: "q", instance: "a1", number: 7)
    let queues: [TaskQueueError] = [
      .invalid("x"), .tooLarge(what: "payload", bytes: 9, limit: 8), .full(queue: "q", what: "tasks", limit: 3),
      .shed(queue: "q", lane: .bulk, age: .seconds(90), retryAfter: .seconds(5)), .unavailable("gone"),
      .unknownTask("q-a1-7"), .staleTicket(TaskTicket(id: id, epoch: 2), currentEpoch: 3, state: .leased),
      .checkpointConflict(id, expected: nil, current: 4), .wrongState(id, is: .done, needs: .dead),
    ]
    for error in queues {
      let json = TaskAPI.Answer(TaskAPIError(error)).json
      #expect(try TaskQueueError(#require(APIErrorText(json))) == error)
    }
    let engines: [EngineError] = [
      .invalid("x"), .conflict(key: "k", expected: .absent, current: Revision(3)),
      .conflict(key: "k", expected: .revision(Revision(2)), current: nil), .notFound("key k"),
      .tooLarge(what: "value", bytes: 9, limit: 8), .full(what: "keys", limit: 3), .compacted(oldest: Revision(17)),
      .unavailable("gone"), .corrupt("broken"),
    ]
    for error in engines {
      let json = TaskAPI.Answer(TaskAPIError(error)).json
      #expect(try EngineError(#require(APIErrorText(json))) == error)
    }
  }
}
