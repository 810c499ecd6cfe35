import TaskQueue

extension LocalTasks: TaskKeyLookup {
  func known(_ keys: [TaskKey], in queue: String) async throws -> [TaskID?] {
    try await perform { core, _ in keys.map { core.queues.queue(queue)?.task(of: $0) } }
  }
}
