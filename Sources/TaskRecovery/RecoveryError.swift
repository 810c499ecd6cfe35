/// Why a task can't go on from where it was.
package enum RecoveryError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another claim has the task, or may have: stop working on it.
  case superseded(String)
  /// The task takes another step than the one that was recorded at this place.
  case diverged(String)
  /// There is a checkpoint, and the task takes a step without having asked for it.
  case notRestored(step: UInt64)
  /// A step or a checkpoint was begun while another one is under way: they come one after another.
  case concurrent(String)
  /// What was written isn't what the store gives back; the checkpoint before it stays.
  case damaged(String)
  /// There is no checkpoint to go back to that can be read.
  case noCheckpoint(tried: Int)
  /// A state or an answer is larger than may be.
  case tooLarge(what: String, bytes: Int, limit: Int)
  /// The task's queue has nowhere to keep steps and checkpoints.
  case notKept
  /// The store refuses something for good.
  case store(String)

  /// What is wrong and what to do.
  package var description: String {
    switch self {
    case .superseded(let why): "the task is in other hands (\(why)): stop working on it"
    case .diverged(let what):
      "\(what): a task must take the same steps in the same order each time; start it anew, or run the version of before"
    case .notRestored(let step):
      "the task has a checkpoint (number \(step)): call restore() and go on from it before the first step"
    case .concurrent(let what):
      "\(what) was begun while another step or checkpoint is under way: await one before the next"
    case .damaged(let what):
      "the checkpoint was not stored as it was meant (\(what)): the one before it stays; write it again"
    case .noCheckpoint(let tried):
      tried == 0
        ? "the task has no checkpoint yet" : "none of the task's \(tried) last checkpoints can be read: begin it anew"
    case .tooLarge(let what, let bytes, let limit):
      "the \(what) has \(bytes) bytes, and \(limit) are allowed: keep large parts elsewhere and their place here"
    case .notKept:
      "steps and checkpoints need an engine: set SWARMSCALE_TASKS to its URL, such as nats://nats.swarm:4222"
    case .store(let why): "the store refuses it: \(why)"
    }
  }
}
