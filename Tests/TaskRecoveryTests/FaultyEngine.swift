import CoordinationEngine
import Synchronization
import TaskQueue

/// An engine whose store damages what it is given, or is away, when a test says so.
final class FaultyEngine: CoordinationEngine, StateStore {
  private let base: any CoordinationEngine
  private let faults = Mutex((isAway: false, damages: false))
  fileprivate let damagedBlobs = Mutex<Set<BlobDigest>>([])

  init(_ base: any CoordinationEngine) { self.base = base }

  var isAway: Bool {
    get { faults.withLock { $0.isAway } }
    set { faults.withLock { $0.isAway = newValue } }
  }

  func damagesNextPut() { faults.withLock { $0.damages = true } }

  private func check() throws { if isAway { throw EngineError.unavailable("away") } }

  fileprivate func damage(_ value: [UInt8]) -> [UInt8] {
    let damages = faults.withLock { state in
      defer { state.damages = false }
      return state.damages
    }
    guard damages else { return value }
    var value = value
    value[value.count / 2] ^= 4
    return value
  }

  var durability: Durability { base.durability }
  var tasks: any TaskEngine { base.tasks }
  var state: any StateStore { self }
  var blobs: any BlobStore { FaultyBlobs(engine: self, base: base.blobs) }
  var counters: any Counters { base.counters }
  var schedules: any Schedules { base.schedules }
  var messages: any Messages { base.messages }
  func run() async throws { try await base.run() }
  func close() async { await base.close() }

  // MARK: StateStore

  var limits: StateLimits { base.state.limits }
  func get(_ key: String) async throws -> StateEntry? {
    try check()
    return try await base.state.get(key)
  }
  func put(_ key: String, _ value: [UInt8], if expected: Expectation, ttl: Duration?) async throws -> Revision {
    try check()
    return try await base.state.put(key, damage(value), if: expected, ttl: ttl)
  }
  func delete(_ key: String, if expected: Expectation) async throws {
    try check()
    try await base.state.delete(key, if: expected)
  }
  func batch(_ changes: [StateChange]) async throws -> [Revision] {
    try check()
    return try await base.state.batch(changes)
  }
  func list(_ prefix: String) async throws -> StateList {
    try check()
    return try await base.state.list(prefix)
  }
  func watch(_ prefix: String, after revision: Revision?) async throws -> StateWatch {
    try await base.state.watch(prefix, after: revision)
  }
}

/// Blobs that are damaged once they are put, when the engine says so.
private struct FaultyBlobs: BlobStore {
  let engine: FaultyEngine
  let base: any BlobStore

  var limits: BlobLimits { base.limits }
  func put(_ bytes: [UInt8]) async throws -> BlobDigest {
    let digest = try await base.put(bytes)
    if engine.damage(bytes) != bytes { engine.damagedBlobs.withLock { _ = $0.insert(digest) } }
    return digest
  }
  func get(_ digest: BlobDigest) async throws -> [UInt8] {
    if engine.damagedBlobs.withLock({ $0.contains(digest) }) {
      throw EngineError.corrupt("the blob's digest is another one")
    }
    return try await base.get(digest)
  }
  func info(_ digest: BlobDigest) async throws -> BlobInfo? { try await base.info(digest) }
  func delete(_ digest: BlobDigest, unused: Duration) async throws -> Bool {
    try await base.delete(digest, unused: unused)
  }
  func list(after digest: BlobDigest?, maximum: Int) async throws -> [BlobInfo] {
    try await base.list(after: digest, maximum: maximum)
  }
}
