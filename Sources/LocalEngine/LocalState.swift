import CoordinationEngine
import Synchronization

/// A local engine's keys.
struct LocalState: StateStore {
  let engine: LocalEngine

  var limits: StateLimits { engine.settings.state }

  func get(_ key: String) async throws -> StateEntry? {
    try await engine.perform { core, _ in try core.state.get(key) }
  }

  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    try await batch([.put(key: key, value: value, if: expected, ttl: ttl)])[0]
  }

  func delete(_ key: String, if expected: Expectation) async throws {
    _ = try await batch([.delete(key: key, if: expected)])
  }

  func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try await engine.perform { core, now in try core.state.apply(changes, now: now) }
  }

  func list(_ prefix: String) async throws -> StateList {
    try await engine.perform { core, _ in try core.state.list(prefix) }
  }

  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try limits.check(prefix: prefix)
    let watch = LocalWatch(engine: engine, prefix: prefix)
    if let revision { try watch.resume(after: revision) } else { watch.begin(try await list(prefix)) }
    return StateWatch { try await watch.next() }
  }
}

/// Where a watch stands. One task at a time asks it for events.
private final class LocalWatch: Sendable {
  private struct Cursor {
    /// What is known already and wasn't given yet, the next one last.
    var events: [StateEvent] = []
    /// The last change that was looked at.
    var revision: UInt64 = 0
  }

  private let engine: LocalEngine
  private let prefix: String
  private let id: UInt64
  private let signal = Signal()
  private let cursor = Mutex(Cursor())

  init(engine: LocalEngine, prefix: String) {
    self.engine = engine
    self.prefix = prefix
    id = engine.makeID()
    engine.shared.withLock { $0.watchers[id] = (prefix, signal) }
  }

  deinit {
    _ = engine.shared.withLock { $0.watchers.removeValue(forKey: id) }
  }

  func begin(_ list: StateList) {
    cursor.withLock { cursor in
      cursor.events = [.current(list.revision)] + list.entries.reversed().map { .put($0) }
      cursor.revision = list.revision.number
    }
  }

  func resume(after revision: Revision) throws {
    // Says at once that changes are forgotten.
    try engine.shared.withLock { shared in
      guard revision.number <= shared.core.state.revision else {
        throw EngineError.invalid("revision \(revision) is yet to come: the last is \(shared.core.state.revision)")
      }
      _ = try shared.core.state.events(prefix, after: revision.number, upTo: shared.core.state.revision, maximum: 1)
    }
    cursor.withLock { $0.revision = revision.number }
  }

  func next() async throws -> StateEvent? {
    while true {
      if let event = cursor.withLock({ $0.events.popLast() }) { return event }
      let revision = cursor.withLock { $0.revision }
      let found = try engine.shared.withLock { shared -> (events: [StateEvent], next: UInt64)? in
        if shared.isClosed { return nil }
        if let failure = shared.failure { throw failure.error }
        return try shared.core.state.events(prefix, after: revision, upTo: shared.visibleRevision, maximum: 256)
      }
      guard let found else { return nil }
      cursor.withLock { cursor in
        cursor.events = found.events.reversed()
        cursor.revision = found.next
      }
      if found.events.isEmpty, found.next == revision { try await signal.wait() }
    }
  }
}
