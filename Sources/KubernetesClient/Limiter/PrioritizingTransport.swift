package import KubernetesCore
import Synchronization

/// Sends at most so many requests at once, urgent ones first, and eases off when the server answers 429.
///
/// Streams pass straight through: a watch lasts for minutes and would hold a slot for all that time. After a 429,
/// status writes and events pause for its Retry-After; writes and reads go on, for their callers back off themselves.
package final class PrioritizingTransport: APITransport {
  /// Bounds.
  package typealias Limits = RequestLimiterStateMachine<Never>.Limits

  private typealias Waiter = CheckedContinuation<Wake, Never>
  private typealias Machine = RequestLimiterStateMachine<Waiter>

  /// What a waiting request is told.
  private enum Wake: Sendable {
    case granted
    case again
    case cancelled
    case sleep(until: MonotonicTime)
    case refused
  }

  private struct State {
    var machine: Machine
    var nextID: UInt64 = 0
    /// Requests whose task was cancelled before they could be queued.
    var cancelled: Set<UInt64> = []
  }

  private let base: any APITransport
  private let timeSource: any TimeSource
  private let state: Mutex<State>

  /// The pause after a 429 without Retry-After.
  private static let defaultHold = Duration.seconds(1)

  /// Wraps `base`.
  package init(
    _ base: any APITransport, inFlight: Int = 32, waitingEvents: Int = 256, longestHold: Duration = .seconds(30),
    timeSource: any TimeSource
  ) {
    self.base = base
    self.timeSource = timeSource
    state = Mutex(
      State(
        machine: Machine(
          limits: .init(inFlight: inFlight, waitingEvents: waitingEvents, longestHold: longestHold))))
  }

  package func send(_ request: APIRequest) async throws -> APIResponse {
    try await waitForTurn(request.priority)
    defer { resume(state.withLock { $0.machine.release() }) }
    let response = try await base.send(request)
    if response.head.status == 429 { hold(after: response.head) }
    return response
  }

  package func withStream<Result: Sendable>(
    _ request: APIRequest, _ body: (APIResponseHead, APIByteStream) async throws -> Result
  ) async throws -> Result {
    try await base.withStream(request, body)
  }

  /// How many requests are in flight, and how many wait in each class; for `/metrics`.
  package var load: (inFlight: Int, waiting: [APIRequest.Priority: Int]) {
    state.withLock { state in
      let waiting = APIRequest.Priority.allCases.map { ($0, state.machine.waiting($0)) }
      return (state.machine.inFlight, Dictionary(uniqueKeysWithValues: waiting))
    }
  }

  private func waitForTurn(_ priority: APIRequest.Priority) async throws {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    while true {
      switch await ask(id, priority) {
      case .granted: return
      case .again: continue
      case .cancelled: throw CancellationError()
      case .sleep(let until):
        do {
          try await timeSource.sleep(until: until)
        } catch {
          cancel(id, priority)
          state.withLock { _ = $0.cancelled.remove(id) }
          throw error
        }
      case .refused:
        throw KubernetesError(
          .tooManyRequests, "Too many events wait to be sent to the Kubernetes API already; this one is dropped.")
      }
    }
  }

  private func ask(_ id: UInt64, _ priority: APIRequest.Priority) async -> Wake {
    let now = timeSource.monotonicNow
    let wake = await withTaskCancellationHandler {
      await withCheckedContinuation { (waiter: Waiter) in
        let answer: Wake? = state.withLock { state in
          if state.cancelled.contains(id) { return .cancelled }
          switch state.machine.acquire(id, priority, waiter, now: now) {
          case .granted: return .granted
          case .wait: return nil
          case .sleep(let until): return .sleep(until: until)
          case .refused: return .refused
          }
        }
        if let answer { waiter.resume(returning: answer) }
      }
    } onCancel: {
      cancel(id, priority)
    }
    // Granted and cancelled at once: the grant counts, and the request itself will notice the cancellation.
    state.withLock { _ = $0.cancelled.remove(id) }
    return wake
  }

  /// Takes `id` out of the queue, or notes that it mustn't enter it.
  private func cancel(_ id: UInt64, _ priority: APIRequest.Priority) {
    let (own, granted) = state.withLock { state in
      state.cancelled.insert(id)
      return state.machine.cancel(id, priority)
    }
    own?.resume(returning: .cancelled)
    resume(granted)
  }

  private func resume(_ waiters: [Waiter]) {
    waiters.forEach { $0.resume(returning: .granted) }
  }

  private func hold(after head: APIResponseHead) {
    let seconds = head.header("Retry-After").flatMap { Int(trimmedASCIIWhitespace($0)) }
    let duration = seconds.map { Duration.seconds(max(0, min($0, 3600))) } ?? Self.defaultHold
    let now = timeSource.monotonicNow
    let waiters = state.withLock { $0.machine.hold(for: duration, now: now) }
    waiters.forEach { $0.resume(returning: .again) }
  }
}
