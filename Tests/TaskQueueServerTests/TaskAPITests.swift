import CoordinationAPI
import KubernetesCore
import LocalEngine
import TaskQueue
import TestSupport
import Testing

@testable import TaskQueueServer

@Suite struct TaskAPITests {
  private let time = ManualTimeSource()
  private let engine: any TaskEngine
  private let api: TaskAPI

  init() {
    engine = LocalEngine(time: time).tasks
    api = TaskAPI(engine: engine)
  }

  private func post(_ path: String, _ json: JSONValue, query: [String: String] = [:]) async throws -> TaskAPI.Answer {
    try await api.respond(
      method: "POST", path: path, query: query, contentType: "application/json; charset=utf-8", body: json.text)
  }

  private func get(_ path: String, query: [String: String] = [:]) async throws -> JSONValue {
    try await api.respond(method: "GET", path: path, query: query, contentType: "", body: []).json
  }

  @discardableResult
  private func submit(_ number: Int64, key: String? = nil) async throws -> String {
    var json: JSONValue = ["queue": "q", "payload": ["n": .int(number)]]
    if let key { json["key"] = .string(key) }
    let answer = try await post("/v1/tasks", json)
    #expect(answer.status == 201)
    return try #require(answer.json["tasks"]?[0]?["id"]?.stringValue)
  }

  private func next(max: Int64 = 1, wait: String = "0") async throws -> [JSONValue] {
    let answer = try await post(
      "/v1/tasks/next", ["queue": "q", "worker": "w", "max": .int(max)], query: ["wait": wait])
    #expect(answer.status == 200)
    #expect(answer.handedOut.count == answer.json["tasks"]?.arrayValue?.count)
    return answer.json["tasks"]?.arrayValue ?? []
  }

