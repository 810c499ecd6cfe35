package import KubernetesCore
import Synchronization
import Testing

/// A transport that answers from a script, records what was asked, and fails the test on a request nobody expected.
///
/// Expectations are tried in the order they were added; the first that matches and isn't used up answers. With a time
/// source it also enforces each request's `timeout` and `idleTimeout`, as the real transport does.
package final class ScriptedTransport: APITransport {
  /// How an expectation answers.
  package enum Answer: Sendable {
    /// With a whole response.
    case response(APIResponse)
    /// With a failure of the connection.
    case failure(KubernetesError)
    /// With a stream that the test feeds.
    case stream(ScriptedStream)
    /// By calling a function, which may wait for a ``Gate``.
    case handler(@Sendable (APIRequest) async throws -> APIResponse)
    /// Never, until the request is cancelled or times out.
    case silence

    /// A response with a JSON body.
    package static func json(_ text: String, status: Int = 200, headers: [APIRequest.HeaderField] = []) -> Answer {
      .response(
        APIResponse(
          head: APIResponseHead(
            status: status, headers: headers + [APIRequest.HeaderField("Content-Type", "application/json")]),
          body: Array(text.utf8)))
    }

    /// A `Status` object as the API server sends with an error.
    package static func status(
      _ code: Int, reason: String, message: String = "scripted failure", retryAfter: Int? = nil
    ) -> Answer {
      let body =
        #"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"\#(message)","#
        + #""reason":"\#(reason)","code":\#(code)}"#
      return .json(
        body, status: code, headers: retryAfter.map { [APIRequest.HeaderField("Retry-After", "\($0)")] } ?? [])
    }
  }

  private struct Expectation {
    var name: String
    var matches: @Sendable (APIRequest) -> Bool
    var remaining: Int?
    var answer: Answer
  }

  private struct State {
    var expectations: [Expectation] = []
    var requests: [APIRequest] = []
  }

  private let state = Mutex(State())
  private let time: (any TimeSource)?

  /// Requests as they arrive, for tests that await them one by one.
  package let arrivals = Inbox<APIRequest>()

  /// Makes a transport; with `time` it enforces time limits by that source.
  package init(enforcingTimeoutsBy time: (any TimeSource)? = nil) {
    self.time = time
  }

  /// Every request so far, in order.
  package var requests: [APIRequest] { state.withLock { $0.requests } }

  /// The names of expectations with a limited number of uses that haven't been used up.
  package var unmet: [String] {
    state.withLock { state in state.expectations.filter { ($0.remaining ?? 0) > 0 }.map(\.name) }
  }

  /// Adds an answer for requests with this method and path; `times` nil answers any number of them.
  package func expect(
    _ method: APIRequest.Method, _ path: String, times: Int? = 1, _ answer: Answer,
    where predicate: @escaping @Sendable (APIRequest) -> Bool = { _ in true }
  ) {
    let expectation = Expectation(
      name: "\(method.rawValue) \(path)",
      matches: { $0.method == method && $0.path == path && predicate($0) },
      remaining: times, answer: answer)
    state.withLock { $0.expectations.append(expectation) }
  }

  /// Adds a function that answers every request that `predicate` accepts.
  package func always(
    _ name: String, where predicate: @escaping @Sendable (APIRequest) -> Bool = { _ in true },
    _ handler: @escaping @Sendable (APIRequest) async throws -> APIResponse
  ) {
    let expectation = Expectation(name: name, matches: predicate, remaining: nil, answer: .handler(handler))
    state.withLock { $0.expectations.append(expectation) }
  }

  private func answer(for request: APIRequest) throws -> Answer {
    let answer = state.withLock { state -> Answer? in
      state.requests.append(request)
      let index = state.expectations.firstIndex { $0.remaining != 0 && $0.matches(request) }
      guard let index else { return nil }
      if let remaining = state.expectations[index].remaining { state.expectations[index].remaining = remaining - 1 }
      return state.expectations[index].answer
    }
    arrivals.put(request)
    guard let answer else {
      let query = request.query.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
      let message = "no expectation for \(request.method.rawValue) \(request.path)?\(query)"
      Issue.record("\(message)")
      throw KubernetesError(.misconfigured, message)
    }
    return answer
  }

  package func send(_ request: APIRequest) async throws -> APIResponse {
    try await respond(to: request, with: answer(for: request))
  }

  package func withStream<Result: Sendable>(
    _ request: APIRequest,
    _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    let answer = try answer(for: request)
    if case .stream(let stream) = answer {
      defer { stream.closed.open() }
      return try await body(
        stream.head,
        APIByteStream {
          guard let idleTimeout = request.idleTimeout else { return try await stream.next() }
          return try await self.within(idleTimeout, "stream fell silent") { try await stream.next() }
        })
    }
    let response = try await respond(to: request, with: answer)
    let remaining = Mutex<[UInt8]?>(response.body.isEmpty ? nil : response.body)
    return try await body(
      response.head,
      APIByteStream {
        remaining.withLock { chunk in
          defer { chunk = nil }
          return chunk
        }
      })
  }

  private func respond(to request: APIRequest, with answer: Answer) async throws -> APIResponse {
    switch answer {
    case .response(let response): return response
    case .failure(let error): throw error
    default: break
    }
    return try await within(request.timeout, "no answer") {
      switch answer {
      case .response(let response): return response
      case .failure(let error): throw error
      case .handler(let handler): return try await handler(request)
      case .silence:
        try await Gate().wait()
        throw CancellationError()
      case .stream(let stream):
        var body: [UInt8] = []
        while let chunk = try await stream.next() { body += chunk }
        return APIResponse(head: stream.head, body: body)
      }
    }
  }

  private func within<Value: Sendable>(
    _ limit: Duration, _ what: String, _ operation: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    guard let time else { return try await operation() }
    return try await withThrowingTaskGroup(of: Value.self) { group in
      group.addTask { try await operation() }
      group.addTask {
        try await time.sleep(for: limit)
        throw KubernetesError(.timedOut, "\(what) for \(limit) (scripted)")
      }
      defer { group.cancelAll() }
      guard let value = try await group.next() else { throw CancellationError() }
      return value
    }
  }
}
