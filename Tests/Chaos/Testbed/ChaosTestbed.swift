import Foundation
import JetStreamEngine
import NATSClient
import TaskQueue
import UnixSignals

/// A part of the chaos test as a process of its own: Tests/Chaos/run starts, kills and stops it.
///
/// `chaos-testbed worker|submitter|check NAME=VALUE…`; what each needs stands at its type.
@main
enum ChaosTestbed {
  static func main() async throws {
    let arguments = CommandLine.arguments.dropFirst()
    guard let mode = arguments.first else { throw Failure("usage: chaos-testbed worker|submitter|check NAME=VALUE…") }
    var values: [String: String] = [:]
    for argument in arguments.dropFirst() {
      let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { throw Failure("not NAME=VALUE: \(argument)") }
      values[parts[0]] = parts[1]
    }
    let settings = Settings(values: values)
    let engine = JetStreamEngine(try settings.engine())
    let signals = await UnixSignalsSequence(trapping: .sigterm)
    await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await engine.run() }
      let stop = StopSignal()
      group.addTask {
        for await _ in signals {
          stop.set()
          engine.tasks.endWaiting()
          return
        }
      }
      do {
        switch mode {
        case "worker": try await ChaosWorker(settings, engine, stop).run()
        case "submitter": try await ChaosSubmitter(settings, engine, stop).run()
        case "check": try await ChaosCheck(settings, engine).run()
        default: throw Failure("unknown mode: \(mode)")
        }
      } catch {
        // At once: the test looks for processes that have ended.
        FileHandle.standardError.write(Data("\(error)\n".utf8))
        exit(1)
      }
      await engine.close()
      group.cancelAll()
    }
  }
}

/// What is wrong with how it was called.
struct Failure: Error, CustomStringConvertible {
  var description: String
  init(_ text: String) { description = text }
}

/// What the test says on the command line.
struct Settings: Sendable {
  var values: [String: String]

  func text(_ name: String) throws -> String {
    guard let value = values[name] else { throw Failure("\(name)=… is missing") }
    return value
  }

  func number(_ name: String) throws -> Double {
    guard let value = Double(try text(name)), value > 0 else { throw Failure("\(name): not a number above 0") }
    return value
  }

  /// Seconds.
  func seconds(_ name: String) throws -> Duration { .milliseconds(Int64(try number(name) * 1_000)) }

  func engine() throws -> JetStreamEngineConfiguration {
    var client = try NATSConfiguration(urls: text("servers").split(separator: ",").map(String.init))
    client.reconnectLimit = .milliseconds(500)
    var configuration = JetStreamEngineConfiguration(client: client)
    configuration.prefix = "chaos"
    configuration.replicas = 3
    configuration.ackWait = try seconds("lease")
    return configuration
  }
}
