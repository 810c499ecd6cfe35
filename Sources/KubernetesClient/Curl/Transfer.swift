import KubernetesCore
import Synchronization

/// One transfer as both sides see it: the curl thread fills it, one task empties it.
///
/// Continuations are resumed after the lock is released.
final class Transfer: Sendable {
  /// A task that waits for the next delivery.
  typealias Waiter = CheckedContinuation<TransferDelivery, Never>

  /// Unique within the transport.
  let id: UInt64
  /// What to send.
  let request: PreparedRequest
  private let loop: CurlLoop
  private let machine: Mutex<TransferStateMachine<Waiter>>

  /// Makes a transfer that isn't started yet.
  init(id: UInt64, request: PreparedRequest, loop: CurlLoop) {
    self.id = id
    self.request = request
    self.loop = loop
    machine = Mutex(TransferStateMachine(mode: request.mode))
  }

  // MARK: The consuming task

  /// The next delivery; throws what the transfer failed with, or `CancellationError`.
  func next() async throws -> TransferDelivery {
    let delivery = await withTaskCancellationHandler {
      await withCheckedContinuation { (waiter: Waiter) in
        switch machine.withLock({ $0.pull(waiter) }) {
        case .wait: break
        case .deliver(let delivery, let resumes):
          waiter.resume(returning: delivery)
          if resumes { loop.resume(id) }
        }
      }
    } onCancel: {
      abandon()
    }
    if case .failure(let error) = delivery { throw error }
    return delivery
  }

  /// The next piece of a stream's body; nil at its end.
  func nextBytes() async throws -> [UInt8]? {
    switch try await next() {
    case .bytes(let bytes): bytes
    case .end: nil
    case .head, .response, .failure:
      throw KubernetesError(.malformedResponse, "A second head arrived in the middle of a stream.")
    }
  }

  /// Gives the transfer up: its connection, or its HTTP/2 stream, is closed soon.
  func abandon() {
    let (wake, wasRunning) = machine.withLock { $0.abandon() }
    wake?.waiter.resume(returning: wake?.delivery ?? .end)
    if wasRunning { loop.cancel(id) }
  }

  // MARK: The curl thread

  /// What became of a piece of the body.
  enum Reception {
    /// It was taken.
    case accepted
    /// It has to wait.
    case pause
    /// The response is larger than allowed.
    case tooLarge
    /// Nobody wants it.
    case abandoned
  }

  /// The head has arrived.
  func receivedHead(_ head: APIResponseHead) {
    wake(machine.withLock { $0.receivedHead(head) })
  }

  /// A piece of the body has arrived.
  func received(_ bytes: UnsafeRawBufferPointer) -> Reception {
    switch machine.withLock({ $0.received(bytes) }) {
    case .accepted(let waiting):
      wake(waiting)
      return .accepted
    case .pause: return .pause
    case .tooLarge: return .tooLarge
    case .abandoned: return .abandoned
    }
  }

  /// The transfer has ended, well (nil) or not.
  func finished(_ error: (any Error)?) {
    wake(machine.withLock { $0.finished(error) })
  }

  private func wake(_ wake: TransferStateMachine<Waiter>.Wake?) {
    wake?.waiter.resume(returning: wake?.delivery ?? .end)
  }
}
