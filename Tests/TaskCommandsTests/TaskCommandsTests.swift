import ArgumentParser
import CoordinationAPI
import KubernetesCore
import LocalEngine
import Synchronization
import TaskQueue
import TaskQueueServer
import Testing

@testable import TaskCommands

/// The tasks' API without a network.
private struct DirectTransport: APITransport {
  let api = TaskAPI(engine: LocalEngine().tasks)

  func send(_ request: APIRequest) async throws -> APIResponse {
    let answer = try await api.respond(
      method: request.method.rawValue, path: request.path,
      query: Dictionary(request.query.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first }),
      contentType: request.headers.first { $0.name == "content-type" }?.value ?? "", body: request.body ?? [])
    return APIResponse(head: APIResponseHead(status: answer.status), body: answer.json.text)
  }

  func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    throw TaskCommandError(69, "no streams here")
  }
}

@Suite struct TaskCommandsTests {
  private let client = TaskClient(transport: DirectTransport())

  private func submit(_ arguments: [String], _ input: String) async throws -> [String] {
    let command = try TasksSubmitCommand.parse(arguments)
    var ids: [String] = []
    for batch in try command.batches(Array(input.utf8)) {
      let answer = try await client.ask(.post, "/v1/tasks", ["queue": .string(command.queue), "tasks": .array(batch)])
      ids += (answer["tasks"]?.arrayValue ?? []).compactMap { $0["id"]?.stringValue }
    }
    return ids
  }

  private func fail(_ count: Int64) async throws {
    let claimed = try await client.ask(.post, "/v1/tasks/next", ["queue": "q", "worker": "w", "max": .int(count)])
    for task in claimed["tasks"]?.arrayValue ?? [] {
      let id = try #require(task["id"]?.stringValue)
      let body: JSONValue = ["epoch": task["epoch"] ?? 0, "reason": "no such\nfile", "retry": false]
      _ = try await client.ask(.post, "/v1/tasks/\(id)/fail", body)
    }
  }

  /// A clock that lets somebody act while others sleep.
  private final class BusyClock: EngineClock {
    private let state = Mutex(Duration.zero)
    private let act: @Sendable () async throws -> Void

    init(_ act: @escaping @Sendable () async throws -> Void) { self.act = act }

    var now: Duration { state.withLock { $0 } }
    var wall: Duration { now }
    func sleep(until time: Duration) async throws {
      state.withLock { $0 = max($0, time) }
      try await act()
    }
  }

