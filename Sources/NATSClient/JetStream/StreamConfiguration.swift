/// Where a stream or a consumer keeps its data.
package enum StreamStorage: String, Sendable { case file, memory }

/// What ends a message's life in a stream besides its limits.
package enum StreamRetention: String, Sendable {
  case limits, interest
  case workQueue = "workqueue"
}

/// A stream's configuration: the API's JSON with names for what is used here. What has no name passes through an update unharmed.
package struct StreamConfiguration: Sendable, Hashable {
  /// As the API has it (`nats-server`'s `StreamConfig`).
  package var json: JSONValue

  package init(json: JSONValue) { self.json = json }

  /// One replica on file, no limits.
  package init(name: String, subjects: [String], storage: StreamStorage = .file, replicas: Int = 1) {
    json = [
      "name": .string(name), "subjects": .strings(subjects), "retention": "limits",
      "storage": .string(storage.rawValue),
      "num_replicas": .integer(replicas), "discard": "old", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
      "max_age": 0, "max_msg_size": -1,
    ]
  }

  package var name: String { json["name"]?.string ?? "" }
  package var subjects: [String] {
    get { json["subjects"]?.array?.compactMap(\.string) ?? [] }
    set { json["subjects"] = .strings(newValue) }
  }
  package var retention: StreamRetention {
    get { json["retention"]?.string.flatMap(StreamRetention.init) ?? .limits }
    set { json["retention"] = .string(newValue.rawValue) }
  }
  package var replicas: Int {
    get { json["num_replicas"]?.int ?? 1 }
    set { json["num_replicas"] = .integer(newValue) }
  }
  /// Zero: for ever.
  package var maximumAge: Duration {
    get { json["max_age"]?.duration ?? .zero }
    set { json["max_age"] = .duration(newValue) }
  }
  /// -1: no limit.
  package var maximumMessagesPerSubject: Int {
    get { json["max_msgs_per_subject"]?.int ?? -1 }
    set { json["max_msgs_per_subject"] = .integer(newValue) }
  }
  /// -1: no limit.
  package var maximumBytes: Int {
    get { json["max_bytes"]?.int ?? -1 }
    set { json["max_bytes"] = .integer(newValue) }
  }
  /// How long message ids are remembered; the server's default is 2 min.
  package var duplicateWindow: Duration? {
    get { json["duplicate_window"]?.duration }
    set { json["duplicate_window"] = newValue.map(JSONValue.duration) }
  }
  /// A full stream refuses new messages instead of dropping old ones.
  package var refusesWhenFull: Bool {
    get { json["discard"]?.string == "new" }
    set { json["discard"] = newValue ? "new" : "old" }
  }
  /// Messages can be read by any replica, without Raft's order.
  package var allowsDirect: Bool {
    get { flag("allow_direct") }
    set { json["allow_direct"] = .bool(newValue) }
  }
  /// `Nats-Rollup` is understood.
  package var allowsRollup: Bool {
    get { flag("allow_rollup_hdrs") }
    set { json["allow_rollup_hdrs"] = .bool(newValue) }
  }
  /// `Nats-TTL` is understood (2.11).
  package var allowsMessageTTL: Bool {
    get { flag("allow_msg_ttl") }
    set { json["allow_msg_ttl"] = .bool(newValue) }
  }
  /// `Nats-Incr` is understood (2.12).
  package var allowsCounters: Bool {
    get { flag("allow_msg_counter") }
    set { json["allow_msg_counter"] = .bool(newValue) }
  }
  /// `Nats-Schedule` is understood (2.12).
  package var allowsSchedules: Bool {
    get { flag("allow_msg_schedules") }
    set { json["allow_msg_schedules"] = .bool(newValue) }
  }
  /// Atomic batches are understood (2.12).
  package var allowsAtomicBatches: Bool {
    get { flag("allow_atomic") }
    set { json["allow_atomic"] = .bool(newValue) }
  }
  package var deniesDelete: Bool {
    get { flag("deny_delete") }
    set { json["deny_delete"] = .bool(newValue) }
  }
  /// How long the markers stay that say that a message expired (2.11); nil: none are written.
  package var deleteMarkerTTL: Duration? {
    get { json["subject_delete_marker_ttl"]?.duration }
    set { json["subject_delete_marker_ttl"] = newValue.map(JSONValue.duration) }
  }

  private func flag(_ name: String) -> Bool { json[name]?.bool ?? false }
}

