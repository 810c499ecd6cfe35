package import CoordinationEngine
import Crypto
package import PayloadCompression
import Synchronization

/// What a process has in the store for its agents: blobs, and things elsewhere that must not outlive it.
///
/// Each is written down *before* it is made, so that nothing can be there of which no collector knows; and when the process dies its lease ends, and
/// the collector removes what it had. Nothing is written before there is something to write down.
package final class Holdings: Sendable {
  /// Something that this process has elsewhere.
  package struct Token: Hashable, Sendable {
    fileprivate let key: String
  }

  private struct State {
    var nextNumber: UInt64 = 0
    var hasLease = false
    var isClosed = false
    var started: [CheckedContinuation<Void, Never>] = []
    var references = 0
    var resources = 0
  }

  /// How long a process's lease lasts without renewal.
  package static let lease = Duration.seconds(30)

  /// The name of this process and run.
  package let owner: String
  private let engine: any CoordinationEngine
  private let clock: any AgentClock
  private let state = Mutex(State())

  /// Holds nothing yet. `owner` is a name that no other process and no earlier run has.
  package init(owner: String, engine: any CoordinationEngine, clock: any AgentClock = SystemAgentClock()) {
    self.owner = CollectionKey.token(owner)
    self.engine = engine
    self.clock = clock
  }

  /// How many blobs and other things it holds.
  package var counts: (blobs: Int, resources: Int) { state.withLock { ($0.references, $0.resources) } }

  private func renew() async throws {
    try await engine.state.put(CollectionKey.owner(owner).text, [], ttl: Self.lease)
  }

  /// A number for what comes; the lease is there before.
  private func nextNumber() async throws -> UInt64 {
    let (number, isFirst) = state.withLock { state in
      state.nextNumber += 1
      return (state.nextNumber, !state.hasLease)
    }
    guard isFirst else { return number }
    try await renew()
    let waiting = state.withLock { state in
      state.hasLease = true
      defer { state.started = [] }
      return state.started
    }
    for waiter in waiting { waiter.resume() }
    return number
  }

  /// Renews the lease once there is one, until the task is cancelled; then ends it.
  ///
  /// - Throws: `CancellationError`.
  package func run() async throws {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if !state.hasLease, !state.isClosed { state.started.append(continuation) }
          return state.hasLease || state.isClosed
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      let waiting = state.withLock { state in
        state.isClosed = true
        defer { state.started = [] }
        return state.started
      }
      for waiter in waiting { waiter.resume() }
    }
    while true {
      try await clock.sleep(until: clock.now + Self.lease / 3)
      // While the store is away the lease may end: then what this process parked there may be collected after the blobs' grace.
      do { try await renew() } catch is EngineError {}
    }
  }

  /// Ends the lease: what is still held is the collector's from now on.
  package func close() async throws {
    guard state.withLock({ $0.hasLease }) else { return }
    try await engine.state.delete(CollectionKey.owner(owner).text)
  }

  // MARK: Blobs

  /// Keeps bytes; gives the key of the reference.
  package func keep(_ bytes: [UInt8]) async throws -> String {
    guard let digest = BlobDigest(bytes: Array(SHA256.hash(data: bytes))) else {
      preconditionFailure("a SHA-256 has 32 bytes")
    }
    let key = CollectionKey.reference(digest, owner: owner, number: try await nextNumber()).text
    try await engine.state.put(key, CollectionKey.live)
    state.withLock { $0.references += 1 }
    do { _ = try await engine.blobs.put(bytes) } catch {
      try? await release(key)
      throw error
    }
    return key
  }

  /// The bytes of a reference.
  package func bytes(of key: String) async throws -> [UInt8] {
    guard case .reference(let digest, _, _) = CollectionKey(key) else {
      throw EngineError.invalid("\(key) is no reference to a blob")
    }
    return try await engine.blobs.get(digest)
  }

  /// The bytes aren't needed any more; the collector removes them when nobody does.
  package func release(_ key: String) async throws {
    try await engine.state.put(key, CollectionKey.released)
    state.withLock { $0.references -= 1 }
  }

  /// Parked states as blobs.
  package var parkedStates: ParkedStateStore {
    ParkedStateStore(
      put: { [self] in try await keep($0) }, get: { [self] in try await bytes(of: $0) },
      release: { [self] in try await release($0) })
  }

  // MARK: Other things

  /// Writes down that something of a kind is about to be made: when this process dies, the collector has it removed by the kind's own function.
  package func claim(kind: String, name: String) async throws -> Token {
    let key = CollectionKey.resource(
      owner: owner, kind: CollectionKey.token(kind), number: try await nextNumber()
    ).text
    try await engine.state.put(key, Array(name.utf8))
    state.withLock { $0.resources += 1 }
    return Token(key: key)
  }

  /// It was removed in order.
  package func disclaim(_ token: Token) async throws {
    try await engine.state.delete(token.key)
    state.withLock { $0.resources -= 1 }
  }
}
