import CoordinationEngine
import LocalEngine
import Logging
import SwarmOrchestrator
import Synchronization
import TaskQueue

/// An engine whose keys can't be reached for a while.
struct FlakyEngine: CoordinationEngine {
  let base: any CoordinationEngine
  let isAway = Flag()

  final class Flag: Sendable {
    private let state = Mutex(false)
    var value: Bool { state.withLock { $0 } }
    func set(_ value: Bool) { state.withLock { $0 = value } }
  }

  var durability: Durability { base.durability }
  var tasks: any TaskEngine { base.tasks }
  var state: any StateStore { FlakyStore(base: base.state, isAway: isAway) }
  var blobs: any BlobStore { base.blobs }
  var counters: any Counters { base.counters }
  var schedules: any Schedules { base.schedules }
  var messages: any Messages { base.messages }
  func run() async throws { try await base.run() }
  func close() async { await base.close() }
}

struct FlakyStore: StateStore {
  let base: any StateStore
  let isAway: FlakyEngine.Flag

  private func check() throws { if isAway.value { throw EngineError.unavailable("away") } }

  var limits: StateLimits { base.limits }
  func get(_ key: String) async throws -> StateEntry? {
    try check()
    return try await base.get(key)
  }
  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    try check()
    return try await base.put(key, value, if: expected, ttl: ttl)
  }
  func delete(_ key: String, if expected: Expectation) async throws {
    try check()
    try await base.delete(key, if: expected)
  }
  func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try check()
    return try await base.batch(changes)
  }
  func list(_ prefix: String) async throws -> StateList {
    try check()
    return try await base.list(prefix)
  }
  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try check()
    return try await base.watch(prefix, after: revision)
  }
}

/// Processes with a place, a membership, perhaps a candidate, and a view of the tasks.
final class TestPod: Sendable {
  let name: String
  let clock: ProcessClock
  let place: FleetPlace
  let tasks: ShardedTasks
  let candidate: OrchestratorCandidate?
  private let member: PodMember
  let slots: Mutex<Int>
  private let job = Mutex<Task<Void, Never>?>(nil)

  init(
    _ name: String, slots: Int, engine: any CoordinationEngine, clock: any FleetClock, incarnation: UInt64 = 1,
    canLead: Bool = true, policy: OrchestratorPolicy = OrchestratorPolicy()
  ) {
    self.name = name
    self.slots = Mutex(slots)
    let process = ProcessClock(clock)
    self.clock = process
    place = FleetPlace(pod: name)
    tasks = ShardedTasks(engine.tasks, place: place, clock: process)
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    candidate =
      canLead
      ? OrchestratorCandidate(
        name: "\(name)-\(incarnation)", place: place, engine: engine, policy: policy, clock: process, logger: logger)
      : nil
    let facts = Facts()
    member = PodMember(place: place, engine: engine, incarnation: incarnation, clock: process, logger: logger) {
      facts.pod?.facts ?? PodFacts(slots: slots)
    }
    facts.pod = self
  }

  /// Breaks the circle between a pod and what it tells.
  private final class Facts: Sendable {
    private let held = Mutex<Weak>(Weak())
    private struct Weak { weak var pod: TestPod? }
    var pod: TestPod? {
      get { held.withLock { $0.pod } }
      set { held.withLock { $0.pod = newValue } }
    }
  }

  private var facts: PodFacts { PodFacts(slots: slots.withLock { $0 }) }

  func start() {
    // The pod runs where the test does.
    let executor = OneAtATime.current
    job.withLock { job in
      // Owned: the pod, by `kill` and `leave`.
      job = Task(executorPreference: executor) { [member, candidate, tasks] in
        await withDiscardingTaskGroup { group in
          group.addTask { await member.run() }
          group.addTask { await tasks.run() }
          if let candidate { group.addTask { await candidate.run() } }
        }
      }
    }
  }

  /// Ends it without a word.
  func kill() async {
    let task = job.withLock { $0 }
    task?.cancel()
    await task?.value
  }

  /// Ends it with a goodbye.
  func leave() async {
    await kill()
    await candidate?.resign()
    await member.leave()
  }
}
