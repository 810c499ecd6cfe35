import CoordinationEngine
import JSON

/// Server-sent events (the HTML standard, section 9.2) as they come, until their source ends, or the server, or the client.
package struct EventStream: Sendable {
  /// After so long a comment goes out, so that each side notices when the other is gone.
  package static let ping = Duration.seconds(15)

  private let next: @Sendable () async throws -> [UInt8]?
  private let end: @Sendable () -> Void
  private let ending: Ending

  init(
    next: @escaping @Sendable () async throws -> [UInt8]?, end: @escaping @Sendable () -> Void, ending: Ending
  ) {
    self.next = next
    self.end = end
    self.ending = ending
  }

  private enum Turn: Sendable {
    case event([UInt8]?)
    case failure([UInt8])
    case ping
    case ended
  }

  /// Gives all bytes of the stream to `write`, in their order. Ends when the events do or the server does, when the client
  /// is gone (`isGone`) or `write` throws, and when the task is cancelled.
  @concurrent package func send(
    until isGone: Ending = Ending(), sleep: @escaping @Sendable (Duration) async throws -> Void,
    _ write: @concurrent ([UInt8]) async throws -> Void
  ) async throws {
    defer { end() }
    try await withThrowingTaskGroup(of: Turn.self) { group in
      defer { group.cancelAll() }
      group.addTask { try await turn() }
      group.addTask {
        await ending.wait()
        return .ended
      }
      group.addTask {
        await isGone.wait()
        return .ended
      }
      group.addTask { try await Self.pause(sleep) }
      // A client learns from the head that it is heard: it goes out with this at once.
      try await write(Self.comment)
      while let turn = try await group.next() {
        switch turn {
        case .event(let frame?):
          try await write(frame)
          group.addTask { try await self.turn() }
        case .failure(let frame):
          try await write(frame)
          return
        case .ping:
          try await write(Self.comment)
          group.addTask { try await Self.pause(sleep) }
        case .event(nil), .ended: return
        }
      }
    }
  }

  private func turn() async throws -> Turn {
    do {
      return .event(try await next())
    } catch let error as EngineError {
      return .failure(Self.frame("error", TaskAPIError(error).json))
    }
  }

  private static func pause(_ sleep: @Sendable (Duration) async throws -> Void) async throws -> Turn {
    try await sleep(ping)
    return .ping
  }

  private static let comment = Array(":\n\n".utf8)

  /// An event as it is sent. JSON has no line feeds, so that it is one line.
  static func frame(_ type: String, _ json: JSONValue, id: Revision? = nil) -> [UInt8] {
    var frame = Array("event: \(type)\n".utf8)
    if let id { frame += "id: \(id)\n".utf8 }
    frame += "data: ".utf8
    frame += json.text
    frame += "\n\n".utf8
    return frame
  }
}
