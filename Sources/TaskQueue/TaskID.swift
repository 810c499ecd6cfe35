/// What a task is called: its queue, the run of that queue, and its number there. In paths `reviewers-4fd1-17`.
package struct TaskID: Hashable, Sendable, CustomStringConvertible {
  /// The queue's name.
  package var queue: String
  /// Tells the runs of a queue that lives in memory apart: an id of an earlier one must not name a task of this one.
  package var instance: String
  /// The number in the order of submission, from 1.
  package var number: UInt64

  /// Puts an id together.
  package init(queue: String, instance: String, number: UInt64) {
    self.queue = queue
    self.instance = instance
    self.number = number
  }

  /// Reads an id as `description` writes it; nil for other texts.
  package init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count >= 3, let number = UInt64(parts[parts.count - 1]) else { return nil }
    self.init(
      queue: parts.dropLast(2).joined(separator: "-"), instance: String(parts[parts.count - 2]), number: number)
  }

  package var description: String { "\(queue)-\(instance)-\(number)" }
}

/// What a worker holds while it works on a task: it is good for this claim alone.
package struct TaskTicket: Hashable, Sendable {
  /// The task.
  package var id: TaskID
  /// The fencing token: each claim of a task has a higher one.
  package var epoch: UInt64

  /// Puts a ticket together.
  package init(id: TaskID, epoch: UInt64) {
    self.id = id
    self.epoch = epoch
  }
}

/// What makes a task the same task however often it is submitted.
package struct TaskKey: Hashable, Sendable {
  /// The client's name for the work.
  package var name: String
  /// Which run of that work; a higher one is a task of its own.
  package var generation: UInt64

  /// Names a piece of work.
  package init(_ name: String, generation: UInt64 = 0) {
    self.name = name
    self.generation = generation
  }
}
