import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A few free blocks of each size for the threads that share them, so that threads on different cores don't meet at the depot's
/// lock. In plain memory: counting references to an object for each magazine takes longer than the rest of a lease.
struct Magazines: ~Copyable {
  private let magazines: UnsafeMutablePointer<Mutex<Magazine>>
  /// How many there are.
  let count: Int

  init(count: Int) {
    self.count = max(1, count)
    magazines = .allocate(capacity: self.count)
    for index in 0..<self.count { (magazines + index).initialize(to: Mutex(Magazine())) }
  }

  deinit {
    magazines.deinitialize(count: count)
    magazines.deallocate()
  }

  /// Asks the magazine of this thread; nil when another thread is at it, who is right but doesn't wait: the depot is there.
  ///
  /// Threads are spread by their addresses, since Swift can't ask for the core; as many threads as cores run tasks.
  func withCurrent<Result: Sendable>(_ body: (inout Magazine) -> Result) -> Result? {
    magazines[index].withLockIfAvailable { body(&$0) }
  }

  /// Asks a magazine, waiting for who is at it.
  func with<Result: Sendable>(_ index: Int, _ body: (inout Magazine) -> Result) -> Result {
    precondition(index < count, "there are \(count) magazines")
    return magazines[index].withLock { body(&$0) }
  }

  private var index: Int {
    guard count > 1 else { return 0 }
    #if canImport(Darwin)
      let thread = UInt64(UInt(bitPattern: pthread_self()))
    #else
      let thread = UInt64(pthread_self())
    #endif
    // Fibonacci hashing: addresses of threads differ in a few bits in the middle.
    let hash = (thread &* 0x9e37_79b9_7f4a_7c15) >> 40
    return Int(hash % UInt64(count))
  }
}

// Sendable: the pointer and the number never change, what it points to is behind locks, and it is freed by the only owner.
extension Magazines: @unchecked Sendable {}

/// Free blocks by size, in one piece of memory: an array of arrays costs more than the lock.
struct Magazine: ~Copyable {
  private let blocks: UnsafeMutablePointer<MemoryPool.Grant>
  private var counts = (0, 0, 0, 0)
  var leases = 0
  var hits = 0

  init() {
    blocks = .allocate(capacity: BlockSize.allCases.reduce(0) { $0 + $1.magazineCapacity })
  }

  deinit {
    blocks.deallocate()
  }

  /// Free blocks of a size.
  func count(of size: BlockSize) -> Int {
    switch size {
    case .bytes512: counts.0
    case .kibibytes4: counts.1
    case .kibibytes16: counts.2
    case .kibibytes64: counts.3
    }
  }

  /// Takes the block that was given back last.
  mutating func pop(_ size: BlockSize) -> MemoryPool.Grant? {
    let count = count(of: size)
    guard count > 0 else { return nil }
    set(size, count - 1)
    return blocks[size.magazineStart + count - 1]
  }

  /// Keeps a block; false where it has as many as it keeps.
  mutating func push(_ grant: MemoryPool.Grant, _ size: BlockSize) -> Bool {
    let count = count(of: size)
    guard count < size.magazineCapacity else { return false }
    // A grant is plain data: there is nothing to destroy where one is written over.
    (blocks + size.magazineStart + count).initialize(to: grant)
    set(size, count + 1)
    return true
  }

  private mutating func set(_ size: BlockSize, _ count: Int) {
    switch size {
    case .bytes512: counts.0 = count
    case .kibibytes4: counts.1 = count
    case .kibibytes16: counts.2 = count
    case .kibibytes64: counts.3 = count
    }
  }
}
