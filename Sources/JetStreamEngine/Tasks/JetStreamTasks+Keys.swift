import NATSClient
package import TaskQueue

extension JetStreamTasks: TaskKeyLookup {
  package func known(_ keys: [TaskKey], in queue: String) async throws -> [TaskID?] {
    try await link.queue(queue) {
      guard let handle = try await handle(queue, create: false) else { return keys.map { _ in nil } }
      return try await withThrowingTaskGroup(of: (Int, TaskID?).self) { group in
        for (index, key) in keys.enumerated() {
          group.addTask { (index, try await self.task(of: key, handle)) }
        }
        return try await group.reduce(into: keys.map { _ in nil }) { $0[$1.0] = $1.1 }
      }
    }
  }

  private func task(of key: TaskKey, _ handle: QueueHandle) async throws -> TaskID? {
    let subject = link.layout.keySubject(handle.name, Self.hash(key))
    let stream = link.layout.recordStream(handle.name)
    let found = try await link.patiently { try await link.jetStream.message(stream, .last(subject: subject)) }
    // A key whose task was thrown away, or never came to be, is free.
    guard let number = found.flatMap({ UInt64($0.message.text) }) else { return nil }
    if let stored = try await stored(number, handle) {
      guard stored.record.state != .discarded else { return nil }
    } else if try await token(number, handle) == nil {
      return nil
    }
    return TaskID(queue: handle.name, instance: handle.instance, number: number)
  }
}
