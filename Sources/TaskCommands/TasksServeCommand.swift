import ArgumentParser
import CoordinationEngine
import Foundation
import LocalEngine
import Logging
import ServiceLifecycle
import TaskQueueServer
import UnixSignals

/// `swarmscale tasks serve`: a queue's server alone.
struct TasksServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve",
    abstract: "Serve queues of tasks over HTTP on loopback.",
    discussion:
      "Says where it listens in its first line. SIGTERM ends it; with --data its tasks are there again next time.")

  @Option(help: "The port on 127.0.0.1; 0 picks a free one.")
  var port = 0

  @OptionGroup var engine: EngineOptions

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port \(port): 0 to 65535") }
  }

  func run() async throws {
    let logger = Logger(label: "swarmscale-tasks") { _ in SwiftLogNoOpLogHandler() }
    let engine = try await self.engine.open()
    let summary = self.engine.summary
    let server = TaskQueueServer(engine: engine, port: port, logger: logger) { port in
      // Written at once: whoever starts this waits for the line.
      FileHandle.standardOutput.write(Data("task queue: http://127.0.0.1:\(port)/v1/tasks, \(summary)\n".utf8))
    }
    try await ServiceGroup(
      configuration: .init(
        services: [
          .init(service: EngineService(engine), failureTerminationBehavior: .gracefullyShutdownGroup),
          .init(service: server, failureTerminationBehavior: .gracefullyShutdownGroup),
        ],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    ).run()
  }
}
