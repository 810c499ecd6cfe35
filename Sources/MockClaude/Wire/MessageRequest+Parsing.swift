/// What is read from a body, and the rest of what a request needs.
struct MessageContext {
  var account: Account
  /// `anthropic-version`.
  var version: String
  /// `x-claude-code-session-id`.
  var session: String?
  var bytesPerTokenHundredths: Int
  /// Whether `max_tokens` may be missing, as for count_tokens.
  var isCount = false
}

extension MessageRequest {
  /// Reads a body of the Messages API.
  init(parsing body: [UInt8], _ context: MessageContext) throws(APIError) {
    let json: JSONValue
    do {
      json = try JSONReader.read(body)
    } catch {
      throw .invalid("The request body is not valid JSON: error at byte \(error.offset)")
    }
    guard let model = json["model"]?.string, !model.isEmpty else { throw .invalid("model: Field required") }
    guard let messages = json["messages"]?.array else { throw .invalid("messages: Field required") }
    guard !messages.isEmpty else { throw .invalid("messages: at least one message is required") }
    var maxTokens = json["max_tokens"]?.integer
    if context.isCount { maxTokens = maxTokens ?? 0 }
    guard let maxTokens else { throw .invalid("max_tokens: Field required") }
    guard maxTokens >= 0 else { throw .invalid("max_tokens: Input should be greater than or equal to 0") }
    if context.version >= "2026-10-21" {
      for name in ["temperature", "top_p", "top_k"] where json[name] != nil {
        throw .invalid("\(name): Extra inputs are not permitted")
      }
    }
    var prefixes = PrefixReader(bytesPerTokenHundredths: context.bytesPerTokenHundredths)
    prefixes.read(json)
    var hash = BodyHash()
    hash.add(body)
    self.init(
      account: context.account, model: model, inputTokens: prefixes.tokens, maxTokens: maxTokens,
      bodyBytes: body.count, cache: prefixes.plan, identity: hash.value, session: context.session)
    isStream = if case .bool(true)? = json["stream"] { true } else { false }
    isFast = json["speed"]?.string == "fast"
    try applyDirectives(in: messages)
  }

  /// Directives in the last message of the user: `<<out=500>>`, `<<thinking=200>>`, `<<silence=40>>`, `<<fault=NAME>>`,
  /// `<<tool=NAME:{JSON}>>`. Those of earlier turns, which clients repeat in each request, are over.
  private mutating func applyDirectives(in messages: [JSONValue]) throws(APIError) {
    guard let last = messages.last(where: { $0["role"]?.string == "user" }), let content = last["content"] else {
      return
    }
    let texts = content.string.map { [$0] } ?? content.array?.compactMap { $0["text"]?.string } ?? []
    for text in texts {
      for (key, value) in Self.directives(in: text) {
        switch key {
        case "out": outputTokens = Int(value)
        case "thinking": thinkingTokens = Int(value)
        case "silence": silence = Double(value).map { .milliseconds(Int64(min(max($0, 0), 1e6) * 1000)) }
        case "tool":
          let parts = value.split(separator: ":", maxSplits: 1).map(String.init)
          toolCall = parts.first.map { ToolCall(name: $0, input: parts.count > 1 ? parts[1] : "{}") }
        case "fault":
          do { fault = try Fault(value) } catch { throw .invalid("mock directive: \(error)") }
        default: continue
        }
      }
    }
  }

  /// The pairs `<<key=value>>` of a text.
  static func directives(in text: String) -> [(key: String, value: String)] {
    var found: [(key: String, value: String)] = []
    let bytes = Array(text.utf8)
    var position = 0
    while position + 1 < bytes.count {
      guard bytes[position] == 0x3C, bytes[position + 1] == 0x3C else {
        position += 1
        continue
      }
      var end = position + 2
      while end + 1 < bytes.count, !(bytes[end] == 0x3E && bytes[end + 1] == 0x3E) { end += 1 }
      guard end + 1 < bytes.count else { return found }
      let pair = String(decoding: bytes[position + 2..<end], as: UTF8.self).split(separator: "=", maxSplits: 1)
      if pair.count == 2 { found.append((String(pair[0]), String(pair[1]))) }
      position = end + 2
    }
    return found
  }
}

/// Walks tools, system and messages in the order in which the model reads them, and finds cache boundaries.
private struct PrefixReader {
  /// How many blocks before a breakpoint the API looks for an entry.
  private static let lookback = 20
  /// What an image or a document counts, in bytes of text.
  private static let mediaBytes = 5000

  let bytesPerTokenHundredths: Int
  private var hash = BodyHash()
  private var bytes = 0
  private var boundaries: [CachePlan.Boundary] = []
  private var breakpoints: [(index: Int, lifetime: CachePlan.Lifetime)] = []

  init(bytesPerTokenHundredths: Int) {
    self.bytesPerTokenHundredths = max(1, bytesPerTokenHundredths)
  }

  var tokens: Int { max(1, (bytes * 100 + bytesPerTokenHundredths - 1) / bytesPerTokenHundredths) }

  var plan: CachePlan {
    var plan = CachePlan()
    var wanted: Set<Int> = []
    for point in breakpoints {
      plan.writes.append((boundaries[point.index], point.lifetime))
      wanted.formUnion(max(0, point.index - Self.lookback)...point.index)
    }
    plan.lookups = wanted.sorted().map { boundaries[$0] }
    return plan
  }

  mutating func read(_ body: JSONValue) {
    hash.add((body["model"]?.string ?? "").utf8)
    for tool in body["tools"]?.array ?? [] { add(tool, role: "tool") }
    if let system = body["system"] { addContent(system, role: "system") }
    for message in body["messages"]?.array ?? [] {
      if let content = message["content"] { addContent(content, role: message["role"]?.string ?? "") }
    }
    // A marker at the top of the body stands for one at the last block that can have it.
    if let marker = body["cache_control"], !boundaries.isEmpty {
      mark(boundaries.count - 1, marker)
    }
  }

  private mutating func addContent(_ content: JSONValue, role: String) {
    if let blocks = content.array {
      for block in blocks { add(block, role: role) }
    } else {
      add(content, role: role)
    }
  }

  private mutating func add(_ block: JSONValue, role: String) {
    hash.add(role.utf8)
    hash.add(block)
    bytes += Self.size(block) + 4
    boundaries.append(CachePlan.Boundary(hash: hash.value, tokens: tokens))
    if let marker = block["cache_control"] { mark(boundaries.count - 1, marker) }
  }

  private mutating func mark(_ index: Int, _ marker: JSONValue) {
    guard marker["type"]?.string == "ephemeral" else { return }
    breakpoints.append((index, marker["ttl"]?.string == "1h" ? .oneHour : .fiveMinutes))
  }

  private static func size(_ value: JSONValue) -> Int {
    switch value {
    case .null, .bool, .integer, .double: return 4
    case .string(let text): return text.utf8.count
    case .array(let elements): return elements.reduce(0) { $0 + size($1) }
    case .object(let members):
      if value["type"]?.string == "base64" { return mediaBytes }
      return members.reduce(0) { $1.key == "cache_control" ? $0 : $0 + $1.key.utf8.count + size($1.value) }
    }
  }
}
