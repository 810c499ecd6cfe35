import KubernetesCore
import ScalingDecision
import ScalingObservation
import Synchronization
import TestSupport
import Testing

@testable import StatusPage

@Suite(.timeLimit(.minutes(10))) struct StatusPageTests {
  private let time = ManualTimeSource(wall: start)

  private func page(_ change: (inout StatusPage.Configuration) -> Void = { _ in }) -> StatusPage {
    var configuration = StatusPage.Configuration(program: "swarmscale test", instance: "controller-0")
    change(&configuration)
    return StatusPage(configuration, time: time)
  }

  private func observe(_ page: StatusPage, _ name: String, demand: Int = 4, signature: Int = 1) {
    let record = Scene.record(Scene.key(name), count: 4, demand: demand, at: time.wallNow)
    page.observe(Scene.observation(record, signature: signature)) { _ in (try? record.line()) ?? [] }
  }

  private func json(_ response: PageResponse) throws -> JSONValue {
    guard case .bytes(let bytes) = response.body else { throw TestFailure("no JSON") }
    return try JSONValue(parsing: bytes)
  }

  private func get(_ page: StatusPage, _ path: String) throws -> JSONValue {
    let response = page.respond(to: PageRequest(path: path))
    #expect(response.status == 200, "\(path)")
    return try json(response)
  }

  // MARK: Paths and headers

  @Test(
    "Every file is served with its type, a tag and strict headers",
    arguments: [
      ("/", "text/html"), ("/app.js", "text/javascript"), ("/charts.js", "text/javascript"),
      ("/theme.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg+xml"),
    ])
  func assets(path: String, type: String) throws {
    let page = page()
    #expect(page.serves(path: path))
    let response = page.respond(to: PageRequest(path: path))
    #expect(response.status == 200)
    #expect(response.header("Content-Type")?.hasPrefix(type) == true)
    expectStrict(response)
    let tag = try #require(response.header("ETag"))
    #expect(response.header("Cache-Control") == "no-cache")
    guard case .bytes(let bytes) = response.body else { throw TestFailure("no bytes") }
    #expect(bytes.count > 100)
    let again = page.respond(to: PageRequest(path: path, ifNoneMatch: "\"other\", \(tag)"))
    #expect(again.status == 304)
    #expect(again.header("ETag") == tag)
    if case .none(let length) = again.body { #expect(length == bytes.count) } else { Issue.record("a body") }
    #expect(page.respond(to: PageRequest(path: path, ifNoneMatch: "\"other\"")).status == 200)
  }

  private func expectStrict(_ response: PageResponse) {
    let policy = response.header("Content-Security-Policy") ?? ""
    for part in [
      "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
      "frame-ancestors 'none'",
    ] { #expect(policy.contains(part)) }
    #expect(!policy.contains("unsafe"))
    #expect(response.header("X-Content-Type-Options") == "nosniff")
    #expect(response.header("Referrer-Policy") == "no-referrer")
  }

  @Test(
    "Whatever isn't GET or HEAD is refused with what is allowed",
    arguments: ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"],
    ["/", "/api/v1/fleets", "/api/v1/events", "/api/v1/nothing"])
  func readOnly(method: String, path: String) {
    let response = page().respond(to: PageRequest(method: method, path: path))
    #expect(response.status == 405)
    #expect(response.header("Allow") == "GET, HEAD")
    expectStrict(response)
  }

  @Test("HEAD gives the headers of GET without a body, and takes no place of a client")
  func head() {
    let page = page { $0.maximumClients = 1 }
    for path in ["/", "/api/v1/fleets", "/api/v1/events"] {
      let response = page.respond(to: PageRequest(method: "HEAD", path: path))
      #expect(response.status == 200)
      guard case .none(let length) = response.body else {
        Issue.record("a body")
        continue
      }
      #expect(length == nil ? path.hasSuffix("events") : length ?? 0 > 100)
    }
    #expect(page.clientCount == 0)
  }

  @Test(
    "Unknown paths below /api are answered in JSON, others are left to the controller",
    arguments: [
      "/api", "/api/v2/fleets", "/api/v1", "/api/v1/fleets/agents", "/api/v1/fleets/agents/none", "/api/v1/decisions/1",
      "/api/v1/decisions/../../etc/passwd", "/api/v1/fleets/%zz/x", "/api/v1/fleets/%ff/x",
    ])
  func unknown(path: String) throws {
    let page = page()
    #expect(page.serves(path: path))
    let response = page.respond(to: PageRequest(path: path))
    #expect(response.status == 404)
    #expect(try json(response)[path: ["error", "code"]]?.stringValue == "notFound")
    expectStrict(response)
    for path in ["/healthz", "/readyz", "/metrics", "/apiary", "/mutate"] { #expect(!page.serves(path: path)) }
  }

  // MARK: Data

  @Test("The snapshot has who leads, the fleets, the budgets and the latest decisions")
  func snapshot() throws {
    let page = page()
    page.attach(.init(leadership: { .init(isLeader: false, holder: "other_1") }, hasCoordinator: true))
    observe(page, "b")
    observe(page, "a", demand: 9)
    page.observe([Scene.budget(Scene.key("claude"), used: 830)])
    let json = try get(page, "/api/v1/fleets")
    #expect(json[path: ["leadership", "holder"]]?.stringValue == "other_1")
    #expect(json[path: ["leadership", "isLeader"]]?.boolValue == false)
    #expect(json["coordinator"]?.boolValue == true)
    #expect(json["nowMilliseconds"]?.intValue == start.milliseconds)
    let fleets = try #require(json["fleets"]?.arrayValue)
    #expect(fleets.map { $0["name"]?.stringValue } == ["a", "b"])
    #expect(fleets.first?["demand"]?.intValue == 9)
    #expect(json["budgets"]?[0]?["dimensions"]?[0]?["utilizationPermille"]?.intValue == 830)
    let decisions = try #require(json["decisions"]?.arrayValue)
    #expect(decisions.map { $0["name"]?.stringValue } == ["a", "b"], "newest first")
    #expect(decisions.first?["id"]?.stringValue == fleets.first?["decision"]?.stringValue)
  }

  @Test("A fleet has its points, workers and decisions; its words come from the status when its decision is forgotten")
  func fleet() throws {
    let page = page()
    let since = start - .seconds(90)
    page.attach(
      .init(
        activity: { key in
          FleetActivityReport(workers: [
            "w-2": .init(activity: WorkerActivity(inFlight: 1, slots: 2, oldestWorkAt: since), at: start),
            "w-1": .init(
              activity: WorkerActivity(inFlight: 0, slots: 2, drain: .acknowledged(since: since)), at: start),
          ])
        }, reason: { _ in "from the status" }))
    observe(page, "a", demand: 9)
    page.observe([Scene.budget(Scene.key("claude"), used: 830)])
    let json = try get(page, "/api/v1/fleets/agents/a")
    #expect(json[path: ["points", "demand"]]?[0]?.intValue == 9)
    #expect(json[path: ["points", "allowed"]]?[0] == .null)
    #expect(json["words"]?.stringValue?.contains("backlog wants 9") == true)
    #expect(json[path: ["workers", "slots"]]?.intValue == 4)
    let workers = try #require(json[path: ["workers", "list"]]?.arrayValue)
    #expect(workers.map { $0["name"]?.stringValue } == ["w-1", "w-2"], "those that drain come first")
    #expect(workers.map { $0["drain"]?.stringValue } == ["acknowledged", "none"])
    #expect(workers.last?["oldestWorkAt"]?.intValue == since.secondsSinceEpoch)
    #expect(json["budgets"]?[0]?[path: ["points", "outputTokens"]]?[0]?.intValue == 830)
    #expect(json["decisions"]?.arrayValue?.count == 1)
    for number in 0..<300 { observe(page, "other", signature: number) }
    #expect(try get(page, "/api/v1/fleets/agents/a")["words"]?.stringValue == "from the status")
  }

  @Test("Names that no cluster would allow come back as they are")
  func hostileNames() throws {
    let page = page()
    for name in ["<img src=x onerror=alert(1)>", "a/b?c#d%2F&e=\"'\\", "\u{202E}gnp\u{2066}", "\u{0}\u{1F}\n"] {
      observe(page, name)
      let path = name.utf8.map { byte in
        "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }.joined()
      #expect(try get(page, "/api/v1/fleets/agents/\(path)")[path: ["fleet", "name"]]?.stringValue == name)
    }
  }

  @Test("A decision opens to its whole record, as the decision log has it, with its steps in words")
  func decision() throws {
    let page = page()
    observe(page, "a", demand: 9)
    let id = try #require(try get(page, "/api/v1/fleets")["decisions"]?[0]?["id"]?.stringValue)
    let json = try get(page, "/api/v1/decisions/\(id)")
    #expect(json["recordIs"]?.stringValue == "whole")
    let value = try #require(json["record"])
    let record = try KubernetesJSON.decode(DecisionRecord.self, from: value)
    #expect(record.replayed() == record.plan, "what the page shows can be replayed")
    #expect(record.input.workers.count == 4)
    #expect(json["steps"]?.arrayValue?.count == 7)
    #expect(json["steps"]?.arrayValue?.filter { $0["binding"]?.boolValue == true }.count == 1)
    #expect(page.respond(to: PageRequest(path: "/api/v1/decisions/other-1")).status == 404)
  }

  @Test("A record is made only when a pass says something new")
  func lazyRecords() {
    let page = page()
    let made = Mutex(0)
    let record = Scene.record(Scene.key("a"), count: 4, demand: 4, at: start)
    for signature in [1, 1, 1, 2, 2] {
      page.observe(Scene.observation(record, signature: signature)) { _ in
        made.withLock { $0 += 1 }
        return []
      }
    }
    #expect(made.withLock { $0 } == 2)
  }

  // MARK: Events

  private func subscribe(
    _ page: StatusPage, _ query: String = "", lastEventID: String? = nil, cut: @escaping @Sendable () -> Void = {}
  ) throws -> PageEvents {
    let response = page.respond(
      to: PageRequest(path: "/api/v1/events", query: query, lastEventID: lastEventID, cut: cut))
    #expect(response.status == 200)
    #expect(response.header("Content-Type")?.hasPrefix("text/event-stream") == true)
    guard case .events(let events) = response.body else { throw TestFailure("no events") }
    return events
  }

  private func next(_ iterator: inout AsyncStream<[UInt8]>.AsyncIterator) async -> String? {
    await iterator.next(isolation: #isolation).map { String(decoding: $0, as: UTF8.self) }
  }

  private func cursor(_ page: StatusPage) throws -> String {
    try #require(try get(page, "/api/v1/fleets")["cursor"]?.stringValue)
  }

  @Test("Who comes with the snapshot's cursor gets what is new, and nothing of what it has read")
  func newsOnly() async throws {
    let page = page()
    observe(page, "old")
    let events = try subscribe(page, "after=\(try cursor(page))")
    var iterator = events.stream.makeAsyncIterator()
    #expect(await next(&iterator) == "retry: 2000\n\n")
    observe(page, "new")
    page.publish()
    let text = try #require(await next(&iterator))
    #expect(text.hasPrefix("id: "))
    #expect(text.contains("event: update\ndata: {"))
    #expect(text.contains("\"new\"") && !text.contains("\"old\""))
    #expect(text.hasSuffix("\n\n"))
  }

  @Test("A broken connection goes on where it was; one that was away too long reads everything anew")
  func resume() async throws {
    let page = page()
    let watcher = try subscribe(page, "after=\(try cursor(page))")
    var ids: [String] = []
    var iterator = watcher.stream.makeAsyncIterator()
    _ = await next(&iterator)
    for number in 0..<100 {
      observe(page, "f\(number)")
      page.publish()
      let text = try #require(await next(&iterator))
      ids.append(String(text.split(separator: "\n")[0].dropFirst(4)))
    }
    let back = try subscribe(page, "after=stale", lastEventID: ids[96])
    var second = back.stream.makeAsyncIterator()
    let missed = try #require(await next(&second))
    #expect(missed.contains("\"f97\"") && missed.contains("\"f99\"") && !missed.contains("\"f96\""))
    let late = try subscribe(page, lastEventID: ids[0])
    var third = late.stream.makeAsyncIterator()
    let text = try #require(await next(&third))
    #expect(text.contains("event: reset") && !text.contains("event: update"))
    for cursor in ["", "x", "other-3", "\(ids[0])0000", "-", "-1"] {
      let stranger = try subscribe(page, "after=\(cursor)")
      var iterator = stranger.stream.makeAsyncIterator()
      #expect(await next(&iterator)?.contains("event: reset") == true, "\(cursor)")
    }
  }

  @Test("A client that doesn't read is cut off, and the others go on")
  func slowClient() async throws {
    let page = page { $0.clientBuffer = 4 }
    let cut = Mutex(0)
    let slow = try subscribe(page, cut: { cut.withLock { $0 += 1 } })
    let good = try subscribe(page)
    var iterator = good.stream.makeAsyncIterator()
    _ = await next(&iterator)
    for number in 0..<20 {
      observe(page, "f\(number)")
      page.publish()
      #expect(await next(&iterator)?.contains("\"f\(number)\"") == true)
    }
    #expect(cut.withLock { $0 } == 1)
    #expect(page.clientCount == 1)
    var chunks = 0
    for await _ in slow.stream { chunks += 1 }
    #expect(chunks == 4, "what it was sent, and then the end")
  }

  @Test("One client too many is asked to come later; a place that is given up can be taken")
  func tooManyClients() throws {
    let page = page { $0.maximumClients = 2 }
    let first = try subscribe(page)
    _ = try subscribe(page)
    let response = page.respond(to: PageRequest(path: "/api/v1/events"))
    #expect(response.status == 503)
    #expect(response.header("Retry-After") != nil)
    page.end(first)
    page.end(first)
    #expect(page.clientCount == 1)
    _ = try subscribe(page)
  }

  @Test("Silence is broken by a beat, so that a dead connection is noticed")
  func beat() async throws {
    let page = page()
    let events = try subscribe(page, "after=\(try cursor(page))")
    var iterator = events.stream.makeAsyncIterator()
    _ = await next(&iterator)
    time.advance(by: .seconds(9))
    page.publish()
    time.advance(by: .seconds(1))
    page.publish()
    #expect(await next(&iterator) == "event: beat\ndata: {}\n\n")
  }

  @Test("Who follows a fleet gets its workers and its namespace's budgets, when they change")
  func detail() async throws {
    let page = page()
    let busy = Mutex(1)
    page.attach(
      .init(activity: { _ in
        FleetActivityReport(workers: ["w": .init(activity: WorkerActivity(inFlight: busy.withLock { $0 }), at: start)])
      }))
    observe(page, "a")
    let events = try subscribe(page, "after=\(try cursor(page))&fleet=agents%2Fa")
    var iterator = events.stream.makeAsyncIterator()
    _ = await next(&iterator)
    page.publish()
    #expect(await next(&iterator)?.contains("event: detail") == true)
    page.publish()
    busy.withLock { $0 = 2 }
    page.observe([Scene.budget(Scene.key("claude"), used: 1), Scene.budget(Scene.key("c", in: "b"), used: 1)])
    page.publish()
    let text = try #require(await next(&iterator))
    #expect(text.contains("\"inFlight\":2") && text.contains("\"claude\""))
    #expect(!text.contains("\"namespace\":\"b\""))
  }

  @Test("A thousand fleets that change at once are told in several events, each once")
  func manyAtOnce() async throws {
    let page = page { $0.clientBuffer = 100 }
    let events = try subscribe(page, "after=\(try cursor(page))")
    for number in 0..<1000 { observe(page, "f\(number)") }
    for _ in 0..<7 { page.publish() }
    page.close()
    var told: [String] = []
    for await chunk in events.stream {
      for line in String(decoding: chunk, as: UTF8.self).split(separator: "\n") where line.hasPrefix("data: {\"") {
        let json = try JSONValue(parsing: Array(line.dropFirst(6).utf8))
        let fleets = json["fleets"]?.arrayValue ?? []
        #expect(fleets.count <= 200)
        told += fleets.compactMap { $0["name"]?.stringValue }
      }
    }
    #expect(told.count == 1000)
    #expect(Set(told).count == 1000)
  }

  @Test("A new leadership makes everybody read anew")
  func reset() async throws {
    let page = page()
    observe(page, "a")
    let events = try subscribe(page, "after=\(try cursor(page))")
    var iterator = events.stream.makeAsyncIterator()
    _ = await next(&iterator)
    page.reset()
    page.publish()
    #expect(await next(&iterator)?.contains("event: reset") == true)
    #expect(try get(page, "/api/v1/fleets")["fleets"]?.arrayValue?.isEmpty == true)
  }

  @Test("It makes events only while somebody looks, and a while after")
  func runs() async throws {
    let page = page()
    let cursor = try cursor(page)
    let loop = Task { try await page.run() }
    let events = try subscribe(page, "after=\(cursor)")
    var iterator = events.stream.makeAsyncIterator()
    _ = await next(&iterator)
    await time.waitForSleepers(count: 1)
    observe(page, "a")
    time.advance(by: .seconds(1))
    #expect(await next(&iterator)?.contains("\"a\"") == true)
    let told = page.state.withLock { $0.events.number }
    page.end(events)
    // Each second until the linger is over, and then no more: nobody is left to sleep for.
    for _ in 0..<30 {
      await time.waitForSleepers(count: 1)
      time.advance(by: .seconds(1))
    }
    while page.state.withLock({ $0.events.number }) == told, !Task.isCancelled { await Task.yield() }
    // Nobody had looked for so long that nothing was kept: who comes back with an old cursor reads anew.
    let late = try subscribe(page, lastEventID: cursor)
    var second = late.stream.makeAsyncIterator()
    #expect(await next(&second)?.contains("event: reset") == true)
    loop.cancel()
    await #expect(throws: CancellationError.self) { try await loop.value }
  }

  @Test("Closing ends every stream, and later ones at once")
  func close() async throws {
    let page = page()
    let events = try subscribe(page)
    page.close()
    var count = 0
    for await _ in events.stream { count += 1 }
    #expect(count == 1)
    #expect(page.respond(to: PageRequest(path: "/api/v1/events")).status == 503)
  }
}
