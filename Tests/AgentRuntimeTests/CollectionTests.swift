import AgentRuntime
import CoordinationCore
import CoordinationEngine
import EngineConformance
import Foundation
import JetStreamEngine
import LocalEngine
import Logging
import NATSClient
import NATSTestSupport
import PayloadCompression
import SlowTests
import Synchronization
import Testing

private let silent = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// How many keys and blobs a store has, but for the collector's own lease.
private func residue(of engine: any CoordinationEngine) async throws -> [Int] {
  let keys = try await engine.state.list("").entries.filter { $0.key != CollectionKey.leader.text }
  return [keys.count, try await engine.blobs.list(after: nil, maximum: 1_000).count]
}

/// Runs something beside a test, and ends it with it.
private func beside<Result: Sendable>(
  _ services: [@Sendable () async throws -> Void], _ body: @Sendable () async throws -> Result
) async throws -> Result {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for service in services { group.addTask { try await service() } }
    defer { group.cancelAll() }
    return try await body()
  }
}

@Suite struct CollectionKeyTests {
  @Test("Keys are read as they were written, and names become tokens")
  func roundTrip() throws {
    let digest = try #require(BlobDigest(bytes: Array(0..<32)))
    let owner = CollectionKey.token("pod-7.workers/ä b")
    let keys: [CollectionKey] = [
      .leader, .owner(owner), .reference(digest, owner: owner, number: 9),
      .resource(owner: owner, kind: CollectionKey.token("consumer"), number: 3),
    ]
    for key in keys {
      #expect(CollectionKey(key.text) == key)
      try StateLimits().check(key: key.text)
    }
    #expect(CollectionKey("collect.ref.12.a.1") == nil && CollectionKey("other.owner.a") == nil)
    #expect(CollectionKey.token("a.b") != CollectionKey.token("a=b"))
  }
}

