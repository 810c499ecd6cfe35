package import CoordinationEngine

/// Where agents are: which processes are there, and which agents each has, as keys of the state that end by themselves.
///
/// Keys: `presence.node.NODE`, whose value is the number of the process's run, and `presence.agent.AGENT.NODE`. A process says
/// both anew every third of their time to live, all in one batch; when it has died they go with their time. Where two processes
/// have one name the later one has it, and the earlier one is told (`NameTaken`): a pod that starts again under its name needn't
/// wait until its last run's key has ended. Answers to the run before don't reach the one after it: a call names the run that
/// made it.
package final class AgentDirectory: Sendable {
  /// How long a process that has died is still found.
  package static let timeToLive = Duration.seconds(30)
  /// How long it is remembered that a process is there, or which processes have an agent. That one isn't there is never
  /// remembered.
  package static let memory = Duration.seconds(5)
  /// The most agents of a process that are announced: a batch takes 1,000 changes.
  package static let agents = 900
  /// How long the goodbye may take.
  private static let goodbye = Duration.seconds(2)
  /// What is remembered of others at most.
  private static let remembered = 4_096

  /// Another process has this one's name.
  package struct NameTaken: Error, Hashable, Sendable, CustomStringConvertible {
    /// The name.
    package var node: String

    package var description: String {
      "another process is called \(node) now; give each its own name, such as its pod's (SWARMSCALE_POD)"
    }
  }

  private struct State {
    var isAnnounced = false
    /// Counts what is to be announced, and which of it is written.
    var wanted: UInt64 = 1
    var written: UInt64 = 0
    /// How often `keep` has ended.
    var endings = 0
    var agents: Set<String> = []
    /// Agents that have gone and whose keys may be there still.
    var removed: Set<String> = []
    var present: [String: Duration] = [:]
    var found: [String: (until: Duration, nodes: [String])] = [:]
  }

  /// This process.
  package let node: String
  private let store: any StateStore
  private let clock: any MessengerClock
  private let run: [UInt8]
  private let state = Watched(State())
  private let changed = WakeSignal()

  /// The directory of a process. `incarnation`: a number of chance for this run of it.
  package init(
    node: String, store: any StateStore, clock: any MessengerClock = SystemMessengerClock(),
    incarnation: UInt64 = UInt64.random(in: .min ... .max)
  ) {
    self.node = node
    self.store = store
    self.clock = clock
    run = Array(String(incarnation, radix: 16).utf8)
  }

  // MARK: This process

  /// Says that this process listens: it may be found from now on.
  package func announce() {
    state.change { $0.isAnnounced = true }
    changed.set()
  }

  /// Lets an agent of this process be found.
  ///
  /// Throws `tooLarge` for a name that can't be a key, and where there are too many.
  package func add(_ agent: String) throws(MessagingError) {
    _ = try key(of: agent)
    let hasRoom = state.change { state in
      guard state.agents.count < Self.agents || state.agents.contains(agent) else { return false }
      if state.agents.insert(agent).inserted { state.wanted += 1 }
      state.removed.remove(agent)
      return true
    }
    guard hasRoom else {
      throw .tooLarge("a process announces \(Self.agents) agents at most; let others be asked through one of these")
    }
    changed.set()
  }

  /// Has an agent of this process not found any more.
  package func remove(_ agent: String) {
    state.change { state in
      if state.agents.remove(agent) != nil { state.removed.insert(agent) }
    }
    changed.set()
  }

  /// Keeps the keys until the task is cancelled; then it removes them.
  ///
  /// Throws `NameTaken` when another process has taken the name, and `EngineError` when the store refuses it for good.
  package func keep() async throws {
    let nodeKey = "presence.node.\(try PlaceName.encode(node, dots: false))"
    defer {
      state.change { state in
        state.isAnnounced = false
        state.written = 0
        state.endings += 1
      }
    }
    try await state.wait(until: \.isAnnounced)
    var revision: Revision?
    do {
      while true {
        try Task.checkCancellation()
        do {
          revision = try await renew(nodeKey, revision)
        } catch EngineError.unavailable {
          // The keys may end meanwhile: they are made anew then.
        }
        try await pause()
      }
    } catch is CancellationError {
      if let revision { await leave(nodeKey, revision) }
      throw CancellationError()
    }
  }

  /// Writes the keys; gives the revision of the process's own. `last`: what it was, nil: it wasn't written yet.
  private func renew(_ nodeKey: String, _ last: Revision?) async throws -> Revision {
    let expected = last == nil ? .any : try await expectation(nodeKey)
    let (agents, removed, wanted) = state.change { state in
      defer { state.removed = [] }
      return (state.agents.sorted(), state.removed.subtracting(state.agents).sorted(), state.wanted)
    }
    do {
      var changes = [StateChange.put(key: nodeKey, value: run, if: expected, ttl: Self.timeToLive)]
      for agent in agents { changes.append(.put(key: try key(of: agent), value: run, ttl: Self.timeToLive)) }
      for agent in removed.prefix(store.limits.batchChanges - changes.count) {
        changes.append(.delete(key: try key(of: agent)))
      }
      let revision = try await store.batch(changes)[0]
      state.change { $0.written = wanted }
      return revision
    } catch {
      state.change { $0.removed.formUnion(removed) }
      // Somebody has it, or its time was over right now: the next turn sees which.
      if case EngineError.conflict = error { throw EngineError.unavailable("\(nodeKey) changes") }
      throw error
    }
  }

  private func expectation(_ nodeKey: String) async throws -> Expectation {
    guard let entry = try await store.get(nodeKey) else { return .absent }
    guard entry.value == run else {
      throw NameTaken(node: node)
    }
    return .revision(entry.revision)
  }

  /// Waits until others can find this process, and what was added so far.
  ///
  /// Throws `stopped` when `keep` ends before that.
  package func untilFound() async throws {
    let (wanted, endings) = state.read { ($0.wanted, $0.endings) }
    try await state.wait { $0.written >= wanted || $0.endings > endings }
    guard state.read({ $0.endings == endings }) else { throw MessagingError.stopped }
  }

  /// Waits for a third of the time to live, or until something is to be announced.
  private func pause() async throws {
    let time = clock.now + Self.timeToLive / 3
    await withTaskGroup(of: Void.self) { group in
      group.addTask { [clock] in try? await clock.sleep(until: time) }
      group.addTask { [changed] in await changed.wait() }
      await group.next()
      group.cancelAll()
    }
    try Task.checkCancellation()
  }

  private func leave(_ nodeKey: String, _ revision: Revision) async {
    let keys = state.read { $0.agents.union($0.removed).sorted() }.compactMap { try? key(of: $0) }
    let (store, clock) = (store, clock)
    // Owned: awaited here, with a limit. Calls of a cancelled task are cancelled.
    await Task {
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          let changes = [StateChange.delete(key: nodeKey, if: .revision(revision))] + keys.map { .delete(key: $0) }
          _ = try? await store.batch(changes)
        }
        group.addTask { try? await clock.sleep(until: clock.now + Self.goodbye) }
        await group.next()
        group.cancelAll()
      }
    }.value
  }

  private func key(of agent: String) throws(MessagingError) -> String {
    "presence.agent.\(try PlaceName.encode(agent, dots: false)).\(try PlaceName.encode(node, dots: false))"
  }

  // MARK: Others

  /// Whether a process is there; nil where the store can't say.
  package func isPresent(_ name: String) async throws -> Bool? {
    if name == node { return true }
    let now = clock.now
    if state.read({ $0.present[name].map { $0 > now } ?? false }) { return true }
    do {
      guard try await store.get("presence.node.\(try PlaceName.encode(name, dots: false))") != nil else {
        state.change { $0.present[name] = nil }
        return false
      }
    } catch is EngineError {
      return nil
    }
    state.change { state in
      if state.present.count >= Self.remembered { state.present = state.present.filter { $0.value > now } }
      if state.present.count < Self.remembered { state.present[name] = now + Self.memory }
    }
    return true
  }

  /// The processes that have an agent of this name, sorted.
  ///
  /// Throws `unreachable` where the store can't say, `tooLarge` for a name that can't be one.
  package func processes(with agent: String) async throws -> [String] {
    let now = clock.now
    if let found = state.read({ $0.found[agent] }), found.until > now { return found.nodes }
    let prefix = "presence.agent.\(try PlaceName.encode(agent, dots: false))."
    let entries: [StateEntry]
    do {
      entries = try await store.list(prefix).entries
    } catch let error as EngineError {
      throw MessagingError.unreachable(error.description)
    }
    let nodes = entries.compactMap { PlaceName.decode($0.key.dropFirst(prefix.count)) }.sorted()
    state.change { state in
      if state.found.count >= Self.remembered { state.found = state.found.filter { $0.value.until > now } }
      if !nodes.isEmpty, state.found.count < Self.remembered { state.found[agent] = (now + Self.memory, nodes) }
    }
    return nodes
  }

  /// Forgets where an agent was: it wasn't there.
  package func forget(_ agent: String) {
    state.change { $0.found[agent] = nil }
  }
}
