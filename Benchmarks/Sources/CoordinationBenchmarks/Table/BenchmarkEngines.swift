import CoordinationEngine
import Foundation
import JetStreamEngine
import LocalEngine
import NATSClient
import NATSTestSupport
import SQLiteEngine
import TaskQueue

/// Which engine carries a fleet.
enum EngineKind: String, Sendable {
  case memory = "memory"
  case sqlite = "SQLite"
  /// Acknowledged once it is on the disk.
  case sqliteNode = "SQLite, synced"
  /// One server, in files.
  case jetStream = "JetStream"
  /// Three servers, three replicas.
  case jetStream3 = "JetStream × 3"

  var needsNATS: Bool { self == .jetStream || self == .jetStream3 }
}

/// A row needs a program that isn't here.
struct Unmeasurable: Error, CustomStringConvertible {
  var description: String
}

/// Gives each of several pods an engine on the same store: JetStream a connection for each pod, the others one object for all. All is fresh, and gone afterwards.
func withPods<Result: Sendable>(
  _ kind: EngineKind, _ pods: Int, _ body: ([any CoordinationEngine]) async throws -> Result
) async throws -> Result {
  switch kind {
  case .memory: return try await running([LocalEngine(settings: localSettings)], pods, body)
  case .sqlite, .sqliteNode:
    let folder = NSTemporaryDirectory() + "swarmscale-bench-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let engine = try await SQLiteEngine.open(
      .init(directory: folder, durability: kind == .sqlite ? .process : .node), settings: localSettings)
    return try await running([engine], pods, body)
  case .jetStream:
    guard hasNATSServer else { throw Unmeasurable(description: "no nats-server: set SWARMSCALE_NATS_SERVER") }
    return try await withServer { server in
      try await running(jetStream([server.url], pods, replicas: 1), pods, body)
    }
  case .jetStream3:
    guard hasNATSServer else { throw Unmeasurable(description: "no nats-server: set SWARMSCALE_NATS_SERVER") }
    let cluster = try ServerCluster()
    defer { cluster.remove() }
    try await cluster.start()
    return try await running(jetStream(cluster.urls, pods, replicas: 3), pods, body)
  }
}

private var localSettings: LocalEngineSettings {
  var settings = LocalEngineSettings()
  settings.tasks = taskLimits
  return settings
}

/// Room for a backlog that no fleet runs out of while it is measured.
private var taskLimits: TaskQueueLimits {
  var limits = TaskQueueLimits()
  limits.tasks = 1_000_000
  limits.totalPayloadBytes = 4 * 1_024 * 1_024 * 1_024
  return limits
}

private func jetStream(_ urls: [String], _ pods: Int, replicas: Int) throws -> [any CoordinationEngine] {
  try (0..<pods).map { _ in
    var configuration = JetStreamEngineConfiguration(client: try NATSConfiguration(urls: urls))
    configuration.replicas = replicas
    configuration.taskLimits = taskLimits
    configuration.patience = .seconds(30)
    return JetStreamEngine(configuration)
  }
}

private func running<Result: Sendable>(
  _ engines: [any CoordinationEngine], _ pods: Int, _ body: ([any CoordinationEngine]) async throws -> Result
) async throws -> Result {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for engine in engines { group.addTask { try await engine.run() } }
    do {
      let result = try await body((0..<pods).map { engines[$0 % engines.count] })
      for engine in engines { await engine.close() }
      group.cancelAll()
      while (try? await group.next()) != nil {}
      return result
    } catch {
      for engine in engines { await engine.close() }
      group.cancelAll()
      throw error
    }
  }
}
