package import CoordinationEngine
import NATSClient
import NIOCore
import Synchronization

/// Keys as the last messages of subjects; revisions are the stream's sequences.
package struct JetStreamState: StateStore {
  let link: EngineLink

  init(_ link: EngineLink) { self.link = link }

  package var limits: StateLimits { StateLimits() }

  private static let operation = "KV-Operation"
  private var stream: String { link.layout.stateStream }
  private func subject(_ key: String) -> String { link.layout.stateSubjects + key }
  private func key(_ subject: String) -> String { String(subject.dropFirst(link.layout.stateSubjects.count)) }

  private func ensure() async throws {
    guard !link.isClosed else { throw EngineError.unavailable("the engine is closed") }
    var configuration = StreamConfiguration(name: stream, subjects: ["\(link.layout.stateSubjects)>"])
    configuration.maximumMessagesPerSubject = 1
    configuration.maximumBytes = limits.totalBytes * 2
    configuration.refusesWhenFull = true
    configuration.allowsDirect = true
    configuration.allowsMessageTTL = true
    configuration.allowsAtomicBatches = true
    // Written when a value's time is over; watchers hear of it by them.
    configuration.deleteMarkerTTL = link.configuration.removalsRemembered
    try await link.ensureOnce(configuration)
  }

  /// A key's last message, of a value or of its removal; nil where there is none.
  private func last(_ key: String) async throws -> (entry: StateEntry, isRemoved: Bool)? {
    let stored = try await link.patiently { try await link.jetStream.message(stream, .last(subject: subject(key))) }
    guard let stored else { return nil }
    let entry = StateEntry(key: key, value: stored.message.payload.bytes, revision: Revision(stored.sequence))
    return (entry, Self.isRemoval(stored.message.headers))
  }

  private static func isRemoval(_ headers: NATSHeaders) -> Bool {
    headers[operation] != nil || headers["Nats-Marker-Reason"] != nil
  }

  package func get(_ key: String) async throws -> StateEntry? {
    try await link.engine {
      try limits.check(key: key)
      try await ensure()
      return try await last(key).flatMap { $0.isRemoved ? nil : $0.entry }
    }
  }

  package func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    try await link.engine {
      try limits.check([.put(key: key, value: value, if: expected, ttl: ttl)])
      try await ensure()
      return try await write(key, value, headers: [:], expected, ttl)
    }
  }

  private func write(
    _ key: String, _ value: [UInt8], headers: NATSHeaders, _ expected: Expectation, _ ttl: Duration?
  ) async throws -> Revision {
    var sequence: UInt64 = 0
    switch expected {
    case .any:
      var options = PublishOptions(messageID: link.client.makeInbox())
      options.timeToLive = ttl
      let settings = options
      return try await Revision(
        link.patiently {
          try await link.jetStream.publish(
            subject(key), ByteBuffer(bytes: value), headers: headers, options: settings
          ).sequence
        })
    case .absent: sequence = 0
    case .revision(let revision):
      sequence = revision.number
      // Of a key that was removed no revision is the expected one, and 0 would mean that there is none.
      if sequence == 0 { throw EngineError.conflict(key: key, expected: expected, current: nil) }
    }
    for _ in 0..<5 {
      do {
        return Revision(
          try await link.jetStream.compareAndSet(
            stream: stream, subject(key), ByteBuffer(bytes: value), headers: headers, expected: sequence,
            timeToLive: ttl, retryingFor: link.configuration.patience))
      } catch let error as JetStreamError where error.isWrongSequence {
        let found = try await last(key)
        let isAbsent = found?.isRemoved ?? true
        guard expected == .absent, isAbsent else {
          throw EngineError.conflict(key: key, expected: expected, current: isAbsent ? nil : found?.entry.revision)
        }
        // Absent, with the mark of a removal: that one has to be the last still.
        sequence = found?.entry.revision.number ?? 0
      }
    }
    throw EngineError.conflict(key: key, expected: expected, current: nil)
  }

  package func delete(_ key: String, if expected: Expectation) async throws {
    try await link.engine {
      try limits.check(key: key)
      try await ensure()
      let found = try await last(key)
      let isThere = found.map { !$0.isRemoved } ?? false
      switch expected {
      case .any, .absent:
        guard isThere else { return }
        if expected == .absent {
          throw EngineError.conflict(key: key, expected: expected, current: found?.entry.revision)
        }
      case .revision(let revision):
        guard isThere, found?.entry.revision == revision else {
          throw EngineError.conflict(key: key, expected: expected, current: isThere ? found?.entry.revision : nil)
        }
      }
      _ = try await write(
        key, [], headers: [Self.operation: "DEL"], expected, link.configuration.removalsRemembered)
    }
  }

  package func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try await link.engine {
      try limits.check(changes)
      try await ensure()
      for _ in 0..<5 {
        let entries = try await entries(changes)
        do {
          let ack = try await link.atomically(entries)
          // A batch is stored as one piece.
          return changes.indices.map { Revision(ack.sequence - UInt64(changes.count - 1 - $0)) }
        } catch let error as JetStreamError where error.isWrongSequence {
          // Who it was is found by looking; a removal or the mark of one may have come in between, which is no conflict.
        }
      }
      let change = changes[0]
      throw EngineError.conflict(key: change.key, expected: .any, current: nil)
    }
  }

  /// The messages of a batch with the sequences that they demand.
  private func entries(_ changes: [StateChange]) async throws -> [JetStream.BatchEntry] {
    let needed = changes.filter { change in
      switch change {
      case .put(_, _, .any, _), .delete(_, .any): false
      default: true
      }
    }
    var found: [String: (entry: StateEntry, isRemoved: Bool)] = [:]
    try await withThrowingTaskGroup(of: (String, (entry: StateEntry, isRemoved: Bool)?).self) { group in
      for (index, change) in needed.enumerated() {
        if index >= 64, let (key, last) = try await group.next() { found[key] = last }
        group.addTask { (change.key, try await last(change.key)) }
      }
      for try await (key, last) in group { found[key] = last }
    }
    return try changes.map { change in
      var options = PublishOptions()
      let expected: Expectation
      var headers = NATSHeaders()
      var payload = ByteBuffer()
      switch change {
      case .put(_, let value, let demanded, let ttl):
        expected = demanded
        options.timeToLive = ttl
        payload = ByteBuffer(bytes: value)
      case .delete(_, let demanded):
        expected = demanded
        options.timeToLive = link.configuration.removalsRemembered
        headers[Self.operation] = "DEL"
      }
      let last = found[change.key]
      let current = last.flatMap { $0.isRemoved ? nil : $0.entry.revision }
      switch expected {
      case .any: break
      case .absent:
        guard current == nil else { throw EngineError.conflict(key: change.key, expected: expected, current: current) }
        options.expectedLastSubjectSequence = last?.entry.revision.number ?? 0
      case .revision(let revision):
        guard current == revision else {
          throw EngineError.conflict(key: change.key, expected: expected, current: current)
        }
        options.expectedLastSubjectSequence = revision.number
      }
      return .init(subject(change.key), payload, headers: headers, options: options)
    }
  }

  package func list(_ prefix: String) async throws -> StateList {
    try await link.engine {
      try limits.check(prefix: prefix)
      try await ensure()
      return try await link.patiently { try await read(prefix) }
    }
  }

  private func read(_ prefix: String) async throws -> StateList {
    // What changes while this reads comes in the stream's order: at the end all is seen up to the last message.
    var revision = try await link.jetStream.streamInfo(stream).lastSequence
    var entries: [String: StateEntry] = [:]
    let consumer = OrderedConsumer(
      link.jetStream, stream: stream, filters: ["\(subject(prefix))>"], deliver: .lastPerSubject, batch: 1024)
    try await consumer.readToEnd { message in
      revision = max(revision, message.metadata.streamSequence)
      let key = key(message.subject)
      entries[key] =
        Self.isRemoval(message.headers)
        ? nil
        : StateEntry(key: key, value: message.payload.bytes, revision: Revision(message.metadata.streamSequence))
    }
    return StateList(
      entries: entries.values.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) },
      revision: Revision(revision))
  }

  package func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try await link.engine {
      try limits.check(prefix: prefix)
      try await ensure()
      let consumer = OrderedConsumer(
        link.jetStream, stream: stream, filters: ["\(subject(prefix))>"],
        deliver: revision.map { .fromSequence($0.number + 1) } ?? .lastPerSubject)
      let (waiting, last) = try await link.patiently {
        let last = try await link.jetStream.streamInfo(stream).lastSequence
        return (try await consumer.begin(), last)
      }
      let follower = Follower(
        link: link, store: self, consumer: consumer, isCurrent: revision != nil,
        owesCurrent: revision == nil && waiting == 0,
        last: last)
      return StateWatch { try await follower.next() }
    }
  }

  /// A watch under way.
  private final class Follower: Sendable {
    private struct State {
      var batch: ArraySlice<JetStreamMessage> = []
      var isCurrent: Bool
      var owesCurrent: Bool
      var last: UInt64
    }

    private let link: EngineLink
    private let store: JetStreamState
    private let consumer: OrderedConsumer
    private let state: Mutex<State>

    init(
      link: EngineLink, store: JetStreamState, consumer: OrderedConsumer, isCurrent: Bool, owesCurrent: Bool,
      last: UInt64
    ) {
      self.link = link
      self.store = store
      self.consumer = consumer
      state = Mutex(State(isCurrent: isCurrent, owesCurrent: owesCurrent, last: last))
    }

    private enum Step {
      case event(StateEvent)
      case skip
      case read
    }

    private func step() -> Step {
      state.withLock { state in
        if state.owesCurrent {
          state.owesCurrent = false
          state.isCurrent = true
          return .event(.current(Revision(state.last)))
        }
        guard let message = state.batch.popFirst() else { return .read }
        let sequence = message.metadata.streamSequence
        state.last = max(state.last, sequence)
        let wasCurrent = state.isCurrent
        if !wasCurrent, message.metadata.pending == 0 { state.owesCurrent = true }
        let key = store.key(message.subject)
        guard JetStreamState.isRemoval(message.headers) else {
          return .event(
            .put(StateEntry(key: key, value: message.payload.bytes, revision: Revision(sequence))))
        }
        // What was removed before the watch began isn't there.
        return wasCurrent ? .event(.removed(key: key, revision: Revision(sequence))) : .skip
      }
    }

    func next() async throws -> StateEvent? {
      while true {
        switch step() {
        case .event(let event): return event
        case .skip: continue
        case .read: break
        }
        do {
          let batch = try await consumer.nextBatch()
          try Task.checkCancellation()
          if batch.isEmpty { return nil }
          state.withLock { $0.batch = batch[...] }
        } catch is CancellationError {
          await consumer.stop()
          throw CancellationError()
        } catch {
          if link.isClosed { return nil }
          throw EngineError.unavailable("the watch can't go on: \(error)")
        }
      }
    }
  }
}
