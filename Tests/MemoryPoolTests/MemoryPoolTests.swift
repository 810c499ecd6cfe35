import Synchronization
import Testing

@testable import MemoryPool

@Suite struct MemoryPoolTests {
  @Test("Whoever lets a lease go out of scope has given it back")
  func scope() {
    let pool = MemoryPool(cores: 1)
    for bytes in [1, 512, 513, 4_096, 16_384, 65_536, 65_537] {
      do {
        var lease = pool.tryLease(bytes)
        #expect(lease?.capacity ?? 0 >= bytes)
        lease?.withUnsafeMutableBytes { $0[bytes - 1] = 7 }
        #expect(pool.statistics.takenBytes + pool.statistics.allocatorBytes > 0)
      }
      #expect(pool.statistics.takenBytes == 0 && pool.statistics.allocatorBytes == 0)
    }
    #expect(pool.statistics.leases == 7 && pool.statistics.allocatorLeases == 1)
  }

  @Test("Two leases never share a byte")
  func disjoint() {
    let pool = MemoryPool()
    var first = pool.tryLease(4_096)
    var second = pool.tryLease(4_096)
    first?.withUnsafeMutableBytes { bytes in for index in bytes.indices { bytes[index] = 1 } }
    second?.withUnsafeMutableBytes { bytes in for index in bytes.indices { bytes[index] = 2 } }
    let isWhole = first?.withUnsafeBytes { $0.allSatisfy { $0 == 1 } }
    #expect(isWhole == true)
  }

  @Test("At the bound there is no lease, and the next one given back serves who waits longest")
  func bound() async throws {
    let pool = MemoryPool(limits: .init(pooledBytes: 4 * BlockSize.slabBytes), cores: 2)
    let held = Held()
    while let lease = pool.tryLease(65_536) { held.add(lease) }
    #expect(held.count == 16)
    #expect(pool.statistics.mappedBytes == 4 * BlockSize.slabBytes)
    try await withThrowingTaskGroup(of: Int.self) { group in
      group.addTask {
        try await pool.lease(65_536).capacity
      }
      while pool.statistics.waiting == 0, !Task.isCancelled { await Task.yield() }
      #expect(pool.isExhausted(65_536), "nobody overtakes who waits")
      held.drop(1)
      let capacity = try await group.next()
      #expect(capacity == 65_536)
    }
    #expect(pool.statistics.waits == 1 && pool.statistics.waiting == 0)
  }

  @Test("Who waits for another size gets a slab once enough is given back")
  func otherSize() async throws {
    let pool = MemoryPool(limits: .init(pooledBytes: 4 * BlockSize.slabBytes), cores: 2)
    let held = Held()
    while let lease = pool.tryLease(65_536) { held.add(lease) }
    try await withThrowingTaskGroup(of: Int.self) { group in
      group.addTask {
        try await pool.lease(512).capacity
      }
      while pool.statistics.waiting == 0, !Task.isCancelled { await Task.yield() }
      held.drop(4)
      while pool.statistics.waiting > 0, held.count > 0 { held.drop(1) }
      let capacity = try await group.next()
      #expect(capacity == 512)
    }
  }

