/// What a pool holds and has done.
package struct MemoryPoolStatistics: Hashable, Sendable {
  /// Leases that were given since the start.
  package var leases = 0
  /// Those of them that a core's own free blocks served.
  package var magazineHits = 0
  /// Those of them that were too large for a block and came from the allocator.
  package var allocatorLeases = 0
  /// Those of them that had to wait.
  package var waits = 0
  /// Tasks that wait now.
  package var waiting = 0
  /// Bytes of blocks that are leased or in a core's hands now.
  package var takenBytes = 0
  /// Bytes that are leased from the allocator now.
  package var allocatorBytes = 0
  /// Bytes of slabs that are mapped now.
  package var mappedBytes = 0
  /// The most that were mapped and allocated at a time.
  package var peakBytes = 0
  /// Bytes that `trim` has given back to the system since the start.
  package var trimmedBytes = 0
}
