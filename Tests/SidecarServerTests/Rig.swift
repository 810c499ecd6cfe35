import Logging
import MockClaude
import MockClaudeServer
import NIOCore
import NIOPosix
import Observability
import RateBudget
import SidecarCommand
import SidecarServer
import SwarmCoordination
import Synchronization
import Testing

/// The library's clock, running by the mock's: as fast, and moved when that is moved.
struct MockDrivenClock: CoordinationClock {
  let mock: MockClock
  let origin: Int64

  init(_ mock: MockClock) {
    self.mock = mock
    origin = mock.now.nanoseconds
  }

  var now: BudgetTime { BudgetTime(nanoseconds: mock.now.nanoseconds - origin) }
  var wall: WallTime { WallTime(milliseconds: mock.now.nanoseconds / 1_000_000) }

  /// Moves the clock forward.
  func advance(by duration: Duration) { mock.advance(to: mock.now + duration) }

  func sleep(until time: BudgetTime) async throws {
    let (sum, overflow) = origin.addingReportingOverflow(time.nanoseconds)
    try await mock.sleep(until: MockTime(nanoseconds: overflow ? .max : sum))
  }
}

/// Everything that was logged and everything that the gateway said.
final class Records: LogSink {
  private let lines = Mutex<[String]>([])
  private let noted = Mutex<[GatewayEvent]>([])

  func write(line: [UInt8]) { lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } }
  func note(_ event: GatewayEvent) { noted.withLock { $0.append(event) } }
  var log: String { lines.withLock { $0.joined() } }
  var events: [GatewayEvent] { noted.withLock { $0 } }

  /// The usage of the requests that are over.
  var settled: [(usage: Usage, isComplete: Bool)] {
    events.compactMap { event in
      if case .settled(_, let usage, let isComplete) = event { (usage, isComplete) } else { nil }
    }
  }

  var retries: [RetryCause] {
    events.compactMap { event in
      if case .retried(_, let cause) = event { cause } else { nil }
    }
  }
}

/// A sidecar in front of an upstream.
struct Rig: Sendable {
  let server: SidecarServer
  let gateway: ClaudeGateway
  /// What the worker does and may begin; a coordinator's orders go in here.
  let pool: AgentPool
  let authority: LocalAuthority
  let clock: any CoordinationClock
  let records: Records

  var port: Int { server.port }

  /// Limits that never bind.
  static let wide = BudgetPlan([
    .init(
      name: "wide",
      configuration: BudgetConfiguration(
        limits: PerDimension(
          requests: 1_000_000, inputTokens: 1_000_000_000, inputTokensTotal: nil, outputTokens: 1_000_000_000),
        ramp: nil))
  ])

  static let key = GroupKey(organization: "", modelGroup: "wide")

