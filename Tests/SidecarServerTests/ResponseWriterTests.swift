import MockClaudeServer
import NIOCore
import NIOEmbedded
import NIOHTTP1
import SidecarServer
import SlowTests
import SwarmCoordination
import Synchronization
import Testing

/// The order in which the parts of an answer come to the connection.
@Suite("Writing answers", .alone, .timeLimit(.minutes(10))) struct ResponseWriterTests {
  /// A connection whose client doesn't read: what is written stays written, and is never done.
  private final class StalledClient: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = ResponsePart

    let parts = Mutex<[String]>([])
    let held = Mutex<[EventLoopPromise<Void>]>([])

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
      let name =
        switch unwrapOutboundIn(data) {
        case .head: "head"
        case .body: "body"
        case .end: "end"
        }
      parts.withLock { $0.append(name) }
      if let promise { held.withLock { $0.append(promise) } }
    }

    func release() {
      for promise in held.withLock({ $0 }) { promise.succeed() }
    }
  }

  @Test("No ping comes behind the end of an answer, however long the client takes to read it")
  func noPingBehindTheEnd() async throws {
    let client = StalledClient()
    let channel = await NIOAsyncTestingChannel(handler: client)
    let mock = MockClock(start: MockClock.wallTime, speed: 1)
    let clock = MockDrivenClock(mock)
    let writer = ResponseWriter(channel: channel, clock: clock, isEventStream: true)
    writer.write(HTTPResponseHead(version: .http1_1, status: .ok))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await writer.end(ByteBuffer(string: "event: message_stop\ndata: {}\n\n")) }
      while client.parts.withLock({ $0.last }) != "end", !Task.isCancelled { await Task.yield() }
      async let alive: Void = writer.keepAlive(after: .seconds(15)) { client.parts.withLock { $0.append("ping") } }
      clock.advance(by: .seconds(16))
      try await alive
      client.release()
      try await group.waitForAll()
    }
    #expect(client.parts.withLock { $0 } == ["head", "body", "end"])
    _ = try? await channel.finish()
  }
}
