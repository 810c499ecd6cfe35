import CoordinationAPI
import NIOCore
import NIOHTTP1
import RateBudget
import SwarmCoordination
import Synchronization

/// An answer of the sidecar itself.
struct LocalAnswer {
  /// The status.
  var status: HTTPResponseStatus = .ok
  /// The content type.
  var type = "text/plain; charset=utf-8"
  /// The body.
  var text: String
  /// The header `retry-after`, in seconds.
  var retryAfter: Int?
  /// Tasks that this answer hands out: they are given back if it can't be delivered.
  var handedOut: [TaskClaim] = []
}

extension LocalAnswer {
  /// An answer of the task queue.
  init(_ answer: TaskRelay.Answer) {
    self.init(
      status: .init(statusCode: answer.status), type: "application/json",
      text: String(decoding: answer.body, as: UTF8.self), retryAfter: answer.retryAfter, handedOut: answer.handedOut)
  }
}

extension SidecarServer {
  /// How often a drain looks whether the worker is idle.
  private static let drainInterval = Duration.milliseconds(100)

  /// Answers what isn't for the API; nil: it is.
  func local(_ request: ReceivedRequest) async throws -> LocalAnswer? {
    switch request.path {
    case "/healthz": LocalAnswer(text: "ok\n")
    case "/readyz": readiness()
    case "/metrics":
      LocalAnswer(type: "text/plain; version=0.0.4; charset=utf-8", text: metrics.render(activity: gateway.activity))
    case "/v1/drain": try await drain(request)
    case "/v1/activity": activity(request)
    case let path where path == "/v1/tasks" || path.hasPrefix("/v1/tasks/"): try await task(request)
    default: nil
    }
  }

  // MARK: What agents share

  /// Answers what the engine's API serves beside tasks.
  func shared(_ request: ReceivedRequest) async throws -> EngineAPI.Answer {
    guard let engine = configuration.engine else {
      return .json(
        TaskAPI.Answer(
          TaskAPIError(503, "no_engine", "there is no engine: set SWARMSCALE_TASKS of the sidecar to its URL")))
    }
    let headers = request.head.headers
    if let error = EngineAPI.refusal(host: headers.first(name: "host") ?? "") { return .json(TaskAPI.Answer(error)) }
    return try await engine.respond(
      to: EngineAPI.Request(
        request.head.method.rawValue, request.head.uri, contentType: headers.first(name: "content-type") ?? "",
        lastEventID: headers.first(name: "last-event-id"),
        body: request.body.map { Array($0.readableBytesView) } ?? []))
  }

  // MARK: Tasks

  private func task(_ request: ReceivedRequest) async throws -> LocalAnswer {
    guard let tasks = configuration.tasks else {
      return LocalAnswer(
        TaskRelay.error(
          503, "no_task_queue", "there is no task queue: set SWARMSCALE_TASKS of the sidecar to its URL"))
    }
    let answer = try await tasks.respond(
      method: request.head.method, target: request.head.uri,
      body: request.body.map { Array($0.readableBytesView) } ?? [])
    return LocalAnswer(answer)
  }

  /// Unready once the worker takes no work and has none: a ReplicaSet gives up unready pods first, before 1.22 by nothing else
  /// that could tell a drained one from a busy one.
  private func readiness() -> LocalAnswer {
    pool.isDrained ? LocalAnswer(status: .serviceUnavailable, text: "drained\n") : LocalAnswer(text: "ok\n")
  }

  // MARK: Activity

  private func activity(_ request: ReceivedRequest) -> LocalAnswer {
    if request.head.method == .POST {
      var scanner = JSONFieldScanner([.init("state")])
      request.body?.withUnsafeReadableBytes { scanner.scan($0) }
      switch scanner.values[0]?.text {
      case "busy"?: pool.say(isBusy: true)
      case "idle"?: pool.say(isBusy: false)
      default:
        return LocalAnswer(
          status: .badRequest, type: "application/json",
          text: #"{"error":"send {\"state\":\"busy\"} or {\"state\":\"idle\"}"}"# + "\n")
      }
    }
    return LocalAnswer(type: "application/json", text: activityText())
  }

  private func activityText() -> String {
    let activity = gateway.activity
    let report = pool.reportsBusy.map { $0 ? #""busy""# : #""idle""# } ?? "null"
    return #"{"state":"\#(pool.isBusy ? "busy" : "idle")","reported":\#(report),"waiting":\#(activity.waiting),"#
      + #""inFlight":\#(activity.inFlight),"oldestSeconds":\#(activity.oldest?.components.seconds ?? 0),"#
      + #""draining":\#(pool.isDraining)}"# + "\n"
  }

  // MARK: Drain

  /// Waits until the worker is idle. Its requests go on being served: an agent in the middle of a turn needs them to end
  /// it. GET works as well as POST, since a preStop hook can only do the former.
  private func drain(_ request: ReceivedRequest) async throws -> LocalAnswer {
    let timeout = Self.timeout(request.head.uri) ?? configuration.drainTimeout
    let deadline = clock.now + timeout
    pool.close()
    while pool.isBusy {
      guard clock.now < deadline else {
        return LocalAnswer(
          status: .serviceUnavailable, type: "application/json",
          text: #"{"drained":false,"activity":\#(activityText().dropLast())}"# + "\n")
      }
      try await clock.sleep(until: min(clock.now + Self.drainInterval, deadline))
    }
    return LocalAnswer(type: "application/json", text: #"{"drained":true}"# + "\n")
  }

  /// `?timeout=SECONDS`.
  private static func timeout(_ uri: String) -> Duration? {
    guard let query = uri.split(separator: "?", maxSplits: 1).dropFirst().first else { return nil }
    for pair in query.split(separator: "&") where pair.hasPrefix("timeout=") {
      return Int64(pair.dropFirst("timeout=".count)).map { .seconds(min(max($0, 0), 86_400)) }
    }
    return nil
  }
}