  @Test("A cancelled wait ends with CancellationError and leaves nothing behind")
  func cancelled() async {
    let pool = MemoryPool(limits: .init(pooledBytes: 4 * BlockSize.slabBytes), cores: 1)
    let held = Held()
    while let lease = pool.tryLease(16_384) { held.add(lease) }
    await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        do {
          _ = try await pool.lease(16_384).capacity
          return false
        } catch {
          return error is CancellationError
        }
      }
      while pool.statistics.waiting == 0, !Task.isCancelled { await Task.yield() }
      group.cancelAll()
      #expect(await group.next() == true)
    }
    #expect(pool.statistics.waiting == 0)
    held.drop(held.count)
    #expect(pool.statistics.takenBytes == 0)
  }

  @Test("What is larger than a block comes from the allocator within a bound of its own")
  func large() async {
    let pool = MemoryPool(limits: .init(allocatorBytes: 200_000))
    do {
      let first = pool.tryLease(150_000)
      switch first {
      case .none: Issue.record("within the bound")
      case .some(let lease):
        let isPooled = lease.isPooled
        #expect(!isPooled)
      }
    }
    let held = Held()
    if let lease = pool.tryLease(150_000) { held.add(lease) }
    #expect(pool.isExhausted(100_000))
    await #expect(throws: MemoryPoolError.tooLarge(bytes: 300_000, limit: 200_000)) {
      _ = try await pool.lease(300_000).capacity
    }
    #expect(pool.statistics.allocatorBytes == 150_000)
    held.drop(1)
    #expect(pool.statistics.allocatorBytes == 0)
  }

  @Test("More tasks than may wait are refused")
  func tooManyWaiting() async {
    let pool = MemoryPool(limits: .init(pooledBytes: 1, waiting: 0))
    let held = Held()
    while let lease = pool.tryLease(65_536) { held.add(lease) }
    await #expect(throws: MemoryPoolError.tooManyWaiting(limit: 0)) { _ = try await pool.lease(65_536).capacity }
  }

  @Test("Trimming gives empty slabs back and keeps what is leased")
  func trim() {
    let pool = MemoryPool(cores: 1)
    let held = Held()
    for _ in 0..<64 {
      guard var lease = pool.tryLease(16_384) else { return #expect(Bool(false), "within the bound") }
      lease.withUnsafeMutableBytes { $0[0] = 42 }
      held.add(lease)
    }
    #expect(pool.statistics.mappedBytes == 1 << 20)
    held.drop(63)
    #expect(pool.trim() >= 3 * BlockSize.slabBytes)
    #expect(pool.statistics.mappedBytes == BlockSize.slabBytes)
    #expect(held.firstByte == 42)
    held.drop(1)
    pool.trim()
    #expect(pool.statistics.mappedBytes == 0 && pool.statistics.takenBytes == 0)
  }

  @Test("Many tasks that lease at once at the bound all get memory, none of it twice, and all comes back")
  func contention() async throws {
    let pool = MemoryPool(limits: .init(pooledBytes: 4 * BlockSize.slabBytes), cores: 4)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<64 {
        group.addTask {
          var random = SplitMix(seed: UInt64(number))
          for _ in 0..<200 {
            let bytes = BlockSize.allCases[random.below(4)].rawValue
            var lease = try await pool.lease(bytes)
            let tag = UInt8(number)
            lease.withUnsafeMutableBytes {
              $0[0] = tag; $0[bytes - 1] = tag
            }
            await Task.yield()
            #expect(lease.withUnsafeBytes { $0[0] == tag && $0[bytes - 1] == tag }, "somebody else wrote here")
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(pool.statistics.takenBytes == 0 && pool.statistics.waiting == 0)
    #expect(pool.statistics.leases == 64 * 200)
    pool.trim()
    #expect(pool.statistics.mappedBytes == 0)
  }
}

extension MemoryPool {
  fileprivate func isExhausted(_ bytes: Int) -> Bool {
    switch tryLease(bytes) {
    case .none: true
    case .some: false
    }
  }
}

/// Leases that a test holds, the last one on top.
private final class Held: Sendable {
  private final class Box: Sendable {
    let lease: MemoryLease
    init(_ lease: consuming MemoryLease) { self.lease = lease }
  }

  private let boxes = Mutex<[Box]>([])

  var count: Int { boxes.withLock { $0.count } }
  var firstByte: UInt8? { boxes.withLock { $0.first?.lease.withUnsafeBytes { $0[0] } } }
  func add(_ lease: consuming MemoryLease) {
    let box = Box(lease)
    boxes.withLock { $0.append(box) }
  }
  func drop(_ count: Int) {
    let dropped = boxes.withLock { boxes in
      let dropped = Array(boxes.suffix(count))
      boxes.removeLast(min(count, boxes.count))
      return dropped
    }
    _ = consume dropped
  }
}

@Suite struct MagazineTests {
  @Test("Blocks of each size have their own places in a magazine, as many as it keeps")
  func places() {
    var contents = Magazine()
    for size in BlockSize.allCases {
      #expect(
        size.magazineStart == BlockSize.allCases.prefix { $0 < size }.reduce(0) { $0 + $1.magazineCapacity })
      for index in 0...size.magazineCapacity {
        let block = Block(slab: 0, index: UInt16(index), size: size)
        guard let place = UnsafeMutableRawPointer(bitPattern: 4_096) else { return }
        let isKept = contents.push(.init(block: block, base: Address(place), capacity: size.rawValue), size)
        #expect(isKept == (index < size.magazineCapacity))
      }
    }
    for size in BlockSize.allCases {
      for index in (0..<size.magazineCapacity).reversed() {
        let block = contents.pop(size)?.block
        #expect(block == Block(slab: 0, index: UInt16(index), size: size))
      }
      let isEmpty = contents.pop(size) == nil
      #expect(isEmpty)
    }
  }
}
