package import TaskQueue

/// Tasks and messages that come into being at a time. Who asked for one need not live until then: the engine owns the timer, and a task
/// that it makes is claimed by one worker, by epoch.
///
/// Errors are `EngineError`s.
package protocol Schedules: Sendable {
  /// Makes `item` come after `delay`, in place of what the key was for before. Names are keys as those of the state.
  func schedule(_ key: String, _ item: ScheduledItem, after delay: Duration) async throws
  /// Forgets it; says whether there was something that hadn't come yet.
  func cancel(_ key: String) async throws -> Bool
  /// What is yet to come, sorted by key; 1,000 at most.
  func pending() async throws -> [PendingSchedule]
}

/// What comes at a time.
package enum ScheduledItem: Hashable, Sendable {
  /// A task is submitted; its own delay counts from then. With a `key` it is submitted once whatever happens.
  case task(NewTask, queue: String)
  /// A message is published.
  case message(Message)
}

/// Something that is yet to come.
package struct PendingSchedule: Hashable, Sendable {
  /// Its name.
  package var key: String
  /// How long it is until then; zero when it is due.
  package var remaining: Duration

  /// Puts it together.
  package init(key: String, remaining: Duration) {
    self.key = key
    self.remaining = remaining
  }
}
