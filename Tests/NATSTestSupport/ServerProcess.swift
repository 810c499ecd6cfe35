package import Foundation
package import NATSClient
package import NIOCore
import NIOPosix
import Synchronization

/// The nats-server to test against; nil: those suites don't run. `scripts/lib/nats-server-binary` prints one.
package let natsServerPath = ProcessInfo.processInfo.environment["SWARMSCALE_NATS_SERVER"]
package let hasNATSServer = natsServerPath != nil

/// A real server in a folder of its own, ended with the object's `stop`.
package final class ServerProcess: Sendable {
  package let port: Int
  package let folder: URL
  private let configuration: String
  private let process = Mutex<Process?>(nil)
  /// What it has logged.
  private let log = Mutex("")

  /// `settings` are lines of nats-server's configuration; `$FOLDER` stands for the server's folder.
  package init(port: Int? = nil, jetStream: Bool = true, settings: String = "") throws {
    self.port = try port ?? Self.freePort()
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("nats-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    configuration = """
      listen: "127.0.0.1:\(self.port)"
      \(jetStream ? "jetstream { store_dir: \"\(folder.path)/js\" }" : "")
      \(settings.replacingOccurrences(of: "$FOLDER", with: folder.path))
      """
  }

  /// A port that was free a moment ago.
  package static func freePort() throws -> Int {
    let channel = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(host: "127.0.0.1", port: 0).wait()
    defer { try? channel.close().wait() }
    return channel.localAddress?.port ?? 0
  }

  package var url: String { "nats://127.0.0.1:\(port)" }
  package var logText: String { log.withLock { $0 } }

  /// Starts it and waits until it says that it is ready.
  package func start() async throws {
    let file = folder.appendingPathComponent("server.conf")
    try configuration.write(to: file, atomically: true, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: natsServerPath ?? "/nonexistent")
    process.arguments = ["-c", file.path]
    let pipe = Pipe()
    process.standardError = pipe
    process.standardOutput = FileHandle.nullDevice
    let (lines, continuation) = AsyncStream.makeStream(of: Bool.self, bufferingPolicy: .bufferingNewest(1))
    pipe.fileHandleForReading.readabilityHandler = { handle in
      let data = handle.availableData
      if data.isEmpty {
        handle.readabilityHandler = nil
        continuation.yield(false)
        continuation.finish()
        return
      }
      let isReady = self.log.withLock { log in
        log += String(decoding: data, as: UTF8.self)
        return log.contains("Server is ready")
      }
      if isReady { continuation.yield(true) }
    }
    log.withLock { $0 = "" }
    try process.run()
    self.process.withLock { $0 = process }
    var isReady = false
    for await ready in lines {
      isReady = ready
      break
    }
    if !isReady { throw StartFailure(log: logText) }
  }

  package struct StartFailure: Error { var log: String }

  package func signal(_ number: Int32) {
    if let identifier = process.withLock({ $0?.processIdentifier }) { kill(identifier, number) }
  }

  /// Ends the process, by default without a chance to say anything, and waits for its end.
  package func stop(_ number: Int32 = SIGKILL) {
    let process = process.withLock { process in
      defer { process = nil }
      return process
    }
    guard let process else { return }
    kill(process.processIdentifier, number)
    process.waitUntilExit()
  }

  /// Waits for the end of a process that was told to go.
  package func waitForExit() {
    process.withLock { $0 }?.waitUntilExit()
    process.withLock { $0 = nil }
  }

  package func remove() {
    stop()
    try? FileManager.default.removeItem(at: folder)
  }
}

/// Runs a body with a server of its own.
package func withServer<Result>(
  jetStream: Bool = true, settings: String = "", _ body: (ServerProcess) async throws -> Result
) async throws -> Result {
  let server = try ServerProcess(jetStream: jetStream, settings: settings)
  defer { server.remove() }
  try await server.start()
  return try await body(server)
}

/// Runs a body with a server and a client.
package func withClient<Result: Sendable>(
  jetStream: Bool = true, settings: String = "", configure: (inout NATSConfiguration) -> Void = { _ in },
  _ body: (NATSClient, ServerProcess) async throws -> Result
) async throws -> Result {
  try await withServer(jetStream: jetStream, settings: settings) { server in
    var configuration = try NATSConfiguration(urls: [server.url])
    configuration.reconnectBase = .milliseconds(20)
    configuration.reconnectLimit = .milliseconds(200)
    configure(&configuration)
    return try await withNATSClient(configuration) { client in
      try await body(client, server)
    }
  }
}

/// Three servers in one cluster.
package final class ServerCluster: Sendable {
  package let servers: [ServerProcess]

  package init(lameDuck: String = "30s") throws {
    let routes = try (0..<3).map { _ in try ServerProcess.freePort() }
    servers = try (0..<3).map { index in
      try ServerProcess(
        settings: """
          server_name: "n\(index)"
          lame_duck_duration: "\(lameDuck)"
          lame_duck_grace_period: "1s"
          cluster {
            name: "test", listen: "127.0.0.1:\(routes[index])"
            routes: [\(routes.map { "\"nats://127.0.0.1:\($0)\"" }.joined(separator: ", "))]
          }
          """)
    }
  }

  package func start() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for server in servers { group.addTask { try await server.start() } }
      try await group.waitForAll()
    }
  }

  package var urls: [String] { servers.map(\.url) }
  package func remove() { for server in servers { server.remove() } }
}

/// Tries until it works or the test's time limit ends it; `pause` keeps it from spinning where there is no event to wait for.
@discardableResult
package func eventually<Result>(_ attempt: () async throws -> Result?) async throws -> Result {
  while true {
    if let result = try? await attempt() { return result }
    try await Task.sleep(for: .milliseconds(20))
  }
}

package func bytes(_ text: String) -> ByteBuffer { ByteBuffer(string: text) }
