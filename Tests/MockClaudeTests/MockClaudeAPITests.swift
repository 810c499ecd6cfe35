import MockClaude
import Testing

/// A request to the messages endpoint with the usual headers.
func post(_ body: String, path: String = "/v1/messages?beta=true", headers: [HeaderField] = []) -> APIRequest {
  let names = Set(headers.map(\.name))
  let usual: [HeaderField] = [("x-api-key", "any"), ("anthropic-version", "2023-06-01")]
  return APIRequest(
    method: "POST", target: path, headers: usual.filter { !names.contains($0.name) } + headers,
    body: .bytes(Array(body.utf8)))
}

let hello =
  #"{"model":"claude-sonnet-4-5","max_tokens":1000,"stream":true,"messages":[{"role":"user","content":"hi <<out=12>>"}]}"#

extension APIReply {
  var complete: HTTPReply? {
    guard case .complete(let reply) = self else { return nil }
    return reply
  }

  var generation: Generation? {
    switch self {
    case .stream(let generation), .message(let generation): generation
    default: nil
    }
  }
}

extension HTTPReply {
  func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// The events of a stream: name and data.
func events(_ script: StreamScript) throws -> [(name: String, data: JSONValue)] {
  let text = script.frames.map(\.text).joined().replacing("\r\n", with: "\n")
  return try text.split(separator: "\n\n").filter { !$0.hasPrefix(":") }.map { block in
    let lines = block.split(separator: "\n")
    return (String(lines[0].dropFirst(7)), try JSONReader.read(Array(lines[1].dropFirst(6).utf8)))
  }
}

@Suite struct MockClaudeAPITests {
  private func script(_ body: String = hello, _ configuration: MockConfiguration = exact()) throws -> StreamScript {
    var api = MockClaudeAPI(configuration: configuration, start: start)
    let generation = try #require(api.respond(to: post(body), at: start).generation)
    return api.begin(generation, at: generation.startsAt).script
  }

  @Test("A stream has the events of the real API in their order")
  func order() throws {
    let names = try events(script()).map(\.name)
    #expect(
      names == ["message_start", "content_block_start", "ping"] + Array(repeating: "content_block_delta", count: 3)
        + ["content_block_stop", "message_delta", "message_stop"])
  }

  @Test("Usage in message_start has the input and a placeholder, in message_delta the cumulative output")
  func usage() throws {
    let list = try events(script())
    let begin = try #require(list[0].data["message"]?["usage"])
    let end = try #require(list.first { $0.name == "message_delta" }?.data["usage"])
    #expect(begin["output_tokens"]?.integer == 1)
    #expect(begin["service_tier"]?.string == "standard")
    #expect(end["output_tokens"]?.integer == 12)
    #expect(begin["input_tokens"]?.integer == end["input_tokens"]?.integer)
  }

  @Test(
    "message_start and message_delta differ where that is asked for",
    arguments: [
      (StreamStyle.InputUsage.delta, 0), (.corrected, 4),
    ])
  func usageStyles(style: StreamStyle.InputUsage, expected: Int) throws {
    let list = try events(script(hello, exact { $0.stream.inputUsage = style }))
    let truth = try #require(list.first { $0.name == "message_delta" }?.data["usage"]?["input_tokens"]?.integer)
    let begin = try #require(list[0].data["message"]?["usage"]?["input_tokens"]?.integer)
    #expect(style == .delta ? begin == 0 : begin == truth)
  }

