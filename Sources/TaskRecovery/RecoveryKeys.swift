import CoordinationCore
import TaskQueue

/// Where a task's records lie in the state: everything of a task below one prefix, so that it can be found and removed.
struct RecoveryKeys: Hashable, Sendable {
  /// Everything of the task is below it.
  let prefix: String

  init(_ task: TaskID) {
    // Queues' names may have dots, which part tokens here; `=` is in no queue's name.
    prefix =
      "recovery.\(task.description.split(separator: ".", omittingEmptySubsequences: false).joined(separator: "=."))."
  }

  /// Below it are the journal's answers.
  var answers: String { prefix + "answer." }
  /// Below it are checkpoints that aren't too large for a key.
  var checkpoints: String { prefix + "checkpoint." }

  /// A claim writes under its own name: what a late one writes is in nobody's way.
  func answer(_ sequence: UInt64, epoch: UInt64) -> String { "\(answers)\(sequence).\(epoch)" }
  func checkpoint(_ digest: Digest256) -> String { "\(checkpoints)\(digest)" }
}