  @Test("A task goes from submission to its result")
  func life() async throws {
    let id = try await submit(7, key: "k")
    #expect(try await submit(7, key: "k") == id)
    let task = try #require(try await next().first)
    #expect(task["id"]?.stringValue == id)
    #expect(task["payload"] == ["n": 7])
    #expect(task["epoch"] == 1 && task["attempt"] == 1 && task["leaseSeconds"] == 30 && task["key"] == "k")
    let heartbeat = try await post("/v1/tasks/\(id)/heartbeat", ["epoch": 1, "leaseSeconds": 60])
    #expect(heartbeat.json == ["leaseSeconds": 60])
    let done = try await post("/v1/tasks/\(id)/complete", ["epoch": 1, "result": ["words": 12]])
    #expect(done.json == ["state": "done", "duplicate": false])
    let shown = try await get("/v1/tasks/\(id)")
    #expect(shown["state"] == "done" && shown["result"] == ["words": 12])
    let statistics = try await get("/v1/tasks/stats", query: ["queue": "q"])
    #expect(
      statistics["submitted"] == 1 && statistics["done"] == 1 && statistics["dead"] == 0 && statistics["lost"] == 0)
    #expect(statistics["duplicates"] == 1 && statistics["durable"] == false)
  }

  @Test("Several tasks at once are taken all or not at all")
  func several() async throws {
    let bad = try await post(
      "/v1/tasks", ["queue": "q", "tasks": [["payload": 1], ["payload": 2, "lane": "urgent"]]])
    #expect(bad.status == 400)
    #expect(
      bad.json["error"]?["message"] == "tasks[1].lane: one of critical, high, normal, bulk, not \"urgent\"")
    let good = try await post(
      "/v1/tasks", ["queue": "q", "tasks": [["payload": 1, "lane": "bulk"], ["payload": 2, "lane": "critical"]]])
    #expect(good.status == 201)
    #expect(try await next(max: 5).map { $0["payload"] } == [2, 1])
  }

  @Test("A long poll gets the task that comes while it waits")
  func longPoll() async throws {
    async let waiting = next(wait: "20")
    await time.waitForSleepers(count: 1)
    try await submit(1)
    #expect(try await waiting.count == 1)
  }

  @Test("A long poll ends empty when its time is over, and when the server ends")
  func longPollEnds() async throws {
    async let waiting = next(wait: "20")
    await time.waitForSleepers(count: 1)
    time.advance(by: .seconds(20))
    #expect(try await waiting.isEmpty)
    async let second = next(wait: "20")
    await time.waitForSleepers(count: 1)
    engine.endWaiting()
    #expect(try await second.isEmpty)
  }

  @Test("A long poll gets the task of a worker that died, when its lease has run out")
  func longPollAfterLease() async throws {
    let id = try await submit(1)
    #expect(try await next().count == 1)
    async let waiting = next(wait: "60")
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(30)))
    time.advance(by: .seconds(30))
    let task = try #require(try await waiting.first)
    #expect(task["epoch"] == 2 && task["attempt"] == 2)
    let late = try await post("/v1/tasks/\(id)/complete", ["epoch": 1, "result": 1])
    #expect(late.status == 409)
    #expect(late.json["error"]?["type"] == "stale_epoch")
  }

  @Test("A long poll gets a task that is submitted with a delay, when its time has come")
  func delayedWhileWaiting() async throws {
    async let waiting = next(wait: "60")
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(60)))
    _ = try await post("/v1/tasks", ["queue": "q", "payload": 1, "delaySeconds": 5])
    await time.waitForSleep(until: MonotonicTime(sinceOrigin: .seconds(5)))
    time.advance(by: .seconds(5))
    #expect(try await waiting.count == 1)
  }

  @Test("What can't be delivered is handed back, and its attempt isn't counted")
  func takenBack() async throws {
    try await submit(1)
    let answer = try await post("/v1/tasks/next", ["queue": "q", "worker": "gone"])
    await api.takeBack(answer.handedOut)
    let task = try #require(try await next().first)
    #expect(task["attempt"] == 1 && task["epoch"] == 2)
  }

  @Test("Failures come back later or become dead letters, which can be listed, retried and thrown away")
  func failures() async throws {
    let id = try await submit(1)
    _ = try await next()
    let failed = try await post("/v1/tasks/\(id)/fail", ["epoch": 1, "reason": "529", "delaySeconds": 2.5])
    #expect(failed.json == ["state": "delayed", "delaySeconds": 2.5])
    time.advance(by: .seconds(3))
    _ = try await next()
    let dead = try await post("/v1/tasks/\(id)/fail", ["epoch": 2, "reason": "refused", "retry": false])
    #expect(dead.json == ["state": "dead"])
    let letters = try await get("/v1/tasks/dead", query: ["queue": "q"])
    #expect(letters["tasks"]?[0]?["reason"] == "refused")
    #expect(try await post("/v1/tasks/\(id)/retry", [:]).status == 200)
    #expect(try await next().first?["attempt"] == 1)
    #expect(try await post("/v1/tasks/\(id)/discard", [:]).json["error"]?["type"] == "wrong_state")
    let released = try await post("/v1/tasks/\(id)/release", ["epoch": 3])
    #expect(released.json == ["state": "ready"])
  }

  @Test(
    "What can't be meant is refused with the field and the fix",
    arguments: [
      ("/v1/tasks", #"{"payload":1}"#, 400, "queue is missing"),
      ("/v1/tasks", #"{"queue":"q"}"#, 400, "payload is missing"),
      ("/v1/tasks", #"{"queue":"Q!","payload":1}"#, 400, "lower-case"),
      ("/v1/tasks", #"{"queue":"q","payload":1,"lanes":"bulk"}"#, 400, "lanes: there is no such field"),
      ("/v1/tasks", #"{"queue":"q","payload":1,"delaySeconds":-1}"#, 400, "delaySeconds"),
      ("/v1/tasks", #"{"queue":"q","tasks":{}}"#, 400, "tasks: an array"),
      ("/v1/tasks", #"{"queue":"q","tasks":[]}"#, 400, "at least one"),
      ("/v1/tasks", "[", 400, "not JSON"), ("/v1/tasks", "[]", 400, "object"),
      ("/v1/tasks/next", #"{"queue":"q"}"#, 400, "worker is missing"),
      ("/v1/tasks/next", #"{"queue":"q","worker":"w","max":1000}"#, 400, "max: 1 to 100"),
      ("/v1/tasks/q-x-1/complete", #"{}"#, 400, "epoch is missing"),
      ("/v1/tasks/q-x-1/complete", #"{"epoch":1}"#, 404, "there is no task"),
      ("/v1/tasks/7/complete", #"{"epoch":1}"#, 404, "is not a task's id"),
      ("/v1/tasks/q-x-1/finish", #"{"epoch":1}"#, 404, "is not served"), ("/v1/things", "{}", 404, "/v1/tasks/next"),
    ])
  func refused(path: String, body: String, status: Int, words: String) async throws {
    let answer = try await api.respond(
      method: "POST", path: path, query: [:], contentType: "application/json", body: Array(body.utf8))
    #expect(answer.status == status)
    #expect(answer.json["error"]?["message"]?.stringValue?.contains(words) == true, "\(answer.json)")
  }

  @Test("A body that doesn't say it is JSON is refused: no web page can submit tasks")
  func contentType() async throws {
    let answer = try await api.respond(
      method: "POST", path: "/v1/tasks", query: [:], contentType: "text/plain",
      body: Array(#"{"queue":"q","payload":1}"#.utf8))
    #expect(answer.status == 415)
    #expect(try await engine.statistics(of: nil).isEmpty)
  }

  @Test("A checkpoint comes with the next claim; one that builds on another than the last is a conflict")
  func checkpoints() async throws {
    let id = try await submit(1)
    _ = try await next()
    let head: JSONValue = ["epoch": 1, "step": 3, "reference": ["blob": "ab"]]
    #expect(try await post("/v1/tasks/\(id)/checkpoint", head).json == ["step": 3])
    let conflict = try await post("/v1/tasks/\(id)/checkpoint", ["epoch": 1, "step": 4, "reference": 1])
    #expect(conflict.status == 409 && conflict.json["error"]?["type"] == "checkpoint_conflict")
    let second: JSONValue = ["epoch": 1, "step": 4, "replacing": 3, "reference": 1]
    #expect(try await post("/v1/tasks/\(id)/checkpoint", second).status == 200)
    _ = try await post("/v1/tasks/\(id)/release", ["epoch": 1])
    #expect(try await next().first?["checkpoint"] == ["step": 4, "reference": 1])
    #expect(try await get("/v1/tasks/\(id)")["checkpoint"]?["step"] == 4)
  }

  @Test("Tasks are listed by state, in pages")
  func lists() async throws {
    var ids: [String] = []
    for number in 0..<5 { ids.append(try await submit(Int64(number))) }
    _ = try await next()
    let ready = try await get("/v1/tasks", query: ["queue": "q", "state": "ready", "limit": "2"])
    #expect(ready["tasks"]?.arrayValue?.map { $0["id"]?.stringValue } == [ids[1], ids[2]])
    let rest = try await get("/v1/tasks", query: ["queue": "q", "state": "ready", "after": ids[2]])
    #expect(rest["tasks"]?.arrayValue?.map { $0["id"]?.stringValue } == [ids[3], ids[4]])
    let bad = try await get("/v1/tasks", query: ["queue": "q", "state": "gone"])
    #expect(bad["error"]?["message"]?.stringValue?.contains("ready, delayed") == true)
  }

  @Test("Looking at a queue doesn't make it")
  func looking() async throws {
    #expect(try await get("/v1/tasks/stats", query: ["queue": "none"])["submitted"] == 0)
    #expect(try await get("/v1/tasks/stats")["queues"] == [])
  }
}
