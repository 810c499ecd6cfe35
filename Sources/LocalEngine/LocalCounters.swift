import CoordinationEngine
import TaskQueue

/// A local engine's counters.
struct LocalCounters: Counters {
  let engine: LocalEngine

  func add(_ delta: Int64, to name: String) async throws -> Int64 {
    try await engine.perform { core, _ in try core.counters.add(delta, to: name) }
  }

  func value(of name: String) async throws -> Int64 {
    try await engine.perform { core, _ in try core.counters.value(of: name) }
  }

  func remove(_ name: String) async throws {
    try await engine.perform { core, _ in try core.counters.remove(name) }
  }
}

/// A local engine's schedules.
struct LocalSchedules: Schedules {
  let engine: LocalEngine

  func schedule(_ key: String, _ item: ScheduledItem, after delay: Duration) async throws {
    try await engine.perform { core, now in
      switch item {
      case .task(let task, let queue):
        // What could never be taken is refused now, when somebody is there to hear it.
        do throws(TaskQueueError) {
          try core.queues.change(queue) { queue throws(TaskQueueError) in try queue.check(task) }
        } catch {
          throw EngineError.invalid("task: \(error)")
        }
      case .message(let message): try MessageBus.check(message)
      }
      try core.schedules.schedule(key, item, at: now + delay, now: now)
    }
  }

  func cancel(_ key: String) async throws -> Bool {
    try await engine.perform { core, _ in try core.schedules.cancel(key) }
  }

  func pending() async throws -> [PendingSchedule] {
    try await engine.perform { core, now in core.schedules.pending(now: now) }
  }
}
