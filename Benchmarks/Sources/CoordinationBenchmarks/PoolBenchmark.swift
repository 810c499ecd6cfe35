import FoundationEssentials
import MemoryPool
import MessageFrames
import PayloadCompression

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Row 13: memory from the pool beside memory from elsewhere.
struct PoolBenchmark {
  let rounds: Int
  private static let pool = MemoryPool()

  func run(_ report: inout Report) {
    resident(&report)
    for bytes in [512, 4_096, 16_384, 65_536] {
      let count = 100_000
      let times = Dictionary(
        uniqueKeysWithValues: ["data", "array", "malloc", "lease"].map { what in
          (what, nanoseconds(rounds: rounds, count: count) { _ = Self.step(what, bytes: bytes, count: count) })
        })
      let (data, array) = (times["data"] ?? .nan, times["array"] ?? .nan)
      let (malloc, lease) = (times["malloc"] ?? .nan, times["lease"] ?? .nan)
      report.add(
        "13", "a buffer of \(bytes) B: take, touch each page, give back",
        baseline: "Data(count:) \(data.text(0)) ns, zeroed array \(array.text(0)), malloc \(malloc.text(0))",
        seed: "40 %",
        target: "−50 % against Data",
        measured:
          "\(lease.text(0)) ns: −\((100 - 100 * lease / data).text(0)) % against Data, \((100 * lease / malloc - 100).text(0)) % against malloc",
        isMet: lease <= data / 2)
    }
    let fresh = nanoseconds(rounds: rounds, count: 2_000) { _ = Self.step("fresh-context", bytes: 512, count: 2_000) }
    let pooled = nanoseconds(rounds: rounds, count: 2_000) { _ = Self.step("pooled-context", bytes: 512, count: 2_000) }
    report.add(
      "13", "packing 512 B with the dictionary", baseline: "a context for each: \((fresh / 1_000).text()) µs",
      seed: "40 %",
      target: "−50 %",
      measured: "contexts reused: \((pooled / 1_000).text()) µs: −\((100 - 100 * pooled / fresh).text(0)) %",
      isMet: pooled <= fresh / 2)
    reserve(&report)
  }

  /// `count` turns of one thing; false: there is none of this name.
  static func step(_ what: String, bytes: Int, count: Int) -> Bool {
    switch what {
    case "data": for turn in 0..<count { useData(bytes, turn) }
    case "array": for turn in 0..<count { useArray(bytes, turn) }
    case "malloc": for turn in 0..<count { useMalloc(bytes, turn) }
    case "lease": for turn in 0..<count { useLease(bytes, turn) }
    case "frame":
      let codec = FrameCodec(compressor: PayloadCodec())
      let message = FramedMessage(kind: .task, lane: .normal, payload: text(bytes))
      for _ in 0..<count { _ = try? codec.encode([message]) }
    case "fresh-context": pack(PayloadCodec(idleContexts: 0), bytes, count)
    case "pooled-context": pack(PayloadCodec(), bytes, count)
    default: return false
    }
    return true
  }

