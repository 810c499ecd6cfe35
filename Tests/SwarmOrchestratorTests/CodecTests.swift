import CoordinationCore
import SwarmOrchestrator
import Testing

struct Dice: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func roll(_ sides: Int) -> Int { Int(next() % UInt64(sides)) }
}

@Suite struct CodecTests {
  @Test("A plan, a flow, a heartbeat, a summary and a leadership are read as they were written", arguments: 0..<50)
  func roundTrips(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var plan = PublishedPlan()
    plan.epoch = dice.next()
    plan.version = dice.next()
    plan.leader = dice.roll(2) == 0 ? "" : FleetKeys.token("pod.\(dice.roll(99))")
    plan.tier = FleetTier.allCases[dice.roll(4)]
    plan.layout.shards = [1, 16][dice.roll(2)]
    plan.layout.next = [nil, 1, 16][dice.roll(3)]
    plan.layout.since = UInt64(dice.roll(1_000))
    plan.layout.older = [[], [1], [1, 64]][dice.roll(3)]
    for cell in 0..<dice.roll(4) {
      plan.cells[cell] = Dictionary(
        uniqueKeysWithValues: (0..<dice.roll(9)).map { ("p\(cell)-\($0)", dice.roll(100)) })
      if dice.roll(2) == 0 { plan.heads[cell] = "p\(cell)-0" }
    }
    plan.nextCell = 1 + dice.roll(9)
    plan.shards = (0..<dice.roll(20)).map { _ in [nil, 1, 2][dice.roll(3)] }
    plan.standbys = (0..<dice.roll(5)).map { "s\($0)" }
    plan.weights = [dice.roll(99), 4, 1]
    plan.shedsBulk = dice.roll(2) == 0
    #expect(PublishedPlan(plan.bytes) == plan)

    var flow = FleetFlow()
    (flow.epoch, flow.version) = (dice.next(), dice.next())
    flow.transfers = (0..<dice.roll(4)).map { .init(from: $0, to: $0 + 1, tasks: dice.roll(300)) }
    for cell in 0..<dice.roll(4) { (flow.budgets[cell], flow.desiredSlots[cell]) = (dice.roll(1_000), dice.roll(99)) }
    #expect(FleetFlow(flow.bytes) == flow)

    var beat = PodHeartbeat(incarnation: dice.next(), slots: dice.roll(100))
    (beat.busy, beat.queued, beat.oldestMilliseconds) = (dice.roll(9), dice.roll(9), dice.roll(90_000))
    (beat.memoryBytes, beat.plan) = (dice.roll(1 << 40), dice.next())
    beat.queues = (0..<dice.roll(3)).map { "q\($0)" }
    #expect(PodHeartbeat(beat.bytes) == beat)

    let summary = CellSummary(
      cell: dice.roll(9), waiting: dice.roll(999), oldest: .milliseconds(dice.roll(99_999)), freeSlots: dice.roll(99),
      slots: dice.roll(999), at: .seconds(7))
    #expect(CellSummary(summary.bytes, now: .seconds(7)) == summary)
    let record = LeaderRecord(holder: dice.roll(2) == 0 ? "" : "a", epoch: dice.next(), renewals: dice.next())
    #expect(LeaderRecord(record.bytes) == record)
  }

  @Test("What isn't a plan is no plan, whatever is cut off or put in", arguments: 0..<200)
  func damage(seed: Int) {
    var dice = Dice(state: UInt64(seed))
    var plan = PublishedPlan()
    plan.cells = [1: ["a": 5, "b": 7]]
    plan.shards = [1, nil]
    var bytes = plan.bytes
    for _ in 0..<1 + dice.roll(4) { bytes[dice.roll(bytes.count)] = UInt8(truncatingIfNeeded: dice.next()) }
    bytes.removeLast(dice.roll(bytes.count))
    // Neither may trap; what is read is a plan that can be written again.
    if let read = PublishedPlan(bytes) { #expect(PublishedPlan(read.bytes) == read) }
    #expect(PodHeartbeat(bytes) == nil && FleetFlow(bytes) == nil)
  }

  @Test("A shard of each layout is named so that its queue can be told from it")
  func names() {
    var layout = ShardLayout()
    layout.shards = 16
    layout.older = [1]
    for shard in 0..<16 {
      #expect(layout.base(of: ShardLayout.queue("reviews.fast", shard: shard, of: 16)) == "reviews.fast")
    }
    #expect(layout.base(of: "reviews") == "reviews" && layout.base(of: "reviews.16.16") == "reviews.16.16")
    var counts = [Int](repeating: 0, count: 16)
    for number in 0..<16_000 {
      counts[ShardLayout.shard(of: "pull-\(number)", generation: 0, count: 16)] += 1
    }
    #expect(counts.allSatisfy { (850...1_150).contains($0) }, "\(counts)")
  }
}
