package import ArgumentParser
package import CoordinationEngine
import JetStreamEngine
import LocalEngine
import SQLiteEngine
import TaskQueue

/// Which engine keeps the tasks, and where: for every command that has one.
package struct EngineOptions: ParsableArguments {
  /// The engines there are.
  package enum Kind: ExpressibleByArgument, Hashable, Sendable {
    case memory, sqlite
    /// NATS JetStream, at an address such as nats://host:4222.
    case nats(String)

    package init?(argument: String) {
      switch argument {
      case "memory": self = .memory
      case "sqlite": self = .sqlite
      case _ where JetStreamAddress.isOne(argument): self = .nats(argument)
      default: return nil
      }
    }
  }

  @Option(
    help: "What keeps the tasks: memory, sqlite, or NATS: nats://host:4222. Default: sqlite with --data, else memory.")
  package var engine: Kind?

  @Option(
    help: ArgumentHelp("The folder of the engine's files; it is made when it isn't there.", valueName: "folder"))
  package var data: String?

  @Option(
    help: ArgumentHelp(
      "What an acknowledged task survives: process (kill -9) or node (loss of power). For sqlite.", valueName: "mode"))
  package var durability: String?

  /// Makes the options.
  package init() {}

  package func validate() throws {
    switch engine {
    case .sqlite where data == nil:
      throw ValidationError("--engine sqlite needs --data FOLDER, where it keeps its files")
    case .nats where data != nil:
      throw ValidationError("--engine nats://… has its files on the servers: leave out --data")
    case .memory where data != nil:
      throw ValidationError("--engine memory has no files: leave out --data, or say --engine sqlite")
    default: break
    }
    guard let durability else { return }
    guard data != nil else { throw ValidationError("--durability is about --data FOLDER, which is missing") }
    guard ["process", "node"].contains(durability) else {
      throw ValidationError("--durability \(durability): process or node")
    }
  }

  /// Opens the engine.
  package func open() async throws -> any CoordinationEngine {
    if case .nats(let address)? = engine { return try JetStreamEngine.open(address) }
    guard let data else { return LocalEngine() }
    return try await SQLiteEngine.open(
      SQLiteEngine.Configuration(directory: data, durability: durability.flatMap { Durability(name: $0) } ?? .node))
  }

  /// What it is, for people.
  package var summary: String {
    if case .nats(let address)? = engine, let place = try? JetStreamAddress(address) { return "on \(place)" }
    return data.map { "in \($0) (durable: \(durability ?? "node"))" } ?? "in memory: gone with this process"
  }
}