  private static func text(_ bytes: Int) -> [UInt8] {
    let words = Array(#"{"type":"heartbeat","slots":{"total":24,"busy":19},"pod":"books-audit-x2x9k"},"#.utf8)
    return (0..<bytes).map { words[$0 % words.count] ^ ($0 % 41 == 0 ? 1 : 0) }
  }

  private static func pack(_ codec: PayloadCodec, _ bytes: Int, _ count: Int) {
    let payload = text(bytes)
    for _ in 0..<count { _ = payload.withUnsafeBytes { codec.compress($0) } }
  }

  @inline(never) private static func useData(_ bytes: Int, _ turn: Int) {
    var data = Data(count: bytes)
    data.withUnsafeMutableBytes { touch($0, turn) }
  }

  @inline(never) private static func useArray(_ bytes: Int, _ turn: Int) {
    var array = [UInt8](repeating: 0, count: bytes)
    array.withUnsafeMutableBytes { touch($0, turn) }
  }

  @inline(never) private static func useMalloc(_ bytes: Int, _ turn: Int) {
    guard let memory = malloc(bytes) else { return }
    touch(UnsafeMutableRawBufferPointer(start: memory, count: bytes), turn)
    free(memory)
  }

  @inline(never) private static func useLease(_ bytes: Int, _ turn: Int) {
    guard var lease = pool.tryLease(bytes) else { return }
    lease.withUnsafeMutableBytes { touch($0, turn) }
  }

  @inline(never) private static func touch(_ memory: UnsafeMutableRawBufferPointer, _ turn: Int) {
    var offset = 0
    while offset < memory.count {
      memory[offset] = UInt8(truncatingIfNeeded: turn)
      offset += 4_096
    }
  }

  /// What stays resident when a burst is over.
  private func resident(_ report: inout Report) {
    let (blocks, bytes) = (4_000, 16_384)
    let before = residentBytes()
    // Something small between them that stays, as in a program that lives.
    var kept: [[UInt8]] = []
    var arrays: [[UInt8]] = []
    for index in 0..<blocks {
      arrays.append([UInt8](repeating: UInt8(truncatingIfNeeded: index), count: bytes))
      if index % 8 == 0 { kept.append([UInt8](repeating: 1, count: 64)) }
    }
    arrays.removeAll()
    let afterArrays = residentBytes() - before
    let pool = MemoryPool(limits: .init(pooledBytes: 128 << 20))
    let start = residentBytes()
    do {
      var boxes: [Box] = []
      for index in 0..<blocks {
        guard var lease = pool.tryLease(bytes) else { break }
        lease.withUnsafeMutableBytes {
          $0.copyBytes(from: repeatElement(UInt8(truncatingIfNeeded: index), count: bytes))
        }
        boxes.append(Box(lease))
      }
      boxes.removeAll()
    }
    let untrimmed = residentBytes() - start
    pool.trim()
    let afterPool = residentBytes() - start
    report.add(
      "13", "resident after a burst of \(blocks * bytes / 1_000_000) MB is over",
      baseline: "arrays: +\((Double(afterArrays) / 1e6).text()) MB", target: "back to before",
      measured:
        "pool: +\((Double(untrimmed) / 1e6).text()) MB, after trim +\((Double(afterPool) / 1e6).text()) MB (\(kept.count) small things stay)",
      isMet: afterPool < 2_000_000)
  }

  private final class Box {
    let lease: MemoryLease
    init(_ lease: consuming MemoryLease) { self.lease = lease }
  }

  /// Where the pool brings nothing.
  private func reserve(_ report: inout Report) {
    let piece = [UInt8](repeating: 7, count: 300)
    let (count, pieces) = (5_000, 110)
    let fresh = nanoseconds(rounds: rounds, count: count) {
      for _ in 0..<count {
        var log: [UInt8] = []
        for _ in 0..<pieces { log += piece }
        blackHole(log)
      }
    }
    let reserved = nanoseconds(rounds: rounds, count: count) {
      for _ in 0..<count {
        var log: [UInt8] = []
        log.reserveCapacity(pieces * piece.count)
        for _ in 0..<pieces { log += piece }
        blackHole(log)
      }
    }
    let pooled = nanoseconds(rounds: rounds, count: count) {
      for _ in 0..<count {
        guard var lease = Self.pool.tryLease(pieces * piece.count) else { return }
        lease.withUnsafeMutableBytes { memory in
          piece.withUnsafeBytes { piece in
            for index in 0..<pieces {
              UnsafeMutableRawBufferPointer(rebasing: memory[(index * piece.count)...]).copyMemory(from: piece)
            }
          }
        }
      }
    }
    report.add(
      "13", "33 KB gathered in 110 pieces",
      baseline: "array that grows \((fresh / 1_000).text(2)) µs, reserveCapacity \((reserved / 1_000).text(2)) µs",
      measured:
        "lease \((pooled / 1_000).text(2)) µs: \((100 * pooled / reserved - 100).text(0)) % against reserveCapacity")
  }

  @inline(never) private func blackHole(_ bytes: [UInt8]) {
    if bytes.count == 1 { print(bytes) }
  }
}
