import MemoryPool
import PayloadCompression

/// Row 14: agents that wait.
struct ParkingBenchmark {
  var source: PayloadSource
  let rounds: Int

  mutating func run(_ report: inout Report) throws {
    let codec = PayloadCodec()
    let pool = MemoryPool()
    let states = (0..<40).map { _ in source.states(1, reaching: 58_000)[0] }
    let bytes = states.reduce(0) { $0 + $1.count }
    // Each agent has its own copy, as agents do.
    let agents = 2_000
    let empty = residentBytes()
    var awake: [[UInt8]] = (0..<agents).map { index in states[index % 40].map { $0 } }
    let unpacked = residentBytes() - empty
    let count = awake.count
    awake = []
    codec.trim()
    _ = ParkedState(states[0], codec: codec, pool: pool)
    let before = residentBytes()
    let parked = (0..<agents).map { ParkedState(states[$0 % 40], codec: codec, pool: pool) }
    let packed = max(0, residentBytes() - before)
    let counted = parked.reduce(0) { $0 + $1.residentBytes }
    let ratio = Double(agents / 40 * bytes) / Double(counted)
    let restore = nanoseconds(rounds: rounds, count: 400) {
      for index in 0..<400 { _ = try? parked[index].restore(codec: codec) }
    }
    let park = nanoseconds(rounds: rounds, count: 40) {
      for state in states { _ = ParkedState(state, codec: codec, pool: pool) }
    }
    for index in 0..<40 where try parked[index].restore(codec: codec) != states[index] {
      throw PayloadSource.CorpusError(description: "a state came back as another")
    }
    report.add(
      "14", "a parked agent with \(bytes / 40) B of state", baseline: "unpacked \(bytes / 40) B",
      target: "3 times smaller",
      measured: "\(counted / agents) B: \(ratio.text(2)) times smaller", isMet: ratio >= 3)
    report.add(
      "14", "restoring it", baseline: "", target: "< 0.2 ms",
      measured: "\((restore / 1e6).text(3)) ms (parking: \((park / 1e6).text(3)) ms)", isMet: restore < 200_000)
    report.add(
      "14", "resident memory for \(count) of them", baseline: "+\((Double(unpacked) / 1e6).text()) MB unpacked",
      target: "a third",
      measured: "+\((Double(packed) / 1e6).text()) MB at most (freed pages may be used again)")
  }
}
