/// Queues by name, as one engine keeps them. A queue comes into being when somebody submits to it or wants to claim from it.
package struct TaskQueues: Sendable {
  private let instance: String
  private let limits: TaskQueueLimits
  private let policy: TaskRetryPolicy
  private let lanes: LanePolicy
  private let maximum: Int
  private var queues: [String: TaskQueue] = [:]

  /// Makes an engine's queues, `maximum` at most. `instance` is new for each run, and letters and digits only.
  package init(
    instance: String, maximum: Int = 1_000, limits: TaskQueueLimits = TaskQueueLimits(),
    policy: TaskRetryPolicy = TaskRetryPolicy(), lanes: LanePolicy = LanePolicy()
  ) {
    precondition(
      !instance.isEmpty && instance.utf8.allSatisfy { Self.isAlphanumeric($0) }, "an instance is letters and digits")
    self.instance = instance
    self.maximum = maximum
    self.limits = limits
    self.policy = policy
    self.lanes = lanes
  }

  /// Does something with the queue of a name, which is made when it isn't there.
  package mutating func change<Result>(
    _ name: String, _ body: (inout TaskQueue) throws(TaskQueueError) -> Result
  ) throws(TaskQueueError) -> Result {
    if queues[name] == nil {
      try Self.check(name)
      guard queues.count < maximum else { throw .full(queue: name, what: "queues", limit: maximum) }
      queues[name] = TaskQueue(name: name, instance: instance, limits: limits, policy: policy, lanes: lanes)
    }
    return try body(&queues[name]!)
  }

  /// Does something with the queue that a task is in.
  package mutating func change<Result>(
    of id: TaskID, _ body: (inout TaskQueue) throws(TaskQueueError) -> Result
  ) throws(TaskQueueError) -> Result {
    guard queues[id.queue] != nil else { throw .unknownTask("\(id)") }
    return try body(&queues[id.queue]!)
  }

  /// A queue; nil when nobody has used it yet.
  package func queue(_ name: String) -> TaskQueue? { queues[name] }

  /// The names of the queues, sorted.
  package var names: [String] { queues.keys.sorted() }

  /// When something happens by itself next in any queue.
  package var nextDeadline: Duration? { queues.values.compactMap(\.nextDeadline).min() }

  /// Does what is due in all queues; gives the names of those in which tasks can be claimed, sorted.
  package mutating func expire(now: Duration) -> [String] {
    for name in queues.keys { queues[name]?.expire(now: now) }
    return queues.filter { $0.value.claimable > 0 }.keys.sorted()
  }

  /// A queue's name is a label's value and a part of ids: as the names of Kubernetes' objects, 63 characters at most.
  private static func check(_ name: String) throws(TaskQueueError) {
    let bytes = Array(name.utf8)
    let isFine =
      (1...63).contains(bytes.count) && bytes.allSatisfy { isAlphanumeric($0) || $0 == 0x2D || $0 == 0x2E }
      && isAlphanumeric(bytes[0]) && isAlphanumeric(bytes[bytes.count - 1])
    guard isFine else {
      throw .invalid(
        "queue: 1 to 63 lower-case letters, digits, - and ., a letter or digit first and last, such as \"reviewers\"")
    }
  }

  private static func isAlphanumeric(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte)
  }
}