  @Test("Frames come at the time of their tokens")
  func pace() throws {
    let frames = try script().frames
    #expect(frames.first?.time == start + .seconds(1))
    #expect(frames.last?.time == start + .milliseconds(1120))
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.time <= $1.time })
  }

  @Test("A silence is broken by pings, or not")
  func silence() throws {
    let body = hello.replacing("<<out=12>>", with: "<<out=12>><<silence=100>>")
    #expect(try events(script(body)).count { $0.name == "ping" } == 4)
    #expect(try events(script(body, exact { $0.stream.pingInterval = 0 })).count { $0.name == "ping" } == 1)
    #expect(try script(body).frames.last?.time == start + .milliseconds(101_120))
  }

  @Test("Thinking, tool calls, unknown events, comments and CRLF are all valid streams")
  func styles() throws {
    let body = hello.replacing(
      "<<out=12>>", with: #"<<out=60>><<thinking=20>><<tool=Bash:{\"command\":\"ls -l | head\"}>>"#)
    let style = exact {
      $0.stream.unknownEvents = true
      $0.stream.comments = true
      $0.stream.carriageReturns = true
      $0.stream.messageDeltas = 2
      $0.stream.iterations = true
    }
    let list = try events(script(body, style))
    let types = list.compactMap { $0.data["delta"]?["type"]?.string }
    #expect(Set(types) == ["thinking_delta", "signature_delta", "text_delta", "input_json_delta"])
    let json = list.compactMap { $0.data["delta"]?["partial_json"]?.string }.joined()
    #expect(json == #"{"command":"ls -l | head"}"#)
    #expect(list.contains { $0.name == "mock_future_event" })
    #expect(list.filter { $0.name == "message_delta" }.map { $0.data["usage"]?["output_tokens"]?.integer } == [30, 60])
    #expect(list.last { $0.name == "message_delta" }?.data["delta"]?["stop_reason"]?.string == "tool_use")
  }

  @Test("Frames may be cut at any byte and joined")
  func pieces() throws {
    let whole = try script()
    let joined = try script(hello, exact { $0.stream.eventsPerWrite = 4 })
    #expect(joined.frames.map(\.text).joined() == whole.frames.map(\.text).joined())
    #expect(joined.frames.count == 3)
    #expect(whole.frames[0].pieces(of: 7).flatMap { $0 } == Array(whole.frames[0].text.utf8))
  }

  @Test(
    "An in-stream error comes before any content or after so many tokens",
    arguments: [
      ("stream-error-at-once", 1), ("stream-error", 2), ("stream-error;after=7", 6),
    ])
  func streamErrors(fault: String, count: Int) throws {
    var api = MockClaudeAPI(configuration: exact(), start: start)
    let generation = try #require(
      api.respond(to: post(hello, headers: [("x-mock-fault", fault)]), at: start).generation)
    let list = try events(api.begin(generation, at: generation.startsAt).script)
    #expect(list.count == count)
    #expect(list.last?.name == "error")
    #expect(list.last?.data["error"]?["type"]?.string == "overloaded_error")
  }

  @Test("An answer without stream has the same totals")
  func nonStream() throws {
    var api = MockClaudeAPI(configuration: exact(), start: start)
    let body = hello.replacing(#""stream":true,"#, with: "")
    let generation = try #require(api.respond(to: post(body), at: start).generation)
    let reply = api.finish(generation, at: generation.endsAt)
    let json = try JSONReader.read(Array(reply.body.utf8))
    #expect(reply.status == 200)
    #expect(json["usage"]?["output_tokens"]?.integer == 12)
    #expect(json["content"]?.array?.first?["type"]?.string == "text")
    #expect(api.engine.charges(at: generation.endsAt).map(\.outcome) == [.completed])
  }

  @Test("Rate headers have the documented names, forms and rounding")
  func headers() throws {
    var api = MockClaudeAPI(configuration: exact { $0.tier = .start }, start: start)
    let generation = try #require(api.respond(to: post(hello), at: start).generation)
    let head = api.begin(generation, at: start).head
    #expect(head.header("anthropic-ratelimit-requests-limit") == "1000")
    #expect(head.header("anthropic-ratelimit-requests-remaining") == "999")
    #expect(head.header("anthropic-ratelimit-requests-reset") == (start + .seconds(1)).rfc3339)
    #expect(head.header("anthropic-ratelimit-input-tokens-remaining") == "2000000")
    #expect(head.header("anthropic-ratelimit-tokens-limit") == "2400000")
    #expect(head.header("request-id")?.count == 28)
    #expect(head.header("anthropic-workspace-id") == "wrkspc_01MockDefault")
    #expect(head.header("date") == start.httpDate)
  }

  @Test("Headers can be omitted, partly or all, stale, skewed or of the unified family")
  func switches() throws {
    func head(_ change: (inout MockConfiguration) -> Void) throws -> HTTPReply {
      var api = MockClaudeAPI(configuration: exact(change), start: start)
      _ = api.respond(to: post(hello), at: start)
      let generation = try #require(api.respond(to: post(hello), at: start + .seconds(10)).generation)
      return api.begin(generation, at: start + .seconds(10)).head
    }
    #expect(try head { $0.headers.omitAll = true }.headers.allSatisfy { !$0.name.contains("ratelimit") })
    #expect(try head { $0.headers.omit = [.requests] }.header("anthropic-ratelimit-requests-limit") == nil)
    #expect(try head { $0.headers.unified = true }.header("anthropic-ratelimit-unified-5h-utilization") == "0.00")
    #expect(try head { $0.clock.dateSkewSeconds = 120 }.header("date") == (start + .seconds(130)).httpDate)
    let stale = try head { $0.headers.staleSeconds = 5 }
    #expect(stale.header("anthropic-ratelimit-requests-reset") == (start + .seconds(1)).rfc3339)
  }

  @Test(
    "retry-after takes every form that clients have met",
    arguments: [
      (HeaderSwitches.RetryAfterForm.seconds, nil, "1"), (.float, nil, "1.0"), (.seconds, 62_291, "62291"),
      (.seconds, 0, "0"),
      (.httpDate, nil, MockTime(seconds: 1_790_000_001).httpDate), (.omitted, nil, nil),
    ] as [(HeaderSwitches.RetryAfterForm, Int?, String?)])
  func retryAfterForms(form: HeaderSwitches.RetryAfterForm, override: Int?, expected: String?) throws {
    var api = MockClaudeAPI(
      configuration: limited(requests: 60, depth: 1) {
        $0.headers.retryAfterForm = form
        $0.headers.retryAfterOverride = override
      }, start: start)
    _ = api.respond(to: post(hello), at: start)
    let reply = try #require(api.respond(to: post(hello), at: start).complete)
    #expect(reply.status == 429)
    #expect(reply.header("retry-after") == expected)
    #expect(reply.header("x-should-retry") == "true")
    #expect(reply.header("anthropic-ratelimit-requests-remaining") == "0")
    #expect(reply.body.contains(#""request_id":"\#(try #require(reply.header("request-id")))""#))
  }

  @Test("What is wrong with a request is told as the API tells it")
  func errors() throws {
    func status(_ request: APIRequest) throws -> Int {
      var api = MockClaudeAPI(configuration: exact(), start: start)
      return try #require(api.respond(to: request, at: start).complete).status
    }
    #expect(try status(APIRequest(method: "POST", target: "/v1/messages")) == 401)
    #expect(try status(APIRequest(method: "POST", target: "/v1/messages", headers: [("x-api-key", "k")])) == 400)
    #expect(try status(post("{")) == 400)
    #expect(try status(post(hello.replacing(#""max_tokens":1000,"#, with: ""))) == 400)
    #expect(try status(post(hello.replacing("claude-sonnet-4-5", with: "nothing"))) == 404)
    #expect(try status(post("{}", path: "/v1/nothing")) == 404)
    let hot = hello.replacing(#""stream""#, with: #""temperature":1,"stream""#)
    #expect(try status(post(hot, headers: [("anthropic-version", "2026-10-21")])) == 400)
    var large = post(hello)
    large.body = .tooLarge
    #expect(try status(large) == 413)
    large.body = .unsupportedEncoding("zstd")
    #expect(try status(large) == 400)
    for (fault, code) in [("overloaded", 529), ("unavailable", 503), ("bad-gateway", 502), ("challenge", 403)] {
      #expect(try status(post(hello, headers: [("x-mock-fault", fault)])) == code)
    }
  }

  @Test("Only known keys are accepted where keys are configured, and a wrong one learns no organisation")
  func keys() throws {
    let configuration = exact { $0.keys[0].key = "right" }
    var api = MockClaudeAPI(configuration: configuration, start: start)
    let reply = try #require(api.respond(to: post(hello, headers: [("x-api-key", "wrong")]), at: start).complete)
    #expect(reply.status == 401)
    #expect(reply.header("anthropic-organization-id") == nil)
    let bearer: [HeaderField] = [("x-api-key", "right")]
    #expect(api.respond(to: post(hello, headers: bearer), at: start).generation != nil)
  }

  @Test("count_tokens counts without cache and without touching the message limits")
  func countTokens() throws {
    var api = MockClaudeAPI(configuration: exact(), start: start)
    let reply = try #require(api.respond(to: post(hello, path: "/v1/messages/count_tokens"), at: start).complete)
    let generation = try #require(api.respond(to: post(hello), at: start).generation)
    #expect(reply.body == #"{"input_tokens":\#(generation.usage.inputTokens)}"#)
    #expect(api.engine.report(at: start).pools[0].admitted == 1)
  }

  @Test("A conversation that grows is read from the cache up to the last turn, wherever its marker moved")
  func conversation() throws {
    func body(_ turns: Int) -> String {
      let messages = (0..<turns).map { turn in
        let marker = turn == turns - 1 ? #","cache_control":{"type":"ephemeral"}"# : ""
        let text = String(repeating: "word \(turn) ", count: 1000)
        return
          #"{"role":"\#(turn % 2 == 0 ? "user" : "assistant")","content":[{"type":"text","text":"\#(text)"\#(marker)}]}"#
      }
      return #"{"model":"claude-sonnet-4-5","max_tokens":10,"messages":[\#(messages.joined(separator: ","))]}"#
    }
    var api = MockClaudeAPI(configuration: exact(), start: start)
    let first = try #require(api.respond(to: post(body(1)), at: start).generation)
    let second = try #require(api.respond(to: post(body(3)), at: start + .seconds(5)).generation)
    #expect(first.usage.cacheCreationTokens > 1900)
    #expect(second.usage.cacheReadTokens == first.usage.cacheCreationTokens)
    #expect(second.usage.inputTokens == 0)
  }

  @Test("The Rate Limits API lists pools, and of a workspace only what it overrides")
  func rateLimits() throws {
    var api = MockClaudeAPI(configuration: exact(), start: start)
    func get(_ path: String, _ key: String) throws -> HTTPReply {
      let headers: [HeaderField] = [("x-api-key", key)]
      return try #require(
        api.respond(to: APIRequest(method: "GET", target: path, headers: headers), at: start).complete)
    }
    #expect(try get("/v1/organizations/rate_limits", "sk-ant-api").status == 403)
    let all = try JSONReader.read(Array(get("/v1/organizations/rate_limits", "sk-ant-admin01").body.utf8))
    #expect(all["data"]?.array?.count == 10)
    api.engine.setLimits(LimitChange(workspace: "w", group: "claude-sonnet-4", limits: [.requests: 5]), at: start)
    let own = try get("/v1/organizations/workspaces/w/rate_limits", "sk-ant-admin01")
    #expect(own.body.contains(#""limits":[{"type":"requests_per_minute","value":5,"org_limit":10000}]"#))
  }

  @Test("Admin endpoints change limits, faults and settings, and explain what they don't know")
  func admin() throws {
    var api = MockClaudeAPI(configuration: exact(), start: start)
    func post(_ path: String, _ body: String) throws -> HTTPReply {
      let request = APIRequest(method: "POST", target: path, body: .bytes(Array(body.utf8)))
      return try #require(api.respond(to: request, at: start).complete)
    }
    #expect(try post("/admin/limits", #"{"group":"claude-sonnet-4","requests":60,"depthSeconds":1}"#).status == 200)
    #expect(try post("/admin/faults", #"{"rules":[{"fault":"overloaded","count":1}]}"#).status == 200)
    #expect(try post("/admin/settings", #"{"pace":{"tokensPerSecond":10},"ramp":{"allowance":5}}"#).status == 200)
    #expect(api.engine.configuration.pace.tokensPerSecond == 10)
    #expect(api.engine.configuration.ramp?.allowance == 5)
    #expect(try post("/admin/settings", #"{"ramp":null}"#).status == 200)
    #expect(api.engine.configuration.ramp == nil)
    #expect(try post("/admin/settings", #"{"pase":{}}"#).body.contains("unknown key"))
    #expect(try post("/admin/faults", #"{"rules":[{"fault":"explode"}]}"#).body.contains("is no fault"))
    #expect(try post("/admin/nothing", "{}").status == 404)
    #expect(try #require(api.respond(to: MockClaudeTests.post(hello), at: start).complete).status == 529)
    #expect(api.respond(to: MockClaudeTests.post(hello), at: start).generation != nil)
    #expect(try #require(api.respond(to: MockClaudeTests.post(hello), at: start).complete).status == 429)
  }
}
