import MemoryPool
import MessageFrames
import Synchronization
import Testing

@testable import PayloadCompression

@Suite struct ParkingTests {
  private let codec = PayloadCodec()

  @Test("A parked state takes a fraction of the state and comes back as it was", arguments: [0, 10, 5_000, 60_000])
  func roundTrip(size: Int) throws {
    var random = SplitMix(seed: 1)
    let pool = MemoryPool(cores: 1)
    for state in [random.text(size), random.bytes(size)] {
      for pool in [pool, nil] {
        let parked = ParkedState(state, codec: codec, pool: pool)
        #expect(try parked.restore(codec: codec) == state)
        let stored = try ParkedState(stored: parked.stored, limit: size)
        #expect(try stored == parked && stored.restore(codec: codec) == state)
      }
    }
    let parked = ParkedState(random.text(size), codec: codec, pool: pool)
    #expect(size < 1_000 || parked.residentBytes * 2 < size)
    #expect(pool.statistics.takenBytes == 0)
  }

  @Test("A stored state that was damaged is refused, and none is unpacked beyond the bound")
  func damaged() throws {
    var random = SplitMix(seed: 2)
    let state = random.text(3_000)
    let stored = ParkedState(state, codec: codec).stored
    #expect(throws: FrameError.frameTooLarge(bytes: 3_000, limit: 2_999)) {
      try ParkedState(stored: stored, limit: 2_999)
    }
    var refused = 0
    for index in stride(from: 0, to: stored.count, by: 3) {
      var damaged = stored
      damaged[index] ^= 0x10
      // A few bits of zstd's don't matter; whatever is taken must be the state.
      do {
        let isSame = try ParkedState(stored: damaged, limit: 1 << 20).restore(codec: codec) == state
        #expect(isSame, "another state came out of damage at \(index)")
      } catch {
        refused += 1
      }
      let cut = try? ParkedState(stored: Array(stored[..<index]), limit: 1 << 20).restore(codec: codec)
      #expect(cut == nil)
    }
    #expect(refused > stored.count / 3 * 9 / 10)
  }

  /// A store in memory that fails when told.
  private final class Blobs: Sendable {
    let state = Mutex<(blobs: [String: [UInt8]], next: Int, fails: Bool)>(([:], 0, false))
    struct Away: Error {}

    var store: ParkedStateStore {
      ParkedStateStore { bytes in
        try self.state.withLock { state in
          guard !state.fails else { throw Away() }
          state.next += 1
          state.blobs["\(state.next)"] = bytes
          return "\(state.next)"
        }
      } get: { key in
        try self.state.withLock { state in
          guard !state.fails, let bytes = state.blobs[key] else { throw Away() }
          return bytes
        }
      } release: { key in
        self.state.withLock { _ = $0.blobs.removeValue(forKey: key) }
      }
    }
  }

  @Test("Large states and those beyond the bound go to the store, and nothing stays there or here in the end")
  func store() async throws {
    let blobs = Blobs()
    let lot = ParkingLot(
      codec: codec, store: blobs.store, limits: .init(residentBytes: 8_000, stateBytes: 3_000, inflatedBytes: 1 << 20))
    var states: [String: [UInt8]] = [:]
    for number in 0..<40 {
      var random = SplitMix(seed: UInt64(number))
      let state = number % 4 == 0 ? random.bytes(5_000) : random.text(2_000)
      states["agent-\(number)"] = state
      try await lot.park("agent-\(number)", state: state)
    }
    let full = await lot.statistics
    #expect(full.agents == 40 && full.stored > 10 && full.residentBytes <= 8_000)
    #expect(full.stored == blobs.state.withLock { $0.blobs.count })
    await #expect(throws: ParkingError.alreadyParked("agent-1")) { try await lot.park("agent-1", state: []) }
    for (agent, state) in states where agent != "agent-4" && agent != "agent-5" {
      #expect(try await lot.restore(agent) == state)
    }
    try await lot.discard("agent-4")
    try await lot.discard("agent-5")
    try await lot.discard("agent-5")
    #expect(await lot.statistics == ParkingLot.Statistics())
    #expect(blobs.state.withLock { $0.blobs.isEmpty })
    await #expect(throws: ParkingError.notParked("agent-1")) { try await lot.restore("agent-1") }
  }

  @Test("While the store is away an agent isn't parked there, and one that is there stays")
  func storeAway() async throws {
    let blobs = Blobs()
    let lot = ParkingLot(codec: codec, store: blobs.store, limits: .init(stateBytes: 0))
    try await lot.park("a", state: [1, 2, 3])
    blobs.state.withLock { $0.fails = true }
    await #expect(throws: Blobs.Away.self) { try await lot.park("b", state: [1]) }
    await #expect(throws: Blobs.Away.self) { try await lot.restore("a") }
    #expect(await lot.statistics.agents == 1)
    blobs.state.withLock { $0.fails = false }
    #expect(try await lot.restore("a") == [1, 2, 3])
    try await lot.park("b", state: [1])
  }

  @Test("Without a store what is too much is refused")
  func full() async throws {
    let lot = ParkingLot(codec: codec, limits: .init(residentBytes: 10))
    try await lot.park("a", state: [UInt8](repeating: 1, count: 10))
    await #expect(throws: ParkingError.full(limit: 10)) { try await lot.park("b", state: [1]) }
  }

  @Test("A hundred thousand agents that are parked and restored leave nothing behind")
  func collected() async throws {
    let lot = ParkingLot(codec: codec)
    for number in 0..<100_000 {
      try await lot.park("agent-\(number)", state: [UInt8(truncatingIfNeeded: number)])
      if number >= 100 {
        if number.isMultiple(of: 2) {
          try await lot.discard("agent-\(number - 100)")
        } else {
          _ = try await lot.restore("agent-\(number - 100)")
        }
      }
    }
    for number in 99_900..<100_000 { try await lot.discard("agent-\(number)") }
    #expect(await lot.statistics == ParkingLot.Statistics())
  }
}
