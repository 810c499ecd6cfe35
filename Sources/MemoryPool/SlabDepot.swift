/// A block of a slab.
struct Block: Hashable, Sendable {
  /// The slab's number.
  var slab: Int32
  /// The block's number in the slab.
  var index: UInt16
  /// Its size.
  var size: BlockSize
}

/// Which blocks of which slabs are taken: numbers only, no memory.
///
/// Blocks are taken from the slab with the lowest number that has room, so that the others empty and serve another size. The
/// number of slabs is bounded. Where every slab is in use and a size is short of one, the emptiest slab of another size
/// gives no more blocks (it *drains*) until it is empty: what is given back in the end serves whoever waits.
struct SlabDepot: Sendable {
  /// What came of asking for a block.
  enum Take: Equatable, Sendable {
    /// A block of a slab that is mapped.
    case block(Block)
    /// The slab of this number is to be mapped, then `map` is to be called, and it is to be asked again.
    case map(slab: Int)
    /// Nothing is free, and the bound is reached.
    case exhausted
  }

  private struct Slab: Sendable {
    var isMapped = false
    /// The size of its blocks; nil: empty, for any size.
    var size: BlockSize?
    /// Blocks that were given back, the last one on top: its lines may still be in a cache.
    var free: [UInt16] = []
    /// Blocks from here on were never taken since the slab got its size.
    var fresh = 0
    var used = 0
    var isDraining = false

    var hasRoom: Bool { !isDraining && (!free.isEmpty || fresh < (size?.blocksPerSlab ?? 0)) }
  }

  private var slabs: [Slab]
  /// For each size a bit for each slab that has room.
  private var room: [[UInt64]]
  /// Mapped slabs without a size, the last one on top.
  private var vacant: [Int] = []
  /// Slabs that aren't mapped, the lowest on top.
  private var unmapped: [Int]
  /// Slabs of each size.
  private var slabsBySize = [Int](repeating: 0, count: BlockSize.allCases.count)

  /// The most slabs that are mapped at a time.
  let limit: Int
  /// Blocks that are taken.
  private(set) var taken = 0
  /// Their bytes.
  private(set) var takenBytes = 0

  /// A depot without slabs.
  init(limit: Int) {
    self.limit = max(1, limit)
    slabs = [Slab](repeating: Slab(), count: self.limit)
    unmapped = Array((0..<self.limit).reversed())
    room = [[UInt64]](repeating: [UInt64](repeating: 0, count: (self.limit + 63) / 64), count: BlockSize.allCases.count)
  }

  /// Slabs that are mapped.
  var mapped: Int { limit - unmapped.count }

  /// Takes a block.
  mutating func take(_ size: BlockSize) -> Take {
    if let slab = firstWithRoom(size) { return .block(take(from: slab, size)) }
    if let slab = vacant.popLast() {
      slabs[slab].size = size
      slabsBySize[size.ordinal] += 1
      return .block(take(from: slab, size))
    }
    guard let slab = unmapped.last else { return .exhausted }
    return .map(slab: slab)
  }

  /// Notes that the slab, which `take` has named, is mapped.
  mutating func map(slab: Int) {
    precondition(unmapped.last == slab, "only the slab that take(_:) named may be mapped")
    unmapped.removeLast()
    slabs[slab].isMapped = true
    vacant.append(slab)
  }

  /// Gives a block back.
  mutating func put(_ block: Block) {
    let number = Int(block.slab)
    precondition(slabs[number].size == block.size && slabs[number].used > 0, "a block came back twice")
    slabs[number].free.append(block.index)
    slabs[number].used -= 1
    taken -= 1
    takenBytes -= block.size.rawValue
    // The last slab of a size stays with it: a block that is taken and given back in turn needs no new slab each time.
    if slabs[number].used == 0, slabs[number].isDraining || slabsBySize[block.size.ordinal] > 1 {
      vacate(number)
    } else {
      setRoom(number, block.size)
    }
  }

  /// Has the emptiest slab of another size drained for `size`, unless one drains already. Empty slabs go at once.
  ///
  /// Returns whether a slab became free.
  mutating func drain(for size: BlockSize) -> Bool {
    var best: Int?
    for number in slabs.indices {
      guard let other = slabs[number].size, other != size else { continue }
      if slabs[number].isDraining { return false }
      if best.map({ slabs[number].used < slabs[$0].used }) ?? true { best = number }
    }
    guard let best, let other = slabs[best].size else { return false }
    if slabs[best].used == 0 {
      vacate(best)
      return true
    }
    slabs[best].isDraining = true
    setRoom(best, other)
    return false
  }

  /// Has every slab give blocks again: nobody waits any more.
  mutating func endDraining() {
    for number in slabs.indices where slabs[number].isDraining {
      slabs[number].isDraining = false
      if let size = slabs[number].size { setRoom(number, size) }
    }
  }

  /// Takes the empty slabs away; gives their numbers, whose memory is to be unmapped.
  mutating func removeVacant() -> [Int] {
    for number in slabs.indices where slabs[number].size != nil && slabs[number].used == 0 { vacate(number) }
    let removed = vacant.sorted()
    vacant = []
    for number in removed { slabs[number] = Slab() }
    unmapped = (unmapped + removed).sorted(by: >)
    return removed
  }

  /// The free blocks of at least `bytes` bytes that were in use once: the kernel may have their pages.
  func idleBlocks(ofAtLeast bytes: Int) -> [Block] {
    slabs.indices.flatMap { number -> [Block] in
      guard let size = slabs[number].size, size.rawValue >= bytes else { return [] }
      return slabs[number].free.map { Block(slab: Int32(number), index: $0, size: size) }
    }
  }

  private mutating func take(from slab: Int, _ size: BlockSize) -> Block {
    let index: UInt16
    if let last = slabs[slab].free.popLast() {
      index = last
    } else {
      index = UInt16(slabs[slab].fresh)
      slabs[slab].fresh += 1
    }
    slabs[slab].used += 1
    taken += 1
    takenBytes += size.rawValue
    setRoom(slab, size)
    return Block(slab: Int32(slab), index: index, size: size)
  }

  private mutating func vacate(_ number: Int) {
    guard let size = slabs[number].size else { return }
    slabs[number].free.removeAll(keepingCapacity: true)
    slabs[number].fresh = 0
    slabs[number].isDraining = false
    slabs[number].size = nil
    slabsBySize[size.ordinal] -= 1
    room[size.ordinal][number / 64] &= ~(1 << UInt64(number % 64))
    vacant.append(number)
  }

  private mutating func setRoom(_ number: Int, _ size: BlockSize) {
    let bit: UInt64 = 1 << UInt64(number % 64)
    if slabs[number].hasRoom {
      room[size.ordinal][number / 64] |= bit
    } else {
      room[size.ordinal][number / 64] &= ~bit
    }
  }

  private func firstWithRoom(_ size: BlockSize) -> Int? {
    for (word, bits) in room[size.ordinal].enumerated() where bits != 0 {
      return word * 64 + bits.trailingZeroBitCount
    }
    return nil
  }
}
