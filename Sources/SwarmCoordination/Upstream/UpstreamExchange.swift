import NIOCore
import NIOHTTP1
import Synchronization

/// The answer of the API to one request: its head, and a body that comes.
struct UpstreamResponse: Sendable {
  /// The status.
  var status: HTTPResponseStatus
  /// All headers.
  var headers: HTTPHeaders
  /// The body.
  var body: UpstreamBody
}

/// The body of an answer. Whoever lets go of it before its end cuts it off: its connection is closed.
final class UpstreamBody: Sendable {
  private let exchange: UpstreamExchange

  init(_ exchange: UpstreamExchange) {
    self.exchange = exchange
  }

  deinit { exchange.cancel() }

  /// The next piece, in the order of arrival; nil: the body is complete. For one task at a time.
  ///
  /// - Throws: the error of a connection that broke, after what had arrived; `CancellationError`.
  func next() async throws -> ByteBuffer? { try await exchange.next() }

  /// Whether `next` has something to say without waiting.
  var isReady: Bool { exchange.isReady }
  /// Whether the body is complete, and all of it was read.
  var isAtEnd: Bool { exchange.isAtEnd }
}

/// One request on its way, and its answer as it comes: what the task that waits for it and its connection share.
///
/// The lock is uncontended where both are on the same event loop. Waiting tasks are resumed after it.
final class UpstreamExchange: Sendable {
  /// Beyond so many bytes that nobody has taken, the connection isn't read: a slow client holds upstream up, not memory.
  static let highWatermark = 65_536

  private enum Ending {
    case complete
    case failed(any Error)
  }

  private struct State {
    /// The connection that works on it; nil: none yet, or none any more.
    var channel: (any Channel)?
    var answer: Result<UpstreamResponse, any Error>?
    var answerWaiter: CheckedContinuation<UpstreamResponse, any Error>?
    var chunks = CircularBuffer<ByteBuffer>()
    var bytes = 0
    var ending: Ending?
    var bodyWaiter: CheckedContinuation<ByteBuffer?, any Error>?
    var isPaused = false
  }

  private enum Taken {
    case chunk(ByteBuffer, resuming: (any Channel)?)
    case end
    case nothing
  }

  /// The request's head.
  let head: HTTPRequestHead
  /// The request's body; nil: none.
  let body: ByteBuffer?
  /// Whether it may be sent once more when a kept connection turns out to be closed.
  let isRepeatable: Bool
  private let state = Mutex(State())

  init(head: HTTPRequestHead, body: ByteBuffer?, isRepeatable: Bool) {
    self.head = head
    self.body = body
    self.isRepeatable = isRepeatable
  }

  // MARK: The task

