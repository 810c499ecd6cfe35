import TaskRecovery

/// A task that this worker holds.
public struct SwarmTask: Sendable, Identifiable {
  /// The queue's name for it, such as "reviews-4fd1-17". It stays the same for all attempts: a good key for what the work does
  /// outside of the queue.
  public let id: String
  /// The how many-th attempt it is, from 1.
  public let attempt: Int
  /// How urgent it is: "critical", "high", "normal" or "bulk".
  public let lane: String
  /// The name that whoever submitted it gave the work; nil: none.
  public let key: String?
  /// What to do: JSON, as it was submitted.
  public let payload: [UInt8]

  /// Its steps and checkpoints; nil: the queue has nowhere to keep them.
  let progress: TaskProgress?

  init(_ claim: TaskClaim, progress: TaskProgress?) {
    self.progress = progress
    id = claim.id
    attempt = claim.attempt
    lane = claim.lane
    key = claim.key
    payload = claim.payload
  }
}

/// A task to submit.
public struct SwarmTaskRequest: Sendable {
  /// What to do: JSON.
  public var payload: [UInt8]
  /// How urgent it is: "critical", "high", "normal" or "bulk".
  public var lane: String
  /// A name for the work: the queue takes it once, however often it is submitted. nil: one is made up, so that a submission that had
  /// to be repeated makes no second task.
  public var key: String?
  /// Whose it is: within a lane the tasks of different ones take turns. Empty: nobody's.
  public var fairnessKey: String
  /// How long it waits before it can be taken.
  public var delay: Duration
  /// How often it is tried; nil: as often as the queue says.
  public var maxAttempts: Int?

  /// A task.
  public init(
    payload: [UInt8], lane: String = "normal", key: String? = nil, fairnessKey: String = "", delay: Duration = .zero,
    maxAttempts: Int? = nil
  ) {
    self.payload = payload
    self.lane = lane
    self.key = key
    self.fairnessKey = fairnessKey
    self.delay = delay
    self.maxAttempts = maxAttempts
  }
}

/// Throw it from a task's work to say what becomes of the task. Any other error means: try it again after the queue's back-off.
public struct TaskFailure: Error, Hashable, Sendable, CustomStringConvertible {
  /// What went wrong; the queue keeps it with the task.
  public var reason: String
  /// Whether another attempt may succeed; false: the task becomes a dead letter at once.
  public var isWorthRetrying: Bool
  /// When to try again at the earliest; nil: after the queue's back-off.
  public var delay: Duration?

  /// A failure.
  public init(_ reason: String, isWorthRetrying: Bool = true, delay: Duration? = nil) {
    self.reason = reason
    self.isWorthRetrying = isWorthRetrying
    self.delay = delay
  }

  /// The reason.
  public var description: String { reason }
}

/// The queue refuses something that was submitted.
public struct TaskQueueRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  /// The status of HTTP.
  public let status: Int
  /// The queue's words: the field, and what to do.
  public let message: String

  /// Status and words.
  public var description: String { "the task queue answered \(status): \(message)" }
}
