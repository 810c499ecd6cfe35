package import CoordinationCore
import NIOCore
import NIOHTTP1
package import RateBudget
import Synchronization

/// Sends requests to the Claude API within the budget.
///
/// A request that makes tokens waits for its grant, is sent, measured as its answer passes, and settled. Retries are the
/// gateway's: of 429 when the budget says so, of failures with growing pauses, behind a breaker for each model; never
/// after a byte of content went to the client. Everything else passes through as it is.
package final class ClaudeGateway: Sendable {
  /// How the gateway works.
  package struct Configuration: Sendable {
    /// The fleet whose share requests come out of.
    package var fleet: String
    /// The name of this process, unique among the budget's clients.
    package var client: String
    /// How long a request is held at most. Claude Code waits 340 s for headers.
    package var hold: Duration
    /// When failed attempts are repeated.
    package var retries: RetryPolicy
    /// When a model is left alone.
    package var breaker: CircuitBreaker.Policy

    /// Makes a configuration; without more arguments that of the design.
    package init(
      fleet: String = "default", client: String = "local", hold: Duration = .seconds(300),
      retries: RetryPolicy = RetryPolicy(), breaker: CircuitBreaker.Policy = CircuitBreaker.Policy()
    ) {
      self.fleet = fleet
      self.client = client
      self.hold = hold
      self.retries = retries
      self.breaker = breaker
    }
  }

  /// What the gateway is doing.
  package struct Activity: Hashable, Sendable {
    /// Requests that wait for a grant, a breaker or the next attempt.
    package var waiting: Int
    /// Requests that are with upstream.
    package var inFlight: Int
    /// The age of the oldest; nil: none.
    package var oldest: Duration?

    /// How many requests have ended so far.
    package var finished: UInt64

    /// Makes it.
    package init(waiting: Int = 0, inFlight: Int = 0, oldest: Duration? = nil, finished: UInt64 = 0) {
      self.waiting = waiting
      self.inFlight = inFlight
      self.oldest = oldest
      self.finished = finished
    }
  }

  struct State {
    var estimator = InputEstimator()
    var number: UInt64 = 0
    var started: [UInt64: BudgetTime] = [:]
    var inFlight = 0
    var breakers: [String: CircuitBreaker] = [:]
    var generator = SystemRandomNumberGenerator()
  }

  /// How it works.
  package let configuration: Configuration
  let authority: any BudgetAuthority
  let client: UpstreamClient
  let clock: any CoordinationClock
  let observe: @Sendable (GatewayEvent) -> Void
  let onActivity: @Sendable () -> Void
  let state = Mutex(State())

  /// Makes a gateway.
  /// `onActivity` is called whenever `activity` may have changed; it must not wait.
  package init(
    configuration: Configuration, authority: any BudgetAuthority, client: UpstreamClient, clock: any CoordinationClock,
    observe: @escaping @Sendable (GatewayEvent) -> Void = { _ in },
    onActivity: @escaping @Sendable () -> Void = {}
  ) {
    self.configuration = configuration
    self.authority = authority
    self.client = client
    self.clock = clock
    self.observe = observe
    self.onActivity = onActivity
  }

  /// What it is doing now.
  package var activity: Activity {
    let now = clock.now
    return state.withLock { state in
      Activity(
        waiting: state.started.count - state.inFlight, inFlight: state.inFlight,
        oldest: state.started.values.min().map { now - $0 },
        finished: state.number - UInt64(state.started.count))
    }
  }

  /// Sends a request and gives its answer to `body`. When `body` ends, however it does, the answer is settled, and what
  /// upstream still sends of it is cut off. Without a `priority` it is the fleet's.
  ///
  /// - Throws: what `body` throws, `CancellationError`, and the error of an upstream connection that breaks in the middle
  ///   of an answer.
  package func withResponse<Result>(
    to request: ClaudeRequest, priority: Priority? = nil, _ body: (ClaudeResponse) async throws -> Result
  ) async throws -> Result {
    guard request.isMetered else { return try await body(try await pass(request)) }
    var call = begin(request, priority)
    defer { end(call) }
    while true {
      switch try await attempt(&call) {
      case .again: continue
      case .answer(let response): return try await body(response)
      case .metered(let response, let meter):
        let content = response.body
        defer {
          changeInFlight(by: -1)
          content.close()
          meter.finish()
        }
        return try await body(response)
      }
    }
  }

  // MARK: Books

  func changeInFlight(by change: Int) {
    state.withLock { $0.inFlight += change }
    onActivity()
  }

  private func begin(_ request: ClaudeRequest, _ priority: Priority?) -> Call {
    var kind = RequestClass()
    let encoding = request.headers.first(name: "content-encoding")?.lowercased()
    if encoding == nil || encoding == "identity", let body = request.body {
      var classifier = RequestClassifier()
      body.withUnsafeReadableBytes { classifier.take($0) }
      kind = classifier.result
    }
    let now = clock.now
    let features = kind.features(session: request.headers.first(name: "x-claude-code-session-id") ?? "")
    let group = authority.group(model: kind.model, speed: kind.speed)
    let (number, estimate) = state.withLock { state in
      state.number += 1
      state.started[state.number] = now
      return (state.number, state.estimator.estimate(features, inFlight: state.inFlight))
    }
    onActivity()
    let grant = GrantRequest(
      id: GrantID(client: configuration.client, number: number), fleet: configuration.fleet, priority: priority,
      estimate: estimate, deadline: now + configuration.hold, model: kind.model, kind: kind.kind)
    return Call(
      request: request, kind: kind, features: features, admission: AdmissionRequest(group: group, grant: grant),
      started: now)
  }

  private func end(_ call: Call) {
    state.withLock { $0.started[call.admission.grant.id.number] = nil }
    onActivity()
  }

  /// One request on its way.
  struct Call {
    var request: ClaudeRequest
    var kind: RequestClass
    var features: InputEstimator.Features
    var admission: AdmissionRequest
    var started: BudgetTime
    /// Attempts that upstream failed.
    var failures = 0
    /// Whether it stands in the budget's line already, after a 429.
    var isInLine = false
    /// What upstream said last, for a client that can't be kept waiting longer.
    var lastFailure: Buffered?

    var group: String { admission.group.modelGroup }
    var deadline: BudgetTime { admission.grant.deadline }
    var isFast: Bool { !admission.group.speed.isEmpty }
  }

  /// What became of an attempt.
  enum Step {
    case again
    case answer(ClaudeResponse)
    case metered(ClaudeResponse, ResponseMeter)
  }

  /// An answer that is at hand as a whole, or as far as it matters.
  struct Buffered {
    var status: HTTPResponseStatus
    var headers: HTTPHeaders
    var chunks: [ByteBuffer]
    var isEventStream = false

    /// The answer as it goes to the client; what was left out of the body ends the connection's reuse upstream only.
    func response(adding fields: [(String, String)] = []) -> ClaudeResponse {
      var headers = headers
      for (name, value) in fields { headers.replaceOrAdd(name: name, value: value) }
      headers.remove(name: "content-length")
      return ClaudeResponse(
        status: status, headers: headers, isEventStream: isEventStream,
        body: ClaudeBody(nil, ready: chunks))
    }
  }
}