  /// Runs a sidecar around `body`.
  static func with<Result: Sendable>(
    upstream: String, clock: any CoordinationClock, plan: BudgetPlan = wide, authority shared: LocalAuthority? = nil,
    hold: Duration = .seconds(300), _ body: @Sendable (Rig) async throws -> Result
  ) async throws -> Result {
    let records = Records()
    let logger = Logger(label: "test") { label in
      StructuredLogHandler(label: label, format: .logfmt, level: .trace, sink: records) { "now" }
    }
    let authority = shared ?? LocalAuthority(plan: plan, clock: clock)
    let metrics = SidecarMetrics(budgets: { authority.reports() })
    let client = UpstreamClient(try UpstreamAddress(upstream))
    let pool = AgentPool(slots: 0, clock: clock)
    let gateway = ClaudeGateway(
      configuration: .init(client: "test-\(ObjectIdentifier(records))", hold: hold),
      authority: authority, client: client, clock: clock,
      observe: { event in
        records.note(event)
        metrics.note(event)
        SidecarLog.write(event, to: logger)
      }, onActivity: { pool.noteActivity() })
    pool.follow { gateway.activity }
    var configuration = SidecarServer.Configuration(port: 0)
    configuration.kubelet = ("127.0.0.1", 0)
    let server = try await SidecarServer(
      configuration: configuration, gateway: gateway, pool: pool, clock: clock, metrics: metrics, logger: logger)
    let rig = Rig(
      server: server, gateway: gateway, pool: pool, authority: authority, clock: clock, records: records)
    let result: Swift.Result<Result, any Error> = await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await server.run() }
      if shared == nil { group.addTask { await authority.run() } }
      let result: Swift.Result<Result, any Error>
      do { result = .success(try await body(rig)) } catch { result = .failure(error) }
      group.cancelAll()
      await group.waitForAll()
      return result
    }
    await client.shutDown()
    return try result.get()
  }

  /// Runs a sidecar in front of MockClaude, whose time is everybody's.
  static func withMock<Result: Sendable>(
    _ configuration: MockConfiguration = fast(), plan: BudgetPlan = wide, hold: Duration = .seconds(300),
    _ body: @Sendable (Rig, MockClaudeServer) async throws -> Result
  ) async throws -> Result {
    try await MockClaudeServer.withServer(configuration: configuration) { mock in
      try await with(upstream: mock.url, clock: MockDrivenClock(mock.clock), plan: plan, hold: hold) { rig in
        try await body(rig, mock)
      }
    }
  }

  /// Runs a sidecar in front of a script; the clock runs a hundred times as fast as the wall's.
  static func withScript<Result: Sendable>(
    speed: Double = 100, plan: BudgetPlan = wide, hold: Duration = .seconds(300),
    script: @escaping ScriptedUpstream.Script, _ body: @Sendable (Rig, ScriptedUpstream) async throws -> Result
  ) async throws -> Result {
    let clock = MockDrivenClock(MockClock(start: MockClock.wallTime, speed: speed))
    let upstream = try await ScriptedUpstream(clock: clock, script: script)
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try? await upstream.run() }
      let result = try await with(upstream: upstream.url, clock: clock, plan: plan, hold: hold) { rig in
        try await body(rig, upstream)
      }
      group.cancelAll()
      return result
    }
  }

  /// A mock whose answers begin at once and that runs a hundred times as fast.
  static func fast(speed: Double = 100) -> MockConfiguration {
    var configuration = MockConfiguration()
    configuration.clock.speed = speed
    configuration.pace.timeToFirstToken = 0
    return configuration
  }

  /// The text of a request.
  static func request(
    _ line: String = "POST /v1/messages", body: String? = nil, headers: [String] = [], closing: Bool = true
  ) -> String {
    let length = body.map { ["content-length: \($0.utf8.count)"] } ?? []
    let fields =
      ["host: sidecar", "x-api-key: k", "anthropic-version: 2023-06-01"] + headers + length
      + (closing ? ["connection: close"] : [])
    return "\(line) HTTP/1.1\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n" + (body ?? "")
  }

  /// A body of the Messages API.
  static func message(_ text: String = "hi", stream: Bool = false, model: String = "claude-sonnet-4-5") -> String {
    #"{"model":"\#(model)","max_tokens":200000,"stream":\#(stream),"messages":[{"role":"user","content":"\#(text)"}]}"#
  }

  /// Sends a message and reads the answer.
  func send(_ text: String = "hi", stream: Bool = false, headers: [String] = []) async throws -> String {
    try await exchange(Self.request(body: Self.message(text, stream: stream), headers: headers))
  }

  /// Sends text and reads until the server closes or `enough` has come; then closes.
  func exchange(
    _ text: String, port: Int? = nil, until enough: @escaping @Sendable (String) async -> Bool = { _ in false }
  ) async throws -> String {
    try await exchange(ByteBuffer(string: text), port: port, until: enough)
  }

  /// Sends bytes and reads until the server closes or `enough` has come; then closes.
  func exchange(
    _ bytes: ByteBuffer, port: Int? = nil, until enough: @escaping @Sendable (String) async -> Bool = { _ in false }
  ) async throws -> String {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: port ?? server.port) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      try await outbound.write(bytes)
      var received = ""
      if await enough(received) { return received }
      for try await buffer in inbound {
        received += String(buffer: buffer)
        if await enough(received) { break }
      }
      return received
    }
  }

  /// Waits for something that is about to happen in other tasks.
  func until(_ condition: () -> Bool) async {
    while !condition(), !Task.isCancelled { await Task.yield() }
  }
}

/// Expects the status of an answer.
func expectStatus(_ status: Int, _ answer: String, sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(answer.status == status, sourceLocation: sourceLocation)
}

extension String {
  /// The status line's number.
  var status: Int? { split(separator: " ").dropFirst().first.flatMap { Int($0) } }

  /// The value of a header.
  func header(_ name: String) -> String? {
    split(separator: "\r\n").prefix { !$0.isEmpty }.first { $0.lowercased().hasPrefix(name + ":") }
      .map { $0.drop { $0 != ":" }.dropFirst().drop { $0 == " " } }.map(String.init)
  }

  /// How often a text stands in it.
  func count(of text: String) -> Int {
    var (rest, count) = (self[...], 0)
    while let range = rest.firstRange(of: text) {
      count += 1
      rest = rest[range.upperBound...]
    }
    return count
  }
}
