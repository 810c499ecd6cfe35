/// Why a queue refuses something, and what to do.
package enum TaskQueueError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Something that was said can't be meant; the text names it.
  case invalid(String)
  /// A payload or result is too large.
  case tooLarge(what: String, bytes: Int, limit: Int)
  /// The queue holds as much as it may.
  case full(queue: String, what: String, limit: Int)
  /// The lane's oldest task has waited longer than its lane's deadline: what comes now would wait at least as long.
  case shed(queue: String, lane: TaskLane, age: Duration, retryAfter: Duration)
  /// The engine behind the queue can't be reached now.
  case unavailable(String)
  /// There is no such task, or none any more.
  case unknownTask(String)
  /// The ticket is of an earlier claim, or the task was handed back: somebody else has it, or may have.
  case staleTicket(TaskTicket, currentEpoch: UInt64, state: TaskState.Name)
  /// Another checkpoint than the expected one is the task's last: two work from the same one, or one came late.
  case checkpointConflict(TaskID, expected: UInt64?, current: UInt64?)
  /// The task isn't in a state that allows it.
  case wrongState(TaskID, is: TaskState.Name, needs: TaskState.Name)

  package var description: String {
    switch self {
    case .invalid(let text): text
    case .tooLarge(let what, let bytes, let limit):
      "the \(what) has \(bytes) bytes, and \(limit) are allowed: keep it elsewhere and hand over where it is"
    case .full(let queue, let what, let limit):
      "the queue \(queue) is full (\(limit) \(what)): submit later, run more workers, or retry or discard dead letters"
    case .shed(let queue, let lane, let age, let retryAfter):
      "the queue \(queue) takes no \(lane.name) tasks now, whose oldest has waited for \(age.components.seconds) s: submit again in "
        + "\(retryAfter.components.seconds) s, or run more workers"
    case .unavailable(let text): text
    case .unknownTask(let id):
      "there is no task \(id): it was done long ago, or is of another queue or an earlier run of it; don't send this again"
    case .staleTicket(let ticket, let epoch, let state):
      "epoch \(ticket.epoch) of task \(ticket.id) no longer holds (the task is \(state.rawValue), epoch \(epoch)): drop this "
        + "work; renew leases in time by /heartbeat"
    case .checkpointConflict(let id, let expected, let current):
      "the last checkpoint of task \(id) is \(current.map { "step \($0)" } ?? "none"), not \(expected.map { "step \($0)" } ?? "none"): "
        + "drop this work, or load that checkpoint and go on from there"
    case .wrongState(let id, let state, let needed):
      "task \(id) is \(state.rawValue), and this needs one that is \(needed.rawValue)"
    }
  }
}
