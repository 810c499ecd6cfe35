import ArgumentParser
import Foundation
import KubernetesClient
package import KubernetesCore
import LocalEngine

/// A queue's server, as its clients see it.
package struct TaskClient: Sendable {
  private let transport: any APITransport

  /// A client of a server behind a transport.
  package init(transport: any APITransport) {
    self.transport = transport
  }

  /// Asks and gives the answer; throws an `ExitCode` after having said why not.
  package func ask(
    _ method: APIRequest.Method, _ path: String, query: [APIRequest.QueryItem] = [], _ body: JSONValue? = nil
  ) async throws -> JSONValue {
    var request = APIRequest(method: method, path: path)
    request.query = query
    if let body {
      request.body = body.text
      request.headers = [APIRequest.HeaderField("content-type", "application/json")]
    }
    let response: APIResponse
    do {
      response = try await transport.send(request)
    } catch let error as KubernetesError {
      throw TaskCommandError(69, "the queue's server can't be reached: \(error.message)")
    }
    let json = (try? JSONValue(parsing: response.body)) ?? .null
    guard response.head.status < 300 else {
      let message = json["error"]?["message"]?.stringValue ?? "the server answers \(response.head.status)"
      throw TaskCommandError(response.head.status == 404 ? 66 : response.head.status >= 500 ? 69 : 65, message)
    }
    return json
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
      "The server, such as http://127.0.0.1:34263. Default: the variable SWARMSCALE_TASKS.", valueName: "url"))
  var server: String?

  /// Does something with a client, and turns what goes wrong into words and an exit code.
  func withClient(_ body: (TaskClient) async throws -> Void) async throws {
    do {
      guard let server = server ?? ProcessInfo.processInfo.environment["SWARMSCALE_TASKS"], !server.isEmpty else {
        throw TaskCommandError(
          64, "name the queue's server by --server URL or SWARMSCALE_TASKS; swarmscale local prints where its is")
      }
      // As it is printed, too.
      let base = server.hasSuffix("/v1/tasks") ? String(server.dropLast("/v1/tasks".count)) : server
      let transport = try CurlTransport(
        configuration: ClusterConfiguration(server: base, origin: "--server"),
        credentials: StaticCredentialProvider(), userAgent: "swarmscale", timeSource: CommandTime())
      let result: Result<Void, any Error>
      do { result = .success(try await body(TaskClient(transport: transport))) } catch { result = .failure(error) }
      await transport.shutdown()
      try result.get()
    } catch let error as TaskCommandError {
      FileHandle.standardError.write(Data("swarmscale tasks: \(error)\n".utf8))
      throw ExitCode(error.code)
    } catch let error as KubernetesError {
      FileHandle.standardError.write(Data("swarmscale tasks: \(error.message)\n".utf8))
      throw ExitCode(64)
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
