import Testing

@testable import MemoryPool

@Suite struct SlabDepotTests {
  @Test("A block is never given twice, whatever is taken, given back and removed in which order", arguments: 0..<50)
  func model(seed: UInt64) {
    var random = SplitMix(seed: seed)
    var depot = SlabDepot(limit: 5)
    var held: Set<Block> = []
    var mapped: Set<Int> = []
    for _ in 0..<4_000 {
      let size = BlockSize.allCases[random.below(4)]
      switch random.below(20) {
      case 0..<10:
        take(size, &depot, &held, &mapped)
      case 10..<18:
        if let block = held.randomElement(using: &random) {
          held.remove(block)
          depot.put(block)
        }
      case 18:
        _ = depot.drain(for: size)
      default:
        depot.endDraining()
        for slab in depot.removeVacant() {
          #expect(mapped.remove(slab) != nil)
          #expect(!held.contains { Int($0.slab) == slab }, "a slab with a leased block was removed")
        }
      }
      #expect(depot.taken == held.count)
      #expect(depot.mapped == mapped.count && mapped.count <= 5)
    }
    for block in held { depot.put(block) }
    depot.endDraining()
    _ = depot.removeVacant()
    #expect(depot.mapped == 0 && depot.taken == 0 && depot.takenBytes == 0)
  }

  private func take(_ size: BlockSize, _ depot: inout SlabDepot, _ held: inout Set<Block>, _ mapped: inout Set<Int>) {
    switch depot.take(size) {
    case .block(let block):
      #expect(block.size == size && Int(block.index) < size.blocksPerSlab)
      #expect(held.insert(block).inserted, "a block was given twice")
    case .map(let slab):
      #expect(mapped.insert(slab).inserted)
      depot.map(slab: slab)
    case .exhausted:
      #expect(mapped.count == 5)
    }
  }

  @Test("A size that is short of a slab gets the emptiest one of another size once its blocks are back")
  func draining() {
    var depot = SlabDepot(limit: 1)
    var blocks: [Block] = []
    if case .map(let slab) = depot.take(.kibibytes64) { depot.map(slab: slab) }
    for _ in 0..<3 {
      if case .block(let block) = depot.take(.kibibytes64) { blocks.append(block) }
    }
    let other = depot.take(.kibibytes4)
    #expect(blocks.count == 3 && other == .exhausted)
    let isFree = depot.drain(for: .kibibytes4)
    let same = depot.take(.kibibytes64)
    #expect(!isFree && same == .exhausted, "a draining slab gives nothing")
    for block in blocks { depot.put(block) }
    guard case .block(let block) = depot.take(.kibibytes4) else { return #expect(Bool(false), "the slab is free") }
    #expect(block.size == .kibibytes4)
  }
}

/// Seeded numbers.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
