import KubernetesCore

/// What the consumer of a transfer gets.
enum TransferDelivery: Sendable {
  /// A stream's head.
  case head(APIResponseHead)
  /// The next piece of a stream's body.
  case bytes([UInt8])
  /// A whole collected response.
  case response(APIResponse)
  /// The end of a stream's body.
  case end
  /// The transfer failed or was given up.
  case failure(any Error)
}

/// The hand-over of one response from the curl thread to the task that waits for it: pure, one instance per transfer.
///
/// Collecting: nothing, then the whole response. Streaming: the head, then pieces of the body, then the end. A failure
/// comes after the pieces that arrived before it.
struct TransferStateMachine<Waiter: Sendable>: Sendable {
  /// A consumer that waits, and what to give it.
  typealias Wake = (waiter: Waiter, delivery: TransferDelivery)

  /// What the curl thread does with a piece of the body.
  enum ReceiveDecision: Sendable {
    /// It was taken; wake the consumer if one waits.
    case accepted(Wake?)
    /// It wasn't taken: stop receiving until `.deliver(resumes: true)`.
    case pause
    /// The response is larger than allowed.
    case tooLarge
    /// Nobody wants it any more.
    case abandoned
  }

  /// What the consumer's call does.
  enum PullDecision: Sendable {
    /// Nothing yet: the waiter is kept and woken later.
    case wait
    /// Give this at once; with `resumes` tell the curl thread to receive again.
    case deliver(TransferDelivery, resumes: Bool)
  }

  private enum Outcome {
    case complete
    case failed(any Error)
  }

  private let mode: TransferMode
  private var undeliveredHead: APIResponseHead?
  private var buffer: [UInt8] = []
  private var isPaused = false
  private var outcome: Outcome?
  private var waiter: Waiter?

  /// Starts a transfer from which nothing has arrived.
  init(mode: TransferMode) {
    self.mode = mode
  }

  // MARK: The curl thread

  /// The head has arrived.
  mutating func receivedHead(_ head: APIResponseHead) -> Wake? {
    guard outcome == nil else { return nil }
    undeliveredHead = head
    return wakeIfReady()
  }

  /// A piece of the body has arrived.
  mutating func received(_ bytes: UnsafeRawBufferPointer) -> ReceiveDecision {
    guard outcome == nil else { return .abandoned }
    switch mode {
    case .collect(let maximumBytes):
      guard buffer.count + bytes.count <= maximumBytes else { return .tooLarge }
    case .stream(let highWaterBytes):
      guard buffer.isEmpty || buffer.count + bytes.count <= highWaterBytes else {
        isPaused = true
        return .pause
      }
    }
    buffer.append(contentsOf: bytes)
    return .accepted(wakeIfReady())
  }

  /// The transfer has ended, well (nil) or not.
  mutating func finished(_ error: (any Error)?) -> Wake? {
    guard outcome == nil else { return nil }
    outcome = error.map { .failed($0) } ?? .complete
    return wakeIfReady()
  }

  // MARK: The consumer

  /// The consumer wants the next delivery.
  mutating func pull(_ newWaiter: Waiter) -> PullDecision {
    guard waiter == nil else {
      return .deliver(
        .failure(KubernetesError(.malformedResponse, "A response's body has one consumer; a second one asked for it.")),
        resumes: false)
    }
    guard let delivery = nextDelivery() else {
      waiter = newWaiter
      return .wait
    }
    let resumes = isPaused && buffer.isEmpty && outcome == nil
    if resumes { isPaused = false }
    return .deliver(delivery, resumes: resumes)
  }

  /// The consumer gives up: what has arrived is dropped, what comes is refused.
  ///
  /// - Returns: the waiter to wake, and whether the curl thread has to be told.
  mutating func abandon() -> (wake: Wake?, wasRunning: Bool) {
    let wasRunning = outcome == nil
    outcome = .failed(CancellationError())
    undeliveredHead = nil
    buffer = []
    return (wakeIfReady(), wasRunning)
  }

  // MARK: Both

  private mutating func wakeIfReady() -> Wake? {
    guard let waiting = waiter, let delivery = nextDelivery() else { return nil }
    waiter = nil
    return (waiting, delivery)
  }

  private mutating func nextDelivery() -> TransferDelivery? {
    if case .collect = mode { return collectedDelivery() }
    if let head = undeliveredHead {
      undeliveredHead = nil
      return .head(head)
    }
    if !buffer.isEmpty {
      defer { buffer = [] }
      return .bytes(buffer)
    }
    switch outcome {
    case nil: return nil
    case .complete: return .end
    case .failed(let error): return .failure(error)
    }
  }

  private mutating func collectedDelivery() -> TransferDelivery? {
    switch outcome {
    case nil: return nil
    case .failed(let error): return .failure(error)
    case .complete:
      guard let head = undeliveredHead else { return .end }
      defer { buffer = [] }
      return .response(APIResponse(head: head, body: buffer))
    }
  }
}
