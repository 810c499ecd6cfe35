import CoordinationEngine
import EngineConformance
import JetStreamEngine
import NATSClient
import NATSTestSupport
import Synchronization

/// An engine with a server of its own. A crash kills the server and leaves the engine that knew it behind; what goes on is another engine.
final class JetStreamHarness: EngineHarness {
  private struct State {
    var engine: JetStreamEngine
    var running: Task<Void, any Error>
  }

  let server: ServerProcess
  private let state: Mutex<State>
  private let change: @Sendable (inout JetStreamEngineConfiguration) -> Void

  init(_ change: @escaping @Sendable (inout JetStreamEngineConfiguration) -> Void = { _ in }) async throws {
    server = try ServerProcess()
    try await server.start()
    self.change = change
    state = Mutex(try Self.begin(server, change))
  }

  private static func begin(
    _ server: ServerProcess, _ change: (inout JetStreamEngineConfiguration) -> Void
  ) throws -> State {
    let engine = JetStreamEngine(try configuration(server.url, change))
    return State(engine: engine, running: Task { try await engine.run() })
  }

  static func configuration(
    _ url: String, _ change: (inout JetStreamEngineConfiguration) -> Void = { _ in }
  ) throws -> JetStreamEngineConfiguration {
    var client = try NATSConfiguration(urls: [url])
    client.reconnectBase = .milliseconds(10)
    client.reconnectLimit = .milliseconds(100)
    var configuration = JetStreamEngineConfiguration(client: client)
    configuration.ackWait = .seconds(1)
    configuration.patience = .seconds(2)
    change(&configuration)
    return configuration
  }

  var abilities: Set<EngineAbility> { [.restart, .outage] }
  var engine: any CoordinationEngine { jetStream }
  var jetStream: JetStreamEngine { state.withLock { $0.engine } }

  func pass(_ duration: Duration) async throws {
    // Real time: the servers' clocks can't be moved.
    try await Task.sleep(for: duration)
  }

  func crash() async throws {
    let old = state.withLock { $0 }
    server.stop()
    old.running.cancel()
    _ = await old.running.result
    try await server.start()
    let new = try Self.begin(server, change)
    state.withLock { $0 = new }
  }

  func breakDown() async throws { server.stop() }
  func restore() async throws { try await server.start() }

  func stop() async {
    let current = state.withLock { $0 }
    await current.engine.close()
    current.running.cancel()
    _ = await current.running.result
    server.remove()
  }
}
