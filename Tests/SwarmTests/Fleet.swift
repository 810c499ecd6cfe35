import AsyncHTTPClient
import CoordinationProtocol
import Coordinator
import Logging
import MockClaude
import MockClaudeServer
import NIOCore
import NIOHTTP1
import Observability
import RateBudget
import SidecarCommand
import SidecarServer
import SwarmCoordination
import Synchronization

extension SystemBudgetClock: CoordinationClock {}

/// The time of all parts, so that instants of one mean the same to the others.
let clock = SystemBudgetClock()

/// Waits for a condition; the suite's time limit is the guard against one that never comes.
func eventually(_ condition: () async throws -> Bool) async throws {
  while !(try await condition()), !Task.isCancelled { await Task.yield() }
}

/// The coordinator's configuration: one group with limits that never bind.
func fleetConfiguration(
  group: String = "claude", models: [String] = ["claude-*"], requests: Int64 = 60_000, lease: Duration = .seconds(15)
) -> CoordinatorConfiguration {
  let budget = BudgetConfiguration(
    limits: PerDimension(
      requests: requests, inputTokens: 1_000_000_000, inputTokensTotal: nil, outputTokens: 1_000_000_000),
    ramp: nil)
  return CoordinatorConfiguration(
    groups: [GroupConfiguration(modelGroup: group, models: models, budget: budget)], lease: lease)
}

/// Runs a coordinator while `body` runs; `body` gets its port.
func withCoordinator<Result: Sendable>(
  port: Int = 0, isSuccessor: Bool = false, configuration: CoordinatorConfiguration = fleetConfiguration(),
  security: CoordinatorServerConfiguration.Security = .plaintext,
  authenticator: any Authenticator = TrustingAuthenticator(),
  _ body: (CoordinatorEngine, Int) async throws -> Result
) async throws -> Result {
  let engine = CoordinatorEngine(
    state: CoordinatorState(
      configuration: configuration, name: isSuccessor ? "second" : "first", isSuccessor: isSuccessor, seed: 1,
      wall: clock.wall, now: clock.now), clock: clock)
  let server = CoordinatorServer(
    CoordinatorServerConfiguration(port: port, security: security), engine: engine, authenticator: authenticator,
    clock: clock)
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { do { try await server.run() } catch is CancellationError {} }
    defer { group.cancelAll() }
    return try await body(engine, try await server.port)
  }
}

/// Everything that was logged.
final class LogLines: LogSink {
  private let lines = Mutex<[String]>([])
  func write(line: [UInt8]) { lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
  var text: String { lines.withLock { $0.joined() } }
}

/// The environment of a pod.
func podEnvironment(_ pod: String, coordinator: String, upstream: String = "http://127.0.0.1:1") -> [String: String] {
  [
    "SWARMSCALE_COORDINATOR": coordinator, "SWARMSCALE_NAMESPACE": "team", "SWARMSCALE_POD": pod,
    "SWARMSCALE_POD_UID": "uid-\(pod)", "SWARMSCALE_AUTOSCALER": "reviewers", "SWARMSCALE_TOKEN_FILE": "/nonexistent",
    "ANTHROPIC_UPSTREAM": upstream, "ANTHROPIC_API_KEY": "sk-ant-PLANTED",
  ]
}

/// Attempts to connect that come soon.
func impatient(_ link: inout LinkConfiguration) {
  link.batch = .zero
  link.backoff = .milliseconds(5)
  link.longestBackoff = .milliseconds(50)
}

/// A sidecar as `swarmscale-sidecar` puts it together, and a client beside it.
struct Sidecar: Sendable {
  let server: SidecarServer
  let membership: SwarmMembership
  let http: HTTPClient
  let log: LogLines