  /// Waits for the answer's head. Cancelling the task closes the connection.
  func response() async throws -> UpstreamResponse {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let answer: Result<UpstreamResponse, any Error>? = state.withLock { state in
          if let answer = state.answer.take() { return answer }
          if case .failed(let error)? = state.ending { return .failure(error) }
          state.answerWaiter = continuation
          return nil
        }
        if let answer { continuation.resume(with: answer) }
      }
    } onCancel: {
      cancel()
    }
  }

  fileprivate func next() async throws -> ByteBuffer? {
    switch try state.withLock({ try Self.take(&$0) }) {
    case .chunk(let chunk, let channel):
      Self.read(channel)
      return chunk
    case .end: return nil
    case .nothing: break
    }
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        // Something may have come since the look above.
        let taken = state.withLock { state -> Result<Taken, any Error> in
          Result {
            let taken = try Self.take(&state)
            if case .nothing = taken { state.bodyWaiter = continuation }
            return taken
          }
        }
        switch taken {
        case .success(.chunk(let chunk, let channel)):
          Self.read(channel)
          continuation.resume(returning: chunk)
        case .success(.end): continuation.resume(returning: nil)
        case .success(.nothing): break
        case .failure(let error): continuation.resume(throwing: error)
        }
      }
    } onCancel: {
      cancel()
    }
  }

  fileprivate var isReady: Bool { state.withLock { !$0.chunks.isEmpty || $0.ending != nil } }

  fileprivate var isAtEnd: Bool {
    state.withLock { state in
      if case .complete? = state.ending { state.chunks.isEmpty } else { false }
    }
  }

  /// How many bytes of the body are here that nobody has taken, and whether the connection is held back because of them.
  var backlog: (bytes: Int, isPaused: Bool) { state.withLock { ($0.bytes, $0.isPaused) } }

  /// Cuts it off, if it isn't over: nobody wants the rest.
  func cancel() {
    end(with: CancellationError(), closing: true)
  }

  private static func take(_ state: inout State) throws -> Taken {
    if let chunk = state.chunks.popFirst() {
      state.bytes -= chunk.readableBytes
      guard state.isPaused, state.bytes < highWatermark / 2 else { return .chunk(chunk, resuming: nil) }
      state.isPaused = false
      return .chunk(chunk, resuming: state.channel)
    }
    switch state.ending {
    case .complete?: return .end
    case .failed(let error)?: throw error
    case nil: return .nothing
    }
  }

  private static func read(_ channel: (any Channel)?) {
    _ = channel?.setOption(ChannelOptions.autoRead, value: true)
  }

  // MARK: The connection

  /// Whether it still wants an answer.
  var isOpen: Bool { state.withLock { $0.ending == nil } }

  /// Notes the connection that works on it. Returns whether an answer is still wanted.
  func attach(_ channel: any Channel) -> Bool {
    state.withLock { state in
      guard state.ending == nil else { return false }
      state.channel = channel
      return true
    }
  }

  /// Takes in the head of the answer.
  func receive(_ head: HTTPResponseHead) {
    let response = UpstreamResponse(status: head.status, headers: head.headers, body: UpstreamBody(self))
    let waiter = state.withLock { state -> CheckedContinuation<UpstreamResponse, any Error>? in
      guard state.ending == nil else { return nil }
      if let waiter = state.answerWaiter.take() { return waiter }
      state.answer = .success(response)
      return nil
    }
    waiter?.resume(returning: response)
  }

  /// Takes in a piece of the body. Returns whether the connection must stop reading: more than enough is here.
  func receive(_ chunk: ByteBuffer) -> Bool {
    guard chunk.readableBytes > 0 else { return false }
    let (waiter, isTooMuch) = state.withLock { state -> (CheckedContinuation<ByteBuffer?, any Error>?, Bool) in
      guard state.ending == nil else { return (nil, false) }
      if let waiter = state.bodyWaiter.take() { return (waiter, false) }
      state.chunks.append(chunk)
      state.bytes += chunk.readableBytes
      state.isPaused = state.isPaused || state.bytes >= Self.highWatermark
      return (nil, state.isPaused)
    }
    waiter?.resume(returning: chunk)
    return isTooMuch
  }

  /// Notes that the answer is complete: the connection is free for another request.
  func complete() {
    let waiter = state.withLock { state -> CheckedContinuation<ByteBuffer?, any Error>? in
      guard state.ending == nil else { return nil }
      state.ending = .complete
      state.channel = nil
      return state.bodyWaiter.take()
    }
    waiter?.resume(returning: nil)
  }

  /// Notes that the answer broke off.
  func fail(_ error: any Error) {
    end(with: error, closing: false)
  }

  private func end(with error: any Error, closing: Bool) {
    let (channel, answerWaiter, bodyWaiter, unread) = state.withLock { state in
      let result = (state.channel.take(), state.answerWaiter.take(), state.bodyWaiter.take(), state.answer.take())
      if state.ending == nil { state.ending = .failed(error) }
      if closing {
        state.chunks.removeAll()
        state.bytes = 0
      }
      return result
    }
    if closing { channel?.close(mode: .all, promise: nil) }
    answerWaiter?.resume(throwing: error)
    bodyWaiter?.resume(throwing: error)
    // Its end comes back here, which must be after the lock.
    withExtendedLifetime(unread) {}
  }
}
