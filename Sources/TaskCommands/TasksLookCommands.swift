import ArgumentParser
import KubernetesCore

/// How answers are shown.
enum TaskOutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

/// `swarmscale tasks ls`.
struct TasksListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls", abstract: "List the queues, or the tasks of one.")

  @Argument(help: "The queue; without it the queues are listed.")
  var queue: String?

  @Option(help: "Only tasks that are ready, delayed, leased, done or dead.")
  var state: String?

  @Option(help: "The most tasks.")
  var limit = 100

  @Option(help: "Only tasks after this one: the last of the page before.")
  var after: String?

  @Option(name: [.customShort("o"), .long], help: "table or json.")
  var output = TaskOutputFormat.table

  @OptionGroup var server: TaskServerOptions

  func validate() throws {
    guard queue != nil || (state == nil && after == nil) else {
      throw ValidationError("--state and --after are about the tasks of a queue: name it")
    }
  }

  func run() async throws {
    try await server.withClient { client in try await lines(client).forEach { print($0) } }
  }

  /// What it prints.
  func lines(_ client: TaskClient) async throws -> [String] {
    let answer: JSONValue
    if let queue {
      var query = [APIRequest.QueryItem("queue", queue), APIRequest.QueryItem("limit", "\(limit)")]
      if let state { query.append(APIRequest.QueryItem("state", state)) }
      if let after { query.append(APIRequest.QueryItem("after", after)) }
      answer = try await client.ask(.get, "/v1/tasks", query: query)
    } else {
      answer = try await client.ask(.get, "/v1/tasks/stats")
    }
    guard output == .table else { return [String(decoding: answer.text, as: UTF8.self)] }
    return queue == nil ? TaskTexts.queues(answer) : TaskTexts.tasks(answer)
  }
}

/// `swarmscale tasks show`.
struct TasksShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all that is known of a task.")

  @Argument(help: "The task's id, such as reviewers-4fd1-17.")
  var id: String

  @Option(name: [.customShort("o"), .long], help: "table or json.")
  var output = TaskOutputFormat.table

  @OptionGroup var server: TaskServerOptions

  func run() async throws {
    try await server.withClient { client in try await lines(client).forEach { print($0) } }
  }

  /// What it prints.
  func lines(_ client: TaskClient) async throws -> [String] {
    let answer = try await client.ask(.get, "/v1/tasks/\(try escaped(id))")
    return output == .table ? TaskTexts.task(answer) : [String(decoding: answer.text, as: UTF8.self)]
  }
}

/// `swarmscale tasks dead`.
struct TasksDeadCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead", abstract: "List a queue's dead letters with their reasons, or throw some away.")

  @Argument(help: "The queue.")
  var queue: String

  @Option(help: "Throw this one away; may be said several times.")
  var discard: [String] = []

  @Option(help: "The most dead letters.")
  var limit = 100

  @Option(name: [.customShort("o"), .long], help: "table or json.")
  var output = TaskOutputFormat.table

  @OptionGroup var server: TaskServerOptions

  func run() async throws {
    try await server.withClient { client in try await lines(client).forEach { print($0) } }
  }

  /// What it prints.
  func lines(_ client: TaskClient) async throws -> [String] {
    guard discard.isEmpty else {
      for id in discard { _ = try await client.ask(.post, "/v1/tasks/\(try escaped(id))/discard", [:]) }
      return discard.map { "\($0) is thrown away" }
    }
    let answer = try await client.ask(
      .get, "/v1/tasks/dead",
      query: [APIRequest.QueryItem("queue", queue), APIRequest.QueryItem("limit", "\(limit)")])
    return output == .table ? TaskTexts.tasks(answer) : [String(decoding: answer.text, as: UTF8.self)]
  }
}

/// `swarmscale tasks retry`.
struct TasksRetryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry", abstract: "Give dead letters their attempts anew.")

  @Argument(help: "Ids of dead letters.")
  var ids: [String] = []

  @Option(help: ArgumentHelp("All dead letters of this queue.", valueName: "queue"))
  var all: String?

  @OptionGroup var server: TaskServerOptions

  func validate() throws {
    guard ids.isEmpty == (all != nil) else { throw ValidationError("name ids, or all of a queue by --all QUEUE") }
  }

  func run() async throws {
    try await server.withClient { client in try await lines(client).forEach { print($0) } }
  }

  /// What it prints.
  func lines(_ client: TaskClient) async throws -> [String] {
    var retried: [String] = []
    var ids = ids
    repeat {
      if let all {
        let page = [APIRequest.QueryItem("queue", all), APIRequest.QueryItem("limit", "1000")]
        let answer = try await client.ask(.get, "/v1/tasks/dead", query: page)
        // One that fails again at once is a dead letter of its own accord.
        ids = (answer["tasks"]?.arrayValue ?? []).compactMap { $0["id"]?.stringValue }.filter { !retried.contains($0) }
      }
      for id in ids { _ = try await client.ask(.post, "/v1/tasks/\(try escaped(id))/retry", [:]) }
      retried += ids
    } while all != nil && !ids.isEmpty
    return retried.map { "\($0) is ready" }
  }
}

/// An id as part of a path; what can't be one is refused here, before it is another path.
func escaped(_ id: String) throws -> String {
  let isFine = id.utf8.allSatisfy {
    (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D || $0 == 0x2E
  }
  guard isFine, !id.isEmpty else {
    throw TaskCommandError(64, "\"\(id.prefix(80))\" is not a task's id, such as reviewers-4fd1-17")
  }
  return id
}
