import GRPCCore
import GRPCNIOTransportHTTP2
import KubernetesCore
import KubernetesRuntime
import Logging
import MetricBridges
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import ExternalScaler

/// The external scaler over a real connection, asked by a client of the same protocol. Tests/Bridges asks it by grpcio, as KEDA would.
@Suite(.timeLimit(.minutes(10)))
struct ExternalScalerTests {
  private final class Script: BridgeSource {
    let given = Mutex(BridgeBook.Answer.values([]))
    let asked = Mutex<[String]>([])
    let metrics = BridgedMetric.allCases

    func answer(_ metric: BridgedMetric, namespace: String, selector: Selector) -> BridgeBook.Answer {
      asked.withLock { $0.append("\(metric.rawValue) \(namespace) \(selector)") }
      return given.withLock { $0 }
    }

    func set(_ value: Int64) {
      given.withLock {
        $0 = .values([
          BridgedValue(labels: ["autoscaler": "web"], value: value, at: Timestamp(secondsSinceEpoch: 1_800_000_000))
        ])
      }
    }
  }

  private typealias Client = WireExternalScaler.Client<HTTP2ClientTransport.Posix>

  private func withScaler(
    time: any TimeSource = SystemTimeSource(),
    onOutcome: @escaping @Sendable (ExternalScalerService.Outcome) -> Void = { _ in },
    _ body: @escaping @Sendable (Client, Script) async throws -> Void
  ) async throws {
    let script = Script()
    let (ports, listening) = AsyncStream.makeStream(of: Int.self)
    let server = ExternalScalerServer(
      host: "127.0.0.1", port: 0, security: .plaintext,
      service: ExternalScalerService(source: script, time: time, onOutcome: onOutcome),
      onListening: { listening.yield($0) })
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      var port: Int?
      for await next in ports {
        port = next
        break
      }
      let found = try #require(port)
      try await withGRPCClient(
        transport: .http2NIOPosix(target: .ipv4(address: "127.0.0.1", port: found), transportSecurity: .plaintext)
      ) { client in
        try await body(WireExternalScaler.Client(wrapping: client), script)
      }
      group.cancelAll()
    }
  }

  private static func reference(_ settings: [String: String] = ["autoscaler": "web"]) -> WireScaledObjectRef {
    var reference = WireScaledObjectRef()
    reference.name = "web"
    reference.namespace = "fleet"
    reference.scalerMetadata = settings
    return reference
  }

  private static func query(_ name: String, _ reference: WireScaledObjectRef = reference()) -> WireGetMetricsRequest {
    var request = WireGetMetricsRequest()
    request.scaledObjectRef = reference
    request.metricName = name
    return request
  }

  @Test("The count that was decided comes as metric, target one for each replica, and active above zero")
  func desiredReplicas() async throws {
    try await withScaler { client, script in
      let specs = try await client.getMetricSpec(Self.reference()).metricSpecs
      #expect(specs.map(\.metricName) == ["swarmscale-desired-replicas"])
      #expect(specs.map(\.targetSize) == [1])
      #expect(specs.map(\.targetSizeFloat) == [1])
      for (value, isActive) in [(Int64(12), true), (0, false)] {
        script.set(value)
        let values = try await client.getMetrics(Self.query("s0-swarmscale-desired-replicas")).metricValues
        #expect(values.map(\.metricName) == ["s0-swarmscale-desired-replicas"])
        #expect(values.map(\.metricValue) == [value])
        #expect(values.map(\.metricValueFloat) == [Double(value)])
        let active = try await client.isActive(Self.reference()).result
        #expect(active == isActive)
      }
      #expect(Set(script.asked.withLock { $0 }) == ["swarmscale-desired-replicas fleet autoscaler=web"])
    }
  }

  @Test("Headroom asks for one dimension, with the target of the settings")
  func headroom() async throws {
    try await withScaler { client, script in
      script.set(50_000)
      let reference = Self.reference(["budget": "claude", "dimension": "outputTokens", "unitsPerReplica": "20000"])
      let spec = try #require(try await client.getMetricSpec(reference).metricSpecs.first)
      #expect(spec.metricName == "swarmscale-api-headroom")
      #expect(spec.targetSizeFloat == 20_000)
      let values = try await client.getMetrics(Self.query(spec.metricName, reference)).metricValues
      #expect(values.map(\.metricValue) == [50_000])
      #expect(
        script.asked.withLock { $0 } == ["swarmscale-api-headroom fleet budget=claude,dimension=outputTokens"])
    }
  }

  @Test("What isn't known, isn't there or can't be read is an error, not a number")
  func errors() async throws {
    let outcomes = Mutex<[ExternalScalerService.Outcome]>([])
    let note: @Sendable (ExternalScalerService.Outcome) -> Void = { outcome in outcomes.withLock { $0.append(outcome) }
    }
    try await withScaler(onOutcome: note) { client, script in
      func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        do {
          try await body()
          return nil
        } catch { return (error as? RPCError)?.code }
      }
      let query = Self.query("swarmscale-desired-replicas")
      #expect(await code { _ = try await client.getMetrics(query) } == .notFound)
      script.given.withLock { $0 = .unavailable("too old") }
      #expect(await code { _ = try await client.getMetrics(query) } == .unavailable)
      #expect(await code { _ = try await client.isActive(Self.reference()) } == .unavailable)
      #expect(await code { _ = try await client.getMetricSpec(Self.reference()) } == nil)
      #expect(await code { _ = try await client.getMetricSpec(Self.reference([:])) } == .invalidArgument)
      #expect(await code { _ = try await client.getMetrics(Self.query("other")) } == .invalidArgument)
    }
    #expect(
      outcomes.withLock { $0 } == [.invalid, .unavailable, .unavailable, .served, .invalid, .invalid])
  }

  @Test("A stream tells the state at once and each change, and ends when it isn't known any more")
  func stream() async throws {
    let time = ManualTimeSource()
    try await withScaler(time: time) { client, script in
      script.set(3)
      let error = await #expect(throws: RPCError.self) {
        try await client.streamIsActive(Self.reference()) { response in
          var told: [Bool] = []
          for try await message in response.messages {
            told.append(message.result)
            switch told.count {
            case 1: script.set(4)
            case 2: script.set(7)
            default: script.given.withLock { $0 = .unavailable("another leads") }
            }
            if told.count == 1 {
              // Another count, but active as before: nothing is told.
              await time.waitForSleepers(count: 1)
              time.advance(by: ExternalScalerService.streamInterval)
              await time.waitForSleepers(count: 1)
              script.set(0)
            }
            await time.waitForSleepers(count: 1)
            time.advance(by: ExternalScalerService.streamInterval)
          }
          #expect(told == [true, false, true])
        }
      }
      #expect(error?.code == .unavailable)
      #expect(error?.message == "another leads")
    }
  }

  @Test("Graceful shutdown ends the server although a stream is open")
  func shutdown() async throws {
    let script = Script()
    script.set(1)
    let (ports, listening) = AsyncStream.makeStream(of: Int.self)
    let server = ExternalScalerServer(
      host: "127.0.0.1", port: 0, security: .plaintext,
      service: ExternalScalerService(source: script, time: SystemTimeSource()), onListening: { listening.yield($0) })
    let group = ServiceGroup(
      configuration: .init(
        services: [.init(service: server, successTerminationBehavior: .gracefullyShutdownGroup)],
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      var iterator = ports.makeAsyncIterator()
      let port = try #require(await iterator.next())
      await #expect(throws: RPCError.self) {
        try await withGRPCClient(
          transport: .http2NIOPosix(target: .ipv4(address: "127.0.0.1", port: port), transportSecurity: .plaintext)
        ) { client in
          try await WireExternalScaler.Client(wrapping: client).streamIsActive(Self.reference()) { response in
            for try await _ in response.messages { await group.triggerGracefulShutdown() }
          }
        }
      }
      try await tasks.waitForAll()
    }
  }
}