  @Test(
    "While the queue takes no more a submission waits as long as it is told, says so, and gives up after its patience")
  func waitsForRoom() async throws {
    var settings = LocalEngineSettings()
    settings.tasks.tasks = 1
    let local = LocalEngine(settings: settings, clock: SystemEngineClock())
    let engine = local.tasks
    let client = TaskClient(engine: local)
    let body: JSONValue = ["queue": "q", "payload": 1]
    _ = try await client.ask(.post, "/v1/tasks", body)
    await #expect(throws: TaskCommandError.self) { _ = try await client.ask(.post, "/v1/tasks", body) }
    let pauses = Mutex<[Duration]>([])
    let turns = Mutex(0)
    let clock = BusyClock {
      guard
        turns.withLock({
          $0 += 1; return $0
        }) == 3
      else { return }
      let task = try #require(try await engine.claim(ClaimRequest(queue: "q", worker: "w"), wait: .zero).first)
      _ = try await engine.complete(task.ticket, result: [])
    }
    _ = try await client.ask(.post, "/v1/tasks", body, patience: .seconds(600), clock: clock) { words, pause in
      #expect(words.contains("1"))
      pauses.withLock { $0.append(pause) }
    }
    #expect(pauses.withLock { $0.count } == 3)
    #expect(pauses.withLock { $0.allSatisfy { (.seconds(5) ... .milliseconds(6_250)).contains($0) } })
    await #expect(throws: TaskCommandError.self) {
      _ = try await client.ask(.post, "/v1/tasks", body, patience: .seconds(20), clock: BusyClock {})
    }
  }

  @Test("Lines become tasks, a thousand in each request, with a key each; said twice they are the same tasks")
  func submitLines() async throws {
    let input = (0..<2_500).map { "{\"n\": \($0)}" }.joined(separator: "\n") + "\n"
    let command = try TasksSubmitCommand.parse(["q", "--lines", "--key", "load", "--lane", "bulk"])
    #expect(try command.batches(Array(input.utf8)).map(\.count) == [1_000, 1_000, 500])
    let ids = try await submit(["q", "--lines", "--key", "load", "--lane", "bulk"], input)
    #expect(Set(ids).count == 2_500)
    #expect(try await submit(["q", "--lines", "--key", "load", "--lane", "bulk"], input) == ids)
    let listed = try await TasksListCommand.parse(["q", "--limit", "2"]).lines(client)
    #expect(listed.count == 3)
    #expect(listed[1].hasPrefix(ids[0]) && listed[1].contains("bulk") && listed[1].contains("load-1"))
  }

  @Test("A line that isn't JSON is named, and nothing is submitted")
  func badLine() throws {
    let command = try TasksSubmitCommand.parse(["q", "--lines"])
    let error = #expect(throws: TaskCommandError.self) { try command.batches(Array("1\nnonsense\n".utf8)) }
    #expect(error?.code == 64 && error?.description.hasPrefix("line 2 is not JSON") == true)
    #expect(throws: (any Error).self) { try TasksSubmitCommand.parse(["q"]) }
    #expect(throws: (any Error).self) { try TasksSubmitCommand.parse(["q", "{}", "--lines"]) }
  }

  @Test("Dead letters are listed with their reasons, retried, and thrown away; what a worker wrote moves no cursor")
  func dead() async throws {
    let ids = try await submit(["q", "--lines"], "1\n2\n3\n")
    try await fail(3)
    let letters = try await TasksDeadCommand.parse(["q"]).lines(client)
    #expect(letters.count == 4 && letters[1].contains("no such file"))
    #expect(try await TasksRetryCommand.parse([ids[1]]).lines(client) == ["\(ids[1]) is ready"])
    #expect(try await TasksRetryCommand.parse(["--all", "q"]).lines(client).count == 2)
    try await fail(3)
    _ = try await TasksDeadCommand.parse(["q", "--discard", ids[0]]).lines(client)
    #expect(try await TasksDeadCommand.parse(["q"]).lines(client).count == 3)
    let queues = try await TasksListCommand.parse([]).lines(client)
    #expect(queues.count == 2 && queues[1].split(separator: " ") == ["q", "0", "0", "0", "2", "0", "memory"])
  }

  @Test("A task is shown; one that isn't there is told with its own exit code")
  func show() async throws {
    let id = try #require(try await submit(["q", "{\"n\": 7}"], "{\"n\": 7}").first)
    let lines = try await TasksShowCommand.parse([id]).lines(client)
    #expect(lines.contains("state: ready") && lines.contains("queue: q"))
    await #expect(
      throws: TaskCommandError(
        66,
        "there is no task q-zz-1: it was done long ago, or is of another queue or an earlier run of it; don't send this again"
      )
    ) {
      try await TasksShowCommand.parse(["q-zz-1"]).lines(client)
    }
    for bad in ["../stats", "q/1", ""] {
      await #expect(throws: TaskCommandError.self) { try await TasksShowCommand.parse([bad]).lines(client) }
    }
  }

  @Test(
    "An engine's options that can't be meant are refused",
    arguments: [
      ["--engine", "sqlite"], ["--engine", "memory", "--data", "d"], ["--durability", "node"],
      ["--data", "d", "--durability", "quorum"], ["--data", "d", "--durability", "memory"],
    ])
  func engineOptions(arguments: [String]) {
    #expect(throws: (any Error).self) { try EngineOptions.parse(arguments) }
  }
}
