package import CoordinationAPI
import NIOCore
package import NIOHTTP1
import RateBudget
import Synchronization

/// Speaks the API of a queue of tasks (docs/task-queue.md), wherever that is, behind a server or in this process: the verbs as requests,
/// answers as they came.
package final class TaskQueueLink: Sendable {
  /// What the queue answered.
  package struct Answer: Sendable {
    /// The status of HTTP.
    package var status: Int
    /// The body: JSON.
    package var body: [UInt8]
    /// When it may be said again; nil: the queue doesn't say.
    package var retryAfter: Duration?

    /// Whether the queue did what was asked.
    package var isSuccess: Bool { (200..<300).contains(status) }
    /// Whether saying it again may help: the queue is full, or can't reach or write what it keeps.
    package var isTemporary: Bool { status == 408 || status == 429 || status >= 500 }

    /// The queue's words, or the status where it has none.
    package var message: String {
      JSONSlice(body)?.members?["error"]?.members?["message"]?.string ?? "the task queue answered \(status)"
    }
  }

  /// Bodies of answers beyond this are no answers of a queue, in bytes: a claim has 4 MiB at most.
  private static let longest = 32 * 1_024 * 1_024

  private enum Carrier: Sendable {
    case http(UpstreamClient)
    case engine(TaskAPI)
  }

  /// Where the queue is.
  private let address: String
  let clock: any CoordinationClock
  private let carrier: Carrier

  /// Makes a link to a server; it connects when there is something to say.
  package init(_ address: UpstreamAddress, clock: any CoordinationClock) {
    carrier = .http(UpstreamClient(address))
    self.address = "\(address)"
    self.clock = clock
  }

  /// Makes a link to an engine of this process; `address` is what people know it by.
  package init(_ api: TaskAPI, at address: String, clock: any CoordinationClock) {
    carrier = .engine(api)
    self.address = address
    self.clock = clock
  }

  /// Says something once.
  ///
  /// - Throws: `TaskQueueUnreachable`; `CancellationError`.
  package func call(_ method: HTTPMethod = .POST, _ target: String, _ body: [UInt8]? = nil) async throws -> Answer {
    switch carrier {
    case .http(let client): try await call(client, method, target, body)
    case .engine(let api): try await call(api, method, target, body)
    }
  }

  private func call(
    _ api: TaskAPI, _ method: HTTPMethod, _ target: String, _ body: [UInt8]?
  ) async throws -> Answer {
    do {
      let answer = try await api.respond(
        method: method.rawValue, target: target, contentType: "application/json", body: body ?? [])
      return Answer(
        status: answer.status, body: answer.body, retryAfter: answer.retryAfter.map { .seconds($0) })
    } catch {
      try Task.checkCancellation()
      throw TaskQueueUnreachable(address, "\(error)")
    }
  }

  private func call(
    _ client: UpstreamClient, _ method: HTTPMethod, _ target: String, _ body: [UInt8]?
  ) async throws -> Answer {
    var headers = HTTPHeaders([("host", client.address.authority)])
    if let body {
      headers.add(name: "content-type", value: "application/json")
      headers.add(name: "content-length", value: String(body.count))
    }
    let head = HTTPRequestHead(version: .http1_1, method: method, uri: client.address.path + target, headers: headers)
    do {
      // A verb that is said twice does no more than one that is said once: its ticket, or its key, says which it is.
      let exchange = client.start(head, body: body.map { ByteBuffer(bytes: $0) }, isRepeatable: true)
      let response = try await exchange.response()
      var bytes: [UInt8] = []
      while let chunk = try await response.body.next() {
        bytes.append(contentsOf: chunk.readableBytesView)
        guard bytes.count <= Self.longest else { throw TaskQueueUnreachable(address, "the answer doesn't end") }
      }
      let pause = response.headers.first(name: "retry-after").flatMap { Int64($0) }
      return Answer(
        status: Int(response.status.code), body: bytes, retryAfter: pause.map { .seconds(min(max($0, 0), 300)) })
    } catch let error as TaskQueueUnreachable {
      throw error
    } catch {
      try Task.checkCancellation()
      throw TaskQueueUnreachable(address, "\(error)")
    }
  }

  /// Says something until the queue has heard it, with pauses from 0.2 to 5 s. Where it takes no more (429) the pause is what it asks for and up to a quarter
  /// more, drawn; an answer that it still takes no more after `patience` is given. `onHeld` is told each such pause.
  ///
  /// - Throws: `CancellationError` alone.
  package func insist(
    _ target: String, _ body: [UInt8], patience: Duration = .seconds(600),
    onHeld: (Answer, Duration) -> Void = { _, _ in }
  ) async throws -> Answer {
    let end = clock.now + patience
    var attempt = 0
    while true {
      var pause = min(Duration.milliseconds(200 << min(attempt, 5)), .seconds(5))
      do {
        let answer = try await call(.POST, target, body)
        guard answer.isTemporary else { return answer }
        if answer.status == 429 {
          pause = (answer.retryAfter ?? .seconds(5)) * Int.random(in: 100...125) / 100
          guard clock.now + pause <= end else { return answer }
          onHeld(answer, pause)
        } else if let told = answer.retryAfter {
          pause = min(told, .seconds(5))
        }
      } catch is TaskQueueUnreachable {}
      attempt += 1
      try await clock.sleep(until: clock.now + pause)
    }
  }

  /// How many tasks wait in a queue; nil where that can't be known now.
  func waiting(in queue: String) async throws -> Int? {
    let place = String(
      decoding: queue.utf8.prefix(256).filter { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "&") }, as: UTF8.self)
    do {
      let answer = try await call(.GET, "/v1/tasks/backlog?queue=\(place)")
      guard answer.isSuccess, let waiting = JSONSlice(answer.body)?.members?["waiting"]?.integer else { return nil }
      return Int(clamping: waiting)
    } catch is TaskQueueUnreachable {
      return nil
    }
  }

  /// How often a queue is looked at, about: the coordinator decides every 15 s.
  private static let look = Duration.seconds(5)

  /// Tells `pool` what waits in a queue, until it is cancelled.
  func watch(_ queue: String, for pool: AgentPool) async throws {
    defer { pool.note(queue: queue, waiting: nil) }
    while true {
      pool.note(queue: queue, waiting: try await waiting(in: queue))
      // Drawn, so that a fleet that started together doesn't ask together.
      try await clock.sleep(until: clock.now + Self.look * Int(Int64.random(in: 80...120)) / 100)
    }
  }

  /// Ends its connections.
  package func shutDown() async {
    if case .http(let client) = carrier { await client.shutDown() }
  }
}

/// The queue of tasks can't be reached: what was said may have been heard or not. It can be said again.
public struct TaskQueueUnreachable: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong, and what to look at.
  public let description: String

  init(_ address: String, _ reason: String) {
    description =
      "the task queue at \(address) can't be reached (\(reason)); see that it runs, and that SWARMSCALE_TASKS is its URL"
  }
}
