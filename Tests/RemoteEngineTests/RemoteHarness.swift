import CoordinationEngine
import EngineConformance
import LocalEngine
import Logging
import ServiceLifecycle
import SwarmCoordination
import Synchronization
import TaskQueueServer

/// The real server on a port of its own, in front of an engine, until it is stopped.
struct RunningServer: Sendable {
  let port: Int
  private let running: Task<Void, any Error>

  init(_ engine: any CoordinationEngine, port: Int = 0) async {
    let logger = Logger(label: "server") { _ in SwiftLogNoOpLogHandler() }
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    let server = TaskQueueServer(engine: engine, port: port, logger: logger) { continuation.yield($0) }
    // Owned: by this value, which `stop` ends.
    running = Task {
      defer { continuation.finish() }
      try await ServiceGroup(services: [server], logger: logger).run()
    }
    var iterator = ports.makeAsyncIterator()
    self.port = await iterator.next() ?? 0
  }

  /// Breaks off what it is answering, and lets go of the port.
  func stop() async {
    running.cancel()
    _ = await running.result
  }
}

/// An engine in memory behind the real server, and the remote engine in front of it. Time is moved by hand behind the server.
final class RemoteHarness: EngineHarness {
  let clock = ManualEngineClock()
  let local: LocalEngine
  let remote: RemoteEngine
  private let server: Mutex<RunningServer>
  private let running: [Task<Void, any Error>]

  init() async throws {
    let local = LocalEngine(clock: clock)
    self.local = local
    let server = await RunningServer(local)
    self.server = Mutex(server)
    var patience = RemotePatience()
    // Only an outage needs it.
    patience.verbs = .milliseconds(400)
    let remote = RemoteEngine(try UpstreamAddress("http://127.0.0.1:\(server.port)"), patience: patience)
    self.remote = remote
    // Owned: by the harness, which `stop` ends.
    running = [Task { try await local.run() }, Task { try await remote.run() }]
  }

  static let all: Set<EngineAbility> = [.manualTime, .outage]
  var abilities: Set<EngineAbility> { Self.all }
  var engine: any CoordinationEngine { remote }

  func pass(_ duration: Duration) { clock.advance(by: duration) }

  func breakDown() async { await server.withLock { $0 }.stop() }

  func restore() async {
    let new = await RunningServer(local, port: server.withLock { $0.port })
    server.withLock { $0 = new }
  }

  func stop() async {
    await remote.close()
    await server.withLock { $0 }.stop()
    await local.close()
    for task in running {
      task.cancel()
      _ = await task.result
    }
  }
}
