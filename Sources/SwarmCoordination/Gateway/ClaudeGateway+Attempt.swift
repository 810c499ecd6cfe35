import CoordinationCore
import NIOCore
import NIOHTTP1
import RateBudget
import Synchronization

extension ClaudeGateway {
  /// The largest error body that is read before it is passed on.
  static let largestError = 65_536

  /// One attempt: breaker, grant, sending, and what the answer means.
  func attempt(_ call: inout Call) async throws -> Step {
    let permit: CircuitBreaker.Permit
    if call.isInLine {
      // It keeps its place in the budget's line, and is granted whether or not somebody waits for it.
      permit = .pass
      call.isInLine = false
    } else if let passed = try await passBreaker(call.kind.model, before: call.deadline) {
      permit = passed
    } else {
      return .answer(lastAnswer(call, "The API fails to serve this model; Swarmscale waits for it to recover."))
    }
    let admission: Admission
    do {
      admission = try await authority.acquire(call.admission)
    } catch {
      tellBreaker(call.kind.model, permit, .unknown)
      return .answer(try answer(to: error, call))
    }
    // The model may have begun to fail while this request waited.
    if permit == .pass, !isClosed(call.kind.model) {
      authority.release(admission)
      return .again
    }
    return try await count(&call, admission, permit)
  }

  private func count(_ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit) async throws -> Step {
    changeInFlight(by: 1)
    var isStreaming = false
    defer { if !isStreaming { changeInFlight(by: -1) } }
    let step = try await exchange(&call, admission, permit)
    if case .metered = step { isStreaming = true }
    return step
  }

  private func exchange(
    _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit
  ) async throws -> Step {
    let response: UpstreamResponse
    do {
      let exchange = send(call.request, metered: true)
      // The books are kept while the request is on its way, where they keep nobody waiting.
      observe(.admitted(group: call.group, waited: admission.grant.waited))
      response = try await exchange.response()
    } catch {
      guard !Task.isCancelled else {
        tellBreaker(call.kind.model, permit, .unknown)
        // Upstream may have taken it: the input stays charged as estimated.
        authority.settle(admission, usage: Usage(), isFinal: true)
        throw CancellationError()
      }
      return try await fail(&call, admission, permit, Failure(cause: .connection))
    }
    do {
      return try await handle(response, &call, admission, permit)
    } catch {
      // Only reading what comes before the client's first byte throws.
      tellBreaker(call.kind.model, permit, .unknown)
      authority.settle(admission, usage: Usage(), isFinal: true)
      throw error
    }
  }

  private func handle(
    _ response: UpstreamResponse, _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit
  ) async throws -> Step {
    let status = Int(response.status.code)
    if (200..<300).contains(status) { return try await accept(response, &call, admission, permit) }
    observe(.answered(group: call.group, status: status))
    switch status {
    case 400, 402, 429: return try await refuse(response, &call, admission, permit)
    case 408, 500...599: return try await failed(response, &call, admission, permit)
    // A challenge of the network in front of the API is no answer of the API.
    case 403 where response.headers.first(name: "content-type")?.hasPrefix("text/html") == true:
      return try await failed(response, &call, admission, permit)
    default:
      tellBreaker(call.kind.model, permit, .success)
      settleNothing(response, admission, call)
      return .answer(forward(response))
    }
  }

  // MARK: Answers that are passed on

  private func accept(
    _ response: UpstreamResponse, _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit
  ) async throws -> Step {
    let isEvents = Self.isEventStream(response.headers) || (call.kind.isStream && !Self.isJSON(response.headers))
    var ready: [ByteBuffer] = []
    var isOver = false
    if isEvents {
      do {
        let peek = try await Self.peek(response.body)
        (ready, isOver) = (peek.chunks, peek.isOver)
        if let error = peek.errorType, Self.isTransient(error) {
          observe(.answered(group: call.group, status: Int(response.status.code)))
          var failure = Failure(cause: .stream)
          failure.answer = Buffered(
            status: response.status, headers: response.headers.withoutConnection, chunks: ready, isEventStream: true)
          return try await fail(&call, admission, permit, failure)
        }
      } catch {
        observe(.answered(group: call.group, status: Int(response.status.code)))
        if Task.isCancelled { throw CancellationError() }
        return try await fail(&call, admission, permit, Failure(cause: .connection))
      }
    }
    tellBreaker(call.kind.model, permit, .success)
    let meter = meter(for: call, admission, isEventStream: isEvents)
    let (authority, observe, group, isFast) = (authority, observe, call.group, call.isFast)
    let (status, headers) = (Int(response.status.code), response.headers)
    return .metered(
      forward(response, ready: ready, isOver: isOver, isEventStream: isEvents, meter: meter) {
        observe(.answered(group: group, status: status))
        authority.observe(Self.rateHeaders(headers, isFast: isFast), of: admission)
      }, meter)
  }

  private func meter(for call: Call, _ admission: Admission, isEventStream: Bool) -> ResponseMeter {
    let (authority, observe, group, features) = (authority, observe, call.group, call.features)
    return ResponseMeter(isEventStream: isEventStream) { usage in
      authority.settle(admission, usage: usage, isFinal: false)
    } onFinish: { [weak self] usage, isComplete in
      authority.settle(admission, usage: usage, isFinal: true)
      if isComplete { self?.state.withLock { $0.estimator.learn(features, usage: usage) } }
      observe(.settled(group: group, usage: usage, isComplete: isComplete))
    }
  }