  /// Runs a sidecar around `body`, and lets it say goodbye afterwards.
  static func with<Result: Sendable>(
    _ variables: [String: String], quiet: Duration = .seconds(10), _ body: @Sendable (Sidecar) async throws -> Result
  ) async throws -> Result {
    let environment = try SwarmEnvironment(reading: { variables[$0] }, fileExists: ProcessFacts.fileExists)
    let log = LogLines()
    let logger = Logger(label: "test") { label in
      StructuredLogHandler(label: label, format: .logfmt, level: .trace, sink: log) { "now" }
    }
    let pool = AgentPool(slots: environment.slots ?? 0, clock: clock, quiet: quiet)
    guard var link = environment.link(readingToken: ProcessFacts.token) else { preconditionFailure("no coordinator") }
    impatient(&link)
    let membership = SwarmMembership(
      link: link, identity: environment.identity(incarnation: ProcessFacts.incarnation()), pool: pool, clock: clock,
      logger: logger)
    let metrics = SidecarMetrics(
      budgets: { membership.reports() },
      coordinator: {
        membership.link.map { SidecarMetrics.Coordinator(isConnected: $0.isConnected, counts: $0.counts) }
      })
    let http = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup)
    let client = UpstreamClient(environment.upstream)
    let gateway = ClaudeGateway(
      configuration: .init(fleet: membership.fleet, client: membership.client),
      authority: membership.authority, client: client, clock: clock,
      observe: { event in
        metrics.note(event)
        SidecarLog.write(event, to: logger)
      }, onActivity: { pool.noteActivity() })
    pool.follow { gateway.activity }
    let server = try await SidecarServer(
      configuration: .init(port: 0), gateway: gateway, pool: pool, clock: clock, metrics: metrics, logger: logger)
    let sidecar = Sidecar(server: server, membership: membership, http: http, log: log)
    let outcome: Swift.Result<Result, any Error>
    do {
      outcome = .success(
        try await membership.run {
          try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            defer { group.cancelAll() }
            return try await body(sidecar)
          }
        })
    } catch { outcome = .failure(error) }
    try await http.shutdown()
    await client.shutDown()
    return try outcome.get()
  }

  /// Whether the coordinator admits.
  var isConnected: Bool { membership.link?.isConnected ?? false }

  /// Sends a message of a model; the status.
  func send(_ text: String = "<<out=1>>", model: String = "claude-sonnet-4-5") async throws -> Int {
    try await call("/v1/messages", body: message(text, model: model)).status
  }

  /// Calls a path: POST with a body, GET without.
  func call(_ path: String, body: String? = nil) async throws -> (status: Int, text: String) {
    var request = HTTPClientRequest(url: server.url + path)
    if let body {
      request.method = .POST
      request.body = .bytes(ByteBuffer(string: body))
    }
    request.headers = ["x-api-key": "sk-ant-PLANTED", "anthropic-version": "2023-06-01"]
    let response = try await http.execute(request, timeout: .minutes(1))
    return (Int(response.status.code), String(buffer: try await response.body.collect(upTo: 1 << 20)))
  }

  /// The value of a metric; nil: it isn't there.
  func metric(_ name: String) async throws -> Double? {
    try await call("/metrics").text.split(separator: "\n").first { $0.hasPrefix("swarmscale_sidecar_\(name) ") }
      .flatMap { $0.split(separator: " ").last.flatMap { Double($0) } }
  }
}

/// Posts to a sidecar that is another process; the status.
func post(_ url: String, body: String) async throws -> Int {
  var request = HTTPClientRequest(url: url)
  request.method = .POST
  request.body = .bytes(ByteBuffer(string: body))
  request.headers = ["x-api-key": "sk-ant-PLANTED", "anthropic-version": "2023-06-01"]
  return Int(try await HTTPClient.shared.execute(request, timeout: .minutes(1)).status.code)
}

/// A body of the Messages API.
func message(_ text: String, model: String = "claude-sonnet-4-5", stream: Bool = false) -> String {
  #"{"model":"\#(model)","max_tokens":20000,"stream":\#(stream),"messages":[{"role":"user","content":"\#(text)"}]}"#
}

/// A mock that answers at once.
func quickMock() -> MockConfiguration {
  var configuration = MockConfiguration()
  configuration.pace.timeToFirstToken = 0
  return configuration
}
