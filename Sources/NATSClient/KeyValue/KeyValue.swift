package import NIOCore

/// A bucket of keys and values on a stream: compare-and-set, watches, values that expire.
package struct KeyValue: Sendable {
  package let jetStream: JetStream
  package let bucket: String
  private let allowsDirect: Bool

  private var stream: String { "KV_\(bucket)" }
  private var prefix: String { "$KV.\(bucket)." }

  // MARK: Buckets

  /// Makes a bucket; one with the same configuration stays as it is.
  package static func create(_ jetStream: JetStream, _ configuration: KeyValueConfiguration) async throws -> KeyValue {
    try check(bucket: configuration.bucket)
    guard (1...64).contains(configuration.history) else {
      throw NATSError(.invalidArgument, "a bucket keeps from 1 to 64 values of a key")
    }
    var stream = StreamConfiguration(
      name: "KV_\(configuration.bucket)", subjects: ["$KV.\(configuration.bucket).>"], storage: configuration.storage,
      replicas: configuration.replicas)
    stream.maximumMessagesPerSubject = configuration.history
    stream.maximumAge = configuration.timeToLive ?? .zero
    stream.maximumBytes = configuration.maximumBytes
    stream.refusesWhenFull = true
    stream.allowsRollup = true
    stream.deniesDelete = true
    stream.allowsDirect = configuration.allowsDirect
    if let marker = configuration.limitMarkerTTL {
      stream.allowsMessageTTL = true
      stream.deleteMarkerTTL = marker
    }
    // The window of message ids can't be longer than the values live.
    stream.duplicateWindow = configuration.timeToLive.map { min($0, .seconds(120)) } ?? .seconds(120)
    let info = try await jetStream.createStream(stream)
    return KeyValue(jetStream: jetStream, bucket: configuration.bucket, allowsDirect: info.configuration.allowsDirect)
  }

  /// A bucket that exists.
  package static func open(_ jetStream: JetStream, bucket: String) async throws -> KeyValue {
    try check(bucket: bucket)
    let info = try await jetStream.streamInfo("KV_\(bucket)")
    return KeyValue(jetStream: jetStream, bucket: bucket, allowsDirect: info.configuration.allowsDirect)
  }

  package static func delete(_ jetStream: JetStream, bucket: String) async throws {
    try check(bucket: bucket)
    try await jetStream.deleteStream("KV_\(bucket)")
  }

  private static func check(bucket: String) throws(KeyValueError) {
    guard !bucket.isEmpty, bucket.utf8.allSatisfy({ isLetterOrDigit($0) || $0 == 0x2D || $0 == 0x5F }) else {
      throw .invalidBucket(bucket)
    }
  }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
  }

  private static func check(key: String) throws(KeyValueError) {
    let isFine =
      !key.isEmpty && NATSSubject.isPublishable(key)
      && key.utf8.allSatisfy { isLetterOrDigit($0) || [0x2D, 0x5F, 0x3D, 0x2F, 0x2E].contains($0) }
    guard isFine else { throw .invalidKey(key) }
  }

  // MARK: Reading

  /// The value of a key, or of one revision of it; nil: there is none, or it was deleted.
  package func get(_ key: String, revision: UInt64? = nil, consistent: Bool = false) async throws -> KeyValueEntry? {
    let entry = try await last(key, revision: revision, consistent: consistent)
    return entry?.operation == .put ? entry : nil
  }

  private func last(_ key: String, revision: UInt64?, consistent: Bool) async throws -> KeyValueEntry? {
    try Self.check(key: key)
    let subject = prefix + key
    let stored = try await jetStream.message(
      stream, revision.map { .sequence($0) } ?? .last(subject: subject), direct: allowsDirect && !consistent)
    guard let stored, stored.message.subject == subject else { return nil }
    return KeyValueEntry(stored.message, revision: stored.sequence, prefix: prefix)
  }

  /// Keys that have a value, in the order of their last change.
  package func keys(_ pattern: String = ">") async throws -> [String] {
    var keys: [String] = []
    try await readAll(pattern, .lastPerSubject, headersOnly: true) { entry in
      if entry.operation == .put { keys.append(entry.key) }
    }
    return keys
  }

  /// What the bucket still knows of a key, the oldest first.
  package func history(_ key: String) async throws -> [KeyValueEntry] {
    try Self.check(key: key)
    var entries: [KeyValueEntry] = []
    try await readAll(key, .all, headersOnly: false) { entries.append($0) }
    return entries
  }

  private func readAll(
    _ pattern: String, _ deliver: ConsumerConfiguration.Deliver, headersOnly: Bool, _ body: (KeyValueEntry) -> Void
  ) async throws {
    let consumer = OrderedConsumer(
      jetStream, stream: stream, filters: [prefix + pattern], deliver: deliver, headersOnly: headersOnly)
    try await consumer.readToEnd { message in
      if let entry = KeyValueEntry(message.message, revision: message.metadata.streamSequence, prefix: prefix) {
        body(entry)
      }
    }
  }

  // MARK: Writing

  /// Sets a key. Returns the revision.
  @discardableResult
  package func put(_ key: String, _ value: ByteBuffer, retryingFor: Duration = .zero) async throws -> UInt64 {
    try Self.check(key: key)
    return try await jetStream.publish(prefix + key, value, retryingFor: retryingFor).sequence
  }

  /// Sets a key that has no value.
  ///
  /// - Throws: `KeyValueError.exists`.
  @discardableResult
  package func create(_ key: String, _ value: ByteBuffer, timeToLive: Duration? = nil) async throws -> UInt64 {
    var expected: UInt64 = 0
    for _ in 0..<3 {
      do {
        return try await write(key, value, expected: expected, timeToLive: timeToLive)
      } catch KeyValueError.wrongRevision {
        // There is something. A deletion's revision is what has to be there still; its mark may have gone in the meantime.
        let entry = try await last(key, revision: nil, consistent: true)
        if entry?.operation == .put { break }
        expected = entry?.revision ?? 0
      }
    }
    throw KeyValueError.exists(key: key)
  }

  /// Sets a key that still has this revision; with a time to live it goes by itself, and a renewal is another update.
  ///
  /// - Throws: `KeyValueError.wrongRevision`.
  @discardableResult
  package func update(
    _ key: String, _ value: ByteBuffer, revision: UInt64, timeToLive: Duration? = nil
  ) async throws -> UInt64 {
    try await write(key, value, expected: revision, timeToLive: timeToLive)
  }

  /// Deletes a key, if it still has a revision where one is named. Its history stays.
  package func delete(_ key: String, revision: UInt64? = nil) async throws {
    _ = try await write(
      key, ByteBuffer(), expected: revision, timeToLive: nil, headers: ["KV-Operation": "DEL"])
  }

  /// Deletes a key and its history; with a time to live the mark of it goes too.
  package func purge(_ key: String, revision: UInt64? = nil, timeToLive: Duration? = nil) async throws {
    _ = try await write(
      key, ByteBuffer(), expected: revision, timeToLive: timeToLive,
      headers: ["KV-Operation": "PURGE", "Nats-Rollup": "sub"])
  }

  private func write(
    _ key: String, _ value: ByteBuffer, expected: UInt64?, timeToLive: Duration?, headers: NATSHeaders = [:]
  ) async throws -> UInt64 {
    try Self.check(key: key)
    guard let expected else {
      var options = PublishOptions()
      options.timeToLive = timeToLive
      return try await jetStream.publish(prefix + key, value, headers: headers, options: options).sequence
    }
    do {
      return try await jetStream.compareAndSet(
        stream: stream, prefix + key, value, headers: headers, expected: expected, timeToLive: timeToLive)
    } catch let error as JetStreamError where error.isWrongSequence {
      throw KeyValueError.wrongRevision(key: key)
    }
  }

  // MARK: Watching

  /// Where a watch begins.
  package enum Start: Sendable, Hashable {
    /// The value of each key, then changes.
    case values
    /// All that the bucket knows, then changes.
    case history
    /// Changes only.
    case changes
    /// Changes behind this revision: to go on where an earlier watch ended.
    case after(revision: UInt64)
  }

  /// Follows keys. The watch goes on over reconnects, failovers and restarts without loss and without a change coming twice.
  package func watch(_ pattern: String = ">", from start: Start = .values, heartbeat: Duration = .seconds(5))
    -> KeyValueWatch
  {
    let deliver: ConsumerConfiguration.Deliver =
      switch start {
      case .values: .lastPerSubject
      case .history: .all
      case .changes: .new
      case .after(let revision): .fromSequence(revision + 1)
      }
    return KeyValueWatch(
      consumer: OrderedConsumer(
        jetStream, stream: stream, filters: [prefix + pattern], deliver: deliver, heartbeat: heartbeat),
      prefix: prefix)
  }
}

