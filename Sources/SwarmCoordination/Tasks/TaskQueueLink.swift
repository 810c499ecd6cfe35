import NIOCore
package import NIOHTTP1
import RateBudget
import Synchronization

/// Speaks the API of a queue of tasks (docs/task-queue.md), wherever that is: the verbs as requests, answers as they came.
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

  /// Where the queue is.
  package var address: UpstreamAddress { client.address }
  let clock: any CoordinationClock
  private let client: UpstreamClient

  /// Makes a link; it connects when there is something to say.
  package init(_ address: UpstreamAddress, clock: any CoordinationClock) {
    client = UpstreamClient(address)
    self.clock = clock
  }

  /// Says something once.
  ///
  /// - Throws: `TaskQueueUnreachable`; `CancellationError`.
  package func call(_ method: HTTPMethod = .POST, _ target: String, _ body: [UInt8]? = nil) async throws -> Answer {
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

  /// Says something until the queue has heard it, with pauses from 0.2 to 5 s.
  ///
  /// - Throws: `CancellationError` alone.
  package func insist(_ target: String, _ body: [UInt8]) async throws -> Answer {
    var attempt = 0
    while true {
      var pause = Duration.milliseconds(200 << min(attempt, 5))
      do {
        let answer = try await call(.POST, target, body)
        guard answer.isTemporary else { return answer }
        pause = answer.retryAfter ?? pause
      } catch is TaskQueueUnreachable {}
      attempt += 1
      try await clock.sleep(until: clock.now + min(pause, .seconds(5)))
    }
  }

  /// Ends its connections.
  package func shutDown() async { await client.shutDown() }
}

/// The queue of tasks can't be reached: what was said may have been heard or not. It can be said again.
public struct TaskQueueUnreachable: Error, Hashable, Sendable, CustomStringConvertible {
  /// What is wrong, and what to look at.
  public let description: String

  init(_ address: UpstreamAddress, _ reason: String) {
    description =
      "the task queue at \(address) can't be reached (\(reason)); see that it runs, and that SWARMSCALE_TASKS is its URL"
  }
}
