import ArgumentParser
import Foundation
import KubernetesCore

/// `swarmscale tasks submit`.
struct TasksSubmitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "submit",
    abstract: "Submit tasks; prints their ids.",
    discussion: """
      The payload is any JSON. With --lines standard input has a payload in each line: they are submitted a thousand at a time.

      Submitting a --key a second time gives the task of then: a submission whose answer was lost can be said again.
      """)

  @Argument(help: "The queue.")
  var queue: String

  @Argument(help: "The payload, JSON; - reads it from standard input.")
  var payload: String?

  @Flag(help: "Read a payload from each line of standard input.")
  var lines = false

  @Option(help: "critical, high, normal or bulk.")
  var lane: String?

  @Option(help: "What makes a second submission the same task. With --lines each line's number is added.")
  var key: String?

  @Option(help: "Which run of the key's work; a higher one is a task of its own.")
  var generation: Int?

  @Option(help: "Attempts until it is a dead letter.")
  var maxAttempts: Int?

  @Option(help: "Seconds before it can be claimed.")
  var delay: Double?

  @Option(help: "For whom, such as a tenant: those of a lane share the workers evenly.")
  var fairnessKey: String?

  @Option(
    help: ArgumentHelp(
      "How long to wait while the queue takes no more: it is full, or the lane's backlog is too old.",
      valueName: "seconds"))
  var patience = 600

  @OptionGroup var server: TaskServerOptions

  func validate() throws {
    guard patience >= 0 else { throw ValidationError("--patience \(patience): 0 or more seconds") }
    guard lines == (payload == nil) else {
      throw ValidationError("name one payload, or say --lines and give payloads on standard input")
    }
  }

  func run() async throws {
    try await server.withClient { client in
      let input = payload == "-" || lines ? FileHandle.standardInput.readDataToEndOfFile() : Data((payload ?? "").utf8)
      for batch in try batches(Array(input)) {
        let answer = try await client.ask(
          .post, "/v1/tasks", ["queue": .string(queue), "tasks": .array(batch)], patience: .seconds(patience)
        ) { message, pause in
          let words = "swarmscale tasks: \(message); trying again in \(pause.components.seconds) s\n"
          FileHandle.standardError.write(Data(words.utf8))
        }
        for task in answer["tasks"]?.arrayValue ?? [] {
          print((task["id"]?.stringValue ?? "") + (task["duplicate"] == true ? " (known)" : ""))
        }
      }
    }
  }

  /// The tasks of an input, a thousand at most in each batch.
  func batches(_ input: [UInt8]) throws -> [[JSONValue]] {
    let texts = lines ? input.split(separator: UInt8(ascii: "\n")).map { Array($0) } : [input]
    var tasks: [JSONValue] = []
    for (index, text) in texts.enumerated() {
      let payload: JSONValue
      do {
        payload = try JSONValue(parsing: text)
      } catch {
        throw TaskCommandError(64, "\(lines ? "line \(index + 1)" : "the payload") is not JSON: \(error)")
      }
      tasks.append(task(payload, lines ? index + 1 : nil))
    }
    return stride(from: 0, to: tasks.count, by: 1_000).map { Array(tasks[$0..<min($0 + 1_000, tasks.count)]) }
  }

  private func task(_ payload: JSONValue, _ line: Int?) -> JSONValue {
    var task: JSONValue = ["payload": payload]
    if let lane { task["lane"] = .string(lane) }
    if let key { task["key"] = .string(line.map { "\(key)-\($0)" } ?? key) }
    if let generation { task["generation"] = .int(Int64(generation)) }
    if let maxAttempts { task["maxAttempts"] = .int(Int64(maxAttempts)) }
    if let delay { task["delaySeconds"] = .double(delay) }
    if let fairnessKey { task["fairnessKey"] = .string(fairnessKey) }
    return task
  }
}
