import CoordinationAPI
import CoordinationEngine
import JSON
import NIOCore
import NIOHTTP1
import NIOPosix
import RateBudget
import Synchronization
import TaskQueue

/// How long a remote engine's verbs try, and what is given up when.
package struct RemotePatience: Hashable, Sendable {
  /// How long a verb is said again while the server can't be reached, where that is harmless. A failover of what is behind the server
  /// takes up to 8 s.
  package var verbs = Duration.seconds(10)
  /// The longest that an answer may take, beside the time that was asked for.
  package var answer = Duration.seconds(30)
  /// A stream that says nothing for so long is dead: the server says something every 15 s.
  package var silence = Duration.seconds(45)

  /// The patience that holds where nothing else is said.
  package init() {}
}

/// Why a verb came to nothing on its way to a server and back.
enum RemoteFailure: Error {
  /// The server can't be reached, or can't do its work; with words for people.
  case unavailable(String)
  /// The server refuses.
  case refused(APIErrorText)
}

/// Speaks an engine's API with its server: requests with their answers, and streams of events.
final class RemoteLink: Sendable {
  /// Bodies of answers beyond this are none of an engine, in bytes: a list has 64 MiB of values, in Base64.
  private static let longest = 128 * 1_024 * 1_024

  /// What a request has in its body.
  enum Body: Sendable {
    case none
    case json(JSONValue)
    case bytes([UInt8])
  }

  let clock: any CoordinationClock
  let patience: RemotePatience
  /// The end of the engine in front of the server.
  let closing = Ending()
  /// The end of claims that wait.
  let endingWaits = Ending()
  private let client: UpstreamClient
  private let known = Mutex(Durability.memory)

  /// What the server has said that an acknowledgement survives.
  var durability: Durability { known.withLock { $0 } }

  init(_ address: UpstreamAddress, clock: any CoordinationClock, patience: RemotePatience) {
    client = UpstreamClient(address)
    self.clock = clock
    self.patience = patience
  }

  /// Notes what the server says of its engine.
  func note(_ durability: Durability) { known.withLock { $0 = durability } }

  /// Ends all connections: what waits comes back.
  func close() async {
    closing.end()
    await client.shutDown()
  }

  // MARK: Requests

  /// How an attempt ended.
  private enum Outcome: Sendable {
    case answered([UInt8])
    case refused(APIErrorText)
    /// No answer, or that the server can't do its work. `isHeard`: the verb may have taken effect.
    case trouble(String, isHeard: Bool)
  }

  /// Says something, and again within the patience where it wasn't heard, or where saying it twice is harmless.
  ///
  /// - Parameter wait: what the server may take beside its work.
  /// - Throws: `RemoteFailure`; `CancellationError`.
  func call(
    _ method: HTTPMethod, _ target: String, _ body: Body = .none, isHarmless: Bool, wait: Duration = .zero
  ) async throws -> [UInt8] {
    var backOff = BackOff(clock, patience.verbs)
    while true {
      try checkOpen()
      switch try await attempt(method, target, body, isHarmless, wait) {
      case .answered(let bytes): return bytes
      case .refused(let error): throw RemoteFailure.refused(error)
      case .trouble(let words, let isHeard):
        guard isHarmless || !isHeard, try await backOff.pause() else { throw RemoteFailure.unavailable(words) }
      }
    }
  }

  /// As `call`, with the answer's JSON.
  func json(
    _ method: HTTPMethod, _ target: String, _ body: Body = .none, isHarmless: Bool, wait: Duration = .zero
  ) async throws -> JSONValue {
    let bytes = try await call(method, target, body, isHarmless: isHarmless, wait: wait)
    do {
      return try JSONValue(parsing: bytes)
    } catch {
      throw RemoteFailure.unavailable("the engine's server answers what isn't JSON (\(error)): is that its address?")
    }
  }

  private func checkOpen() throws(RemoteFailure) {
    if closing.isEnded { throw .unavailable("the engine is closed: start it again") }
  }

  private func attempt(
    _ method: HTTPMethod, _ target: String, _ body: Body, _ isHarmless: Bool, _ wait: Duration
  ) async throws -> Outcome {
    do {
      let limit = patience.answer + wait
      return try await within(limit) {
        let (_, response) = try await self.start(method, target, body, isRepeatable: isHarmless)
        return Self.outcome(Int(response.status.code), try await Self.collect(response.body))
      } ?? .trouble(unreachable("no answer within \(limit)"), isHeard: true)
    } catch {
      return .trouble(try trouble(error), isHeard: !Self.isNeverSent(error))
    }
  }

  private static func outcome(_ status: Int, _ bytes: [UInt8]) -> Outcome {
    if (200..<300).contains(status) { return .answered(bytes) }
    guard let text = (try? JSONValue(parsing: bytes)).flatMap(APIErrorText.init) else {
      return .trouble("the engine's server answers \(status): is that its address?", isHeard: true)
    }
    guard ["engine_unavailable", "timeout"].contains(text.type) else { return .refused(text) }
    return .trouble(text.message, isHeard: true)
  }