/// Changes of a bucket as they happen. One task iterates it.
package struct KeyValueWatch: AsyncSequence, Sendable {
  package enum Element: Sendable, Hashable {
    case entry(KeyValueEntry)
    /// All that was there at the beginning has come; what follows is new.
    case current
  }

  package let consumer: OrderedConsumer
  let prefix: String

  /// Ends it.
  package func stop() async { await consumer.stop() }

  package func makeAsyncIterator() -> Iterator { Iterator(consumer: consumer, prefix: prefix) }

  package struct Iterator: AsyncIteratorProtocol {
    let consumer: OrderedConsumer
    let prefix: String
    private var batch: ArraySlice<JetStreamMessage> = []
    private var isCurrent = false
    private var owesCurrent = false

    init(consumer: OrderedConsumer, prefix: String) {
      self.consumer = consumer
      self.prefix = prefix
    }

    package mutating func next() async throws -> Element? {
      while true {
        if owesCurrent {
          owesCurrent = false
          isCurrent = true
          return .current
        }
        if batch.isEmpty {
          if !isCurrent, try await consumer.begin() == 0 {
            owesCurrent = true
            continue
          }
          batch = try await consumer.nextBatch()[...]
        }
        guard let message = batch.popFirst() else { return nil }
        if !isCurrent, message.metadata.pending == 0 { owesCurrent = true }
        if let entry = KeyValueEntry(
          message.message, revision: message.metadata.streamSequence, prefix: prefix)
        {
          return .entry(entry)
        }
      }
    }
  }
}