  private func forward(
    _ response: UpstreamResponse, ready: [ByteBuffer] = [], isOver: Bool = false, isEventStream: Bool = false,
    meter: ResponseMeter? = nil, afterFirst: (() -> Void)? = nil
  ) -> ClaudeResponse {
    ClaudeResponse(
      status: response.status, headers: response.headers.withoutConnection, isEventStream: isEventStream,
      body: ClaudeBody(isOver ? nil : response.body, ready: ready, meter: meter, afterFirst: afterFirst))
  }

  /// A request that upstream answered without making tokens: it counts as a request.
  private func settleNothing(_ response: UpstreamResponse, _ admission: Admission, _ call: Call) {
    authority.observe(Self.rateHeaders(response.headers, isFast: call.isFast), of: admission)
    authority.settle(admission, usage: Usage(input: 0, output: 0), isFinal: true)
  }

  // MARK: Answers that say no

  private func refuse(
    _ response: UpstreamResponse, _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit
  ) async throws -> Step {
    let (chunks, isOver) = try await Self.collect(response.body)
    tellBreaker(call.kind.model, permit, response.status == .tooManyRequests ? .backPressure : .success)
    let verdict = verdict(response, chunks)
    let headers = Self.rateHeaders(response.headers, isFast: call.isFast)
    if verdict == .settled {
      settleNothing(response, admission, call)
      return .answer(forward(response, ready: chunks, isOver: isOver))
    }
    let buffered = Buffered(
      status: response.status, headers: response.headers.withoutConnection, chunks: chunks)
    call.lastFailure = buffered
    switch await authority.reject(admission, verdict: verdict, headers: headers) {
    case .requeued:
      call.isInLine = true
      if case .rampLimited = verdict {
        observe(.retried(group: call.group, cause: .ramp))
      } else {
        observe(.retried(group: call.group, cause: .rate))
      }
      return .again
    case .tellClient(let refusal): return .answer(tell(refusal, buffered, call))
    case .unknown: return .answer(buffered.response())
    }
  }

  /// What a client is told whose request isn't kept: upstream's own words where they say what is wrong.
  private func tell(_ refusal: Refusal, _ upstream: Buffered, _ call: Call) -> ClaudeResponse {
    observe(.refused(group: call.group, cause: refusal.label))
    if case .upstreamSpendLimit = refusal { return upstream.response(adding: [("x-should-retry", "false")]) }
    return state.withLock { APIAnswer.refused(refusal, using: &$0.generator) }
  }

  private func answer(to error: AdmissionError, _ call: Call) throws -> ClaudeResponse {
    switch error {
    case .cancelled: throw CancellationError()
    case .refused(let refusal):
      observe(.refused(group: call.group, cause: refusal.label))
      return state.withLock { APIAnswer.refused(refusal, using: &$0.generator) }
    case .deadlineExceeded:
      observe(.refused(group: call.group, cause: "deadline"))
      let held = (clock.now - call.started).components.seconds
      return state.withLock {
        APIAnswer.tryLater(
          "Swarmscale held this request for \(held) s, and the API budget \(call.group) still has no room for it.",
          using: &$0.generator)
      }
    }
  }

  /// What upstream said last, or a 429 that is worth another attempt.
  private func lastAnswer(_ call: Call, _ message: String) -> ClaudeResponse {
    observe(.refused(group: call.group, cause: "upstream"))
    return call.lastFailure?.response() ?? state.withLock { APIAnswer.tryLater(message, using: &$0.generator) }
  }

  // MARK: Failures

  /// An attempt that upstream failed.
  struct Failure {
    var cause: RetryCause
    var answer: Buffered?
    var retryAfter: Duration?
    var isWorthRetrying = true
  }

  private func failed(
    _ response: UpstreamResponse, _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit
  ) async throws -> Step {
    var failure = Failure(cause: .upstream)
    // A body that breaks off leaves the status to tell.
    let chunks = (try? await Self.collect(response.body))?.chunks ?? []
    if Task.isCancelled { throw CancellationError() }
    failure.answer = Buffered(
      status: response.status, headers: response.headers.withoutConnection, chunks: chunks)
    failure.retryAfter = retryAfter(response)
    failure.isWorthRetrying = response.headers.first(name: "x-should-retry")?.lowercased() != "false"
    return try await fail(&call, admission, permit, failure)
  }

  private func fail(
    _ call: inout Call, _ admission: Admission, _ permit: CircuitBreaker.Permit, _ failure: Failure
  ) async throws -> Step {
    authority.release(admission)
    if tellBreaker(call.kind.model, permit, .failure) { observe(.opened(model: call.group)) }
    let now = clock.now
    call.failures += 1
    call.lastFailure = failure.answer ?? call.lastFailure
    let pause = state.withLock { state -> Duration? in
      guard failure.isWorthRetrying else { return nil }
      return configuration.retries.pause(
        failures: call.failures, retryAfter: failure.retryAfter, now: now, deadline: call.deadline,
        using: &state.generator)
    }
    guard let pause else {
      if let answer = call.lastFailure { return .answer(answer.response()) }
      observe(.refused(group: call.group, cause: "connection"))
      return .answer(
        APIAnswer.error(
          502, type: "api_error",
          message: "Swarmscale can't reach the API at \(client.address), or it breaks off before it answers."))
    }
    observe(.retried(group: call.group, cause: failure.cause))
    try await clock.sleep(until: now + pause)
    return .again
  }
}

extension Refusal {
  /// One word for metrics.
  package var label: String {
    switch self {
    case .queueFull: "queue-full"
    case .tooManyClients: "too-many-clients"
    case .spendCeiling: "spend-ceiling"
    case .upstreamSpendLimit: "spend"
    case .upstreamPause: "pause"
    case .deadlineBeforeRetry: "deadline"
    }
  }
}
