package import MemoryPool
import MessageFrames

/// Where states go that are too large to stay, such as the blob store.
package struct ParkedStateStore: Sendable {
  /// Keeps bytes; gives the key by which they are found.
  package var put: @Sendable (_ bytes: [UInt8]) async throws -> String
  /// Finds them.
  package var get: @Sendable (_ key: String) async throws -> [UInt8]
  /// They aren't needed any more by this agent. A store that keeps equal bytes once leaves removing them to its collector.
  package var release: @Sendable (_ key: String) async throws -> Void

  /// Puts a store together.
  package init(
    put: @escaping @Sendable ([UInt8]) async throws -> String,
    get: @escaping @Sendable (String) async throws -> [UInt8],
    release: @escaping @Sendable (String) async throws -> Void
  ) {
    self.put = put
    self.get = get
    self.release = release
  }
}

/// What keeps an agent from being parked or restored.
package enum ParkingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is no agent of this name.
  case notParked(String)
  /// One is there already.
  case alreadyParked(String)
  /// So many bytes are parked that this state must wait, and there is no store.
  case full(limit: Int)

  package var description: String {
    switch self {
    case .notParked(let agent): "the agent \(agent) isn't parked here; restore it from its last checkpoint"
    case .alreadyParked(let agent): "the agent \(agent) is parked already; restore or discard it first"
    case .full(let limit): "\(limit) bytes of parked states are as much as may be; restore some, or name a blob store"
    }
  }
}

/// The states of agents that wait: packed, within a bound, the large ones in a store.
package actor ParkingLot {
  /// How much is kept.
  package struct Limits: Hashable, Sendable {
    /// Bytes of all packed states that stay in memory.
    package var residentBytes: Int
    /// A packed state that is larger goes to the store.
    package var stateBytes: Int
    /// The most bytes of a state that is taken back from the store.
    package var inflatedBytes: Int

    /// 64 MiB, 256 KiB (the size up to which blobs are kept beside records), 64 MiB.
    package init(residentBytes: Int = 64 << 20, stateBytes: Int = 256 << 10, inflatedBytes: Int = 64 << 20) {
      self.residentBytes = max(0, residentBytes)
      self.stateBytes = max(0, stateBytes)
      self.inflatedBytes = max(0, inflatedBytes)
    }
  }

  /// What is parked.
  package struct Statistics: Hashable, Sendable {
    /// Agents, here and in the store.
    package var agents = 0
    /// Those of them in the store.
    package var stored = 0
    /// Bytes of packed states here.
    package var residentBytes = 0
    /// Bytes of all states before they were packed.
    package var stateBytes = 0
  }

  private enum Place {
    /// Exits: taken by `restore` or `discard`.
    case resident(ParkedState)
    /// On its way to the store or from it: nobody else may touch it. Exits: `stored`, or gone.
    case moving
    /// Exits: taken by `restore` or `discard`.
    case stored(key: String, stateBytes: Int)
  }

  private let codec: PayloadCodec
  private let pool: MemoryPool?
  private let store: ParkedStateStore?
  private let limits: Limits
  private var places: [String: Place] = [:]
  /// What is parked.
  package private(set) var statistics = Statistics()

  /// An empty lot. Without a store nothing goes there, and what is too much is refused.
  package init(codec: PayloadCodec, pool: MemoryPool? = nil, store: ParkedStateStore? = nil, limits: Limits = Limits())
  {
    self.codec = codec
    self.pool = pool
    self.store = store
    self.limits = limits
  }

  /// Parks an agent; it may drop its state then.
  ///
  /// Throws `alreadyParked`, `full`, and what the store throws: then the agent isn't parked.
  package func park(_ agent: String, state: [UInt8]) async throws {
    guard places[agent] == nil else { throw ParkingError.alreadyParked(agent) }
    let parked = ParkedState(state, codec: codec, pool: pool)
    let fits = statistics.residentBytes + parked.residentBytes <= limits.residentBytes
    if fits, parked.residentBytes <= limits.stateBytes || store == nil {
      places[agent] = .resident(parked)
      count(agents: 1, resident: parked.residentBytes, state: parked.stateBytes)
      return
    }
    guard let store else { throw ParkingError.full(limit: limits.residentBytes) }
    places[agent] = .moving
    do {
      let key = try await store.put(parked.stored)
      places[agent] = .stored(key: key, stateBytes: parked.stateBytes)
      count(agents: 1, stored: 1, state: parked.stateBytes)
    } catch {
      places[agent] = nil
      throw error
    }
  }

  /// Takes an agent's state back; it isn't parked any more then.
  ///
  /// Throws `notParked`, what unpacking throws, and what the store throws: then the agent stays parked.
  package func restore(_ agent: String) async throws -> [UInt8] {
    switch places[agent] {
    case .none, .moving:
      throw ParkingError.notParked(agent)
    case .resident(let parked):
      let state = try parked.restore(codec: codec)
      places[agent] = nil
      count(agents: -1, resident: -parked.residentBytes, state: -parked.stateBytes)
      return state
    case .stored(let key, let stateBytes):
      guard let store else { throw ParkingError.notParked(agent) }
      places[agent] = .moving
      do {
        let bytes = try await store.get(key)
        let state = try ParkedState(stored: bytes, limit: limits.inflatedBytes).restore(codec: codec)
        places[agent] = nil
        count(agents: -1, stored: -1, state: -stateBytes)
        // What stays behind in the store is the collector's; the agent must not wait for it, nor fail with it.
        try? await store.release(key)
        return state
      } catch {
        places[agent] = .stored(key: key, stateBytes: stateBytes)
        throw error
      }
    }
  }

  /// Forgets an agent that has ended. One that isn't parked is fine.
  package func discard(_ agent: String) async throws {
    switch places[agent] {
    case .none, .moving: return
    case .resident(let parked):
      places[agent] = nil
      count(agents: -1, resident: -parked.residentBytes, state: -parked.stateBytes)
    case .stored(let key, let stateBytes):
      places[agent] = nil
      count(agents: -1, stored: -1, state: -stateBytes)
      try await store?.release(key)
    }
  }

  private func count(agents: Int, resident: Int = 0, stored: Int = 0, state: Int) {
    statistics.agents += agents
    statistics.residentBytes += resident
    statistics.stored += stored
    statistics.stateBytes += state
  }
}