/// What a stream is and holds.
package struct StreamInfo: Sendable, Hashable {
  package var json: JSONValue
  package var configuration: StreamConfiguration { StreamConfiguration(json: json["config"] ?? .object([])) }
  package var messages: UInt64 { json["state"]?["messages"]?.uint64 ?? 0 }
  package var bytes: UInt64 { json["state"]?["bytes"]?.uint64 ?? 0 }
  package var firstSequence: UInt64 { json["state"]?["first_seq"]?.uint64 ?? 0 }
  package var lastSequence: UInt64 { json["state"]?["last_seq"]?.uint64 ?? 0 }
  package var consumers: Int { json["state"]?["consumer_count"]?.int ?? 0 }
  /// The name of the server that leads its replicas.
  package var leader: String? { json["cluster"]?["leader"]?.string }
}

/// A consumer's configuration: the API's JSON with names for what is used here.
package struct ConsumerConfiguration: Sendable, Hashable {
  package enum Deliver: Sendable, Hashable {
    case all, last, new, lastPerSubject
    case fromSequence(UInt64)
  }

  package enum Acknowledgement: String, Sendable { case explicit, all, none }

  /// As the API has it (`nats-server`'s `ConsumerConfig`).
  package var json: JSONValue

  package init(json: JSONValue) { self.json = json }

  /// A durable pull consumer: it stays until it is deleted.
  package init(
    durable name: String, filters: [String] = [], deliver: Deliver = .all, acknowledgement: Acknowledgement = .explicit
  ) {
    self.init(name: name, filters: filters, deliver: deliver, acknowledgement: acknowledgement)
    json["durable_name"] = .string(name)
  }

  /// A pull consumer that goes when nobody uses it for a while.
  package init(
    name: String, filters: [String] = [], deliver: Deliver = .all, acknowledgement: Acknowledgement = .explicit
  ) {
    json = [
      "name": .string(name), "ack_policy": .string(acknowledgement.rawValue), "replay_policy": "instant",
    ]
    switch deliver {
    case .all: json["deliver_policy"] = "all"
    case .last: json["deliver_policy"] = "last"
    case .new: json["deliver_policy"] = "new"
    case .lastPerSubject: json["deliver_policy"] = "last_per_subject"
    case .fromSequence(let sequence):
      json["deliver_policy"] = "by_start_sequence"
      json["opt_start_seq"] = .integer(sequence)
    }
    if filters.count == 1 { json["filter_subject"] = .string(filters[0]) }
    if filters.count > 1 { json["filter_subjects"] = .strings(filters) }
  }

  package var name: String { json["name"]?.string ?? json["durable_name"]?.string ?? "" }
  /// After this long without an acknowledgement a message is delivered again.
  package var ackWait: Duration? {
    get { json["ack_wait"]?.duration }
    set { json["ack_wait"] = newValue.map(JSONValue.duration) }
  }
  package var maximumDeliveries: Int? {
    get { json["max_deliver"]?.int }
    set { json["max_deliver"] = newValue.map { .integer($0) } }
  }
  package var maximumAckPending: Int? {
    get { json["max_ack_pending"]?.int }
    set { json["max_ack_pending"] = newValue.map { .integer($0) } }
  }
  package var inactiveThreshold: Duration? {
    get { json["inactive_threshold"]?.duration }
    set { json["inactive_threshold"] = newValue.map(JSONValue.duration) }
  }
  package var replicas: Int? {
    get { json["num_replicas"]?.int }
    set { json["num_replicas"] = newValue.map { .integer($0) } }
  }
  package var isInMemory: Bool {
    get { json["mem_storage"]?.bool ?? false }
    set { json["mem_storage"] = .bool(newValue) }
  }
  package var headersOnly: Bool {
    get { json["headers_only"]?.bool ?? false }
    set { json["headers_only"] = .bool(newValue) }
  }
}

/// What a consumer is and where it stands.
package struct ConsumerInfo: Sendable, Hashable {
  package var json: JSONValue
  package var name: String { json["name"]?.string ?? "" }
  package var stream: String { json["stream_name"]?.string ?? "" }
  package var configuration: ConsumerConfiguration { ConsumerConfiguration(json: json["config"] ?? .object([])) }
  /// Messages that were not delivered yet.
  package var pending: UInt64 { json["num_pending"]?.uint64 ?? 0 }
  /// Messages that were delivered and not acknowledged.
  package var ackPending: Int { json["num_ack_pending"]?.int ?? 0 }
  package var redelivered: Int { json["num_redelivered"]?.int ?? 0 }
  /// The last message of the stream that was delivered.
  package var deliveredSequence: UInt64 { json["delivered"]?["stream_seq"]?.uint64 ?? 0 }
  /// How many messages were delivered.
  package var deliveredCount: UInt64 { json["delivered"]?["consumer_seq"]?.uint64 ?? 0 }
}
