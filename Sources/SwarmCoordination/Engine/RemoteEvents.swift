import JSON
import NIOCore
import RateBudget
import Synchronization

/// Server-sent events of an engine's server, as they come. One task at a time asks for them.
final class RemoteEvents: Sendable {
  /// An event.
  struct Event: Sendable {
    /// Its type.
    var type: String
    /// What it says.
    var data: JSONValue
  }

  private let exchange: UpstreamExchange
  private let body: UpstreamBody
  private let parser = Mutex(EventParserOfLines())
  private let clock: any CoordinationClock
  private let silence: Duration

  init(_ exchange: UpstreamExchange, _ body: UpstreamBody, clock: any CoordinationClock, silence: Duration) {
    self.exchange = exchange
    self.body = body
    self.clock = clock
    self.silence = silence
  }

  /// Ends it: whoever waits comes back with an error.
  func cancel() { exchange.cancel() }

  /// The next event; nil at the end, which silence is too.
  ///
  /// - Throws: what broke the connection; `CancellationError`.
  func next() async throws -> Event? {
    while true {
      if let event = try parser.withLock({ try $0.next() }) { return event }
      guard let chunk = try await chunk() else { return nil }
      parser.withLock { $0.take(chunk) }
    }
  }

  private func chunk() async throws -> ByteBuffer? {
    if body.isReady { return try await body.next() }
    return try await withThrowingTaskGroup(of: ByteBuffer?.self) { [body, clock, silence] group in
      group.addTask { try await body.next() }
      group.addTask {
        try await clock.sleep(until: clock.now + silence)
        return nil
      }
      defer { group.cancelAll() }
      return try await group.next() ?? nil
    }
  }
}

/// Puts the lines of a stream of events together.
struct EventParserOfLines: Sendable {
  /// An event beyond this is none of an engine, in bytes: a message of 1 MiB in Base64, and what is around it.
  static let longest = 4 * 1_024 * 1_024

  /// What isn't an engine's stream of events.
  struct Invalid: Error {}

  private var bytes: [UInt8] = []
  /// Where the next line begins.
  private var start = 0
  /// Up to where there is no end of a line.
  private var searched = 0
  private var type = ""
  private var data: [UInt8] = []

  /// Takes in what has come.
  mutating func take(_ chunk: ByteBuffer) {
    if start > 0 {
      bytes.removeFirst(start)
      searched -= start
      start = 0
    }
    bytes.append(contentsOf: chunk.readableBytesView)
  }

  /// The next event of what has come; nil when it isn't complete.
  mutating func next() throws -> RemoteEvents.Event? {
    while let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
      let line = bytes[start..<end]
      start = end + 1
      searched = start
      if line.isEmpty {
        defer { (type, data) = ("", []) }
        if !data.isEmpty { return RemoteEvents.Event(type: type, data: try JSONValue(parsing: data)) }
      } else if line.starts(with: "event: ".utf8) {
        type = String(decoding: line.dropFirst(7), as: UTF8.self)
      } else if line.starts(with: "data: ".utf8) {
        data += line.dropFirst(6)
      }
    }
    searched = bytes.count
    guard bytes.count - start <= Self.longest, data.count <= Self.longest else { throw Invalid() }
    return nil
  }
}
