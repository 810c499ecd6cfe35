package import CoordinationCore
package import CoordinationEngine
package import Logging
import Synchronization

/// Removes from a store what nobody needs any more: blobs without references after their grace, and what dead processes had.
///
/// Any number of processes run one; one collects at a time, by lease. It keeps nothing of its own: the keys of `CollectionKey` say all, and a new
/// one reads them. What it does is harmless when two do it: a blob is deleted only when nobody put it within the grace, and keys that
/// count no more are never taken into use again.
package final class Collector: Sendable {
  /// Removes something that a dead process had; gets its name. It must not fail for what is gone.
  package typealias Reaper = @Sendable (_ name: String) async throws -> Void

  /// What there is to count.
  package struct Statistics: Hashable, Sendable {
    /// Whether this process collects.
    package var isLeading = false
    /// What it knows of; 0 while others collect.
    package var references = 0
    package var blobs = 0
    package var resources = 0
    package var owners = 0
    /// Blobs that it has deleted.
    package var deletedBlobs = 0
    /// Keys that it has deleted.
    package var deletedKeys = 0
    /// Things of dead processes that it has removed.
    package var reaped = 0
  }

  private struct State {
    var known: CollectionState
    var statistics = Statistics()
  }

  private let engine: any CoordinationEngine
  private let policy: GarbageCollector.Policy
  private let reapers: [String: Reaper]
  private let leadership: Leadership
  private let clock: any AgentClock
  private let logger: Logger
  private let state: Mutex<State>
  private let changed = Wakeup()
  /// Nobody waits for a collector: a thousand processes that look every 15 s are 67 reads a second.
  private static var lease: LeaderCandidate.Policy {
    var policy = LeaderCandidate.Policy()
    (policy.lease, policy.margin, policy.interval) = (.seconds(60), .seconds(10), .seconds(15))
    return policy
  }

  /// How long a store that is away is left alone.
  private static let pause = Duration.seconds(1)

  /// A candidate for collecting. `name` is one that no other process and no earlier run has; `reapers` remove things by their kind.
  package init(
    engine: any CoordinationEngine, name: String, policy: GarbageCollector.Policy = .init(),
    reapers: [String: Reaper] = [:], clock: any AgentClock = SystemAgentClock(), logger: Logger
  ) {
    self.engine = engine
    self.policy = policy
    self.reapers = Dictionary(reapers.map { (CollectionKey.token($0), $1) }, uniquingKeysWith: { first, _ in first })
    self.clock = clock
    self.logger = logger
    leadership = Leadership(
      key: CollectionKey.leader.text, name: name, store: engine.state, policy: Self.lease, clock: clock)
    state = Mutex(State(known: CollectionState(policy: policy)))
  }

  /// What there is to count.
  package var statistics: Statistics {
    let isLeading = leadership.epoch != nil
    return state.withLock { state in
      var statistics = state.statistics
      statistics.isLeading = isLeading
      (statistics.references, statistics.blobs, statistics.resources, statistics.owners) = state.known.counts
      return statistics
    }
  }

  /// Collects whenever it is this process's turn, until the task is cancelled.
  ///
  /// - Throws: `CancellationError`.
  package func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [self] in try await leadership.run { self.changed.signal() } }
      group.addTask { [self] in
        while true {
          if let epoch = leadership.epoch { await turn(epoch) }
          state.withLock { $0.known = CollectionState(policy: policy) }
          try Task.checkCancellation()
          let isLeading = leadership.epoch != nil
          try await changed.wait(until: isLeading ? clock.now + Self.pause : nil, clock)
        }
      }
      defer { group.cancelAll() }
      try await group.waitForAll()
    }
  }

  /// Collects as long as this process leads under `epoch` and the store answers.
  private func turn(_ epoch: UInt64) async {
    do {
      let list = try await engine.state.list(CollectionKey.prefix)
      let watch = try await engine.state.watch(CollectionKey.prefix, after: list.revision)
      let now = clock.now
      state.withLock { state in for entry in list.entries { state.known.note(entry, now: now) } }
      logger.info(
        "collecting what nobody needs any more", metadata: ["epoch": "\(epoch)", "keys": "\(list.entries.count)"])
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { [self] in try await follow(watch) }
        group.addTask { [self] in try await collect(epoch) }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch is CancellationError {
    } catch {
      logger.debug("the store doesn't answer; its keys are read anew soon", metadata: ["error": "\(error)"])
    }
  }

  private func follow(_ watch: StateWatch) async throws {
    for try await event in watch {
      let now = clock.now
      state.withLock { state in
        switch event {
        case .put(let entry): state.known.note(entry, now: now)
        case .removed(let key, _): state.known.noteRemoval(of: key, now: now)
        case .current: break
        }
      }
      changed.signal()
    }
  }

  private func collect(_ epoch: UInt64) async throws {
    while leadership.epoch == epoch {
      let now = clock.now
      let (effects, next) = state.withLock { state in
        let effects = state.known.tick(now: now)
        return (effects, state.known.nextDeadline)
      }
      guard effects.isEmpty else {
        try await perform(effects)
        continue
      }
      try await changed.wait(until: next.map { max($0, now) }, clock)
    }
  }

  /// Does a batch: keys in one write, blobs one by one.
  private func perform(_ effects: [CollectionState.Effect]) async throws {
    var changes: [StateChange] = []
    for effect in effects {
      switch effect {
      case .release(let key): changes.append(.put(key: key, value: CollectionKey.released))
      case .deleteKey(let key): changes.append(.delete(key: key))
      case .deleteBlob(let digest): changes += try await delete(digest)
      case .reap(let kind, let name, let key):
        try await reap(kind, name)
        changes.append(.delete(key: key))
      }
    }
    var rest = changes[...]
    while !rest.isEmpty {
      let batch = Array(rest.prefix(engine.state.limits.batchChanges))
      rest = rest.dropFirst(batch.count)
      _ = try await engine.state.batch(batch)
    }
    let deleted = changes.count { if case .delete = $0 { true } else { false } }
    state.withLock { $0.statistics.deletedKeys += deleted }
  }

  /// Deletes a blob; gives the changes of keys that go with it.
  private func delete(_ digest: BlobDigest) async throws -> [StateChange] {
    guard try await engine.blobs.delete(digest, unused: policy.blobGrace) else {
      let now = clock.now
      state.withLock { $0.known.keep(digest, now: now) }
      return []
    }
    return state.withLock { state in
      state.statistics.deletedBlobs += 1
      return state.known.references(of: digest).map { .delete(key: $0) }
    }
  }

  private func reap(_ kind: String, _ name: String) async throws {
    state.withLock { $0.statistics.reaped += 1 }
    guard let reaper = reapers[kind] else {
      logger.warning(
        "nobody here knows how to remove what a dead process had", metadata: ["kind": "\(kind)", "name": "\(name)"])
      return
    }
    try await reaper(name)
  }
}
