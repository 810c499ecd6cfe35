package import KubernetesCore
package import Logging
import ServiceLifecycle
import Synchronization

/// Drives a ``WorkQueue`` with a fixed number of workers.
///
/// On graceful shutdown (or cancellation) the workers finish what they have in hand and stop; keys that wait are dropped.
package final class WorkQueueRunner<Key: Hashable & Sendable>: Service {
  /// The work on one key; it must not throw: a failure is an outcome.
  package typealias Process = @Sendable (Key) async -> WorkOutcome

  private struct State {
    var queue: WorkQueue<Key>
    /// Free workers, in the order in which they became free.
    var idle = FIFO<IdleWorker>()
    var nextWorkerID = 0
    var isClosed = false
  }

  private struct IdleWorker: Equatable, Sendable {
    var id: Int
    var continuation: CheckedContinuation<Key?, Never>

    static func == (lhs: IdleWorker, rhs: IdleWorker) -> Bool { lhs.id == rhs.id }
  }

  private let state: Mutex<State>
  private let workers: Int
  private let time: any TimeSource
  private let random: @Sendable () -> UInt64
  private let process: Process
  private let timer = Wakeup()
  private let logger: Logger

  /// Makes a runner; keys may be added before it runs.
  package init(
    workers: Int,
    configuration: WorkQueue<Key>.Configuration = WorkQueue<Key>.Configuration(),
    time: any TimeSource,
    random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) },
    logger: Logger,
    process: @escaping Process
  ) {
    precondition(workers > 0, "a work queue needs a worker")
    self.workers = workers
    self.time = time
    self.random = random
    self.logger = logger
    self.process = process
    state = Mutex(State(queue: WorkQueue(configuration)))
  }

  /// Adds `key`, to be worked on as soon as a worker is free.
  @discardableResult
  package func add(_ key: Key) -> WorkQueue<Key>.Admission {
    let now = time.monotonicNow
    let admission = state.withLock { $0.queue.add(key, now: now) }
    note(admission)
    dispatch()
    return admission
  }

  /// Adds `key`, to be worked on after `delay` at the latest.
  @discardableResult
  package func add(_ key: Key, after delay: Duration) -> WorkQueue<Key>.Admission {
    let now = time.monotonicNow
    let admission = state.withLock { $0.queue.add(key, notLaterThan: now + delay, now: now) }
    note(admission)
    dispatch()
    return admission
  }

  /// Forgets that `key` waits and how often it failed, for an object that is gone.
  package func forget(_ key: Key) {
    state.withLock { $0.queue.forget(key) }
  }

  /// The queue's numbers now.
  package var metrics: WorkQueueMetrics {
    let now = time.monotonicNow
    return state.withLock { $0.queue.metrics(now: now) }
  }

  private func note(_ admission: WorkQueue<Key>.Admission) {
    if admission == .refused { logger.debug("work queue refused a key: it is full or closed") }
  }

  /// Runs the workers until graceful shutdown or cancellation.
  package func run() async {
    await withTaskCancellationOrGracefulShutdownHandler {
      await withDiscardingTaskGroup { group in
        for _ in 0..<workers { group.addTask { await self.work() } }
        group.addTask { await self.keepTime() }
      }
    } onCancelOrGracefulShutdown: {
      self.close()
    }
  }

  private func work() async {
    while let key = await nextKey() {
      let outcome = await process(key)
      let (now, drawn) = (time.monotonicNow, random())
      state.withLock { $0.queue.finish(key, outcome, now: now, random: drawn) }
      dispatch()
    }
  }

  private func nextKey() async -> Key? {
    await withCheckedContinuation { continuation in
      state.withLock { state in
        state.nextWorkerID += 1
        state.idle.append(IdleWorker(id: state.nextWorkerID, continuation: continuation))
      }
      dispatch()
    }
  }

  /// Hands ready keys to free workers and has the timer look at the next deadline.
  private func dispatch() {
    let now = time.monotonicNow
    let handed = state.withLock { state -> [(CheckedContinuation<Key?, Never>, Key?)] in
      var handed: [(CheckedContinuation<Key?, Never>, Key?)] = []
      // Even without a free worker, or the timer would find the same deadline due again and again.
      state.queue.promoteDueKeys(now: now)
      while state.idle.first != nil {
        let key: Key?
        switch state.queue.next(now: now) {
        case .work(let next): key = next
        case .stop: key = nil
        case .wait: return handed
        }
        guard let worker = state.idle.popFirst() else { return handed }
        handed.append((worker.continuation, key))
      }
      return handed
    }
    for (continuation, key) in handed { continuation.resume(returning: key) }
    timer.signal()
  }

  private func close() {
    state.withLock { state in
      state.queue.close()
      state.isClosed = true
    }
    dispatch()
  }

  private func keepTime() async {
    while true {
      let (isClosed, deadline) = state.withLock { ($0.isClosed, $0.queue.nextDeadline) }
      if isClosed { return }
      do {
        try await timer.wait(until: deadline, time)
      } catch {
        return
      }
      dispatchDue()
    }
  }

  /// As `dispatch`, without signalling the timer, which calls this.
  private func dispatchDue() {
    let now = time.monotonicNow
    let isDue = state.withLock { state in state.queue.nextDeadline.map { $0 <= now } ?? false }
    if isDue { dispatch() }
  }
}
