import ArgumentParser
import CoordinationAPI
package import CoordinationEngine
import Foundation
import JetStreamEngine
import KubernetesClient
package import KubernetesCore
package import LocalEngine

/// A queue's server, or an engine of this process, as its clients see it.
package struct TaskClient: Sendable {
  private let send: @Sendable (APIRequest) async throws -> (status: Int, retryAfter: Int?, json: JSONValue)

  /// A client of a server behind a transport.
  package init(transport: any APITransport) {
    send = { request in
      let response = try await transport.send(request)
      let pause = response.head.header("retry-after").flatMap { Int($0) }
      return (response.head.status, pause, (try? JSONValue(parsing: response.body)) ?? .null)
    }
  }

  /// A client of an engine.
  package init(engine: any CoordinationEngine) {
    let api = EngineAPI(engine)
    send = { request in
      let query = request.query.map { "\($0.name)=\(APITarget.encoded($0.value))" }.joined(separator: "&")
      let call = EngineAPI.Request(
        request.method.rawValue, query.isEmpty ? request.path : "\(request.path)?\(query)",
        contentType: "application/json", body: request.body ?? [])
      guard case .json(let answer) = try await api.respond(to: call) else {
        throw TaskCommandError(69, "\(request.path) isn't answered in JSON")
      }
      return (answer.status, answer.retryAfter, answer.json)
    }
  }

  /// Asks and gives the answer. While the queue takes no more (429) it waits as long as that says and up to a quarter more, drawn, until `patience` is
  /// over; `onHeld` is told each such pause.
  package func ask(
    _ method: APIRequest.Method, _ path: String, query: [APIRequest.QueryItem] = [], _ body: JSONValue? = nil,
    patience: Duration = .zero, clock: any EngineClock = SystemEngineClock(),
    onHeld: (String, Duration) -> Void = { _, _ in }
  ) async throws -> JSONValue {
    var request = APIRequest(method: method, path: path)
    request.query = query
    if let body {
      request.body = body.text
      request.headers = [APIRequest.HeaderField("content-type", "application/json")]
    }
    let end = clock.now + patience
    while true {
      let answer: (status: Int, retryAfter: Int?, json: JSONValue)
      do {
        answer = try await send(request)
      } catch let error as KubernetesError {
        throw TaskCommandError(69, "the queue's server can't be reached: \(error.message)")
      }
      if answer.status < 300 { return answer.json }
      let message = answer.json["error"]?["message"]?.stringValue ?? "the server answers \(answer.status)"
      let pause = Duration.seconds(min(max(answer.retryAfter ?? 5, 1), 300)) * Int.random(in: 100...125) / 100
      guard answer.status == 429, clock.now + pause <= end else {
        throw TaskCommandError(answer.status == 404 ? 66 : answer.status >= 500 ? 69 : 65, message)
      }
      onHeld(message, pause)
      try await clock.sleep(until: clock.now + pause)
    }
  }
}

/// Why a command failed, and its exit code.
package struct TaskCommandError: Error, Hashable, CustomStringConvertible {
  /// 65 refused, 66 no such thing, 69 no server.
  package var code: Int32
  /// What to tell.
  package var description: String

  init(_ code: Int32, _ description: String) {
    self.code = code
    self.description = description
  }
}

/// Where the queue's server is.
struct TaskServerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The queue's server, such as http://127.0.0.1:34263, or NATS: nats://host:4222. Default: SWARMSCALE_TASKS.",
      valueName: "url"))
  var server: String?

  /// Does something with a client, and turns what goes wrong into words and an exit code.
  func withClient(_ body: (TaskClient) async throws -> Void) async throws {
    do {
      try await asking(body)
    } catch let error as TaskCommandError {
      FileHandle.standardError.write(Data("swarmscale tasks: \(error)\n".utf8))
      throw ExitCode(error.code)
    } catch let error as KubernetesError {
      FileHandle.standardError.write(Data("swarmscale tasks: \(error.message)\n".utf8))
      throw ExitCode(64)
    }
  }

  /// Does something with a client of the server, or of an engine on NATS.
  ///
  /// - Throws: `TaskCommandError`, `KubernetesError`, what `body` throws.
  func asking<Answer>(_ body: (TaskClient) async throws -> Answer) async throws -> Answer {
    guard let server = server ?? ProcessInfo.processInfo.environment["SWARMSCALE_TASKS"], !server.isEmpty else {
      throw TaskCommandError(
        64, "name the queue's server by --server URL or SWARMSCALE_TASKS; swarmscale local prints where its is")
    }
    if JetStreamAddress.isOne(server) {
      return try await Self.withEngine(server) { try await body(TaskClient(engine: $0)) }
    }
    // As it is printed, too.
    let base = server.hasSuffix("/v1/tasks") ? String(server.dropLast("/v1/tasks".count)) : server
    let transport = try CurlTransport(
      configuration: ClusterConfiguration(server: base, origin: "--server"),
      credentials: StaticCredentialProvider(), userAgent: "swarmscale", timeSource: CommandTime())
    let result: Result<Answer, any Error>
    do { result = .success(try await body(TaskClient(transport: transport))) } catch { result = .failure(error) }
    await transport.shutdown()
    return try result.get()
  }
}

extension TaskServerOptions {
  /// An engine on JetStream while something is done with it.
  private static func withEngine<Answer>(
    _ server: String, _ body: (any CoordinationEngine) async throws -> Answer
  ) async throws -> Answer {
    let engine = try JetStreamEngine.open(server)
    // Owned: ended below.
    let running = Task { try? await engine.run() }
    let result: Result<Answer, any Error>
    do { result = .success(try await body(engine)) } catch { result = .failure(error) }
    await engine.close()
    await running.value
    return try result.get()
  }
}

extension JetStreamEngine {
  /// An engine at an address, with the credentials that this process's environment names.
  static func open(_ address: String) throws -> JetStreamEngine {
    let variables = ProcessInfo.processInfo.environment
    do throws(JetStreamAddress.Invalid) {
      let configuration = try JetStreamAddress(address).configuration(reading: { variables[$0] }) { path in
        (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      return JetStreamEngine(configuration)
    } catch {
      throw TaskCommandError(64, "\(error.variable ?? "the address of the queue"): \(error.problem)")
    }
  }
}

/// The machine's clocks, for the transport.
private struct CommandTime: TimeSource {
  private let clock = SystemEngineClock()

  var wallNow: Timestamp { Timestamp(secondsSinceEpoch: clock.wall.components.seconds) }
  var monotonicNow: MonotonicTime { MonotonicTime(sinceOrigin: clock.now) }
  func sleep(until deadline: MonotonicTime) async throws { try await clock.sleep(until: deadline.sinceOrigin) }
}
