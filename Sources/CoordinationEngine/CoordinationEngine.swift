package import TaskQueue

/// What agents share, whoever keeps it: this process's memory, SQLite on one machine, or NATS JetStream.
///
/// Guarantees: tasks are done at least once and have one committed result for each key; keys change by compare-and-set; whatever was
/// acknowledged survives what `durability` names. Never exactly once: a caller whose answer was lost says it again, and
/// keys, tickets and expectations make that harmless.
package protocol CoordinationEngine: Sendable {
  /// What an acknowledgement survives, of tasks, keys, blobs, counters and schedules alike. Messages survive nothing.
  var durability: Durability { get }
  /// Queues of tasks.
  var tasks: any TaskEngine { get }
  /// Keys with values.
  var state: any StateStore { get }
  /// Bytes by their digest.
  var blobs: any BlobStore { get }
  /// Numbers that many add to.
  var counters: any Counters { get }
  /// Tasks and messages that come into being at a time.
  var schedules: any Schedules { get }
  /// Messages to whoever listens now.
  var messages: any Messages { get }

  /// Does what the engine does by itself (timers, connections) until the task is cancelled or `close` was called. What needs
  /// time, such as keys that end and schedules that come due, is only seen on time while this runs.
  func run() async throws

  /// Ends all waiting, writes what was acknowledged, and lets go of files and connections. Verbs then throw `unavailable`.
  func close() async
}
