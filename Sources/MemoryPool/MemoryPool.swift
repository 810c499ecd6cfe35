import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Memory for messages and states, with a hard bound.
///
/// Blocks of four sizes come from slabs of 256 KiB that are mapped as they are needed and given back by `trim`. Magazines,
/// as many as cores, keep a few free blocks; behind them one `SlabDepot` knows all of them. What is larger than the largest
/// block comes from the allocator, is counted, and has a bound of its own. Where a bound is reached `lease` waits, first
/// come first served within a size.
///
/// What it brings (Benchmarks/README.md, `coordination`): no zeroing of large buffers, memory that goes back to the system
/// when a burst is over, and a bound. It does not beat an array that keeps its capacity: where one owner uses one buffer
/// again and again, keep that.
package final class MemoryPool: Sendable {
  /// How much a pool may hold.
  package struct Limits: Hashable, Sendable {
    /// Bytes of slabs. At least four slabs, so that each size can have one.
    package var pooledBytes: Int
    /// Bytes of leases that are larger than the largest block.
    package var allocatorBytes: Int
    /// Tasks that may wait for memory.
    package var waiting: Int

    /// 48 and 16 MiB, 10,000 waiting tasks: the buffers of a thousand agents that each have a state in hand.
    package init(pooledBytes: Int = 48 << 20, allocatorBytes: Int = 16 << 20, waiting: Int = 10_000) {
      self.pooledBytes = max(pooledBytes, 4 * BlockSize.slabBytes)
      self.allocatorBytes = max(0, allocatorBytes)
      self.waiting = max(0, waiting)
    }
  }

  /// What a lease holds.
  struct Grant: Sendable {
    /// The block; nil: from the allocator.
    var block: Block?
    var base: Address
    var capacity: Int
  }

  private struct Waiter {
    var ticket: UInt64
    var bytes: Int
    var continuation: CheckedContinuation<Grant, any Error>
  }

  private struct State {
    var depot: SlabDepot
    var slabs: [Int: Address] = [:]
    /// Who waits, by the size's ordinal, and last those whose lease comes from the allocator.
    var waiters = [[Waiter]](repeating: [], count: BlockSize.allCases.count + 1)
    /// Tickets whose task was cancelled before it began to wait.
    var cancelled: Set<UInt64> = []
    var nextTicket: UInt64 = 0
    var waiting = 0
    var statistics = MemoryPoolStatistics()
  }

  /// The pool's limits.
  package let limits: Limits
  private let magazines: Magazines
  private let state: Mutex<State>
  /// Tasks that wait. Read within a magazine's lock: see `end`.
  private let waiting = Atomic<Int>(0)

  /// A pool that holds nothing yet. `cores`: the number of magazines; nil: as many as the machine has cores, at most 16.
  package init(limits: Limits = Limits(), cores: Int? = nil) {
    self.limits = limits
    let count = cores ?? min(16, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    magazines = Magazines(count: count)
    state = Mutex(State(depot: SlabDepot(limit: limits.pooledBytes / BlockSize.slabBytes)))
  }

  deinit {
    // Nobody holds a lease: each keeps the pool alive.
    state.withLock { state in
      for (_, base) in state.slabs { munmap(base.pointer, BlockSize.slabBytes) }
    }
  }

  /// Memory of at least `bytes` bytes; nil where a bound is reached, or others wait for the same.
  package func tryLease(_ bytes: Int) -> MemoryLease? {
    guard let grant = grant(bytes) else { return nil }
    return MemoryLease(pool: self, grant: grant)
  }

  /// Memory of at least `bytes` bytes; waits where a bound is reached.
  ///
  /// Throws `MemoryPoolError` where waiting wouldn't help, and `CancellationError`.
  package func lease(_ bytes: Int) async throws -> MemoryLease {
    if let grant = grant(bytes) { return MemoryLease(pool: self, grant: grant) }
    let size = BlockSize(holding: bytes)
    if size == nil, bytes > limits.allocatorBytes {
      throw MemoryPoolError.tooLarge(bytes: bytes, limit: limits.allocatorBytes)
    }
    let queue = size?.ordinal ?? BlockSize.allCases.count
    let ticket = state.withLock { state in
      state.nextTicket += 1
      return state.nextTicket
    }
    // The handler has ended, or never begins, once the call has returned: what it may have left is taken out here.
    defer { _ = state.withLock { $0.cancelled.remove(ticket) } }
    let grant = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        wait(Waiter(ticket: ticket, bytes: bytes, continuation: continuation), queue: queue)
      }
    } onCancel: {
      cancel(ticket, queue: queue)
    }
    return MemoryLease(pool: self, grant: grant)
  }

  /// Gives memory that isn't in use back to the system: empty slabs, and the pages of free blocks of 4 KiB and more.
  ///
  /// For a driver that is idle. Returns the bytes that were given back, as far as they were ever used.
  @discardableResult
  package func trim() -> Int {
    emptyMagazines()
    return state.withLock { state in
      var bytes = 0
      for slab in state.depot.removeVacant() {
        guard let base = state.slabs.removeValue(forKey: slab) else { continue }
        munmap(base.pointer, BlockSize.slabBytes)
        bytes += BlockSize.slabBytes
      }
      for block in state.depot.idleBlocks(ofAtLeast: Int(sysconf(Int32(_SC_PAGESIZE)))) {
        guard let slab = state.slabs[Int(block.slab)] else { continue }
        madvise(
          slab.pointer + Int(block.index) * block.size.rawValue, block.size.rawValue, MADV_DONTNEED)
        bytes += block.size.rawValue
      }
      state.statistics.trimmedBytes += bytes
      return bytes
    }
  }

  /// What the pool holds and has done. Magazines are read one after another: sums may be off by what happens meanwhile.
  package var statistics: MemoryPoolStatistics {
    var result = state.withLock { state in
      var result = state.statistics
      result.waiting = state.waiting
      result.takenBytes = state.depot.takenBytes
      result.mappedBytes = state.depot.mapped * BlockSize.slabBytes
      return result
    }
    for index in 0..<magazines.count {
      magazines.with(index) { contents in
        result.leases += contents.leases
        result.magazineHits += contents.hits
        for size in BlockSize.allCases { result.takenBytes -= contents.count(of: size) * size.rawValue }
      }
    }
    return result
  }

  // MARK: Giving

  private func grant(_ bytes: Int) -> Grant? {
    guard let size = BlockSize(holding: bytes) else { return allocate(bytes) }
    let own: Grant?? = magazines.withCurrent { contents in
      guard let grant = contents.pop(size) else { return nil }
      contents.leases += 1
      contents.hits += 1
      return grant
    }
    if let grant = own ?? nil { return grant }
    if let grant = takeFromDepot(size) { return grant }
    // The last free blocks may be in other cores' hands.
    emptyMagazines()
    return takeFromDepot(size)
  }

  private func takeFromDepot(_ size: BlockSize) -> Grant? {
    state.withLock { state in
      guard state.waiters[size.ordinal].isEmpty, let grant = Self.take(size, &state) else { return nil }
      state.statistics.leases += 1
      return grant
    }
  }

  private static func take(_ size: BlockSize, _ state: inout State) -> Grant? {
    while true {
      switch state.depot.take(size) {
      case .block(let block):
        guard let slab = state.slabs[Int(block.slab)] else { preconditionFailure("a slab with blocks is mapped") }
        let base = Address(slab.pointer + Int(block.index) * size.rawValue)
        return Grant(block: block, base: base, capacity: size.rawValue)
      case .map(let slab):
        let flags = Int32(MAP_PRIVATE) | Int32(MAP_ANONYMOUS)
        guard let base = mmap(nil, BlockSize.slabBytes, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else {
          return nil
        }
        state.slabs[slab] = Address(base)
        state.depot.map(slab: slab)
        notePeak(&state)
      case .exhausted:
        return nil
      }
    }
  }

  private func allocate(_ bytes: Int) -> Grant? {
    state.withLock { state in
      guard state.waiters[BlockSize.allCases.count].isEmpty,
        let grant = Self.allocate(bytes, limit: limits.allocatorBytes, &state)
      else { return nil }
      state.statistics.leases += 1
      return grant
    }
  }

  private static func allocate(_ bytes: Int, limit: Int, _ state: inout State) -> Grant? {
    guard bytes <= limit - state.statistics.allocatorBytes, let base = malloc(bytes) else { return nil }
    state.statistics.allocatorLeases += 1
    state.statistics.allocatorBytes += bytes
    notePeak(&state)
    return Grant(block: nil, base: Address(base), capacity: bytes)
  }

  private static func notePeak(_ state: inout State) {
    let bytes = state.depot.mapped * BlockSize.slabBytes + state.statistics.allocatorBytes
    state.statistics.peakBytes = max(state.statistics.peakBytes, bytes)
  }

  // MARK: Taking back

  /// Takes back what a lease held.
  ///
  /// Whether somebody waits is read within the magazine's lock, and `wait` empties the magazines after it has made itself
  /// known: the block comes either before that into the magazine, and is found there, or after it to the depot. None is
  /// forgotten in a magazine.
  func end(_ grant: Grant) {
    guard let block = grant.block else {
      free(grant.base.pointer)
      let grants = state.withLock { state in
        state.statistics.allocatorBytes -= grant.capacity
        return serve(&state)
      }
      return resume(grants)
    }
    let isKept = magazines.withCurrent { contents in
      waiting.load(ordering: .acquiring) == 0 && contents.push(grant, block.size)
    }
    guard isKept != true else { return }
    let grants = state.withLock { state in
      state.depot.put(block)
      return serve(&state)
    }
    resume(grants)
  }

  private func emptyMagazines() {
    for index in 0..<magazines.count {
      let blocks = magazines.with(index) { contents in
        var blocks: [Block] = []
        for size in BlockSize.allCases {
          while let block = contents.pop(size)?.block { blocks.append(block) }
        }
        return blocks
      }
      guard !blocks.isEmpty else { continue }
      let grants = state.withLock { state in
        for block in blocks { state.depot.put(block) }
        return serve(&state)
      }
      resume(grants)
    }
  }

  // MARK: Waiting

  private func wait(_ waiter: Waiter, queue: Int) {
    let (refusal, grants) = state.withLock { state -> ((any Error)?, [(Waiter, Grant)]) in
      if state.cancelled.remove(waiter.ticket) != nil { return (CancellationError(), []) }
      guard state.waiting < limits.waiting else { return (MemoryPoolError.tooManyWaiting(limit: limits.waiting), []) }
      state.waiters[queue].append(waiter)
      state.waiting += 1
      state.statistics.waits += 1
      waiting.store(state.waiting, ordering: .releasing)
      return (nil, serve(&state))
    }
    if let refusal { return waiter.continuation.resume(throwing: refusal) }
    resume(grants)
    emptyMagazines()
  }

  private func cancel(_ ticket: UInt64, queue: Int) {
    let waiter = state.withLock { state -> Waiter? in
      guard let index = state.waiters[queue].firstIndex(where: { $0.ticket == ticket }) else {
        // Not waiting yet, or served already; then `lease` takes the ticket out again.
        state.cancelled.insert(ticket)
        return nil
      }
      state.waiting -= 1
      waiting.store(state.waiting, ordering: .releasing)
      let waiter = state.waiters[queue].remove(at: index)
      if state.waiting == 0 { state.depot.endDraining() }
      return waiter
    }
    waiter?.continuation.resume(throwing: CancellationError())
  }

  /// Gives what is free to who waits, the one that has waited longest first.
  private func serve(_ state: inout State) -> [(Waiter, Grant)] {
    guard state.waiting > 0 else { return [] }
    var grants: [(Waiter, Grant)] = []
    var served = true
    while served, state.waiting > 0 {
      served = false
      let order = state.waiters.indices.filter { !state.waiters[$0].isEmpty }
        .sorted { state.waiters[$0][0].ticket < state.waiters[$1][0].ticket }
      for queue in order {
        let head = state.waiters[queue][0]
        let grant: Grant?
        if let size = BlockSize(holding: head.bytes) {
          var found = Self.take(size, &state)
          if found == nil, state.depot.drain(for: size) { found = Self.take(size, &state) }
          grant = found
        } else {
          grant = Self.allocate(head.bytes, limit: limits.allocatorBytes, &state)
        }
        guard let grant else { continue }
        state.waiters[queue].removeFirst()
        state.waiting -= 1
        state.statistics.leases += 1
        grants.append((head, grant))
        served = true
      }
    }
    if state.waiting == 0 { state.depot.endDraining() }
    waiting.store(state.waiting, ordering: .releasing)
    return grants
  }

  private func resume(_ grants: [(Waiter, Grant)]) {
    for (waiter, grant) in grants { waiter.continuation.resume(returning: grant) }
  }
}