@Suite(.alone, .timeLimit(.minutes(10))) struct CollectionTests {
  let clock = ManualEngineClock()

  private func collector(_ engine: any CoordinationEngine, _ name: String, reapers: [String: Collector.Reaper] = [:])
    -> Collector
  {
    Collector(engine: engine, name: name, reapers: reapers, clock: clock, logger: silent)
  }

  @Test("A blob goes after its grace when the last that needs it lets go, and no sooner")
  func grace() async throws {
    let engine = LocalEngine(clock: clock)
    let (a, b) = (
      Holdings(owner: "a", engine: engine, clock: clock), Holdings(owner: "b", engine: engine, clock: clock)
    )
    let collector = collector(engine, "c")
    try await beside([{ try await collector.run() }, { try await a.run() }, { try await b.run() }]) {
      let first = try await a.keep([1, 2, 3])
      let second = try await b.keep([1, 2, 3])
      await until { collector.statistics.references == 2 }
      try await a.release(first)
      // The second one keeps the blob known: the key of the first goes at once.
      await until { collector.statistics.references == 1 }
      for _ in 0..<500 { await step(.seconds(2)) }
      #expect(try await b.bytes(of: second) == [1, 2, 3])
      try await b.release(second)
      try await until { try await released(engine) == 1 }
      for _ in 0..<295 { await step(.seconds(2)) }
      #expect(try await engine.blobs.list(after: nil, maximum: 10).count == 1)
      try await pass(until: {
        try await engine.blobs.list(after: nil, maximum: 10).isEmpty && collector.statistics.references == 0
      })
      #expect(collector.statistics.deletedBlobs == 1)
    }
  }

  private func released(_ engine: any CoordinationEngine) async throws -> Int {
    try await engine.state.list("collect.ref.").entries.count { $0.value == CollectionKey.released }
  }

  /// Lets time pass until something has come about, and doesn't let the lease of an owner end that is there.
  private func pass(
    keeping holdings: Holdings, in engine: any CoordinationEngine, until condition: () async throws -> Bool
  ) async throws {
    while !(try await condition()), !Task.isCancelled {
      await step(.seconds(10))
      // On a busy machine the owner may be late, and asleep until a time that only a step brings.
      try await pass { try await engine.state.get(CollectionKey.owner(holdings.owner).text) != nil }
    }
  }

  /// Lets time pass until something has come about.
  private func pass(until condition: () async throws -> Bool) async rethrows {
    while !(try await condition()), !Task.isCancelled { await step(.seconds(1)) }
  }

  /// Lets time pass, and those who wait for it do what they do.
  private func step(_ time: Duration) async {
    clock.advance(by: time)
    for _ in 0..<1_000 { await Task.yield() }
  }

  @Test("What a dead process had goes: its blobs after the grace, other things by their kind's function")
  func deadOwner() async throws {
    let engine = LocalEngine(clock: clock)
    let dead = Holdings(owner: "dead", engine: engine, clock: clock)
    let alive = Holdings(owner: "alive", engine: engine, clock: clock)
    let reaped = Mutex<[String]>([])
    let collector = collector(
      engine, "c", reapers: ["consumer": { name in reaped.withLock { $0.append(name) } }])
    try await beside([{ try await engine.run() }, { try await collector.run() }, { try await alive.run() }]) {
      _ = try await dead.keep(Array(repeating: 1, count: 100))
      for number in 0..<700 { _ = try await dead.claim(kind: "consumer", name: "consumer \(number)") }
      let kept = try await alive.keep(Array(repeating: 2, count: 100))
      // A watch that 700 changes were too many for begins anew a second later.
      await pass { collector.statistics.resources == 700 }
      // Nobody renews the dead one's lease; it counts as dead a lease's time after that.
      try await pass(keeping: alive, in: engine) { collector.statistics.resources == 0 }
      #expect(reaped.withLock { Set($0).count } == 700)
      try await pass(keeping: alive, in: engine) { try await engine.blobs.list(after: nil, maximum: 10).count == 1 }
      #expect(try await alive.bytes(of: kept).count == 100)
      try await until { try await residue(of: engine)[0] == 2 }
    }
  }

  @Test("A new collector knows from the store what the last one knew, and what it had left undone")
  func restart() async throws {
    let engine = LocalEngine(clock: clock)
    let holdings = Holdings(owner: "a", engine: engine, clock: clock)
    let first = collector(engine, "first")
    let kept = try await beside([{ try await first.run() }]) {
      let kept = try await holdings.keep([1])
      let gone = try await holdings.keep([2])
      await until { first.statistics.references == 2 }
      try await holdings.release(gone)
      return kept
    }
    // Nobody collects, and meanwhile another one is let go.
    try await holdings.release(try await holdings.keep([3]))
    let second = collector(engine, "second")
    try await beside([{ try await second.run() }, { try await holdings.run() }]) {
      try await pass(until: { try await engine.blobs.list(after: nil, maximum: 10).count == 1 })
      #expect(second.statistics.isLeading && second.statistics.deletedBlobs == 2 && !first.statistics.isLeading)
      #expect(try await holdings.bytes(of: kept) == [1])
    }
  }

  @Test("Of several collectors one collects; when it ends, another one does")
  func oneAtATime() async throws {
    let engine = LocalEngine(clock: clock)
    let all = (0..<3).map { collector(engine, "c\($0)") }
    let running = all.map { collector in Task { try await collector.run() } }
    defer { for task in running { task.cancel() } }
    await until { all.contains { $0.statistics.isLeading } }
    for _ in 0..<10 { await step(.seconds(2)) }
    #expect(all.count { $0.statistics.isLeading } == 1)
    let leader = try #require(all.firstIndex { $0.statistics.isLeading })
    running[leader].cancel()
    _ = await running[leader].result
    await pass(until: { all.contains { $0.statistics.isLeading } })
    #expect(all.count { $0.statistics.isLeading } == 1 && !all[leader].statistics.isLeading)
  }

  @Test("C17: 100,000 agents finish, and memory, keys and objects are back at the baseline")
  func hundredThousand() async throws {
    let engine = LocalEngine(clock: clock)
    let holdings = Holdings(owner: "pod", engine: engine, clock: clock)
    // Every tenth agent's state is too large to stay.
    let pod = Pod(slots: 64, store: holdings.parkedStates, parking: ParkingLot.Limits(stateBytes: 200))
    let collector = collector(engine, "c")
    var dice = SystemRandomNumberGenerator()
    let large = (0..<50).map { _ in (0..<300).map { _ in UInt8.random(in: 0...255, using: &dice) } }
    try await beside([{ try await collector.run() }, { try await holdings.run() }]) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<100 {
          group.addTask {
            for number in 0..<1_000 {
              try await pod.agents.run(named: "agent-\(worker)-\(number)", in: pod.slots) { agent in
                let mine = number % 10 == 0 ? large[(worker + number / 10) % 50] + [UInt8(worker)] : [1, 2, 3]
                var state = mine
                try await agent.park(&state) {}
                guard state == mine else { throw ConformanceError() }
              }
            }
          }
        }
        try await group.waitForAll()
      }
      #expect(pod.agents.statistics.counts.committed == 100_000)
      // Memory is free as soon as they are done; the store's things go after their grace.
      #expect(pod.agents.statistics.stages.values.allSatisfy { $0 == 0 })
      #expect(pod.resources.statistics.agents == 0 && pod.resources.statistics.reserved == 0 && pod.slots.free == 64)
      let lot = await pod.parking.statistics
      #expect(lot.agents == 0 && lot.residentBytes == 0 && lot.stored == 0 && holdings.counts.blobs == 0)
      #expect(try await engine.state.list("collect.ref.").entries.count > 0, "something went to the store")
      try await pass(until: { try await residue(of: engine) == [1, 0] })
      try await holdings.close()
      #expect(try await residue(of: engine) == [0, 0])
      await until { collector.statistics.references == 0 && collector.statistics.owners == 0 }
      #expect(collector.statistics.blobs == 0 && collector.statistics.deletedBlobs > 1_000)
    }
  }
}

