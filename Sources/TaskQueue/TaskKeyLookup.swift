/// An engine that can say which task a key names without submitting one: what spreads a queue over shards needs to know whether another
/// layout's shard has a key already.
package protocol TaskKeyLookup: TaskEngine {
  /// The tasks of keys in a queue, in their order; nil for a key that isn't known, or isn't any more. Doesn't make the queue.
  func known(_ keys: [TaskKey], in queue: String) async throws -> [TaskID?]
}

extension TaskQueue {
  /// The task that a key names; nil for none.
  package func task(of key: TaskKey) -> TaskID? {
    keys[key].map { TaskID(queue: name, instance: instance, number: $0) }
  }
}
