import CoordinationCore
import NIOCore
import NIOHTTP1
import RateBudget
import Synchronization

extension ClaudeGateway {
  // MARK: Requests

  /// Sends what the budget doesn't count, and passes its answer on.
  func pass(_ request: ClaudeRequest) async throws -> ClaudeResponse {
    do {
      let response = try await send(request, metered: false).response()
      return ClaudeResponse(
        status: response.status, headers: response.headers.withoutConnection,
        isEventStream: Self.isEventStream(response.headers),
        body: ClaudeBody(response.body))
    } catch {
      if Task.isCancelled { throw CancellationError() }
      return APIAnswer.error(
        502, type: "api_error", message: "Swarmscale can't reach the API at \(client.address).")
    }
  }

  /// Sends a request upstream: the client's bytes and headers. Only what is about the connection is left out, and answers
  /// that must be measured are asked for without compression.
  func send(_ request: ClaudeRequest, metered: Bool) -> UpstreamExchange {
    var headers = request.headers.withoutConnection(and: ["host", "content-length", "expect"])
    headers.add(name: "host", value: client.address.authority)
    if let body = request.body {
      headers.add(name: "content-length", value: String(body.readableBytes))
    } else if Self.hasUsuallyBody(request.method) {
      headers.add(name: "content-length", value: "0")
    }
    if metered, headers.contains(name: "accept-encoding") {
      headers.replaceOrAdd(name: "accept-encoding", value: "identity")
    }
    let head = HTTPRequestHead(
      version: .http1_1, method: request.method, uri: client.address.path + request.target, headers: headers)
    return client.start(head, body: request.body, isRepeatable: metered || Self.isIdempotent(request.method))
  }

  /// Methods of which RFC 9110 wants a length to be told, even of a body that there isn't.
  private static func hasUsuallyBody(_ method: HTTPMethod) -> Bool {
    switch method {
    case .GET, .HEAD, .DELETE, .CONNECT, .TRACE, .OPTIONS: false
    default: true
    }
  }

  /// Methods of which a second request changes nothing more (RFC 9110, 9.2.2).
  private static func isIdempotent(_ method: HTTPMethod) -> Bool {
    switch method {
    case .GET, .HEAD, .OPTIONS, .TRACE, .PUT, .DELETE: true
    default: false
    }
  }

  // MARK: Headers

  static func isEventStream(_ headers: HTTPHeaders) -> Bool {
    headers.first(name: "content-type")?.lowercased().hasPrefix("text/event-stream") == true
  }

  static func isJSON(_ headers: HTTPHeaders) -> Bool {
    headers.first(name: "content-type")?.lowercased().hasPrefix("application/json") == true
  }

  static func rateHeaders(_ headers: HTTPHeaders, isFast: Bool) -> RateHeaders {
    RateHeaders(isFast: isFast) { headers.first(name: $0) }
  }

  func retryAfter(_ response: UpstreamResponse) -> Duration? {
    let date = response.headers.first(name: "date").flatMap(HeaderValue.instant)
    return response.headers.first(name: "retry-after").flatMap { HeaderValue.retryAfter($0, date: date) }
  }

  func verdict(_ response: UpstreamResponse, _ chunks: [ByteBuffer]) -> UpstreamVerdict {
    var body = ByteBuffer()
    for chunk in chunks { body.writeImmutableBuffer(chunk) }
    let error = body.withUnsafeReadableBytes { ErrorBody($0) }
    return UpstreamVerdict(
      status: Int(response.status.code), errorType: error.type, errorCode: error.code, message: error.message,
      retryAfter: retryAfter(response))
  }

  // MARK: Bodies

  /// Reads an answer as far as it is read before anything goes to the client.
  static func collect(
    _ body: UpstreamBody
  ) async throws -> (chunks: [ByteBuffer], isOver: Bool) {
    var chunks: [ByteBuffer] = []
    var count = 0
    while count < largestError {
      guard let chunk = try await body.next() else { return (chunks, true) }
      chunks.append(chunk)
      count += chunk.readableBytes
    }
    return (chunks, false)
  }

  /// Reads a stream up to its first event: upstream may still fail it, and until then it can be sent again.
  static func peek(
    _ body: UpstreamBody
  ) async throws -> (chunks: [ByteBuffer], isOver: Bool, errorType: String?) {
    var reader = EventStreamReader()
    var chunks: [ByteBuffer] = []
    var count = 0
    var first: EventStreamReader.Event?
    while first == nil, count < largestError {
      guard let chunk = try await body.next() else { return (chunks, true, nil) }
      chunk.withUnsafeReadableBytes { bytes in reader.take(bytes) { first = first ?? $0 } }
      chunks.append(chunk)
      count += chunk.readableBytes
    }
    return (chunks, false, first?.type == "error" ? first?.errorType ?? "" : nil)
  }

  /// Whether an error inside a stream may be over at the next attempt.
  static func isTransient(_ errorType: String) -> Bool {
    ["overloaded_error", "api_error", "timeout_error", "rate_limit_error"].contains(errorType)
  }

  // MARK: Breakers

  /// The most models on which books are kept: what clients name isn't trusted.
  private static let breakerLimit = 256

  /// How many models are left alone because they fail.
  package var openBreakers: Int { state.withLock { $0.breakers.values.count { !$0.isClosed } } }

  /// Waits until a model's breaker lets a request through; nil: not before the deadline.
  func passBreaker(_ model: String, before deadline: BudgetTime) async throws -> CircuitBreaker.Permit? {
    while true {
      let now = clock.now
      let permit = state.withLock { $0.breakers[model]?.permit(now: now - .zero) } ?? .pass
      guard case .wait(let until) = permit else { return permit }
      guard .zero + until < deadline else { return nil }
      try await clock.sleep(until: .zero + until)
    }
  }

  func isClosed(_ model: String) -> Bool {
    state.withLock { $0.breakers[model]?.isClosed ?? true }
  }

  /// Tells a model's breaker what became of a request; whether that opened it.
  @discardableResult
  func tellBreaker(_ model: String, _ permit: CircuitBreaker.Permit, _ outcome: CircuitBreaker.Outcome) -> Bool {
    let model = String(model.prefix(BudgetPlan.longestModel))
    let now = clock.now
    return state.withLock { state in
      var breaker = state.breakers[model] ?? CircuitBreaker(policy: configuration.breaker)
      let wasClosed = breaker.isClosed
      let jitter = UInt32.random(in: 0 ... .max, using: &state.generator)
      _ = breaker.handle(.ended(permit, outcome, jitter: jitter), now: now - .zero)
      let isKnown = state.breakers[model] != nil
      state.breakers[model] =
        breaker.isAtRest || (!isKnown && state.breakers.count >= Self.breakerLimit) ? nil : breaker
      return wasClosed && !breaker.isClosed
    }
  }
}
