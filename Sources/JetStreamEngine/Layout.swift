import CoordinationEngine
package import NATSClient
package import TaskQueue

/// What an engine on JetStream is made with.
package struct JetStreamEngineConfiguration: Sendable {
  /// The servers, and who the client is.
  package var client: NATSConfiguration
  /// Tells engines that share servers apart: letters and digits.
  package var prefix = "sw"
  /// The JetStream domain whose streams are used, such as that of a hub to which this client's server is a leaf; nil: that of the server itself.
  package var domain: String?
  /// Copies of everything: 3 survive the loss of a server with its disk.
  package var replicas = 1
  /// In files, or in the server's memory.
  package var storage = StreamStorage.file
  /// Whether the servers write to the disk before they acknowledge (`sync_interval: always`): they don't tell, so whoever sets them up says it.
  package var syncsAlways = false
  /// How long the server waits for a sign of life of whoever holds a task before it hands it out again. The holder's engine gives one every third of it, so
  /// a lease may be longer or shorter. A failover takes up to 8 s: 30 s cover it three times.
  package var ackWait = Duration.seconds(30)
  /// How long a verb tries while there is no server, no leader or no answer, before it is `unavailable`.
  package var patience = Duration.seconds(8)
  /// How long results and their keys are remembered.
  package var remembered = Duration.seconds(24 * 3600)
  /// How long it is remembered that a key of the state was removed, for watchers that come back.
  package var removalsRemembered = Duration.seconds(3600)
  /// A lane in which tasks wait and orders are open, and nothing comes for this long, has a consumer that is stuck: it is made anew.
  package var stuckAfter = Duration.seconds(30)
  /// What queues hold.
  package var taskLimits = TaskQueueLimits()
  /// How often and when failed tasks are tried again.
  package var retries = TaskRetryPolicy()
  /// How lanes share the claims.
  package var lanes = LanePolicy()

  /// What holds where nothing else is said.
  package init(client: NATSConfiguration) {
    self.client = client
  }

  /// What an acknowledgement survives.
  var durability: Durability {
    if storage == .memory { return .memory }
    if replicas >= 3 { return .quorum }
    return syncsAlways ? .node : .process
  }
}

/// Names of streams, consumers and subjects.
struct Layout: Sendable {
  let prefix: String

  /// Queues' names have dots, streams' don't; underscores are free for them.
  func token(_ queue: String) -> String { String(queue.map { $0 == "." ? "_" : $0 }) }

  var stateStream: String { "\(prefix)_state" }
  var stateSubjects: String { "\(prefix).kv." }
  var counterStream: String { "\(prefix)_counters" }
  var counterSubjects: String { "\(prefix).c." }
  var scheduleStream: String { "\(prefix)_schedules" }
  var scheduleSubjects: String { "\(prefix).s.k." }
  var dueSubjects: String { "\(prefix).s.due." }
  var blobBucket: String { "\(prefix)_blobs" }
  var messageSubjects: String { "\(prefix).m." }

  /// A queue's tokens: work that waits or is held.
  func tokenStream(_ queue: String) -> String { "\(prefix)_q_\(token(queue))" }
  /// A queue's records: the truth about its tasks.
  func recordStream(_ queue: String) -> String { "\(prefix)_r_\(token(queue))" }
  func tokenSubject(_ queue: String, _ lane: TaskLane, _ number: UInt64) -> String {
    "\(prefix).q.\(token(queue)).\(lane.name).\(number)"
  }
  func laneFilter(_ queue: String, _ lane: TaskLane) -> String { "\(prefix).q.\(token(queue)).\(lane.name).*" }
  func delaySubject(_ queue: String, _ number: UInt64) -> String { "\(prefix).q.\(token(queue)).delayed.\(number)" }
  func recordSubject(_ queue: String, _ number: UInt64) -> String { "\(prefix).r.\(token(queue)).t.\(number)" }
  func keySubject(_ queue: String, _ hash: String) -> String { "\(prefix).r.\(token(queue)).k.\(hash)" }
  func barrierSubject(_ queue: String) -> String { "\(prefix).r.\(token(queue)).b" }
  func queueOf(recordStream: String) -> String? {
    let start = "\(prefix)_r_"
    guard recordStream.hasPrefix(start) else { return nil }
    return String(recordStream.dropFirst(start.count).map { $0 == "_" ? "." : $0 })
  }
}