  private static func collect(_ body: UpstreamBody) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let chunk = try await body.next() {
      bytes.append(contentsOf: chunk.readableBytesView)
      guard bytes.count <= longest else { throw UpstreamError.connectionClosed }
    }
    return bytes
  }

  /// Whether an error came before anything was sent.
  private static func isNeverSent(_ error: any Error) -> Bool {
    if case ChannelError.connectTimeout? = error as? ChannelError { return true }
    return error is NIOConnectionError
  }

  /// What is to be said of an error on the way; `CancellationError` is thrown on.
  private func trouble(_ error: any Error) throws -> String {
    try Task.checkCancellation()
    if error is CancellationError { throw error }
    return unreachable("\(error)")
  }

  private func unreachable(_ reason: String) -> String {
    "the engine's server at \(client.address) can't be reached (\(reason)); see that it runs, and that SWARMSCALE_TASKS is its URL"
  }

  // MARK: Streams

  /// Opens a stream of events, and again within the patience while the server can't be reached.
  ///
  /// - Throws: `RemoteFailure`; `CancellationError`.
  func stream(_ target: String) async throws -> RemoteEvents {
    var backOff = BackOff(clock, patience.verbs)
    while true {
      try checkOpen()
      switch try await open(target) {
      case .success(let events): return events
      case .failure(.refused(let error)): throw RemoteFailure.refused(error)
      case .failure(.unavailable(let words)):
        guard try await backOff.pause() else { throw RemoteFailure.unavailable(words) }
      }
    }
  }

  /// Lets a server that ends do so before it is asked for another stream, and spreads those who lost theirs at the same moment.
  func pauseBeforeReconnecting() async throws {
    try await clock.sleep(until: clock.now + .milliseconds(Int64.random(in: 100...300)))
  }

  private func open(_ target: String) async throws -> Result<RemoteEvents, RemoteFailure> {
    do {
      let opened = try await within(patience.answer) { () -> Result<RemoteEvents, RemoteFailure> in
        let (exchange, response) = try await self.start(.GET, target, .none, isRepeatable: true)
        if response.status == .ok {
          return .success(RemoteEvents(exchange, response.body, clock: self.clock, silence: self.patience.silence))
        }
        switch Self.outcome(Int(response.status.code), try await Self.collect(response.body)) {
        case .refused(let error): return .failure(.refused(error))
        case .trouble(let words, _): return .failure(.unavailable(words))
        case .answered: return .failure(.unavailable("the engine's server has no stream: is that its address?"))
        }
      }
      return opened ?? .failure(.unavailable(unreachable("no answer within \(patience.answer)")))
    } catch {
      return .failure(.unavailable(try trouble(error)))
    }
  }

  // MARK: Exchanges

  private func start(
    _ method: HTTPMethod, _ target: String, _ body: Body, isRepeatable: Bool
  ) async throws -> (UpstreamExchange, UpstreamResponse) {
    var headers = HTTPHeaders([("host", client.address.authority)])
    let buffer: ByteBuffer?
    switch body {
    case .none: buffer = nil
    case .json(let json):
      headers.add(name: "content-type", value: "application/json")
      buffer = ByteBuffer(bytes: json.text)
    case .bytes(let bytes):
      headers.add(name: "content-type", value: "application/octet-stream")
      buffer = ByteBuffer(bytes: bytes)
    }
    if let buffer { headers.add(name: "content-length", value: "\(buffer.readableBytes)") }
    let head = HTTPRequestHead(version: .http1_1, method: method, uri: client.address.path + target, headers: headers)
    let exchange = client.start(head, body: buffer, isRepeatable: isRepeatable)
    return (exchange, try await exchange.response())
  }

  /// Does something for so long at most; nil: it took longer, and is cut off.
  private func within<Value: Sendable>(
    _ limit: Duration, _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> Value? {
    try await withThrowingTaskGroup(of: Value?.self) { [clock] group in
      group.addTask { try await body() }
      group.addTask {
        try await clock.sleep(until: clock.now + limit)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }
}

/// Pauses that grow, within a patience.
struct BackOff {
  private static let longest = Duration.seconds(1)

  private let clock: any CoordinationClock
  private let deadline: BudgetTime
  private var next = Duration.milliseconds(50)

  init(_ clock: any CoordinationClock, _ patience: Duration) {
    self.clock = clock
    deadline = clock.now + patience
  }

  /// Waits; false when the patience is over.
  mutating func pause() async throws -> Bool {
    guard clock.now + next <= deadline else { return false }
    try await clock.sleep(until: clock.now + next)
    next = min(next * 2, Self.longest)
    return true
  }
}