private struct ConformanceError: Error {}

@Suite(
  .timeLimit(.minutes(10)), .enabled(if: ProcessInfo.processInfo.environment["SWARMSCALE_NATS_SERVER"] != nil))
struct JetStreamCollectionTests {
  @Test("C17 on JetStream: thousands of agents finish, and the server's keys and objects are back at the baseline")
  func thousands() async throws {
    let server = try ServerProcess()
    try await server.start()
    defer { server.remove() }
    let engine = JetStreamEngine(JetStreamEngineConfiguration(client: try NATSConfiguration(urls: [server.url])))
    let clock = SystemAgentClock()
    let holdings = Holdings(owner: "pod", engine: engine, clock: clock)
    var policy = GarbageCollector.Policy()
    policy.blobGrace = .seconds(2)
    let collector = Collector(engine: engine, name: "c", policy: policy, clock: clock, logger: silent)
    let pod = Pod(slots: 32, store: holdings.parkedStates, parking: ParkingLot.Limits(stateBytes: 0))
    try await beside([{ try await engine.run() }, { try await collector.run() }, { try await holdings.run() }]) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<32 {
          group.addTask {
            for number in 0..<63 {
              try await pod.agents.run(named: "agent-\(worker)-\(number)", in: pod.slots) { agent in
                var state = Array("state of \(worker) and \(number)".utf8)
                try await agent.park(&state) {}
              }
            }
          }
        }
        try await group.waitForAll()
      }
      #expect(pod.agents.statistics.counts.committed == 2_016)
      _ = try await eventually { try await residue(of: engine) == [1, 0] ? true : nil }
      try await holdings.close()
      #expect(try await residue(of: engine) == [0, 0])
    }
  }
}
