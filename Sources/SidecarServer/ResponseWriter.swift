package import NIOCore
package import NIOHTTP1
import RateBudget
package import SwarmCoordination
import Synchronization

/// A part of an answer, in the form that can cross threads.
package typealias ResponsePart = HTTPPart<HTTPResponseHead, ByteBuffer>

/// Gives the HTTP encoder the parts in its own form.
final class ResponsePartHandler: ChannelOutboundHandler {
  typealias OutboundIn = ResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let part: HTTPServerResponsePart =
      switch unwrapOutboundIn(data) {
      case .head(let head): .head(head)
      case .body(let buffer): .body(.byteBuffer(buffer))
      case .end(let trailers): .end(trailers)
      }
    context.write(wrapOutboundOut(part), promise: promise)
  }
}

/// Writes one answer, and puts pings into a stream that is silent.
///
/// Two tasks write: one what comes from upstream, one pings. The lock is held while a part is handed to the channel,
/// which never waits, so that a ping can't come into the middle of an event.
package final class ResponseWriter: Sendable {
  /// The event that the API itself sends.
  static let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n"

  private struct State {
    var events = EventStreamReader(readsData: false)
    var lastWrite: BudgetTime
    /// Whether the answer's end was handed to the channel: nothing may come behind it.
    var isEnded = false
  }

  private let channel: any Channel
  private let clock: any CoordinationClock
  private let state: Mutex<State>
  private let isEventStream: Bool

  /// Makes a writer of one answer.
  package init(channel: any Channel, clock: any CoordinationClock, isEventStream: Bool) {
    self.channel = channel
    self.clock = clock
    self.isEventStream = isEventStream
    state = Mutex(State(lastWrite: clock.now))
  }

  /// Writes the head; it goes out with what is written next, or by `flush`.
  package func write(_ head: HTTPResponseHead) {
    channel.write(ResponsePart.head(head), promise: nil)
  }

  /// Sends what was written.
  func flush() {
    channel.flush()
  }

  /// Writes a piece of the body. Waits only while more is written than the network takes: upstream is read only as fast as
  /// the client reads. Not flushed, it goes out with the next piece, which must be at hand.
  func write(_ chunk: ByteBuffer, flushing: Bool) async throws {
    put(chunk)
    if !flushing, channel.isWritable { return }
    channel.flush()
    guard !channel.isWritable else { return }
    // It is done when everything before it is.
    try await channel.writeAndFlush(ResponsePart.body(ByteBuffer())).get()
  }

  /// Ends the answer, with the last piece of the body if there is one, and waits until all of it is with the network.
  package func end(_ chunk: ByteBuffer? = nil) async throws {
    if let chunk { put(chunk) }
    // A client that reads slowly makes this wait for longer than a silence.
    let written = state.withLock { state in
      state.isEnded = true
      return channel.writeAndFlush(ResponsePart.end(nil))
    }
    try await written.get()
  }

  private func put(_ chunk: ByteBuffer) {
    let now = clock.now
    state.withLock { state in
      if isEventStream { chunk.withUnsafeReadableBytes { state.events.take($0) { _ in } } }
      state.lastWrite = now
      channel.write(ResponsePart.body(chunk), promise: nil)
    }
  }

  /// Puts a ping in whenever nothing was written for `silence`, until the answer has its end or the task is cancelled.
  package func keepAlive(after silence: Duration, onPing: @Sendable () -> Void) async throws {
    while true {
      let last = state.withLock { $0.lastWrite }
      try await clock.sleep(until: last + silence)
      let now = clock.now
      let isSent = state.withLock { state -> Bool? in
        if state.isEnded { return nil }
        guard now - state.lastWrite >= silence else { return false }
        state.lastWrite = now
        // In the middle of an event nothing may come between; it is looked at again after another silence.
        guard state.events.isBetweenEvents else { return false }
        channel.writeAndFlush(ResponsePart.body(ByteBuffer(string: Self.ping)), promise: nil)
        return true
      }
      guard let isSent else { return }
      if isSent { onPing() }
    }
  }
}
