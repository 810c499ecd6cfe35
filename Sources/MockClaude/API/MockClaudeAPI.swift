/// The HTTP interface of the mock as a state machine: requests in, responses or schedules out, time as an argument.
package struct MockClaudeAPI: Sendable {
  /// The limits and everything behind them.
  package var engine: MockClaudeEngine
  private var batches: [String: (created: MockTime, count: Int)] = [:]

  /// A mock that starts now.
  package init(configuration: MockConfiguration = MockConfiguration(), start: MockTime) {
    engine = MockClaudeEngine(configuration: configuration, start: start)
  }

  var headers: ResponseHeaders { ResponseHeaders(configuration: engine.configuration) }

  /// Decides on a request.
  package mutating func respond(to request: APIRequest, at now: MockTime) -> APIReply {
    engine.advance(to: now)
    if case .tooLarge = request.body { return .complete(tooLarge()) }
    if request.path == "/api/hello" {
      let fields = headers.common(requestID: engine.newRequestID(), account: nil, now: engine.now)
      return .complete(HTTPReply(status: 200, headers: fields + [Self.json], body: #"{"status":"ok"}"#))
    }
    if request.path == "/admin" || request.path.hasPrefix("/admin/") { return administer(request) }
    var account: Account?
    do throws(APIError) {
      account = try authenticate(request)
      return try route(request, account ?? Account(organization: "", workspace: ""))
    } catch {
      return .complete(reply(error, requestID: engine.newRequestID(), account: account))
    }
  }

  static let json: HeaderField = ("content-type", "application/json")

  // MARK: Who asks

  private func authenticate(_ request: APIRequest) throws(APIError) -> Account {
    let bearer = request.header("authorization").flatMap { text in
      text.lowercased().hasPrefix("bearer ") ? String(text.dropFirst(7)) : nil
    }
    guard let key = request.header("x-api-key") ?? bearer, !key.isEmpty else {
      throw APIError(401, "authentication_error", "x-api-key header is required")
    }
    let keys = engine.configuration.keys
    guard let found = keys.first(where: { $0.key == key }) ?? keys.first(where: { $0.key == "*" }) else {
      throw APIError(401, "authentication_error", "invalid x-api-key")
    }
    let kind = key.hasPrefix("sk-ant-admin") ? KeyConfiguration.Kind.admin : found.kind
    return Account(organization: found.organization, workspace: found.workspace, kind: kind)
  }

  private func version(_ request: APIRequest) throws(APIError) -> String {
    guard let version = request.header("anthropic-version") else {
      throw .invalid("anthropic-version: header is required")
    }
    guard ["2023-06-01", "2026-10-21"].contains(version) else {
      throw .invalid("anthropic-version: \"\(version)\" is not a valid version")
    }
    return version
  }

  // MARK: Paths

  private mutating func route(_ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    let parts = request.path.split(separator: "/").map(String.init)
    switch (request.method, parts.count) {
    case ("POST", 2) where parts == ["v1", "messages"]: return try messages(request, account)
    case ("POST", 3) where parts == ["v1", "messages", "count_tokens"]: return try countTokens(request, account)
    case ("POST", 3) where parts == ["v1", "messages", "batches"]: return try createBatch(request, account)
    case ("GET", 4) where parts.starts(with: ["v1", "messages", "batches"]):
      return try batch(parts[3], request, account)
    case ("GET", 2) where parts == ["v1", "models"]: return try models(request, account)
    case ("GET", 3) where parts.starts(with: ["v1", "models"]): return try model(parts[2], request, account)
    case ("GET", 3) where parts == ["v1", "organizations", "rate_limits"]:
      return try rateLimits(request, account, workspace: nil)
    case ("GET", 5) where parts.starts(with: ["v1", "organizations", "workspaces"]) && parts[4] == "rate_limits":
      return try rateLimits(request, account, workspace: parts[3])
    default: throw .notFound("Not found")
    }
  }

  private func bytes(_ request: APIRequest) throws(APIError) -> [UInt8] {
    switch request.body {
    case .bytes(let bytes): return bytes
    case .tooLarge: throw APIError(413, "request_too_large", "Request exceeds the maximum size")
    case .unsupportedEncoding(let name):
      throw APIError(
        400, "invalid_request_error", "Unsupported content-encoding: \(name)",
        code: "request_body_encoding_unsupported")
    case .undecodable:
      throw APIError(
        400, "invalid_request_error", "The request body could not be decoded", code: "request_body_encoding_invalid")
    }
  }

  private func parse(_ request: APIRequest, _ account: Account, isCount: Bool) throws(APIError) -> MessageRequest {
    let version = try version(request)
    let body = try bytes(request)
    var message = try MessageRequest(
      parsing: body,
      MessageContext(
        account: account, version: version, session: request.header("x-claude-code-session-id"),
        bytesPerTokenHundredths: engine.configuration.bytesPerTokenHundredths, isCount: isCount))
    if let text = request.header("x-mock-fault") {
      do { message.fault = try Fault(text) } catch { throw .invalid("x-mock-fault: \(error)") }
    }
    return message
  }

  // MARK: Messages

  private mutating func messages(_ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    let message = try parse(request, account, isCount: false)
    switch engine.admit(message, at: engine.now) {
    case .admitted(let generation): return message.isStream ? .stream(generation) : .message(generation)
    case .faulted(let fault): return .fault(fault)
    case .rejected(let rejection):
      var reply = reply(rejection.error, requestID: rejection.requestID, account: account)
      if let snapshot = rejection.snapshot {
        reply.headers += headers.rates(snapshot, isFast: message.isFast, isRejected: true)
      }
      return .complete(reply)
    }
  }

  /// The headers of a stream that begins now, and what follows them.
  package mutating func begin(_ generation: Generation, at now: MockTime) -> (head: HTTPReply, script: StreamScript) {
    engine.advance(to: now)
    let script = StreamScript(
      generation, style: engine.configuration.stream, tokensPerDelta: engine.configuration.pace.tokensPerDelta)
    let type: HeaderField = ("content-type", "text/event-stream; charset=utf-8")
    return (
      HTTPReply(status: 200, headers: success(generation) + [type, ("cache-control", "no-cache")], body: ""), script
    )
  }

  /// The response of a generation without stream, which has ended.
  package mutating func finish(_ generation: Generation, at now: MockTime) -> HTTPReply {
    if case .cut = engine.progress(of: generation.number, at: now) {
      let error = APIError(429, "rate_limit_error", "Output tokens exhausted", retryAfter: 1, shouldRetry: true)
      return reply(error, requestID: generation.requestID, account: generation.request.account)
    }
    switch generation.fault?.inStream?.fault {
    case .error(let type), .errorAtOnce(let type):
      let status = ["rate_limit_error": 429, "overloaded_error": 529, "timeout_error": 504][type] ?? 500
      let error = APIError(status, type, "Injected by the mock")
      return reply(error, requestID: generation.requestID, account: generation.request.account)
    default:
      return HTTPReply(
        status: 200, headers: success(generation) + [Self.json],
        body: MessageText.message(generation, iterations: engine.configuration.stream.iterations))
    }
  }

  private func success(_ generation: Generation) -> [HeaderField] {
    headers.common(requestID: generation.requestID, account: generation.request.account, now: engine.now)
      + headers.rates(generation.snapshot, isFast: generation.request.isFast, isRejected: false)
  }

  /// An event for a stream that the limiter cut.
  package var cutEvent: String {
    StreamScript.errorEvent(
      type: "rate_limit_error", message: "This request would exceed your rate limit", style: engine.configuration.stream
    )
  }

  // MARK: Errors

  func reply(_ error: APIError, requestID: String, account: Account?) -> HTTPReply {
    if let page = error.page {
      return HTTPReply(
        status: error.status, headers: headers.edge(now: engine.now) + [("content-type", "text/html; charset=UTF-8")],
        body: MessageText.page(page))
    }
    let fields = headers.common(requestID: requestID, account: account, now: engine.now)
    return HTTPReply(
      status: error.status, headers: fields + headers.retry(error, now: engine.now) + [Self.json],
      body: MessageText.error(error, requestID: requestID))
  }

  private mutating func tooLarge() -> HTTPReply {
    let error = APIError(413, "request_too_large", "Request exceeds the maximum size")
    return HTTPReply(
      status: 413, headers: headers.edge(now: engine.now) + [Self.json],
      body: MessageText.error(error, requestID: engine.newRequestID()))
  }

  mutating func ok(_ body: String, _ account: Account) -> APIReply {
    let fields = headers.common(requestID: engine.newRequestID(), account: account, now: engine.now)
    return .complete(HTTPReply(status: 200, headers: fields + [Self.json], body: body))
  }

  // MARK: Other endpoints

  private mutating func countTokens(_ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    let message = try parse(request, account, isCount: true)
    guard engine.group(of: message.model) != nil else { throw .notFound("model: \(message.model)") }
    let limits: [Tier: Int64] = [.start: 2000, .build: 4000, .scale: 8000]
    let limit = limits[engine.configuration.tier] ?? 8000
    if let error = engine.admit(endpoint: "token_count", requestsPerMinute: limit, account: account, at: engine.now) {
      throw error
    }
    return ok(#"{"input_tokens":\#(message.inputTokens)}"#, account)
  }

  private static func modelText(_ name: String, _ group: ModelGroup) -> String {
    #"{"type":"model","id":\#(JSONValue.literal(name)),"display_name":\#(JSONValue.literal(group.displayName))"#
      + #","created_at":"2026-01-01T00:00:00Z"}"#
  }

  private mutating func models(_ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    _ = try version(request)
    let all = engine.groups.flatMap { group in group.models.map { ($0, group) } }
    let data = all.map { Self.modelText($0.0, $0.1) }.joined(separator: ",")
    let (first, last) = (JSONValue.literal(all.first?.0 ?? ""), JSONValue.literal(all.last?.0 ?? ""))
    return ok(#"{"data":[\#(data)],"has_more":false,"first_id":\#(first),"last_id":\#(last)}"#, account)
  }

  private mutating func model(_ name: String, _ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    _ = try version(request)
    guard let group = engine.group(of: name) else { throw .notFound("model: \(name)") }
    return ok(Self.modelText(name, group), account)
  }

  private mutating func createBatch(_ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    _ = try version(request)
    guard let json = try? JSONReader.read(bytes(request)), let items = json["requests"]?.array, !items.isEmpty else {
      throw .invalid("requests: at least one request is required")
    }
    let limits: [Tier: Int64] = [.start: 1000, .build: 2000, .scale: 4000]
    if let error = engine.admit(
      endpoint: "batch", requestsPerMinute: limits[engine.configuration.tier] ?? 4000, account: account, at: engine.now)
    {
      throw error
    }
    let id = "msgbatch_" + engine.newRequestID().dropFirst(4)
    batches[id] = (engine.now, items.count)
    if batches.count > 1000 { batches = batches.filter { engine.now - $0.value.created < .seconds(86_400) } }
    return ok(batchText(id, engine.now, items.count), account)
  }

  private mutating func batch(_ id: String, _ request: APIRequest, _ account: Account) throws(APIError) -> APIReply {
    _ = try version(request)
    guard let batch = batches[id] else { throw .notFound("batch: \(id)") }
    return ok(batchText(id, batch.created, batch.count), account)
  }

  /// A batch ends one minute after it was made; its requests are never carried out.
  private func batchText(_ id: String, _ created: MockTime, _ count: Int) -> String {
    let hasEnded = engine.now - created >= .seconds(60)
    let counts =
      #"{"processing":\#(hasEnded ? 0 : count),"succeeded":\#(hasEnded ? count : 0),"errored":0,"canceled":0,"expired":0}"#
    let ended = hasEnded ? "\"\((created + .seconds(60)).rfc3339)\"" : "null"
    return #"{"id":"\#(id)","type":"message_batch","processing_status":"\#(hasEnded ? "ended" : "in_progress")"#
      + #","request_counts":\#(counts),"created_at":"\#(created.rfc3339)","expires_at":"#
      + #""\#((created + .seconds(86_400)).rfc3339)","ended_at":\#(ended),"results_url":null}"#
  }

  private mutating func rateLimits(
    _ request: APIRequest, _ account: Account, workspace: String?
  ) throws(APIError) -> APIReply {
    guard account.kind == .admin else {
      throw APIError(403, "permission_error", "This endpoint requires an Admin API key")
    }
    let inherited = request.query("include_inherited") == "true"
    let rows = engine.rateLimits(organization: account.organization, workspace: workspace, inherited: inherited)
      .filter { row in request.query("model").map { row.group.contains($0) } ?? true }
    let data = rows.map { row in
      let limits = row.limits.map { limit in
        let organization = limit.organizationValue.map { #","org_limit":\#($0)"# } ?? ""
        return #"{"type":"\#(limit.dimension.limiterType)","value":\#(limit.value)\#(organization)}"#
      }
      let name = JSONValue.literal(row.group.name)
      return
        #"{"type":"rate_limit","id":\#(name),"group_type":"model_group","group":{"id":\#(name),"type":"model_group","#
        + #""display_name":\#(JSONValue.literal(row.group.displayName))},"models":["#
        + row.group.models.map(JSONValue.literal).joined(separator: ",")
        + "],\"limits\":[\(limits.joined(separator: ","))]}"
    }
    return ok(#"{"data":[\#(data.joined(separator: ","))],"has_more":false,"next_page":null}"#, account)
  }
}
