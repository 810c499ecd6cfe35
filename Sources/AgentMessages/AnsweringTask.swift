import Synchronization

/// The task that answers a call, for stopping it.
final class AnsweringTask: Sendable {
  /// A task that runs.
  // Sendable: cancelling is what a task may be asked by others as long as it lives, and `run` takes the task out, within
  // the lock in which it is cancelled, before it ends.
  private struct Running: @unchecked Sendable {
    let task: UnsafeCurrentTask
  }

  private enum State: Sendable {
    /// Exits: `running`, `cancelled`.
    case waiting
    /// Exits: `ended`.
    case running(Running)
    /// Cancelled before it began. Exits: none, it is cancelled as it begins.
    case cancelled
    /// Exits: none.
    case ended
  }

  private let state = Mutex(State.waiting)

  /// Runs `body`; cancels the task that runs it, where `cancel` is called before it has ended.
  func run<Result: Sendable>(_ body: @Sendable () async -> Result) async -> Result {
    withUnsafeCurrentTask(body: begin)
    defer { state.withLock { $0 = .ended } }
    return await body()
  }

  private func begin(_ task: UnsafeCurrentTask?) {
    guard let task else { return }
    let isCancelled = state.withLock { state in
      if case .cancelled = state { return true }
      state = .running(Running(task: task))
      return false
    }
    if isCancelled { task.cancel() }
  }

  /// Cancels it. What it cancels in turn must not end the task within the call; none of ours does.
  func cancel() {
    state.withLock { state in
      switch state {
      case .waiting: state = .cancelled
      case .running(let running): running.task.cancel()
      case .cancelled, .ended: return
      }
    }
  }
}
