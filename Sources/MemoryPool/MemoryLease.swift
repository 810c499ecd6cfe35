/// Memory that belongs to the holder until the lease ends: at the end of its life, wherever that is, or by `giveBack`.
///
/// It can't be copied, so that it can't be given back twice, and its end gives the memory back, so that it can't leak. Its
/// bytes are whatever the last holder left there.
package struct MemoryLease: ~Copyable {
  private let pool: MemoryPool
  private let grant: MemoryPool.Grant

  init(pool: MemoryPool, grant: MemoryPool.Grant) {
    self.pool = pool
    self.grant = grant
  }

  deinit {
    pool.end(grant)
  }

  /// Bytes that can be used: at least what was asked for.
  package var capacity: Int { grant.capacity }

  /// Whether the memory came from a slab; otherwise from the allocator, which is counted.
  package var isPooled: Bool { grant.block != nil }

  /// Ends the lease before the end of its scope.
  package consuming func giveBack() {}

  /// Lets `body` read the memory.
  package borrowing func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: grant.base.pointer, count: grant.capacity))
  }

  /// Lets `body` read and write the memory. The pointer is good for the duration of the call only.
  package mutating func withUnsafeMutableBytes<Result, Failure: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeMutableRawBufferPointer(start: grant.base.pointer, count: grant.capacity))
  }
}

// Sendable: the memory is reached through this value only, which has one owner at a time because it can't be copied, and
// writing to it takes exclusive access to the value; the pool itself is Sendable.
extension MemoryLease: @unchecked Sendable {}

/// An address that may travel between threads.
struct Address: Hashable, Sendable {
  private let bits: UInt

  init(_ pointer: UnsafeMutableRawPointer) { bits = UInt(bitPattern: pointer) }

  /// The pointer. Never nil: it was made of one.
  var pointer: UnsafeMutableRawPointer {
    guard let pointer = UnsafeMutableRawPointer(bitPattern: bits) else { preconditionFailure("an address is never 0") }
    return pointer
  }
}
